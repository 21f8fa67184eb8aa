//! System calls that have no safe form in the standard library.

#![allow(unsafe_code)]

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd};

/// Whether the process may make namespaces and load programs.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: the call has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// Moves this thread into a new network namespace and brings up its `lo`.
pub(crate) fn enter_new_namespace() {
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
pub(crate) fn kill(pid: u32, signal: i32) {
    // SAFETY: the call has no preconditions.
    check(unsafe { libc::kill(pid as i32, signal) });
}

/// The kernel's numbers of a TCP connection.
pub(crate) fn tcp_info(socket: &impl AsFd) -> libc::tcp_info {
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

/// Lets packets of IPv4 and IPv6 on `lo` be aggregates of up to `bytes` (BIG TCP). Not every ip(8) can.
pub(crate) fn set_gso_max_size(bytes: u32) {
    use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
    // linux/if_link.h
    const IFLA_GSO_MAX_SIZE: u16 = 41;
    const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
    const NLM_F_REQUEST_ACK: u16 = 5;
    let mut message = vec![0; 32];
    for attribute in [IFLA_GSO_MAX_SIZE, IFLA_GSO_IPV4_MAX_SIZE] {
        message.extend(8u16.to_ne_bytes());
        message.extend(attribute.to_ne_bytes());
        message.extend(bytes.to_ne_bytes());
    }
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&libc::RTM_NEWLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST_ACK.to_ne_bytes());
    message[20..24].copy_from_slice(&1u32.to_ne_bytes()); // the index of lo
    let socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    socket.send(&message, 0).unwrap();
    let mut answer = Vec::with_capacity(4096);
    socket.recv(&mut answer, 0).unwrap();
    assert_eq!(answer[16..20], [0; 4], "the kernel refuses BIG TCP");
}

/// The window scales in `info`: that of the peer's windows and that of one's own. They are bit fields of one
/// byte, which the binding has as it is.
pub(crate) fn window_scales(info: &libc::tcp_info) -> [u8; 2] {
    let byte = info.tcpi_snd_rcv_wscale;
    [byte & 0xf, byte >> 4]
}

/// Lets the socket send its first data with the SYN.
pub(crate) fn set_fast_open_connect(socket: &impl AsFd) {
    let on = 1i32;
    // SAFETY: the pointer and the length are those of a live integer.
    check(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN_CONNECT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    });
}

/// Raises the limit of open files to what it may be.
pub(crate) fn allow_many_files() {
    // SAFETY: the structure is live.
    unsafe {
        let mut limit: libc::rlimit = zeroed();
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit));
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &limit));
    }
}

fn check(result: i32) -> i32 {
    assert!(result != -1, "{}", io::Error::last_os_error());
    result
}
