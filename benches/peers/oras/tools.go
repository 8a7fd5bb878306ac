//go:build tools

// Package oras pins a peer of the comparison.
package oras

import _ "oras.land/oras/cmd/oras"
