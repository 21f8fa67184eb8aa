//! An echo server with io_uring(7), as fast as one can write it.
//!
//! A thread for each CPU has a ring and sockets of its own. One request accepts all connections, and one for each
//! connection receives all that comes over it, into buffers that all share; it is sent back from where it is. What is
//! asked for is submitted by the same system call that waits for what is done, for many connections at a time.
//!
//! What was tried, each against the other in turns:
//!
//! - Completions that wait until the thread does (IORING_SETUP_DEFER_TASKRUN) take a tenth less of the CPU for each
//!   request than those that come when they like.
//! - 16 buffers are too few for 500 connections, 64 to 1024 are alike, as are 64, 128 and 256 KiB each.
//!
//! A thread of the kernel that looks for requests (IORING_SETUP_SQPOLL) would take a CPU that others need.

mod ring;

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::panic::resume_unwind;
use std::thread;

use rustix::io::Errno;

use self::ring::{Buffer, Completion, Piece, Ring};
use super::sockets::Sockets;

/// How many buffers a connection may fill before it has to take something back.
const QUEUE: usize = 8;

/// Why there can be none here.
pub(super) fn obstacle() -> Option<String> {
    // In a thread of its own, as the end of a ring interrupts the one that made it (io_ring_exit_work() in io_uring).
    let attempt = thread::spawn(|| ring::set_up().err()).join();
    let error = attempt.unwrap_or_else(|panic| resume_unwind(panic))?;
    Some(format!("cannot set up an io_uring as Linux 6.1 has it: {error}"))
}

/// Echoes what comes on `sockets`.
pub(super) fn serve(sockets: Sockets) -> io::Result<()> {
    let mut server = Server { ring: Ring::new()?, connections: Vec::new(), starved: Vec::new() };
    server.ring.accept(sockets.tcp.as_raw_fd())?;
    server.ring.receive_from(sockets.udp.as_raw_fd())?;
    let mut completions = Vec::new();
    loop {
        server.ring.wait(&mut completions)?;
        for completion in completions.drain(..) {
            server.handle(completion)?;
        }
        for socket in std::mem::take(&mut server.starved) {
            server.advance(socket)?;
        }
    }
}

struct Server {
    ring: Ring,
    /// By their descriptors, which are small numbers.
    connections: Vec<Option<Connection>>,
    /// Connections that found no buffer free. They try again when something else is done, which frees one.
    starved: Vec<RawFd>,
}

struct Connection {
    stream: TcpStream,
    /// What is to be sent; the first is being sent.
    queue: VecDeque<Piece>,
    sending: bool,
    receiving: bool,
    /// Whether the peer has sent all, or the connection is broken.
    ended: bool,
}

impl Server {
    fn handle(&mut self, completion: Completion) -> io::Result<()> {
        match completion {
            Completion::Accepted { socket, stream, more } => self.accepted(socket, stream, more),
            Completion::Received { socket, length, buffer, more } => {
                self.received(socket, length, buffer, more)
            }
            Completion::ReceivedFrom { socket, buffer, more } => self.received_from(socket, buffer, more),
            Completion::Sent { socket, length } => self.sent(socket, length),
            Completion::SentBack { buffer } => {
                self.ring.give_back(buffer);
                Ok(())
            }
            Completion::Cancelled => Ok(()),
        }
    }

    fn accepted(&mut self, listener: RawFd, stream: io::Result<TcpStream>, more: bool) -> io::Result<()> {
        if !more {
            self.ring.accept(listener)?;
        }
        let stream = match stream {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Ok(()),
            stream => stream?,
        };
        let socket = stream.as_raw_fd();
        let place = socket as usize;
        if self.connections.len() <= place {
            self.connections.resize_with(place + 1, || None);
        }
        self.connections[place] = Some(Connection {
            stream,
            queue: VecDeque::new(),
            sending: false,
            receiving: false,
            ended: false,
        });
        self.advance(socket)
    }

    fn received(
        &mut self,
        socket: RawFd,
        length: io::Result<u32>,
        buffer: Option<Buffer>,
        more: bool,
    ) -> io::Result<()> {
        let Some(connection) = &mut self.connections[socket as usize] else { return Ok(()) };
        connection.receiving = more;
        match (length, buffer) {
            (Ok(length @ 1..), Some(buffer)) => {
                connection.queue.push_back(Piece { buffer, start: 0, length });
            }
            (Err(error), _) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                self.starved.push(socket);
                return Ok(());
            }
            (Err(error), _) if error.raw_os_error() == Some(Errno::CANCELED.raw_os_error()) => {}
            (_, buffer) => {
                connection.ended = true;
                buffer.into_iter().for_each(|buffer| self.ring.give_back(buffer));
            }
        }
        self.advance(socket)
    }

    fn sent(&mut self, socket: RawFd, length: io::Result<u32>) -> io::Result<()> {
        let Some(connection) = &mut self.connections[socket as usize] else { return Ok(()) };
        connection.sending = false;
        match (length, connection.queue.pop_front()) {
            (Ok(length), Some(mut piece)) if length < piece.length => {
                piece.start += length;
                piece.length -= length;
                connection.queue.push_front(piece);
            }
            (Ok(_), piece) => piece.into_iter().for_each(|piece| self.ring.give_back(piece.buffer)),
            (Err(_), piece) => {
                let unsent = piece.into_iter().chain(connection.queue.drain(..));
                unsent.for_each(|piece| self.ring.give_back(piece.buffer));
                connection.ended = true;
                // Ends what is being received.
                let _ = connection.stream.shutdown(Shutdown::Both);
            }
        }
        self.advance(socket)
    }

    /// Asks for what the connection needs next.
    fn advance(&mut self, socket: RawFd) -> io::Result<()> {
        let place = &mut self.connections[socket as usize];
        let Some(connection) = place else { return Ok(()) };
        if let (false, Some(piece)) = (connection.sending, connection.queue.front()) {
            self.ring.send(socket, piece)?;
            connection.sending = true;
        }
        if connection.receiving {
            if connection.queue.len() == QUEUE {
                self.ring.cancel_receive(socket)?;
            }
        } else if !connection.ended && connection.queue.len() < QUEUE {
            self.ring.receive(socket)?;
            connection.receiving = true;
        } else if connection.ended && !connection.sending {
            *place = None;
        }
        Ok(())
    }

    fn received_from(&mut self, socket: RawFd, buffer: Option<Buffer>, more: bool) -> io::Result<()> {
        if let Some(buffer) = buffer {
            self.ring.send_back(socket, buffer)?;
        }
        if !more {
            self.ring.receive_from(socket)?;
        }
        Ok(())
    }
}
