//! Datagrams.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::Type;

use super::ping_pong::PingPong;
use super::{Endpoint, Limits, pattern};

/// The length of the datagrams of [`rate`].
const SIZE: usize = 64;

/// How many of them are on their way at once.
pub(crate) const IN_FLIGHT: usize = 32;

/// A socket from which datagrams of one size are sent. Each begins with its number, and goes on with what the pattern has
/// at that place.
pub(crate) struct Datagrams {
    socket: UdpSocket,
    next: u64,
    /// The numbers of those that are on their way. They may come back in any order.
    outstanding: Vec<u64>,
    message: Vec<u8>,
    echo: Vec<u8>,
    received: usize,
}

/// The length of the number.
const NUMBER: usize = size_of::<u64>();

impl Datagrams {
    /// To `endpoint`, of `size` bytes.
    pub(crate) fn open(endpoint: Endpoint, size: usize, patience: Duration) -> Result<Self, String> {
        let socket = endpoint.connect(Type::DGRAM, patience)?.into();
        // There is room for one byte that should not be there.
        let (message, echo) = (vec![0; size], vec![0; size + 1]);
        Ok(Self { socket, next: 0, outstanding: Vec::new(), message, echo, received: 0 })
    }

    fn send(&mut self) -> Result<(), String> {
        let (number, content) = self.message.split_at_mut(NUMBER);
        number.copy_from_slice(&self.next.to_be_bytes());
        content.copy_from_slice(pattern::piece(self.next, content.len()));
        self.socket
            .send(&self.message)
            .map_err(|error| format!("sending datagram {}: {error}", self.next))?;
        self.outstanding.push(self.next);
        self.next += 1;
        Ok(())
    }

    fn receive(&mut self) -> Result<(), String> {
        self.received = self.socket.recv(&mut self.echo).map_err(|error| match error.kind() {
            // A timeout: socket(7).
            ErrorKind::WouldBlock => {
                format!("a lost request: of {} datagrams {:?} did not come back", self.next, self.outstanding)
            }
            _ => format!("receiving: {error}"),
        })?;
        Ok(())
    }

    /// Ends it after the last datagram.
    pub(crate) fn finish(self) -> Result<(), String> {
        match recv(&self.socket, &mut [0; 1], RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(format!("receiving: {error}")),
            Ok(_) => Err(format!("more came back than the {} datagrams that were sent", self.next)),
        }
    }
}

impl PingPong for Datagrams {
    fn exchange(&mut self) -> Result<(), String> {
        self.send()?;
        self.receive()
    }

    fn check(&mut self) -> Result<(), String> {
        let (number, content) =
            self.echo[..self.received].split_at_checked(NUMBER).ok_or("a datagram came back cut off")?;
        let number = number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let place = self.outstanding.iter().position(|outstanding| *outstanding == number);
        let place = place.ok_or_else(|| format!("a wrong byte: no datagram {number} was on its way"))?;
        self.outstanding.swap_remove(place);
        if self.received != self.message.len() {
            return Err(format!("datagram {number} came back with {} bytes", self.received));
        }
        pattern::compare(content, number).map_err(|error| format!("datagram {number}: {error}"))
    }
}

/// Datagrams per second with [`IN_FLIGHT`] on their way.
pub(crate) fn rate(endpoint: Endpoint, limits: Limits) -> Result<Vec<f64>, String> {
    let mut datagrams = Datagrams::open(endpoint, SIZE, limits.patience)?;
    let begin = Instant::now();
    (0..IN_FLIGHT).try_for_each(|_| datagrams.send())?;
    let mut elapsed = Duration::ZERO;
    while !datagrams.outstanding.is_empty() {
        datagrams.receive()?;
        datagrams.check()?;
        elapsed = begin.elapsed();
        if elapsed < limits.duration {
            datagrams.send()?;
        }
    }
    let count = datagrams.next as f64;
    datagrams.finish()?;
    Ok(vec![count / elapsed.as_secs_f64()])
}
