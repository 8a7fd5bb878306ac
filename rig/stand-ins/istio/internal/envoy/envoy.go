// Package envoy helps to write Envoy's configuration as plain JSON values. Envoy itself checks them strictly when it
// reads them, so no generated types are needed here, and the text reads like Envoy's documentation.
package envoy

import (
	"regexp"
	"strings"
)

// Object is a JSON object.
type Object = map[string]any

// List is a JSON array.
type List = []any

const typePrefix = "type.googleapis.com/"

// Typed is a configuration with its type written into it.
func Typed(typeName string, fields Object) Object {
	typed := Object{"@type": typePrefix + typeName}
	for key, value := range fields {
		typed[key] = value
	}
	return typed
}

// Extension is a named filter, logger or socket with its typed configuration.
func Extension(name, typeName string, fields Object) Object {
	return Object{"name": name, "typed_config": Typed(typeName, fields)}
}

// Address is a TCP socket's address.
func Address(address string, port int) Object {
	return Object{"socket_address": Object{"address": address, "port_value": port}}
}

// Match is a string matcher for a value that may begin or end with the wildcard "*".
// The prefix is put before the value, unless the value is the wildcard alone, which means "anything but empty".
func Match(value, prefix string) Object {
	switch {
	case value == "*":
		return Regex(".+")
	case strings.HasPrefix(value, "*"):
		if prefix == "" {
			return Object{"suffix": strings.TrimPrefix(value, "*")}
		}
		return Regex(regexp.QuoteMeta(prefix) + ".*" + regexp.QuoteMeta(strings.TrimPrefix(value, "*")))
	case strings.HasSuffix(value, "*"):
		return Object{"prefix": prefix + strings.TrimSuffix(value, "*")}
	default:
		return Object{"exact": prefix + value}
	}
}

// Regex is a string matcher whose expression has to match the whole string.
func Regex(expression string) Object {
	return Object{"safe_regex": Object{"regex": expression}}
}
