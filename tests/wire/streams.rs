//! Streams of every temper: all bytes come back, in order, and then the end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::start;
use super::support::namespace::{counter, sh};
use super::support::network::{Host, V4, V6, await_that, offloads_off, server};
use super::support::{stream, sys};

const GIB: u64 = 1 << 30;

/// The families and congestion controls that tests of small volumes alternate between.
const KINDS: [(&str, &str); 2] = [(V4, "cubic"), (V6, "bbr")];

/// Every byte was confirmed by the one who has it, after both streams have ended; no segment looked wrong.
fn assert_orderly(client: &TcpStream) {
    stream::assert_all_confirmed(client);
    for unwanted in ["EstabResets", "TCPChallengeACK", "InCsumErrors"] {
        assert_eq!(counter(unwanted), 0, "{unwanted}");
    }
}

/// Who makes many segments of one, and one of many.
#[derive(PartialEq)]
enum Offloads {
    /// The interfaces: segments stay together all the way.
    On,
    /// The client, before it sends.
    Off,
    /// The client, and the server's interface puts them together again.
    Merged,
}

fn bulk(address: &str, congestion_control: &str, offloads: Offloads) {
    let server = server();
    if offloads != Offloads::On {
        offloads_off(&Host::here(), "va");
        offloads_off(&server, "vb");
    }
    if offloads == Offloads::Merged {
        server.sh("ethtool -K vb rx on tx on sg on tso on gso on gro on");
    }
    let bpfecho = start(&server);
    let client = stream::connect_with(address, congestion_control);
    stream::exchange(&client, GIB, 1 << 17);
    assert_orderly(&client);
    let end = bpfecho.end();
    let packets = end.packets("TCP/IPv4") + end.packets("TCP/IPv6");
    // Half of the packets are acknowledgments, at most.
    let are_segments = packets > GIB / 1448;
    assert_eq!(are_segments, offloads == Offloads::Off, "{}", end.stderr);
}

pub(crate) fn v4_with_offloads() {
    bulk(V4, "cubic", Offloads::On);
}

pub(crate) fn v6_with_offloads() {
    bulk(V6, "bbr", Offloads::On);
}

pub(crate) fn v4_without_offloads() {
    bulk(V4, "bbr", Offloads::Off);
}

pub(crate) fn v6_without_offloads() {
    bulk(V6, "cubic", Offloads::Off);
}

pub(crate) fn v4_merged() {
    bulk(V4, "cubic", Offloads::Merged);
}

pub(crate) fn v6_merged() {
    bulk(V6, "cubic", Offloads::Merged);
}

pub(crate) fn clean_path() {
    // Whether the end of a flight is asked for again is a matter of time, not of what was lost.
    sh("sysctl -qw net.ipv4.tcp_early_retrans=0");
    // Two CPUs would change the order of packets now and then, and old ones are refused for their timestamps.
    sys::stay_on_this_cpu();
    let server = server();
    let _bpfecho = start(&server);
    for address in [V4, V6] {
        let talker = stream::connect_with(address, "cubic");
        talker.set_nodelay(true).unwrap();
        for offset in 0..10_000 {
            stream::ping(&talker, stream::piece(offset, 128));
        }
        let client = stream::connect_with(address, "cubic");
        stream::exchange(&client, 256 << 20, 1 << 16);
        assert_orderly(&client);
        for unwanted in ["RetransSegs", "TCPOFOQueue", "PAWSEstab", "TCPRcvQDrop", "RcvPruned", "TCPTimeouts"]
        {
            assert_eq!(counter(unwanted), 0, "{unwanted} over {address}");
        }
    }
}

pub(crate) fn sixteen() {
    let server = server();
    let _bpfecho = start(&server);
    thread::scope(|scope| {
        for index in 0..16 {
            scope.spawn(move || {
                let (address, congestion_control) = KINDS[index % 2];
                let client = stream::connect_with(address, congestion_control);
                stream::exchange(&client, GIB / 32, 1 << 16);
            });
        }
    });
}

/// Writes without reading until nothing more fits. Returns how many bytes did.
fn fill(client: &TcpStream) -> u64 {
    client.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut offset = 0;
    let mut writer = client;
    while let Ok(written) = writer.write(stream::piece(offset, 1 << 16)) {
        offset += written as u64;
    }
    client.set_write_timeout(Some(stream::STALL)).unwrap();
    offset
}

pub(crate) fn full_window() {
    let server = server();
    let _bpfecho = start(&server);
    for (address, congestion_control) in KINDS {
        let client = stream::connect_with(address, congestion_control);
        let filled = fill(&client);
        // Probes keep the closed window alive.
        let probes = counter("TCPWinProbe");
        await_that("the client probes the window", || counter("TCPWinProbe") > probes + 1);
        const LENGTH: u64 = 64 << 20;
        thread::scope(|scope| {
            scope.spawn(|| stream::write_from(&client, filled, LENGTH, 1 << 16));
            stream::read(&client, LENGTH, 1 << 16, || ());
        });
        assert_orderly(&client);
    }
}

pub(crate) fn slow_reader() {
    let server = server();
    let _bpfecho = start(&server);
    for (address, congestion_control) in KINDS {
        let client = stream::connect_with(address, congestion_control);
        const LENGTH: u64 = 16 << 20;
        thread::scope(|scope| {
            scope.spawn(|| stream::write(&client, LENGTH, 1 << 16));
            // The pause is the reader under test.
            stream::read(&client, LENGTH, 1 << 16, || thread::sleep(Duration::from_millis(10)));
        });
        assert_orderly(&client);
    }
}

pub(crate) fn tiny_buffer() {
    let server = server();
    let _bpfecho = start(&server);
    for address in [V4, V6] {
        let (socket, address) = stream::socket(address);
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&address).unwrap();
        let client = TcpStream::from(socket);
        stream::exchange(&client, 4 << 20, 1 << 16);
    }
}

pub(crate) fn half_close() {
    let server = server();
    let _bpfecho = start(&server);
    for (address, congestion_control) in KINDS {
        let client = stream::connect_with(address, congestion_control);
        // All is sent and ended before anything is read: what came back by then waits in the client's buffer.
        const LENGTH: u64 = 50_000;
        stream::write(&client, LENGTH, 10_000);
        stream::read(&client, LENGTH, 1000, || ());
        // An end without a single byte.
        let client = stream::connect_with(address, congestion_control);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    }
}

pub(crate) fn restart() {
    let server = server();
    // What nobody echoes for a while gets no answer, instead of the refusal that would end the connection.
    server
        .sh("iptables -A INPUT -p tcp --dport 1122 -j DROP; ip6tables -A INPUT -p tcp --dport 1122 -j DROP");
    for ((address, congestion_control), kind) in KINDS.into_iter().zip(["TCP/IPv4", "TCP/IPv6"]) {
        let bpfecho = start(&server);
        let client = stream::connect_with(address, congestion_control);
        const LENGTH: u64 = GIB / 2;
        let read = AtomicU64::new(0);
        let _second = thread::scope(|scope| {
            scope.spawn(|| stream::write(&client, LENGTH, 1 << 16));
            scope.spawn(|| {
                stream::read(&client, LENGTH, 1 << 16, || {
                    read.fetch_add(1, Ordering::Relaxed);
                });
            });
            await_that("the stream flows", || read.load(Ordering::Relaxed) > 100);
            let end = bpfecho.end();
            assert!(end.packets(kind) > 100, "{}", end.stderr);
            assert_eq!(end.count("close"), 0, "the stream had ended before the restart");
            start(&server)
        });
        assert_orderly(&client);
    }
}
