//! Real clients on loopback: handshakes, small exchanges, many connections, addresses, idle connections.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use socket2::TcpKeepalive;
use support::bpfecho::Bpfecho;
use support::namespace::{counter, sh};
use support::sys::tcp_option::{ECN, SACK, TIMESTAMPS, WINDOW_SCALE};
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
        test("ecn_is_not_negotiated_with_a_client_that_offers_it", ecn).needs(&["sysctl"]),
        test("a_syn_with_data_is_answered_and_the_data_comes_back_once", fast_open).needs(&["sysctl"]),
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
    // As much as fits into a packet of the interface's MTU of 65,536 bytes; over IPv4, into any packet.
    for (local, remote, longest) in [("127.0.0.1:0", BOTH[0], 65_507), ("[::1]:0", BOTH[1], 65_488)] {
        let client = UdpSocket::bind(local).unwrap();
        client.set_read_timeout(Some(stream::STALL)).unwrap();
        client.connect(remote).unwrap();
        for length in [0, 1, 2, 3, 64, 1471, 1472, 1473, 9000, 65_000, longest] {
            let sent = stream::piece(length as u64, length);
            client.send(sent).unwrap();
            let mut buffer = [0; 65536];
            let received = client.recv(&mut buffer).unwrap();
            assert!(buffer[..received] == *sent, "{length} bytes over {remote}: {received} came back");
        }
    }
}

/// Sends messages one after another and returns how many delayed ACKs the kernel says it has sent meanwhile, which is what
/// a round trip may have waited for.
fn delayed(client: &TcpStream, length: usize, times: u64) -> u64 {
    let before = counter("DelayedACKs");
    (0..times).for_each(|offset| stream::ping(client, stream::piece(offset, length)));
    counter("DelayedACKs") - before
}

fn nagle() {
    let _bpfecho = Bpfecho::start("127.0.0.1 ::1 1122");
    for address in BOTH {
        let client = stream::connect(address);
        assert_eq!(delayed(&client, 128, 50_000), 0);
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
        assert_eq!(delayed(&client, length, 200), 0, "{length} bytes");
    }
}

fn connections() {
    let _bpfecho = Bpfecho::start("127.0.0.1 1122");
    for index in 0..200_000 {
        // Sixteen source addresses, as each has 28 thousand ports, and TIME-WAIT keeps them for a minute.
        let source = SocketAddr::from((Ipv4Addr::new(127, 0, 1, index as u8 % 16), 0));
        let (socket, address) = stream::socket(BOTH[0]);
        socket.bind(&source.into()).unwrap();
        socket.connect(&address).unwrap_or_else(|error| panic!("connection {index}: {error}"));
        stream::small_exchange(&socket.into(), index);
    }
    assert_only_time_wait();
}

fn many_at_once() {
    sys::allow_many_files();
    let _bpfecho = Bpfecho::start("127.0.0.1 1122");
    let clients: Vec<TcpStream> = (0..10_000).map(|_| stream::connect(BOTH[0])).collect();
    for client in &clients {
        (&*client).write_all(stream::piece(7, 64)).unwrap();
    }
    for client in &clients {
        let mut echo = [0; 64];
        (&*client).read_exact(&mut echo).unwrap();
        assert_eq!(echo, stream::piece(7, 64));
    }
    for (index, client) in (0..).zip(&clients) {
        stream::small_exchange(client, index);
    }
    drop(clients);
    assert_only_time_wait();
}

/// No socket of a client may be left in a state other than TIME-WAIT.
fn assert_only_time_wait() {
    const TIME_WAIT: &str = "06";
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    for line in table.lines().skip(1) {
        let state = line.split_whitespace().nth(3).unwrap();
        assert_eq!(state, TIME_WAIT, "{line}");
    }
}

fn keepalive() {
    let _bpfecho = Bpfecho::start("127.0.0.1 1122");
    let (socket, address) = stream::socket(BOTH[0]);
    let second = Duration::from_secs(1);
    socket
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(second).with_interval(second).with_retries(3))
        .unwrap();
    socket.connect(&address).unwrap();
    let client = TcpStream::from(socket);
    stream::ping(&client, b"before");
    // Idleness itself is what is tested, so this waits for time. A dead peer would be noticed after 4 s.
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let error = (&client).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    stream::ping(&client, b"after");
    assert!(counter("TCPKeepAlive") >= 20, "no probes were sent");
    assert_eq!(counter("TCPTimeouts"), 0);
}

fn options() {
    let _bpfecho = Bpfecho::start("127.0.0.1 ::1 1122");
    for address in BOTH {
        let client = stream::connect(address);
        stream::ping(&client, b"hello");
        let info = sys::tcp_info(&client);
        assert_eq!(info.tcpi_options & (TIMESTAMPS | SACK | WINDOW_SCALE | ECN), TIMESTAMPS | WINDOW_SCALE);
        // The two scales share a byte: they are the same, as the window that comes back is the client's own.
        let [send, receive] = sys::window_scales(&info);
        assert_eq!(send, receive);
        assert_ne!(send, 0);
    }
}

fn ecn() {
    let _bpfecho = Bpfecho::start("127.0.0.1 1122");
    sh("sysctl -qw net.ipv4.tcp_ecn=1");
    let client = stream::connect(BOTH[0]);
    stream::exchange(&client, 1 << 20, 1 << 14);
    const ECN: u8 = 8;
    assert_eq!(sys::tcp_info(&client).tcpi_options & ECN, 0, "ECN was negotiated");
}

fn fast_open() {
    let _bpfecho = Bpfecho::start("127.0.0.1 ::1 1122");
    // Client without cookies: the SYN carries data at once.
    sh("sysctl -qw net.ipv4.tcp_fastopen=5");
    for address in BOTH {
        let (socket, address) = stream::socket(address);
        sys::set_fast_open_connect(&socket);
        socket.connect(&address).unwrap();
        let client = TcpStream::from(socket);
        stream::exchange(&client, 1000, 1000);
        assert_ne!(
            counter("TCPFastOpenActiveFail") + counter("TCPFastOpenActive"),
            0,
            "no SYN with data was sent"
        );
    }
}

fn routed() {
    sh("ip route add local 10.80.0.0/16 dev lo");
    sh("ip route add 10.81.0.0/16 dev lo");
    sh("ip -6 route add local fd00:80::/64 dev lo");
    let _bpfecho = Bpfecho::start("10.80.1.2 10.81.3.4 fd00:80::5 1122");
    for (local, remote) in
        [("0.0.0.0:0", "10.80.1.2:1122"), ("0.0.0.0:0", "10.81.3.4:1122"), ("[::]:0", "[fd00:80::5]:1122")]
    {
        let client = stream::connect(remote);
        stream::exchange(&client, 1 << 20, 1 << 16);
        let client = UdpSocket::bind(local).unwrap();
        client.set_read_timeout(Some(stream::STALL)).unwrap();
        client.connect(remote).unwrap();
        client.send(b"hello").unwrap();
        let mut buffer = [0; 16];
        let received = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..received], b"hello", "{remote}");
    }
}

fn others() {
    let _bpfecho = Bpfecho::start("127.0.0.1 1122");
    // The same port of another address, and another port of the same address, are served by this test.
    for address in ["127.0.0.2:1122", "127.0.0.1:1123", "[::1]:1122"] {
        let listener = TcpListener::bind(address).unwrap();
        let client = stream::connect(address);
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"not an echo").unwrap();
        drop(server);
        let mut received = String::new();
        (&client).read_to_string(&mut received).unwrap();
        assert_eq!(received, "not an echo");
    }
}
