//! Other processes, and the clock.

use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use loader::Errno;

use super::{check, last_errno};

/// The process that listens at the other end of `stream`; 0 if it has no number here.
///
/// # Errors
///
/// That of getsockopt(2).
pub fn peer_process(stream: &UnixStream) -> Result<u32, Errno> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the pointers are those of live values, with their length.
    check(unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &mut length,
        )
    })?;
    Ok(credentials.pid.cast_unsigned())
}

/// A process that exists, whatever becomes of its number.
pub struct Process(OwnedFd);

impl Process {
    /// The process with the number `pid`.
    ///
    /// # Errors
    ///
    /// That of pidfd_open(2): ENOSYS before 5.3.
    pub fn open(pid: u32) -> Result<Self, Errno> {
        // SAFETY: plain numbers; the descriptor that comes back is nobody else's.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match i32::try_from(result) {
            // SAFETY: likewise.
            Ok(descriptor) if descriptor >= 0 => Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) })),
            _ => Err(last_errno()),
        }
    }

    /// Asks it to end, by SIGTERM.
    ///
    /// # Errors
    ///
    /// That of pidfd_send_signal(2).
    pub fn terminate(&self) -> Result<(), Errno> {
        // SAFETY: no information goes with the signal.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                libc::SIGTERM,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if result == -1 { Err(last_errno()) } else { Ok(()) }
    }
}

impl AsFd for Process {
    /// Readable as soon as it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// How long ago the machine was started, in nanoseconds: the clock of [`loader::ProgramInfo::loaded_ns`].
pub fn boot_time_ns() -> u64 {
    // SAFETY: the pointer is that of a live structure, of which zeros are a value. Every kernel since 2.6.39 has the
    // clock.
    let now = unsafe {
        let mut now: libc::timespec = zeroed();
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now);
        now
    };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A number of seconds since 1970 as people read it, such as `2026-11-28 17:22:32Z`.
pub fn utc(seconds: u64) -> String {
    // SAFETY: the pointers are those of live values; zeros are a value of the structure.
    let time = unsafe {
        let seconds = seconds as _;
        let mut time: libc::tm = zeroed();
        libc::gmtime_r(&seconds, &mut time);
        time
    };
    let libc::tm { tm_year, tm_mon, tm_mday, tm_hour, tm_min, tm_sec, .. } = time;
    format!(
        "{:04}-{:02}-{tm_mday:02} {tm_hour:02}:{tm_min:02}:{tm_sec:02}Z",
        i64::from(tm_year) + 1900,
        tm_mon + 1
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_readable() {
        assert_eq!(super::utc(0), "1970-01-01 00:00:00Z");
        assert_eq!(super::utc(1_795_886_552), "2026-11-28 17:22:32Z");
    }
}
