//! A child process, for the one system call here that sleeps.

use super::bpf::{LinkTarget, create_link};
use super::{Errno, Fd};

/// A child process that makes a link. On drop it is waited for.
#[derive(Debug)]
pub(crate) struct LinkingChild(libc::pid_t);

impl LinkingChild {
    /// Has a child process do BPF_LINK_CREATE and give the descriptor of the link the number that `program` has: both
    /// processes have the same descriptors.
    pub(crate) fn start(program: &Fd, target: &LinkTarget) -> Result<Self, Errno> {
        // Without SIGCHLD as the signal at its end, a parent that ignores that signal can wait, too (wait(2)).
        let (flags, stack) = (libc::c_long::from(libc::CLONE_FILES), 0);
        let [first, second] = if cfg!(target_arch = "s390x") { [stack, flags] } else { [flags, stack] };
        // SAFETY: without CLONE_VM the child has a copy of the memory and goes on with this stack. It does not allocate
        // or take locks, which other threads might have held, and ends without anything being dropped.
        match unsafe { libc::syscall(libc::SYS_clone, first, second, 0, 0, 0) } {
            0 => {
                let result = create_link(program, target).and_then(|link| link.replace(program));
                // SAFETY: a plain number.
                unsafe { libc::_exit(libc::c_int::from(result.is_err())) }
            }
            -1 => Err(Errno::last()),
            pid => Ok(Self(pid as libc::pid_t)),
        }
    }

    /// Waits for its end. Says whether it has made the link.
    pub(crate) fn wait(self) -> bool {
        let made = self.reap();
        core::mem::forget(self);
        made
    }

    fn reap(&self) -> bool {
        let mut status = 0;
        loop {
            // SAFETY: the pointer is that of a live integer. Only here the child is waited for, so the number is its own.
            match unsafe { libc::waitpid(self.0, &mut status, libc::__WALL) } {
                -1 if Errno::last() == Errno::EINTR => {}
                -1 => return false,
                _ => return libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
            }
        }
    }
}

impl Drop for LinkingChild {
    fn drop(&mut self) {
        self.reap();
    }
}
