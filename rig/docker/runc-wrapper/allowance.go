package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"syscall"
)

const (
	resourceCapability       = "CAP_SYS_RESOURCE"
	resourceCapabilityNumber = 24
)

// Resource limits by the names of the OCI runtime specification; the numbers are Linux'.
var resourceNumbers = map[string]int{
	"RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
	"RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
	"RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}

// allowance is what the kernel lets this process hand on.
type allowance struct {
	everything bool
	hardLimits map[string]uint64
}

func currentAllowance() allowance {
	status, _ := os.ReadFile("/proc/self/status")
	allowed := allowance{everything: hasResourceCapability(string(status)), hardLimits: map[string]uint64{}}
	for name, number := range resourceNumbers {
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(number, &limit); err == nil {
			allowed.hardLimits[name] = limit.Max
		}
	}
	return allowed
}

// hasResourceCapability reads the bounding set: what is not in there cannot be given to anybody.
func hasResourceCapability(status string) bool {
	_, after, found := strings.Cut(status, "CapBnd:")
	if !found {
		return false
	}
	text, _, _ := strings.Cut(after, "\n")
	set, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
	return err == nil && set&(1<<resourceCapabilityNumber) != 0
}

// limit takes out of a process description what the kernel would refuse.
func (allowed allowance) limit(process map[string]any) {
	if sets, ok := process["capabilities"].(map[string]any); ok {
		for name, set := range sets {
			sets[name] = without(set, resourceCapability)
		}
	}
	if score, ok := process["oomScoreAdj"].(json.Number); ok && strings.HasPrefix(score.String(), "-") {
		process["oomScoreAdj"] = 0
	}
	limits, _ := process["rlimits"].([]any)
	for _, entry := range limits {
		limit, ok := entry.(map[string]any)
		if !ok {
			continue
		}
		name, _ := limit["type"].(string)
		if hard, known := allowed.hardLimits[name]; known {
			clamp(limit, "hard", hard)
			clamp(limit, "soft", hard)
		}
	}
}

func clamp(limit map[string]any, key string, most uint64) {
	number, ok := limit[key].(json.Number)
	if !ok {
		return
	}
	if value, err := strconv.ParseUint(number.String(), 10, 64); err == nil && value > most {
		limit[key] = most
	}
}

func without(set any, name string) any {
	entries, ok := set.([]any)
	if !ok {
		return set
	}
	kept := []any{}
	for _, entry := range entries {
		if entry != name {
			kept = append(kept, entry)
		}
	}
	return kept
}
