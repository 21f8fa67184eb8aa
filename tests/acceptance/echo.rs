//! Everything comes back.

use std::net::TcpStream;

use super::line::Line;
use super::support::bpfecho::Bpfecho;
use super::support::network::server;
use super::support::{datagram, stream, sys};

pub(crate) fn streams(line: &Line) {
    let _bpfecho = line.start("");
    for address in line.addresses() {
        let client = stream::connect(address);
        stream::exchange(&client, 8 << 20, 1 << 16);
        stream::assert_all_confirmed(&client);
    }
}

pub(crate) fn datagrams(line: &Line) {
    let _bpfecho = line.start("");
    for address in line.addresses() {
        for length in [0, 1, 2, 3, 64, 100, 999, 1000, 1451, 1452] {
            datagram::of_length(address, length, 1);
        }
    }
}

/// Datagrams that do not fit into a packet.
pub(crate) fn fragments(line: &Line) {
    let bpfecho = line.start("");
    for address in line.addresses() {
        for length in [1473, 2952, 2953, 9000, 32_768, 65_487] {
            datagram::of_length(address, length, 1);
        }
    }
    let end = bpfecho.end();
    // At least two packets for each, and 45 for the longest.
    assert!(end.packets("UDP/IPv4") > 75 && end.packets("UDP/IPv6") > 75, "{}", end.stderr);
}

/// A thousand connections at once, a message on each, and their ends.
pub(crate) fn connections(line: &Line) {
    const COUNT: u64 = 1000;
    sys::allow_many_files();
    let bpfecho = line.start("");
    let addresses = line.addresses();
    let clients: Vec<TcpStream> =
        (0..COUNT).map(|index| stream::connect(addresses[index as usize % 2])).collect();
    for (index, client) in (0..).zip(&clients) {
        stream::small_exchange(client, index);
    }
    let end = bpfecho.end();
    assert_eq!((end.count("handshake"), end.count("close")), (COUNT, COUNT), "{}", end.stderr);
}

/// A client with default options does not wait for its own delayed acknowledgments.
pub(crate) fn nagle(line: &Line) {
    const MESSAGES: u64 = 500;
    // Two CPUs would change the order of packets now and then.
    sys::stay_on_this_cpu();
    let _bpfecho = line.start("");
    for address in line.addresses() {
        let delayed = stream::converse(&stream::connect(address), MESSAGES);
        assert!(delayed <= MESSAGES / 50, "{delayed} messages to {address} waited");
    }
}

pub(crate) fn virtual_hosts() {
    let server = server();
    let hosts = "--virtual-hosts 10.9.7.0/24,fd00:9:0:0:7::/80";
    let bpfecho = server.run(|| Bpfecho::start(&format!("1122 {hosts} --ifname vb")));
    for host in 1..=10 {
        for address in [format!("10.9.7.{host}:1122"), format!("[fd00:9::7:0:0:{host}]:1122")] {
            datagram::exchange(&address);
            stream::small_exchange(&stream::connect(&address), host);
        }
    }
    let end = bpfecho.end();
    assert!(end.count("neighbour request") >= 20, "{}", end.stderr);
}
