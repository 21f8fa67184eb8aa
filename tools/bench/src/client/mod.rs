//! Clients: what they send to a subject, how that is timed, and what has to come back.
//!
//! A client returns its numbers, or how the subject failed: a byte was wrong, or a request was lost.

pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod datagrams;
pub(crate) mod many;
pub mod pattern;
pub(crate) mod ping_pong;
pub(crate) mod requests;
pub(crate) mod streaming;
#[cfg(test)]
mod tests;
mod together;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Whom a client speaks to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Endpoint {
    /// A server.
    Server(SocketAddr),
    /// Itself, by a socket that is connected to its own address.
    Itself,
}

/// What bounds a client's turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For how long it makes requests.
    pub(crate) duration: Duration,
    /// How long an answer may take until it counts as lost.
    pub(crate) patience: Duration,
}

impl Endpoint {
    /// A connected socket of this type, on which no call lasts longer than `patience`.
    fn connect(self, kind: Type, patience: Duration) -> Result<Socket, String> {
        self.try_connect(kind, patience).map_err(|error| format!("connecting: {error}"))
    }

    fn try_connect(self, kind: Type, patience: Duration) -> io::Result<Socket> {
        let domain = match self {
            Self::Server(address) => Domain::for_address(address),
            Self::Itself => Domain::IPV4,
        };
        let socket = Socket::new(domain, kind, None)?;
        socket.set_read_timeout(Some(patience))?;
        // That bounds connect(2), too: socket(7).
        socket.set_write_timeout(Some(patience))?;
        match self {
            Self::Server(address) => socket.connect(&address.into())?,
            Self::Itself => {
                socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
                socket.connect(&socket.local_addr()?)?;
            }
        }
        Ok(socket)
    }
}

/// What a failed read says of an answer that has `received` of its bytes.
fn lost(error: &io::Error, received: u64) -> String {
    match error.kind() {
        // A timeout: socket(7).
        io::ErrorKind::WouldBlock => format!("a lost request: nothing came behind {received} bytes"),
        _ => format!("behind {received} bytes: {error}"),
    }
}
