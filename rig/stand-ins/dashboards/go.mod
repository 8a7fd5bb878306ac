module ztlab/rig/dashboards

go 1.22
