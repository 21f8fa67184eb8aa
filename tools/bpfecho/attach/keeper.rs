//! Which process keeps a program attached. Each process that does has a socket with the program's id in its name, in
//! the network namespace of the program; the kernel takes it away with the process, whatever ends that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use crate::sys;

/// The sockets of this process.
#[derive(Default)]
pub struct Keeper {
    sockets: Vec<UnixListener>,
}

impl Keeper {
    /// Says that this process keeps the program with the id `program`.
    ///
    /// # Errors
    ///
    /// That of bind(2): somebody else says so.
    pub fn announce(&mut self, program: u32) -> io::Result<()> {
        let socket = UnixListener::bind_addr(&name(program)?)?;
        socket.set_nonblocking(true)?;
        self.sockets.push(socket);
        Ok(())
    }

    /// The sockets, each readable when somebody has asked.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// Takes away the connections of those who have asked: to connect was all they wanted, and the kernel lets only so
    /// many wait.
    pub fn clear(&self) {
        for socket in &self.sockets {
            while socket.accept().is_ok() {}
        }
    }
}

/// The process that keeps the program with the id `program`, 0 if it has no number here; `None` if there is none.
pub fn process_of(program: u32) -> Option<u32> {
    let stream = UnixStream::connect_addr(&name(program).ok()?).ok()?;
    sys::peer_process(&stream).ok()
}

fn name(program: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("bpfecho-{program}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_keeps_a_program_can_be_found() {
        // No program has such an id.
        let program = u32::MAX - std::process::id();
        assert_eq!(process_of(program), None);
        let mut keeper = Keeper::default();
        keeper.announce(program).unwrap();
        assert!(Keeper::default().announce(program).is_err());
        // More often than connections may wait.
        for _ in 0..1000 {
            assert_eq!(process_of(program), Some(std::process::id()));
            keeper.clear();
        }
        drop(keeper);
        assert_eq!(process_of(program), None);
    }
}
