//! System calls that have no safe form in the standard library.

#![allow(unsafe_code)]

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd};

/// Whether the process may make namespaces and load programs.
pub fn is_privileged() -> bool {
    // SAFETY: the call has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// Moves this thread into a new network namespace and brings up its `lo`.
pub fn enter_new_namespace() {
    // SAFETY: the arguments are a flag, a name that is terminated, and a structure the kernel fills.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNET));
        let socket = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0));
        let mut request: libc::ifreq = zeroed();
        request.ifr_name[0] = b'l' as _;
        request.ifr_name[1] = b'o' as _;
        check(libc::ioctl(socket, libc::SIOCGIFFLAGS, &mut request));
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as i16;
        check(libc::ioctl(socket, libc::SIOCSIFFLAGS, &request));
        check(libc::close(socket));
    }
}

/// Sends `signal` to process `pid`, which must be a child of this process.
pub fn kill(pid: u32, signal: i32) {
    // SAFETY: the call has no preconditions.
    check(unsafe { libc::kill(pid as i32, signal) });
}

/// The kernel's numbers of a TCP connection.
pub fn tcp_info(socket: &impl AsFd) -> libc::tcp_info {
    // SAFETY: the kernel fills at most the given length, and any value is valid.
    unsafe {
        let mut info: libc::tcp_info = zeroed();
        let mut length = size_of_val(&info) as libc::socklen_t;
        check(libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &mut length,
        ));
        info
    }
}

fn check(result: i32) -> i32 {
    assert!(result != -1, "{}", io::Error::last_os_error());
    result
}
