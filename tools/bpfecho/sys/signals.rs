//! Signals that are waited for.

use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

use loader::Errno;

use super::check;

/// The signals that end the program, held back until they are waited for.
pub struct EndSignals(OwnedFd);

impl EndSignals {
    /// Holds back SIGINT, SIGTERM and SIGHUP from now on, so that one which comes during the start does not
    /// leave half of it behind. A SIGHUP that is ignored stays so: that is what nohup(1) is for.
    ///
    /// # Errors
    ///
    /// That of sigaction(2), sigprocmask(2) or signalfd(2).
    pub fn hold_back() -> Result<Self, Errno> {
        // SAFETY: each call gets valid pointers, the set is initialised by `sigemptyset` before it is used, and the
        // descriptor that comes back is nobody else's.
        unsafe {
            let mut set = MaybeUninit::uninit();
            libc::sigemptyset(set.as_mut_ptr());
            let mut set = set.assume_init();
            libc::sigaddset(&mut set, libc::SIGINT);
            libc::sigaddset(&mut set, libc::SIGTERM);
            let mut action: libc::sigaction = zeroed();
            check(libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut action))?;
            if action.sa_sigaction != libc::SIG_IGN {
                libc::sigaddset(&mut set, libc::SIGHUP);
            }
            check(libc::sigprocmask(libc::SIG_BLOCK, &set, null_mut()))?;
            let descriptor = check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC))?;
            Ok(Self(OwnedFd::from_raw_fd(descriptor)))
        }
    }
}

impl AsFd for EndSignals {
    /// Readable as soon as one of them has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
