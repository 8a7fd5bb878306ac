//go:build tools

// Package kubernetes pins the Kubernetes commands that the rig's node runs.
//
// kubeadm is not among them: newer Go releases refuse an address in its own tests of URLs, so it would need a patch,
// and the rig builds only what it can build from untouched modules.
package kubernetes

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-proxy"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
