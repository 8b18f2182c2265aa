# What an administrator does with the units, and what comes of it. Run by systemd.
set -eu

# await COMMAND ARGUMENT... waits until a command is true.
await() {
	echo "await $*"
	for ((i = 0; i < 100; i++)); do
		"$@" && return
		sleep .1
	done
	xdp-load status
	journalctl --no-pager --quiet --lines 50
	return 1
}
runs() { xdp-load status > /run/status && grep -q "$1" /run/status; }
runsNothing() { xdp-load status > /run/status && ! grep -q "^$1 " /run/status; }
logged() { journalctl --quiet --output cat --unit "$1" > /run/journal && grep -q "$2" /run/journal; }
plug() { ip link add nic0 type veth peer name wire0 && ip link set nic0 up && ip link set wire0 up; }

systemctl start systemd-udevd # tells of interfaces that come
cp /objects/balance-el.o /etc/xdp-load/programs/nic0.o
cp /objects/nic_a-el.o /etc/xdp-load/nic.o
echo OPTIONS=--layout /etc/xdp-load/nic.o > /etc/xdp-load/programs/nic0.env
systemctl enable xdp-load@nic0 xdp-load-watch
systemctl daemon-reload
systemctl start xdp-load-watch

# An interface gets its program when it comes, and the watch keeps that up to date.
plug
await runs '^nic0 .* layout nic.o '
await logged xdp-load-watch 'msg="up to date" interface=nic0'
cp /objects/nic_b-el.o /etc/xdp-load/nic.o
await logged xdp-load-watch 'msg=replaced interface=nic0'

# A newer object takes the place of the one that is there.
systemctl reload xdp-load@nic0
await logged xdp-load@nic0 'in place of id'

# The interface goes, and comes again.
ip link delete nic0
await runsNothing nic0
plug
await runs '^nic0 .* layout nic.o '

# Who stops the units leaves the program, and who restarts one replaces it.
systemctl stop xdp-load-watch
test "$(systemctl show --property Result xdp-load-watch)" = Result=success
systemctl restart xdp-load@nic0
test "$(systemctl show --property Result xdp-load@nic0)" = Result=success
await logged xdp-load@nic0 'in place of id'
systemctl stop xdp-load@nic0
await runs '^nic0 '
xdp-load unload nic0
test ! -e /sys/fs/bpf/xdp-load
echo all done
