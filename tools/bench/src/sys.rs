//! System calls that need care.

#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Has what `command` starts be killed when the thread that starts it ends, however that comes about
/// (PR_SET_PDEATHSIG(2const)).
pub(crate) fn end_with_parent(command: &mut Command) {
    let end_with_parent = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: the closure makes a system call and nothing else, as it should between fork and exec.
    unsafe { command.pre_exec(end_with_parent) };
}

/// Gives this thread a table of open files of its own, for those that it opens from now on (unshare(2)).
pub(crate) fn own_files() -> io::Result<()> {
    // SAFETY: what is open stays open here and elsewhere, and no thread is handed what this one opens.
    unsafe { unshare_unsafe(UnshareFlags::FILES) }
}
