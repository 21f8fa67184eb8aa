//! Datagrams.

use std::net::UdpSocket;

use super::stream::STALL;

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
