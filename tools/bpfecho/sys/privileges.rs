//! Capabilities, and that no new ones can be had.

use loader::Errno;

use super::{check, last_errno};

/// `struct __user_cap_header_struct` and two of `struct __user_cap_data_struct` (linux/capability.h).
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// The effective capabilities of this thread: bit n for capability n.
///
/// # Errors
///
/// That of capget(2).
pub fn capabilities() -> Result<u64, Errno> {
    let [low, high] = get()?;
    Ok(u64::from(low.effective) | u64::from(high.effective) << 32)
}

/// Makes `effective` the effective capabilities of this thread, all of which it has; the others can be taken up again.
///
/// # Errors
///
/// That of capget(2) or capset(2).
pub fn set_effective_capabilities(effective: u64) -> Result<(), Errno> {
    let [mut low, mut high] = get()?;
    low.effective = effective as u32;
    high.effective = (effective >> 32) as u32;
    set([low, high])
}

/// Gives up all capabilities of this thread but those in `kept`, which it has; for whatever it executes later, too.
///
/// # Errors
///
/// That of capset(2).
pub fn drop_capabilities(kept: u64) -> Result<(), Errno> {
    // Kernels before 4.3 have no ambient ones.
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    let part = |bits: u32| Data { effective: bits, permitted: bits, inheritable: 0 };
    set([part(kept as u32), part((kept >> 32) as u32)])
}

/// Has no program that is executed later get capabilities from its file, as far as this thread may decide that: it takes
/// CAP_SETPCAP.
pub fn empty_bounding_set() {
    for capability in 0..u64::BITS {
        // SAFETY: plain numbers.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) };
    }
}

fn get() -> Result<[Data; 2], Errno> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: the kernel reads a header and writes two structures of data for this version.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    if result == -1 { Err(last_errno()) } else { Ok(data) }
}

fn set(data: [Data; 2]) -> Result<(), Errno> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: the kernel reads a header and two structures of data for this version.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) };
    if result == -1 { Err(last_errno()) } else { Ok(()) }
}

/// Has execve(2) grant no privileges any more.
///
/// # Errors
///
/// That of prctl(2).
pub fn no_new_privileges() -> Result<(), Errno> {
    // SAFETY: plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}
