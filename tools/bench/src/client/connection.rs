//! A connection on which messages of one size are sent, each when the echo of the one before has come.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{SockRef, Type};

use super::ping_pong::PingPong;
use super::{Endpoint, lost, pattern};

/// What is set on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Options {
    /// Nothing, as most programs leave it.
    Default,
    /// TCP_NODELAY.
    NoDelay,
}

/// A connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// How many bytes were sent before the present message: where that is in the pattern.
    offset: u64,
    echo: Vec<u8>,
}

impl Connection {
    /// To `endpoint`, for messages of `size` bytes.
    pub(crate) fn open(
        endpoint: Endpoint,
        options: Options,
        size: usize,
        patience: Duration,
    ) -> Result<Self, String> {
        let stream = TcpStream::from(endpoint.connect(Type::STREAM, patience)?);
        // A socket that is connected to itself would otherwise wait for its own delayed acknowledgment: nobody's limit.
        if options == Options::NoDelay || matches!(endpoint, Endpoint::Itself) {
            stream.set_nodelay(true).map_err(|error| format!("setting TCP_NODELAY: {error}"))?;
        }
        Ok(Self { stream, offset: 0, echo: vec![0; size] })
    }

    /// One message, there and back.
    pub(crate) fn request(&mut self) -> Result<(), String> {
        self.exchange()?;
        self.check()
    }

    /// Ends it after the last message, with a reset, as thousands in TIME-WAIT would be in the way of what is measured next.
    pub(crate) fn finish(self) -> Result<(), String> {
        match recv(&self.stream, &mut [0; 1], RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => self.reset(),
            Err(error) => Err(lost(&error.into(), self.offset)),
            Ok((_, 0)) => Err(ended_early(self.offset)),
            Ok(_) => Err(format!("more came back than the {} bytes that were sent", self.offset)),
        }
    }

    /// Ends it with a reset (SO_LINGER in socket(7)).
    pub(crate) fn reset(self) -> Result<(), String> {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .map_err(|error| format!("setting SO_LINGER: {error}"))
    }

    /// Ends it as RFC 9293 section 3.6 has it: this end first, then the other.
    pub(crate) fn close(mut self) -> Result<(), String> {
        self.stream.shutdown(Shutdown::Write).map_err(|error| format!("shutting down: {error}"))?;
        match self.stream.read(&mut [0; 1]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(format!("more came back than the {} bytes that were sent", self.offset)),
            Err(error) => Err(format!("the end of the stream: {}", lost(&error, self.offset))),
        }
    }

    /// Sends what fits without waiting.
    fn send(&self, bytes: &[u8]) -> Result<usize, String> {
        match send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN) => Ok(0),
            sent => sent.map_err(|error| format!("sending behind {} bytes: {error}", self.offset)),
        }
    }
}

impl PingPong for Connection {
    /// As long as a message does not fit into the buffers, it is sent as it comes back, so that neither end waits for the
    /// other for ever.
    fn exchange(&mut self) -> Result<(), String> {
        let message = pattern::piece(self.offset, self.echo.len());
        let (mut sent, mut received) = (0, 0);
        while received < message.len() {
            if sent < message.len() {
                sent += self.send(&message[sent..])?;
            }
            received += match self.stream.read(&mut self.echo[received..]) {
                Ok(0) => return Err(ended_early(self.offset + received as u64)),
                read => read.map_err(|error: io::Error| lost(&error, self.offset + received as u64))?,
            };
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        pattern::compare(&self.echo, self.offset)?;
        self.offset += self.echo.len() as u64;
        Ok(())
    }
}

fn ended_early(received: u64) -> String {
    format!("the stream ended early, behind {received} bytes")
}
