package routing

import (
	"sort"
	"strconv"
	"time"
)

func itoa(number int) string { return strconv.Itoa(number) }

// seconds writes a duration as Envoy reads it.
func seconds(duration time.Duration) string {
	return strconv.FormatFloat(duration.Seconds(), 'f', -1, 64) + "s"
}

func sortedKeys[Value any](values map[string]Value) []string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
