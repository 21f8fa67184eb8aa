//! A bpf filesystem for one test, where nobody else sees it.

use super::sys;

/// Moves this thread, and what it starts, into a mount namespace with a new bpf filesystem at its usual place. It goes
/// away with the last of them.
pub(crate) fn own_bpffs() {
    sys::enter_new_mount_namespace();
    mount_bpffs();
}

/// Mounts one more, in front of what is there.
pub(crate) fn mount_bpffs() {
    sys::mount_bpffs();
}

/// Takes away the one in front.
pub(crate) fn unmount_bpffs() {
    sys::unmount_bpffs();
}

/// Whether anything is pinned in the one in front.
pub(crate) fn has_pins() -> bool {
    std::fs::exists("/sys/fs/bpf/bpfecho").unwrap()
}
