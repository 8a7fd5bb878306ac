# shellcheck shell=bash
# Sourced by init.sh: the node's own view of the machine's files.
#
# The node uses the standard paths (/etc/cni/net.d, /opt/cni/bin, /run/containerd, /var/lib/kubelet, …), because
# DaemonSets mount them by name, and must not touch the machine's. So /etc, /opt, /usr and /var are overlays whose
# changes land in the state folder, /run and /tmp are empty, and what needs a plain disk is bound from the state folder.
# All of it lives in a mount namespace and is gone, without unmounting, when the node's first process ends.

OVERLAYS=(etc opt usr var)
# Mount point in the node and folder beneath $NODE_STATE/disk. No overlay under containerd, which makes overlays itself
# and cannot use one as upper layer, nor under databases. The machine's own CNI files must not be seen at all: with
# one of them the node would be Ready before the lab brings its pod network.
BINDS=(
  var/lib/containerd:containerd var/lib/kubelet:kubelet var/lib/etcd:etcd
  etc/cni:cni-config opt/cni:cni-programs
)
# The kubelet writes these, and they belong to the whole machine. It gets files with the values it wants to see.
MACHINE_WIDE_SETTINGS=(
  vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000
)

mount_points() { awk '{print $5}' /proc/self/mountinfo | sort -r; }

# mount_is_needed MOUNT_POINT: whether the node reads files through it: the root, devices, and every disk that a
# folder of the rig or of the system lies on.
mount_is_needed() {
  local folder
  case $1 in / | /proc | /dev | /dev/pts | /dev/shm) return 0 ;; esac
  for folder in "$RIG" "$RIG_CACHE" "$RIG_STATE" "${OVERLAYS[@]/#//}"; do
    case $folder/ in "$1"/*) return 0 ;; esac
  done
  return 1
}

# Everything else that the machine has mounted would stay pinned here for as long as the node runs; and the kubelet
# reads the mount table: a control group tree that is mounted but not the node's own makes it fail.
release_machine_mounts() {
  local mount_point
  mount_points | while read -r mount_point; do
    mount_is_needed "$mount_point" || umount -l "$mount_point"
  done
}

# cgroup_trees: the version 1 trees that the machine has, by folder name. To be asked before mounts are released.
cgroup_trees() {
  local group
  for group in $(node_groups); do basename "$(dirname "$group")"; done
}

# mount_cgroups TREE...: the same trees again; mounted from here, their roots are the node's groups.
mount_cgroups() {
  local tree options
  if [ "$SINGLE_TREE" = yes ]; then
    mount -t cgroup2 cgroup2 "$CGROUP_MOUNT"
    # In a single tree a group with processes in it cannot hand controllers on: move to a leaf first.
    mkdir "$CGROUP_MOUNT/init"
    echo $$ >"$CGROUP_MOUNT/init/cgroup.procs"
    enable_controllers "$CGROUP_MOUNT"
    return
  fi
  mount -t tmpfs -o mode=755 cgroup "$CGROUP_MOUNT"
  for tree; do
    options=$tree
    [ "$tree" != systemd ] || options=none,name=systemd
    mkdir "$CGROUP_MOUNT/$tree"
    mount -t cgroup -o "$options" cgroup "$CGROUP_MOUNT/$tree"
  done
}

mount_private_folders() {
  local folder pair
  mount -t tmpfs -o mode=755 tmpfs /run
  mount -t tmpfs -o mode=1777 tmpfs /tmp
  mkdir /run/lock
  for folder in "${OVERLAYS[@]}"; do
    mkdir -p "$NODE_STATE/changes/$folder" "$NODE_STATE/work/$folder"
    mount -t overlay -o "lowerdir=/$folder,upperdir=$NODE_STATE/changes/$folder,workdir=$NODE_STATE/work/$folder" overlay "/$folder"
  done
  for pair in "${BINDS[@]}"; do
    mkdir -p "/${pair%:*}" "$NODE_STATE/disk/${pair#*:}"
    mount --bind "$NODE_STATE/disk/${pair#*:}" "/${pair%:*}"
  done
  mkdir -p /etc/kubernetes /etc/cni/net.d /opt/cni/bin
  mount --bind "$NODE_STATE/kubernetes" /etc/kubernetes
}

shield_machine_settings() {
  local setting path file
  mkdir /run/settings
  for setting in "${MACHINE_WIDE_SETTINGS[@]}"; do
    path=/proc/sys/${setting%=*}
    [ -e "$path" ] || continue
    file=/run/settings/$(tr / . <<<"${setting%=*}")
    echo "${setting#*=}" >"$file"
    mount --bind "$file" "$path"
  done
}

# Names: only its own. The machine's files may be links to somewhere under /run, so they are replaced, not written to.
write_name_files() {
  hostname "$NODE_NAME"
  rm -f /etc/resolv.conf /etc/hosts
  : >/etc/resolv.conf
  printf '127.0.0.1 localhost\n%s %s\n' "$NODE_IP" "$NODE_NAME" >/etc/hosts
}

set_up_filesystem() {
  local trees
  if single_cgroup_tree; then SINGLE_TREE=yes; else SINGLE_TREE=no; fi
  mapfile -t trees < <(cgroup_trees)
  mount --make-rslave /
  release_machine_mounts
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  mount_cgroups "${trees[@]}"
  mount_private_folders
  # Pods with Bidirectional mounts need shared propagation from the root on.
  mount --make-rshared /
  shield_machine_settings
  write_name_files
}
