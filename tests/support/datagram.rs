//! Datagrams.

use std::net::UdpSocket;
use std::time::Duration;

use super::stream::{self, STALL};

/// A socket that speaks to `address` only, not yet bound to a port.
pub(crate) fn client(address: &str) -> UdpSocket {
    let local = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let client = UdpSocket::bind(local).unwrap();
    client.set_read_timeout(Some(STALL)).unwrap();
    client.connect(address).unwrap();
    client
}

/// One datagram of six bytes to `address`, which must come back.
#[track_caller]
pub(crate) fn exchange(address: &str) {
    let client = client(address);
    client.send(b"hello\n").unwrap();
    let mut buffer = [0; 64];
    let length = client.recv(&mut buffer).unwrap_or_else(|error| panic!("{address}: {error}"));
    assert_eq!(&buffer[..length], b"hello\n");
}

/// Sends a datagram of this length and waits for its echo, several times where the first may be lost.
#[track_caller]
pub(crate) fn of_length(address: &str, length: usize, tries: u32) {
    let client = client(address);
    if tries != 1 {
        client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    }
    let sent = stream::piece(length as u64, length);
    for _ in 0..tries {
        // What a router said to an earlier try is the next one's error.
        if client.send(sent).is_err() && tries == 1 {
            panic!("{length} bytes cannot be sent to {address}");
        }
        let mut buffer = [0; 65536];
        if let Ok(received) = client.recv(&mut buffer) {
            assert!(buffer[..received] == *sent, "{length} bytes over {address}: {received} came back");
            return;
        }
    }
    panic!("{length} bytes are not echoed by {address}");
}
