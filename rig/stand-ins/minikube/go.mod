module ztlab/rig/minikube

go 1.22
