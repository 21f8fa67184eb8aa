//! The whole machine, for its first process.

use std::fs::File;
use std::os::fd::AsRawFd;

use loader::Errno;

use super::{check, last_errno};

/// Makes this process the one that decides when the machine ends, if it is the machine's first; whether it is. From then
/// on Ctrl-Alt-Del is a SIGINT to it. The first process of a container is refused that (reboot_pid_ns() in
/// kernel/pid_namespace.c), as who may not reboot is.
pub fn become_init() -> bool {
    // SAFETY: a plain number.
    std::process::id() == 1 && unsafe { libc::reboot(libc::RB_DISABLE_CAD) } == 0
}

/// Switches the machine off.
///
/// # Errors
///
/// That of reboot(2).
pub fn power_off() -> Result<(), Errno> {
    // SAFETY: a plain number.
    check(unsafe { libc::reboot(libc::RB_POWER_OFF) }).map(drop)
}

/// Loads the module of the kernel in the file at `path`, which is not compressed.
///
/// # Errors
///
/// That of open(2) or finit_module(2): ENOENT if it needs another, EEXIST if it is loaded already, ENOEXEC if it is for
/// another kernel.
pub fn load_module(path: &str) -> Result<(), Errno> {
    let file = File::open(path).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    // SAFETY: the text of parameters is terminated.
    let result = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) };
    if result == -1 { Err(last_errno()) } else { Ok(()) }
}
