//! Ports that are held without being served, and the descriptors for them.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, socklen_t};
use loader::Errno;

use super::check;

/// The protocols a port is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A socket that is bound to `address` and does nothing else, so that nobody can serve it. `scope` is the
/// interface of an IPv6 link-local address.
///
/// # Errors
///
/// That of socket(2), setsockopt(2) or bind(2): EADDRINUSE if something serves the port, EADDRNOTAVAIL if the
/// address is not this host's.
pub fn hold_port(protocol: Protocol, address: SocketAddr, scope: u32) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = if protocol == Protocol::Tcp { libc::SOCK_STREAM } else { libc::SOCK_DGRAM };
    // SAFETY: plain numbers; the descriptor that comes back is nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(check(libc::socket(family, kind | libc::SOCK_CLOEXEC, 0))?) };
    // With SO_REUSEADDR a TCP port can be had although connections of its last server are in TIME-WAIT. Taken
    // back afterwards, it keeps every other socket from listening there.
    if protocol == Protocol::Tcp {
        set_reuse_address(&socket, true)?;
    }
    bind(&socket, address, scope)?;
    if protocol == Protocol::Tcp {
        set_reuse_address(&socket, false)?;
    }
    Ok(socket)
}

/// Lets this process have as many descriptors as it may. Where that is refused it has to do with fewer.
pub fn allow_more_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is that of a live structure in both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

fn set_reuse_address(socket: &OwnedFd, on: bool) -> Result<(), Errno> {
    let value = c_int::from(on);
    let length = size_of::<c_int>() as socklen_t;
    let pointer = (&raw const value).cast::<c_void>();
    // SAFETY: the pointer and the length are those of a live integer.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, pointer, length)
    };
    check(result).map(drop)
}

fn bind(socket: &OwnedFd, address: SocketAddr, scope: u32) -> Result<(), Errno> {
    let result = match address.ip() {
        IpAddr::V4(ip) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                sin_zero: [0; 8],
            };
            let length = size_of_val(&name) as socklen_t;
            // SAFETY: the pointer and the length are those of a live address of the socket's family.
            unsafe { libc::bind(socket.as_raw_fd(), (&raw const name).cast(), length) }
        }
        IpAddr::V6(ip) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
                sin6_scope_id: if ip.is_unicast_link_local() { scope } else { 0 },
            };
            let length = size_of_val(&name) as socklen_t;
            // SAFETY: the pointer and the length are those of a live address of the socket's family.
            unsafe { libc::bind(socket.as_raw_fd(), (&raw const name).cast(), length) }
        }
    };
    check(result).map(drop)
}
