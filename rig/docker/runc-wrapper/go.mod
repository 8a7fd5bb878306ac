module ztlab/rig/runc-wrapper

go 1.22
