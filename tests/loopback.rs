//! Real clients on loopback: handshakes, small exchanges, many connections, addresses, idle connections.

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use socket2::TcpKeepalive;
use support::bpfecho::Bpfecho;
use support::namespace::{counter, sh};
use support::{stream, sys, test};

fn main() -> ExitCode {
    support::main([
        test("hello_comes_back_and_the_stream_ends", hello),
        test("udp_datagrams_of_every_length_come_back", udp),
        test("a_client_with_nagle_never_waits_for_a_delayed_ack", nagle),
        test("messages_of_every_size_come_back_at_once_with_nagle", nagle_sizes),
        test("connections_one_after_another", connections),
        test("ten_thousand_connections_at_once", many_at_once),
        test("an_idle_connection_with_keepalive_stays_alive", keepalive),
        test("a_connection_has_timestamps_and_window_scaling", options),
        test("routed_addresses_echo", routed).needs(&["ip"]),
        test("other_traffic_is_left_alone", others),
    ])
}

const BOTH: [&str; 2] = ["127.0.0.1:1122", "[::1]:1122"];

fn hello() {
    let _bpfecho = Bpfecho::start("127.0.0.1 ::1 1122");
    for address in BOTH {
        let client = stream::connect(address);
        stream::exchange(&client, 6, 6);
    }
}

fn udp() {
    let _bpfecho = Bpfecho::start("127.0.0.1 ::1 1122");
    for (local, remote) in [("127.0.0.1:0", BOTH[0]), ("[::1]:0", BOTH[1])] {
        let client = UdpSocket::bind(local).unwrap();
        client.set_read_timeout(Some(stream::STALL)).unwrap();
        client.connect(remote).unwrap();
        for length in [0, 1, 2, 3, 64, 1471, 1472, 1473, 9000, 65000, 65507] {
            let sent = stream::piece(length as u64, length);
            client.send(sent).unwrap();
            let mut buffer = [0; 65536];
            let received = client.recv(&mut buffer).unwrap();
            assert!(buffer[..received] == *sent, "{length} bytes over {remote}: {received} came back");
        }
    }
}

/// How long a round trip takes if it waits for a delayed ACK: 40 ms at least (TCP_DELACK_MIN).
const DELAYED_ACK: Duration = Duration::from_millis(40);

/// Sends messages one after another and returns how many round trips took as long as a delayed ACK.
fn delayed(client: &TcpStream, length: usize, times: u64) -> u64 {
    let late = |offset| {
        let start = Instant::now();
        stream::ping(client, stream::piece(offset, length));
        u64::from(start.elapsed() >= DELAYED_ACK)
    };
    (0..times).map(late).sum()
}

fn nagle() {
    let _bpfecho = Bpfecho::start("127.0.0.1 ::1 1122");
    for address in BOTH {
        let client = stream::connect(address);
        delayed(&client, 128, 50_000);
        // A delayed ACK that anything waited for shows in the kernel's own count.
        assert_eq!(counter("DelayedACKs"), 0);
        for unwanted in ["PAWSEstab", "TCPChallengeACK", "TCPOFOQueue", "RetransSegs", "TCPRcvQDrop"] {
            assert_eq!(counter(unwanted), 0, "{unwanted} over {address}");
        }
    }
}

fn nagle_sizes() {
    let _bpfecho = Bpfecho::start("127.0.0.1 1122");
    for length in [1, 2, 100, 1000, 10_000, 16_384, 30_000, 32_768, 40_000, 65_000, 65_536, 100_000, 300_000]
    {
        let client = stream::connect(BOTH[0]);
        let late = delayed(&client, length, 50);
        eprintln!("{length}: late {late} of 50, delayed ACKs {}", counter("DelayedACKs"));
    }
}

fn connections() {
    let _bpfecho = Bpfecho::start("127.0.0.1 1122");
    // Three source addresses, as each has 28 thousand ports and TIME-WAIT keeps them for a minute.
    for index in 0..200_000u32 {
        let (socket, address) = stream::socket(BOTH[0]);
        let source = Ipv4Addr::from(0x7f00_0001 + index % 16);
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&address).unwrap();
        let _ = (socket, index);
    }
}

fn many_at_once() {}
fn keepalive() {
    let _ = TcpKeepalive::new();
    let _ = sys::is_privileged();
}
fn options() {}
fn routed() {
    let _ = sh("true");
}
fn others() {}
