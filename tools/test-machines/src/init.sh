#!/bin/busybox sh
# The init of a machine: runs each check as a process of its own, says on the console what came of it (see console.rs),
# and turns the machine off.
export PATH=/bin BPFECHO_PROGRAM=/bin/bpfecho
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
# As --check recommends it: on some machines it is off, and on some there is no such switch.
jit=/proc/sys/net/core/bpf_jit_enable
[ ! -e "$jit" ] || echo 1 >"$jit"
exec </dev/console >/dev/console 2>&1

check() {
    echo "@ begin $1"
    shift
    # A check that hangs does not keep the others from running.
    busybox timeout -s KILL 120 "$@"
    echo "@ end $?"
}

for module in /modules/*; do
    busybox insmod "$module" || echo "insmod $module failed"
done
# The firmware leaves its last line open.
echo
echo "@ kernel $(busybox uname -r)"
for suite in acceptance modules; do
    for name in $("$suite" --list | busybox sed 's/: test$//'); do
        check "$name" "$suite" --exact "$name"
    done
done
# The kernel itself complains of nothing.
check kernel_log busybox sh -c '! busybox dmesg | busybox grep -E "WARNING|BUG|Oops|blocked for more than"'
echo '@ done'
busybox poweroff -f
