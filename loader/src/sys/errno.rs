//! Error numbers of system calls.

use core::fmt;

/// An error number as a system call gives it (positive).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

macro_rules! names {
    ($($name:ident)*) => {
        impl Errno {
            $(#[allow(missing_docs)] // the C constant of the same name
            pub const $name: Errno = Errno(libc::$name);)*

            /// The C constant's name, for the numbers that bpf(2), rtnetlink and sockets are known to give.
            pub fn name(self) -> Option<&'static str> {
                $(if self == Errno::$name {
                    return Some(stringify!($name));
                })*
                None
            }
        }
    };
}

names! {
    EPERM ENOENT EINTR EIO ENXIO E2BIG EBADF EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST EXDEV ENODEV EINVAL
    ENFILE EMFILE EFBIG ENOSPC EROFS EMLINK EPIPE ERANGE EDEADLK ENAMETOOLONG ENOSYS ELOOP ENODATA EPROTO
    EOVERFLOW EMSGSIZE EOPNOTSUPP EAFNOSUPPORT ENETDOWN ENOBUFS ETIMEDOUT EALREADY ESTALE EPROTONOSUPPORT
    EADDRINUSE EADDRNOTAVAIL EBADMSG ENOLINK ESRCH ENETUNREACH EHOSTUNREACH
}

impl Errno {
    /// The error number `number`, which is positive.
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// What the last failed C library call of this thread left.
    pub(crate) fn last() -> Self {
        // SAFETY: the C library gives a valid pointer to this thread's own errno.
        Self(unsafe { *libc::__errno_location() })
    }
}

impl fmt::Display for Errno {
    /// The name, or `errno 524` for a number without one here (the kernel leaks some of its own).
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => formatter.write_str(name),
            None => write!(formatter, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::Errno;
    use alloc::string::ToString;

    #[test]
    fn names_and_numbers() {
        assert_eq!(Errno::from_raw(2).to_string(), "ENOENT");
        assert_eq!(Errno::from_raw(95), Errno::EOPNOTSUPP);
        assert_eq!(Errno::from_raw(524).to_string(), "errno 524");
    }
}
