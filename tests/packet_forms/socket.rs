//! Frames on an interface, with all that the kernel keeps beside their bytes.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::support::stream::STALL;

/// What is said of a frame besides its bytes: `struct virtio_net_hdr` (linux/virtio_net.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Offload {
    pub(crate) flags: u8,
    pub(crate) gso_type: u8,
    /// How many bytes stay together when it is sent.
    pub(crate) header_length: u16,
    pub(crate) gso_size: u16,
    pub(crate) checksum_start: u16,
    pub(crate) checksum_offset: u16,
}

impl Offload {
    /// The checksum is to be completed.
    pub(crate) const NEEDS_CHECKSUM: u8 = 1;
    /// Aggregates of TCP over IPv4, over IPv6, and of UDP.
    pub(crate) const TCP_4: u8 = 1;
    pub(crate) const TCP_6: u8 = 4;
}

/// A packet socket on an interface.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn open(interface: &str) -> Self {
        let name = CString::new(interface).unwrap();
        // SAFETY: the name is terminated, the structures are live and as long as is said.
        unsafe {
            let protocol = (libc::ETH_P_ALL as u16).to_be();
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            let fd = check(libc::socket(libc::AF_PACKET, kind, 0) as isize) as i32;
            let socket = Self(OwnedFd::from_raw_fd(fd));
            let limit = libc::timeval { tv_sec: STALL.as_secs() as _, tv_usec: 0 };
            socket.set(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &limit);
            for option in [libc::PACKET_AUXDATA, libc::PACKET_VNET_HDR, libc::PACKET_IGNORE_OUTGOING] {
                socket.set(libc::SOL_PACKET, option, &1i32);
            }
            let mut address: libc::sockaddr_ll = zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = protocol;
            address.sll_ifindex = check(libc::if_nametoindex(name.as_ptr()) as isize) as i32;
            let length = size_of::<libc::sockaddr_ll>() as u32;
            check(libc::bind(fd, (&raw const address).cast(), length) as isize);
            socket
        }
    }

    fn set<T>(&self, level: i32, option: i32, value: &T) {
        let length = size_of::<T>() as u32;
        // SAFETY: the value is live and as long as is said.
        let result = unsafe {
            libc::setsockopt(self.0.as_raw_fd(), level, option, (&raw const *value).cast(), length)
        };
        check(result as isize);
    }

    pub(crate) fn send(&self, frame: &[u8], offload: &Offload) {
        // SAFETY: both parts are live and as long as is said.
        let sent = unsafe {
            let mut parts = [
                libc::iovec {
                    iov_base: (&raw const *offload).cast_mut().cast(),
                    iov_len: size_of::<Offload>(),
                },
                libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() },
            ];
            let mut message: libc::msghdr = zeroed();
            message.msg_iov = parts.as_mut_ptr();
            message.msg_iovlen = parts.len() as _;
            check(libc::sendmsg(self.0.as_raw_fd(), &message, 0))
        };
        assert_eq!(sent as usize, size_of::<Offload>() + frame.len());
    }

    /// The next frame that is `wanted`, as it was on the line.
    pub(crate) fn receive(&self, wanted: impl Fn(&[u8]) -> bool) -> (Vec<u8>, Offload) {
        loop {
            let (frame, offload) = self.receive_any();
            if wanted(&frame) {
                return (frame, offload);
            }
        }
    }

    fn receive_any(&self) -> (Vec<u8>, Offload) {
        let mut frame = vec![0; 1 << 17];
        let mut offload = Offload::default();
        let mut control = [0u64; 32];
        // SAFETY: all parts are live and as long as is said, and any value is valid for them.
        unsafe {
            let mut parts = [
                libc::iovec { iov_base: (&raw mut offload).cast(), iov_len: size_of::<Offload>() },
                libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() },
            ];
            let mut message: libc::msghdr = zeroed();
            message.msg_iov = parts.as_mut_ptr();
            message.msg_iovlen = parts.len() as _;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control) as _;
            let length = check(libc::recvmsg(self.0.as_raw_fd(), &mut message, 0)) as usize;
            assert_eq!(message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC), 0);
            frame.truncate(length - size_of::<Offload>());
            let control = libc::CMSG_FIRSTHDR(&message).as_ref().unwrap();
            assert_eq!((control.cmsg_level, control.cmsg_type), (libc::SOL_PACKET, libc::PACKET_AUXDATA));
            let beside: libc::tpacket_auxdata =
                libc::CMSG_DATA(control).cast::<libc::tpacket_auxdata>().read_unaligned();
            // The outer tag of a frame is not among its bytes.
            if beside.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                let tag = [beside.tp_vlan_tpid.to_be_bytes(), beside.tp_vlan_tci.to_be_bytes()];
                frame.splice(12..12, tag.concat());
                if offload.flags == Offload::NEEDS_CHECKSUM {
                    offload.checksum_start += 4;
                }
            }
        }
        (frame, offload)
    }
}

fn check(result: isize) -> isize {
    assert!(result != -1, "{}", io::Error::last_os_error());
    result
}
