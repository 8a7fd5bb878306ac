module ztlab.example/rig/dashboards

go 1.22
