//! Being told that interfaces change.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::vec::Vec;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::error::NetlinkError;

/// `enum rtnetlink_groups`: interfaces come, change and go.
const RTNLGRP_LINK: u32 = 1;

/// More than a notification about one interface mostly has, in bytes. What is too long is cut off, as only that it
/// comes matters.
const ROOM: usize = 4096;

/// Tells when an interface of the network namespace in which it was opened has come, changed or gone.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
}

impl Monitor {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Self, NetlinkError> {
        let failed = |operation| move |error: io::Error| NetlinkError::socket(operation, &error);
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed("opening it"))?;
        socket.bind_auto().map_err(failed("binding it"))?;
        socket.add_membership(RTNLGRP_LINK).map_err(failed("listening for changes of interfaces"))?;
        socket.set_non_blocking(true).map_err(failed("making it non-blocking"))?;
        Ok(Self { socket })
    }

    /// Takes away all notifications that have come, so that the descriptor is readable again at the next one. What has
    /// changed is to be asked of [`super::Netlink::interfaces`] afterwards.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Socket`].
    pub fn clear(&mut self) -> Result<(), NetlinkError> {
        let mut room = Vec::with_capacity(ROOM);
        loop {
            room.clear();
            match self.socket.recv(&mut room, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // More have come than there was room for: a change in any case.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(NetlinkError::socket("receiving", &error)),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
