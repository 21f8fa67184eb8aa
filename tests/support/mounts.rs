//! A bpf filesystem for one test, where nobody else sees it.

use super::namespace::sh;
use super::sys;

/// Moves this thread, and what it starts, into a mount namespace with a new bpf filesystem at its usual place. It goes
/// away with the last of them.
pub(crate) fn own_bpffs() {
    sys::enter_new_mount_namespace();
    mount_bpffs();
}

/// Mounts one more, in front of what is there.
pub(crate) fn mount_bpffs() {
    sh("mount -t bpf bpf /sys/fs/bpf");
}

/// Takes away the one in front.
pub(crate) fn unmount_bpffs() {
    sh("umount /sys/fs/bpf");
}

/// Whether anything is pinned in the one in front.
pub(crate) fn has_pins() -> bool {
    std::fs::exists("/sys/fs/bpf/bpfecho").unwrap()
}
