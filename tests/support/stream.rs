//! Streams that know each of their bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use bench::pattern::PERIOD;
pub(crate) use bench::pattern::piece;
use socket2::{Domain, SockAddr, Socket, Type};

use super::namespace::counter;
use super::sys;

/// How long nothing may happen on a connection before the test fails: a stall, not a slow machine.
pub(crate) const STALL: Duration = Duration::from_secs(30);

/// A socket for a client of `address`, not yet connected.
pub(crate) fn socket(address: &str) -> (Socket, SockAddr) {
    let address: std::net::SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_read_timeout(Some(STALL)).unwrap();
    socket.set_write_timeout(Some(STALL)).unwrap();
    (socket, address.into())
}

/// A connection to `address` with default options, but for a limit to how long it may stall.
pub(crate) fn connect(address: &str) -> TcpStream {
    let (socket, address) = socket(address);
    socket.connect(&address).unwrap();
    socket.into()
}

/// A connection to `address` that uses this congestion control.
pub(crate) fn connect_with(address: &str, congestion_control: &str) -> TcpStream {
    let (socket, address) = socket(address);
    socket.set_tcp_congestion(congestion_control.as_bytes()).unwrap();
    socket.connect(&address).unwrap();
    socket.into()
}

/// Every byte was confirmed by the one who has it, after both streams have ended.
pub(crate) fn assert_all_confirmed(client: &TcpStream) {
    let info = sys::tcp_info(client);
    // In what is acknowledged the kernel counts SYN and FIN as a byte each, in what is received only FIN.
    assert_eq!(info.tcpi_bytes_acked, info.tcpi_bytes_received + 1);
}

/// Writes `length` bytes in pieces of `size`, then ends the stream.
pub(crate) fn write(stream: &TcpStream, length: u64, size: usize) {
    write_from(stream, 0, length, size);
}

/// Like [`write`], behind the first `offset` bytes, which were written before.
pub(crate) fn write_from(mut stream: &TcpStream, mut offset: u64, length: u64, size: usize) {
    while offset < length {
        let piece = piece(offset, size.min((length - offset) as usize));
        stream.write_all(piece).unwrap();
        offset += piece.len() as u64;
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Reads at most `size` bytes at a time, compares each with what was written, until the stream ends after
/// `length`. Calls `pause` after each piece.
pub(crate) fn read(mut stream: &TcpStream, length: u64, size: usize, pause: impl Fn()) {
    let mut buffer = vec![0; size.min(PERIOD)];
    let mut offset = 0;
    loop {
        let read = stream.read(&mut buffer).unwrap_or_else(|error| panic!("after {offset} bytes: {error}"));
        if read == 0 {
            break;
        }
        assert!(buffer[..read] == *piece(offset, read), "a wrong byte behind {offset}");
        offset += read as u64;
        pause();
    }
    assert_eq!(offset, length, "the stream ended early or late");
}

/// Sends `length` bytes over `stream`, written in pieces of `size`, and reads them back at the same time.
pub(crate) fn exchange(stream: &TcpStream, length: u64, size: usize) {
    thread::scope(|scope| {
        scope.spawn(|| write(stream, length, size));
        read(stream, length, 1 << 18, || ());
    });
}

/// Sends `message` and waits for its echo.
pub(crate) fn ping(mut stream: &TcpStream, message: &[u8]) {
    let mut echo = vec![0; message.len()];
    stream.write_all(message).unwrap();
    stream.read_exact(&mut echo).unwrap();
    assert!(echo == message, "the echo differs");
}

/// One short exchange on a connection, and its orderly end: the client closes first, then sees the end.
pub(crate) fn small_exchange(stream: &TcpStream, seed: u64) {
    ping(stream, piece(seed, 64));
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = [0];
    let mut reader = stream;
    assert_eq!(reader.read(&mut rest).unwrap(), 0, "the stream goes on behind the echo");
}

/// Sends messages one after another, each when the one before is back. Returns how many waited for a delayed
/// acknowledgment, by the kernel's own count.
pub(crate) fn converse(stream: &TcpStream, messages: u64) -> u64 {
    let before = counter("DelayedACKs");
    for offset in 0..messages {
        ping(stream, piece(offset, 128));
    }
    counter("DelayedACKs") - before
}
