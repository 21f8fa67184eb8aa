//! Networks and their devices.

use std::ffi::CStr;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use loader::Errno;

use super::check;

/// Something that a device does with packets by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// It merges those that it receives.
    LargeReceive,
    /// It takes VLAN tags off those that it receives.
    VlanReceive,
}

/// `struct ethtool_value` (linux/ethtool.h).
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Gives the offloads that are on as bits (linux/ethtool.h).
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETH_FLAG_LRO: u32 = 1 << 15;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

/// linux/sockios.h.
const SIOCGIFFLAGS: libc::Ioctl = 0x8913;
const SIOCSIFFLAGS: libc::Ioctl = 0x8914;
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// Whether the interface called `name` does `offload`.
///
/// # Errors
///
/// That of socket(2) or ioctl(2): EOPNOTSUPP for one that has no such flags.
pub fn has_offload(name: &str, offload: Offload) -> Result<bool, Errno> {
    let mut value = EthtoolValue { command: ETHTOOL_GFLAGS, data: 0 };
    let (socket, mut request) = interface_request(name)?;
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request holds the pointer to a live value of the kind that the command fills in.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) })?;
    let flag = match offload {
        Offload::LargeReceive => ETH_FLAG_LRO,
        Offload::VlanReceive => ETH_FLAG_RXVLAN,
    };
    Ok(value.data & flag != 0)
}

/// Brings the interface called `name` up.
///
/// # Errors
///
/// That of socket(2) or ioctl(2).
pub fn bring_up(name: &str) -> Result<(), Errno> {
    let (socket, mut request) = interface_request(name)?;
    // SAFETY: the first command fills in the flags, and the second reads them.
    unsafe {
        check(libc::ioctl(socket.as_raw_fd(), SIOCGIFFLAGS, &raw mut request))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), SIOCSIFFLAGS, &raw mut request)).map(drop)
    }
}

/// A socket for requests about interfaces, and one about that called `name`, less what is asked (netdevice(7)).
fn interface_request(name: &str) -> Result<(OwnedFd, libc::ifreq), Errno> {
    // SAFETY: the descriptor that comes back is nobody else's, and zeros are a value of the structure.
    let (socket, mut request): (_, libc::ifreq) = unsafe {
        let socket = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        (OwnedFd::from_raw_fd(socket), zeroed())
    };
    // The last byte ends the name.
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::EINVAL);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok((socket, request))
}

/// Gives this thread a network namespace of its own; the sockets that are open stay where they are.
///
/// # Errors
///
/// That of unshare(2): EPERM without CAP_SYS_ADMIN.
pub fn enter_new_network() -> Result<(), Errno> {
    // SAFETY: a plain number.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// What runs here: name and release of the kernel, and the machine, as uname(1) prints them.
pub fn kernel() -> String {
    // SAFETY: the structure is live, zeros are a value of it, and its texts are terminated.
    unsafe {
        let mut name: libc::utsname = zeroed();
        libc::uname(&mut name);
        let text = |field: &[libc::c_char]| CStr::from_ptr(field.as_ptr()).to_string_lossy().into_owned();
        format!("{} {}, {}", text(&name.sysname), text(&name.release), text(&name.machine))
    }
}
