//! Owned file descriptors (`std::os::fd::OwnedFd` is out of reach without std).

/// A file descriptor that is closed on drop.
#[derive(Debug)]
pub(crate) struct Fd(i32);

impl Fd {
    /// Takes over `raw`, which a system call has just returned and nobody else owns.
    pub(super) fn from_kernel(raw: i32) -> Self {
        Self(raw)
    }

    /// The number; valid as long as `self` lives.
    pub(crate) fn as_raw(&self) -> i32 {
        self.0
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: this number is owned by `self` alone, so nothing else can still be using it. The result
        // is of no use: Linux releases the number whatever close(2) says.
        unsafe { libc::close(self.0) };
    }
}
