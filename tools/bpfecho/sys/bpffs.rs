//! The filesystem in which BPF objects are pinned.

use std::ffi::CStr;
use std::mem::zeroed;

use loader::Errno;

use super::check;

/// BPF_FS_MAGIC (linux/magic.h).
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

/// Whether `directory` is in a bpf filesystem.
///
/// # Errors
///
/// That of statfs(2).
pub fn is_bpffs(directory: &CStr) -> Result<bool, Errno> {
    // SAFETY: the path is terminated, and the structure is live; zeros are a value of it.
    let kind = unsafe {
        let mut status: libc::statfs = zeroed();
        check(libc::statfs(directory.as_ptr(), &mut status))?;
        status.f_type
    };
    // The type of the field, and its sign, differ from machine to machine.
    Ok(kind as u32 == BPF_FS_MAGIC)
}

/// Mounts a bpf filesystem at `directory`, for root only.
///
/// # Errors
///
/// That of mount(2): EPERM without CAP_SYS_ADMIN, ENOENT where the kernel has no such place.
pub fn mount_bpffs(directory: &CStr) -> Result<(), Errno> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: all strings are terminated.
    let result = unsafe {
        libc::mount(c"bpf".as_ptr(), directory.as_ptr(), c"bpf".as_ptr(), flags, c"mode=700".as_ptr().cast())
    };
    check(result).map(drop)
}
