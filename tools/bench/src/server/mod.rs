//! Echo servers in user space: those of this package, and programs that may be installed.

mod epoll;
mod installed;
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")),
    path = "no_io_uring.rs"
)]
mod io_uring;
mod sockets;
#[cfg(test)]
mod tests;
mod tokio;

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use bpfecho::sys::allow_more_descriptors;

use self::sockets::Sockets;
use crate::subject;

/// An echo server in user space.
pub(crate) struct Peer {
    /// One of [`subject::PEERS`].
    pub(crate) name: &'static str,
    obstacle: fn() -> Option<String>,
    command: fn(SocketAddr) -> Command,
}

/// All of [`subject::PEERS`], whether they can run here or not.
pub(crate) fn peers() -> Vec<Peer> {
    let peer = |name, obstacle, command| Peer { name, obstacle, command };
    vec![
        peer(subject::EPOLL, || None, |address| own(subject::EPOLL, address)),
        peer(subject::IO_URING, io_uring::obstacle, |address| own(subject::IO_URING, address)),
        peer(subject::TOKIO, || None, |address| own(subject::TOKIO, address)),
        peer(subject::SOCAT, installed::socat_obstacle, installed::socat),
        peer(subject::NCAT, installed::ncat_obstacle, installed::ncat),
        peer(subject::INETD, installed::inetd_obstacle, installed::inetd),
    ]
}

impl Peer {
    /// Why it cannot run here.
    pub(crate) fn obstacle(&self) -> Option<String> {
        (self.obstacle)()
    }

    /// What echoes TCP on `address` until it is killed, and all that it started with it. Servers of this package echo
    /// UDP, too.
    pub(crate) fn command(&self, address: SocketAddr) -> Command {
        let mut command = (self.command)(address);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

/// This program as the server `kind`: see [`serve`].
fn own(kind: &str, address: SocketAddr) -> Command {
    // Also if the file was replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.args(["--serve", kind, &address.to_string()]);
    command
}

/// Echoes TCP and UDP on `address` as `kind` of server, until the process is killed.
pub(crate) fn serve(kind: &str, address: &str) -> Result<(), String> {
    let address = address.parse().map_err(|_| format!("{address}: no address and port"))?;
    allow_more_descriptors();
    let (_, end) = start(kind, address)?;
    match end.recv() {
        Ok(Err(error)) => Err(format!("{kind} on {address}: {error}")),
        Ok(Ok(())) | Err(_) => Err(format!("{kind} on {address}: a thread ended")),
    }
}

/// Starts the server `kind` on `address`, port 0 being one that is free. Returns where it listens, and what ends first of
/// its threads.
fn start(kind: &str, address: SocketAddr) -> Result<(SocketAddr, Receiver<io::Result<()>>), String> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let (serve, threads): (fn(Sockets) -> io::Result<()>, usize) = match kind {
        subject::EPOLL => (epoll::serve, processors),
        subject::IO_URING => (io_uring::serve, processors),
        subject::TOKIO => (tokio::serve, 1),
        _ => return Err(format!("{kind}: no server has this name")),
    };
    let sockets = sockets::bind(address, threads)?;
    let address = sockets[0].tcp.local_addr().map_err(|error| format!("{address}: {error}"))?;
    let (ended, end) = mpsc::channel();
    for sockets in sockets {
        let ended = ended.clone();
        thread::spawn(move || ended.send(serve(sockets)));
    }
    Ok((address, end))
}
