//go:build tools

// Package crane pins a peer of the comparison.
package crane

import _ "github.com/google/go-containerregistry/cmd/crane"
