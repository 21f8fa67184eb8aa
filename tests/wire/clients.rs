//! Small exchanges: connections, datagrams, pings, options, and clients that wait.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::start;
use super::support::bpfecho::{Bpfecho, End};
use super::support::namespace::{counter, sh};
use super::support::network;
use super::support::network::{Host, SERVER, V4, V6, await_that, join, offloads_off, server};
use super::support::sys::tcp_option::{ECN, SACK, TIMESTAMPS, WINDOW_SCALE};
use super::support::{datagram, stream, sys};

/// One short exchange on a new connection from `source`.
fn connection(source: Ipv4Addr, index: u64) {
    let (socket, address) = stream::socket(V4);
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&address).unwrap_or_else(|error| panic!("connection {index}: {error}"));
    stream::small_exchange(&socket.into(), index);
}

pub(crate) fn connections() {
    let server = server();
    let bpfecho = start(&server);
    // Several addresses, as TIME-WAIT keeps each of their ports for a minute.
    for host in 10..14 {
        sh(&format!("ip address add 10.9.1.{host}/16 dev va"));
    }
    for index in 0..20_000 {
        connection(Ipv4Addr::new(10, 9, 1, 10 + index as u8 % 4), index);
    }
    let end = bpfecho.end();
    assert_eq!((end.count("handshake"), end.count("close")), (20_000, 20_000), "{}", end.stderr);
    assert_eq!(counter("RetransSegs"), 0);
}

pub(crate) fn time_wait() {
    let server = server();
    let bpfecho = start(&server);
    // Each port serves many connections, as soon as the clock of the timestamps has moved on.
    sh("sysctl -qw net.ipv4.ip_local_port_range='40000 40999' net.ipv4.tcp_tw_reuse=1");
    for index in 0..5_000 {
        let client = loop {
            let (socket, address) = stream::socket(V4);
            match socket.connect(&address) {
                Ok(()) => break TcpStream::from(socket),
                // All ports ended a connection within the last second.
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => continue,
                Err(error) => panic!("connection {index}: {error}"),
            }
        };
        stream::small_exchange(&client, index);
    }
    assert!(counter("TWRecycled") >= 4_000);
    assert_eq!(bpfecho.end().count("handshake"), 5_000);
}

fn datagrams() {
    for (remote, longest) in [(V4, 65_507), (V6, 65_487)] {
        for length in [0, 1, 1452, 1453, 1472, 1473, 2952, 9000, 60_000, longest] {
            datagram::of_length(remote, length, 1);
        }
    }
}

pub(crate) fn datagrams_with_offloads() {
    let server = server();
    let _bpfecho = start(&server);
    datagrams();
    assert_eq!(counter("InCsumErrors"), 0);
}

pub(crate) fn datagrams_without_offloads() {
    let server = server();
    offloads_off(&Host::here(), "va");
    offloads_off(&server, "vb");
    let _bpfecho = start(&server);
    datagrams();
    assert_eq!(counter("InCsumErrors"), 0);
}

/// Sends many datagrams at once over each family. Returns in how many packets bpfecho saw them.
fn burst(server: &Host) -> [u64; 2] {
    let bpfecho = start(server);
    for (local, remote) in [("0.0.0.0:0", V4), ("[::]:0", V6)] {
        let client = UdpSocket::bind(local).unwrap();
        client.set_read_timeout(Some(stream::STALL)).unwrap();
        client.connect(remote).unwrap();
        sys::set_udp_segment(&client, 1000);
        let sent = stream::piece(9, 1000 * BURST);
        client.send(sent).unwrap();
        let mut buffer = [0; 2000];
        for (index, datagram) in sent.chunks(1000).enumerate() {
            let length = client.recv(&mut buffer).unwrap();
            assert!(buffer[..length] == *datagram, "datagram {index} of a burst over {remote}");
        }
    }
    let end = bpfecho.end();
    ["UDP/IPv4", "UDP/IPv6"].map(|kind| end.packets(kind))
}

/// How many datagrams are sent at once.
const BURST: usize = 40;

pub(crate) fn bursts() {
    let server = server();
    assert_eq!(burst(&server), [1; 2], "they do not arrive as one");
    offloads_off(&Host::here(), "va");
    offloads_off(&server, "vb");
    assert_eq!(burst(&server), [BURST as u64; 2], "they do not arrive each for itself");
    server.sh("ethtool -K vb rx on tx on sg on gso on gro on rx-udp-gro-forwarding on");
    assert!(burst(&server).iter().all(|packets| *packets < BURST as u64), "they are not put together");
    assert_eq!(counter("InCsumErrors"), 0);
}

/// A socket for pings to `address`.
pub(crate) fn ping_socket(address: &str) -> Socket {
    let address = SocketAddr::new(address.parse().unwrap(), 0);
    sh("sysctl -qw net.ipv4.ping_group_range='0 0'");
    let protocol = if address.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(protocol)).unwrap();
    socket.set_read_timeout(Some(stream::STALL)).unwrap();
    socket.connect(&address.into()).unwrap();
    socket
}

pub(crate) fn pings() {
    use std::io::Read;
    let server = server();
    let bpfecho =
        server.run(|| Bpfecho::start("10.9.0.2 fd00:9::2 1122 --ifname vb --protocol tcp,udp,icmp"));
    // So nobody but the program answers.
    server.sh("sysctl -qw net.ipv4.icmp_echo_ignore_all=1 net.ipv6.icmp.echo_ignore_all=1");
    for (address, request, reply) in [(SERVER[0], 8, 0), (SERVER[1], 128, 129)] {
        let mut socket = ping_socket(address);
        for (sequence, length) in (1..).zip([0, 1, 56, 1471, 1472, 1473, 9000, 60_000]) {
            let mut message = vec![request, 0, 0, 0, 0, 0, 0, sequence];
            message.extend(stream::piece(length as u64, length));
            socket.send(&message).unwrap();
            let mut buffer = vec![0; 65536];
            let received = socket.read(&mut buffer).unwrap();
            // The checksum and the identifier are the kernel's business.
            assert_eq!(
                (buffer[0], &buffer[6..8]),
                (reply, &[0, sequence][..]),
                "{length} bytes to {address}"
            );
            assert!(buffer[8..received] == message[8..], "{length} bytes to {address}: {received} came back");
        }
    }
    let end = bpfecho.end();
    assert!(end.packets("ICMP/IPv4") >= 8 && end.packets("ICMP/IPv6") >= 8, "{}", end.stderr);
}

pub(crate) fn options() {
    let server = server();
    let _bpfecho = start(&server);
    // What the headers of both layers leave of 1500 bytes, less the timestamps.
    for (address, segment) in [(V4, 1448), (V6, 1428)] {
        let client = stream::connect(address);
        stream::ping(&client, b"hello");
        let info = sys::tcp_info(&client);
        let wanted = TIMESTAMPS | SACK | WINDOW_SCALE;
        assert_eq!(info.tcpi_options & (wanted | ECN), wanted);
        // The window that comes back is the client's own, so its scale must be, too.
        let [send, receive] = sys::window_scales(&info);
        assert_eq!(send, receive);
        assert_ne!(send, 0);
        assert_eq!(info.tcpi_snd_mss, segment);
    }
}

pub(crate) fn segment_size() {
    let (here, server) = (Host::here(), Host::new());
    join(
        network::End(&here, "va", &["10.9.0.1/16", "fd00:9::1/64"]),
        network::End(&server, "vb", &["10.9.0.2/16", "fd00:9::2/64"]),
    );
    for (client_mtu, server_mtu) in [(9000, 1500), (1500, 9000), (9000, 1400)] {
        sh(&format!("ip link set va mtu {client_mtu}"));
        server.sh(&format!("ip link set vb mtu {server_mtu}"));
        let _bpfecho = start(&server);
        for (address, overhead) in [(V4, 52), (V6, 72)] {
            let client = stream::connect(address);
            stream::exchange(&client, 1 << 20, 1 << 16);
            assert_eq!(sys::tcp_info(&client).tcpi_snd_mss, client_mtu.min(server_mtu) - overhead);
        }
    }
}

/// How many messages of a conversation a client sends.
const MESSAGES: u64 = 2000;

/// Exchanges messages over each family, one after another.
fn converse(no_delay: bool) -> End {
    // Two CPUs would change the order of packets now and then.
    sys::stay_on_this_cpu();
    let server = server();
    let bpfecho = start(&server);
    for address in [V4, V6] {
        let client = stream::connect(address);
        client.set_nodelay(no_delay).unwrap();
        let delayed = stream::converse(&client, MESSAGES);
        assert!(delayed <= MESSAGES / 50, "{delayed} messages over {address} waited");
        for unwanted in ["PAWSEstab", "TCPChallengeACK", "RetransSegs", "TCPRcvQDrop"] {
            assert_eq!(counter(unwanted), 0, "{unwanted} over {address}");
        }
    }
    bpfecho.end()
}

pub(crate) fn nagle_without_timestamps() {
    // Then its acknowledgments of what it has received already begin with their SACK blocks.
    sh("sysctl -qw net.ipv4.tcp_timestamps=0");
    nagle();
}

pub(crate) fn nagle() {
    let end = converse(false);
    let nudges = end.count("nudge");
    assert!((MESSAGES..=2 * MESSAGES).contains(&nudges), "{}", end.stderr);
}

pub(crate) fn no_delay() {
    let end = converse(true);
    assert!(end.count("nudge") <= 5, "{}", end.stderr);
}

pub(crate) fn keepalive() {
    let server = server();
    let _bpfecho = start(&server);
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new().with_time(second).with_interval(second).with_retries(2);
    let clients = [V4, V6].map(|address| {
        let (socket, address) = stream::socket(address);
        socket.set_tcp_keepalive(&keepalive).unwrap();
        socket.connect(&address).unwrap();
        TcpStream::from(socket)
    });
    for client in &clients {
        stream::ping(client, b"before");
    }
    // A dead peer would be noticed after three.
    await_that("ten probes were sent", || counter("TCPKeepAlive") >= 10);
    for client in &clients {
        stream::ping(client, b"after");
    }
}

pub(crate) fn allowed() {
    let server = server();
    sh("ip address add 10.9.1.1/16 dev va; ip address add fd00:9::1:1/64 dev va nodad");
    let bpfecho = server.run(|| {
        Bpfecho::start(
            "10.9.0.2 fd00:9::2 1122 --ifname vb --allow 10.9.0.1,fd00:9::/112 --allow 10.10.0.0/16",
        )
    });
    sys::stay_on_this_cpu();
    for (stranger, friend, remote) in
        [("10.9.1.1:0", "10.9.0.1:0", V4), ("[fd00:9::1:1]:0", "[fd00:9::1]:0", V6)]
    {
        let [stranger, friend] = [stranger, friend].map(|local| {
            let client = UdpSocket::bind(local).unwrap();
            client.set_read_timeout(Some(stream::STALL)).unwrap();
            client.connect(remote).unwrap();
            client
        });
        stranger.send(b"hello").unwrap();
        friend.send(b"hello").unwrap();
        // Packets stay in order: the stranger's answer would have come first.
        assert_eq!(friend.recv(&mut [0; 16]).unwrap(), 5);
        stranger.set_nonblocking(true).unwrap();
        assert_eq!(stranger.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    assert_eq!(bpfecho.end().count("dropped for their source"), 2);
}
