//! What the standard library cannot do. The only `unsafe` of the command.
//!
//! # Safety
//!
//! Every function here is safe to call: the pointers handed to the C library are those of live values, with their
//! lengths.

#![allow(unsafe_code)]

mod bpffs;
mod descriptors;
mod machine;
mod network;
mod ports;
mod privileges;
mod process;
mod signals;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use libc::c_int;
use loader::Errno;

pub use bpffs::{is_bpffs, mount_bpffs};
pub use machine::{become_init, load_module, power_off};
pub use network::{Offload, bring_up, enter_new_network, has_offload, kernel};
pub use ports::{Protocol, allow_more_descriptors, hold_port};
pub use privileges::{
    capabilities, drop_capabilities, empty_bounding_set, no_new_privileges, set_effective_capabilities,
};
pub use process::{Process, boot_time_ns, peer_process, utc};
pub use signals::EndSignals;

/// Waits until one of `descriptors` is readable, or `limit` is over. Returns which are.
///
/// # Errors
///
/// That of poll(2), other than EINTR.
pub fn poll(descriptors: &[BorrowedFd<'_>], limit: Option<Duration>) -> Result<Vec<bool>, Errno> {
    let wanted = |descriptor: &BorrowedFd<'_>| libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polled: Vec<libc::pollfd> = descriptors.iter().map(wanted).collect();
    // Rounded up, so that nobody is called too early.
    let milliseconds =
        limit.map_or(-1, |limit| c_int::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX));
    // SAFETY: the pointer and the number are those of a live vector.
    match check(unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, milliseconds) }) {
        Ok(_) | Err(Errno::EINTR) => Ok(polled.iter().map(|polled| polled.revents != 0).collect()),
        Err(errno) => Err(errno),
    }
}

/// The result of a C function that says -1 and sets `errno` if it fails.
fn check(result: c_int) -> Result<c_int, Errno> {
    if result == -1 { Err(last_errno()) } else { Ok(result) }
}

fn last_errno() -> Errno {
    Errno::from_raw(io::Error::last_os_error().raw_os_error().unwrap_or_default())
}
