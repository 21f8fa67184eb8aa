//! In place of the echo server with io_uring(7) on machines whose numbers the crate does not know.

use std::io;

use super::sockets::Sockets;

/// Why there can be none here.
pub(super) fn obstacle() -> Option<String> {
    Some("the crate io-uring does not know this machine".into())
}

/// Nothing.
pub(super) fn serve(_: Sockets) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
