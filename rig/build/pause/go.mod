module ztlab/rig/pause

go 1.21
