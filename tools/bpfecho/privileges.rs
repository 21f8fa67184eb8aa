//! What this process may do, and that it soon may no more.

use loader::Errno;

use crate::sys;

/// Capabilities (linux/capability.h), as bits.
pub const CAP_NET_ADMIN: u64 = 1 << 12;
/// See [`CAP_NET_ADMIN`].
pub const CAP_SYS_ADMIN: u64 = 1 << 21;
/// See [`CAP_NET_ADMIN`].
pub const CAP_SYS_BOOT: u64 = 1 << 22;
/// See [`CAP_NET_ADMIN`]; since 5.8.
pub const CAP_BPF: u64 = 1 << 39;

/// Gives up all capabilities but `needed`, and all ways to new ones. Where reading the counters, `readable`, takes a
/// capability, that is kept, too: kernels before 5.19 ask everybody for one if `kernel.unprivileged_bpf_disabled` is set
/// (kernel commit c8644cd0efe7).
///
/// # Errors
///
/// That of capget(2), capset(2) or prctl(2).
pub fn give_up(needed: u64, readable: impl Fn() -> bool) -> Result<(), Errno> {
    let held = sys::capabilities()?;
    let kept = held & needed;
    sys::no_new_privileges()?;
    sys::empty_bounding_set();
    let for_reading = held & (CAP_BPF | CAP_SYS_ADMIN);
    // Without the one of the two that is not needed, if both are there.
    for kept in [kept, kept | for_reading & CAP_BPF, kept | for_reading] {
        sys::set_effective_capabilities(kept)?;
        if readable() {
            return sys::drop_capabilities(kept);
        }
    }
    sys::drop_capabilities(kept)
}
