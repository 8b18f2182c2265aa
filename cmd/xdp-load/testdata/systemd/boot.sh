#!/bin/bash
# Starts systemd as PID 1 of the namespaces that this runs in, on a copy of the machine's root
# directory, with the units of the directory UNITS. It runs STEPS there, which says on OUTPUT
# what it does, and ends.
#
#	boot.sh SCRATCH XDP-LOAD UNITS STEPS OUTPUT OBJECT...
set -eu
scratch=$1 command=$2 units=$3 steps=$4 output=$5
shift 5

mount --make-rprivate /
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch"/{root,changed,work}
root=$scratch/root
mount -t overlay -o "lowerdir=/,upperdir=$scratch/changed,workdir=$scratch/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t bpf -o mode=700 bpf "$root/sys/fs/bpf" # as systemd does where it is in no container
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"

install "$command" "$root/usr/bin/xdp-load"
cp "$units"/*.service "$root/etc/systemd/system/"
mkdir -p "$root/etc/xdp-load/programs" "$root/objects"
cp "$@" "$root/objects/"
cp "$steps" "$root/steps.sh"
touch "$root/output"
mount --bind "$output" "$root/output"
cat > "$root/etc/systemd/system/steps.service" << 'END'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/bash /steps.sh
ExecStopPost=/bin/systemctl exit 0
StandardOutput=append:/output
StandardError=append:/output
END
exec chroot "$root" /usr/bin/env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --unit=steps.service
