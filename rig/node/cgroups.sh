# shellcheck shell=bash
# Sourced: the node's control groups. Everything of the node lives in groups named $NODE_GROUP, and its cgroup
# namespace is rooted there, so that the kubelet takes them for the top of the tree. Machines with one tree per
# controller (version 1, also beside a version 2 tree without controllers) and with a single tree (version 2) differ.

CGROUP_MOUNT=/sys/fs/cgroup

single_cgroup_tree() { [ -e "$CGROUP_MOUNT/cgroup.controllers" ]; }

# node_groups: the folders of the node's groups, whether they exist or not.
node_groups() {
  local tree
  if single_cgroup_tree; then
    echo "$CGROUP_MOUNT/$NODE_GROUP"
    return
  fi
  for tree in "$CGROUP_MOUNT"/*/; do
    # The file exists in version 1 trees only; /sys/fs/cgroup holds symbolic links too (cpu -> cpu,cpuacct).
    if [ -e "$tree/cgroup.clone_children" ] && [ ! -L "${tree%/}" ]; then echo "$tree$NODE_GROUP"; fi
  done
}

make_node_groups() {
  local group tree
  for group in $(node_groups); do
    tree=${group%/*}
    mkdir -p "$group"
    # A new cpuset group is empty, and nothing can join it until it has processors and memory.
    if [ -e "$group/cpuset.cpus" ] && ! single_cgroup_tree; then
      cat "$tree/cpuset.cpus" >"$group/cpuset.cpus"
      cat "$tree/cpuset.mems" >"$group/cpuset.mems"
      echo 1 >"$group/cgroup.clone_children"
    fi
  done
  if single_cgroup_tree; then enable_controllers "$CGROUP_MOUNT"; fi
}

# enable_controllers FOLDER: hands every controller that FOLDER has on to its children.
enable_controllers() {
  local controller controllers
  read -ra controllers <"$1/cgroup.controllers"
  for controller in "${controllers[@]}"; do
    echo "+$controller" >"$1/cgroup.subtree_control" 2>/dev/null || true
  done
}

# node_processes: the machine's ids of everything that runs in the node.
node_processes() {
  local group
  for group in $(node_groups); do
    [ ! -d "$group" ] || find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null
  done | sort -un
}

remove_node_groups() {
  local group
  for group in $(node_groups); do
    [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} +
  done
}
