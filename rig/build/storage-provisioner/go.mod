module ztlab/rig/storage-provisioner

go 1.21
