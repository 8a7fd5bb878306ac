//go:build tools

// Package crane pins the tool that pushes image layouts into the rig's registry.
package crane

import _ "github.com/google/go-containerregistry/cmd/crane"
