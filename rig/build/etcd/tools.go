//go:build tools

// Package etcd pins the etcd server; the module's root package is the command.
package etcd

import _ "go.etcd.io/etcd/server/v3"
