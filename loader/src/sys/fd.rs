//! Owned file descriptors (`std::os::fd::OwnedFd` is out of reach without std).

#[cfg(feature = "std")]
use std::os::fd::{AsFd, BorrowedFd};

use super::Errno;

/// A file descriptor that is closed on drop.
#[derive(Debug)]
pub(crate) struct Fd(i32);

impl Fd {
    /// Takes over `raw`, which a system call has just returned and nobody else owns.
    pub(super) fn from_kernel(raw: i32) -> Self {
        Self(raw)
    }

    /// Another descriptor for the same object.
    #[cfg(feature = "std")]
    pub(crate) fn duplicate(&self) -> Result<Self, Errno> {
        // SAFETY: fcntl(2) takes numbers; the descriptor that comes back is nobody else's.
        let raw = unsafe { libc::fcntl(self.0, libc::F_DUPFD_CLOEXEC, 0) };
        if raw < 0 { Err(Errno::last()) } else { Ok(Self(raw)) }
    }

    /// Gives what this is a descriptor of the number of `other`, which is no descriptor of what it was any more.
    pub(super) fn replace(self, other: &Self) -> Result<(), Errno> {
        // SAFETY: dup3(2) takes numbers, and both are those of open descriptors.
        let raw = unsafe { libc::dup3(self.0, other.0, libc::O_CLOEXEC) };
        if raw < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// The number; valid as long as `self` lives.
    pub(crate) fn as_raw(&self) -> i32 {
        self.0
    }
}

#[cfg(feature = "std")]
impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as `self` lives.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: this number is owned by `self` alone, so nothing else can still be using it. The result
        // is of no use: Linux releases the number whatever close(2) says.
        unsafe { libc::close(self.0) };
    }
}
