//! What the rest of the network notices: nothing, and that echoes come to an end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::thread;

use etherparse::{EtherType, IpNumber, Ipv4Header, PacketBuilder};
use socket2::Socket;

use super::support::bpfecho::Bpfecho;
use super::support::namespace::sh;
use super::support::network::{CLIENT, End, Host, SERVER, await_that, join, mac, received_frames, server};
use super::support::{stream, sys};
use super::{packet, start};

fn mac_bytes(host: &Host, name: &str) -> [u8; 6] {
    let mac = mac(host, name);
    let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn v4(address: &str) -> [u8; 4] {
    address.parse::<Ipv4Addr>().unwrap().octets()
}

fn v6(address: &str) -> [u8; 16] {
    address.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

pub(crate) fn echo_of_an_echo() {
    for kind in ["UDP/IPv4", "UDP/IPv6", "TCP/IPv4", "TCP/IPv6"] {
        let (one, other) = (Host::new(), Host::new());
        for host in [&one, &other] {
            // Nothing else is on the cable: reports of multicast groups come at any time.
            host.sh("ip6tables -A OUTPUT -p icmpv6 --icmpv6-type 143 -j DROP");
        }
        join(
            End(&one, "va", &["10.9.0.1/16", "fd00:9::1/64"]),
            End(&other, "vb", &["10.9.0.2/16", "fd00:9::2/64"]),
        );
        let echoes = [
            one.run(|| Bpfecho::start("10.9.0.1 fd00:9::1 1001 --ifname va")),
            other.run(|| Bpfecho::start("10.9.0.2 fd00:9::2 1002 --ifname vb")),
        ];
        // One pretends to be the other's client on its own echoed port.
        let start = PacketBuilder::ethernet2(mac_bytes(&one, "va"), mac_bytes(&other, "vb"));
        let ip = if kind.ends_with('4') {
            start.ipv4(v4(CLIENT[0]), v4(SERVER[0]), 255)
        } else {
            start.ipv6(v6(CLIENT[1]), v6(SERVER[1]), 255)
        };
        let frame = packet(|to| {
            if kind.starts_with("UDP") {
                ip.udp(1001, 1002).write(to, b"for ever and ever").unwrap();
            } else {
                ip.tcp(1001, 1002, 7, 1000).ack(7).write(to, b"for ever and ever").unwrap();
            }
        });
        one.run(|| sys::packet_socket("va")).send(&frame).unwrap();
        let frames = || received_frames(&one, "va") + received_frames(&other, "vb");
        await_that("the echoes of echoes end", || frames() >= 255);
        let ends = echoes.map(Bpfecho::end);
        let packets: u64 = ends.iter().map(|end| end.packets(kind)).sum();
        let expired: u64 = ends.iter().map(|end| end.count("dropped at the end of their time to live")).sum();
        // Each frame is one hop shorter than the one before, and the last one has no answer.
        assert_eq!((packets, expired, frames()), (254, 1, 255), "{ends:?}");
    }
}

/// Frames for the server that are none of bpfecho's business, each with what it is.
fn business_of_others(client: [u8; 6], server: [u8; 6]) -> Vec<(&'static str, Vec<u8>)> {
    const ALL: [u8; 6] = [0xff; 6];
    let multicast_v6 = |last: u32| {
        let [a, b, c, d] = last.to_be_bytes();
        [0x33, 0x33, a, b, c, d]
    };
    let to = |mac| PacketBuilder::ethernet2(client, mac);
    let v4_to = |mac, address| to(mac).ipv4(v4(CLIENT[0]), v4(address), 64);
    let v6_to = |mac, address| to(mac).ipv6(v6(CLIENT[1]), v6(address), 255);
    let udp = |ip: etherparse::PacketBuilderStep<etherparse::IpHeaders>, port| {
        packet(|to| ip.udp(4000, port).write(to, b"hello").unwrap())
    };
    let tcp = |ip: etherparse::PacketBuilderStep<etherparse::IpHeaders>, port| {
        let syn = ip.tcp(4000, port, 7, 1000).syn().options_raw(&[2, 4, 5, 180]).unwrap();
        packet(|to| syn.write(to, &[]).unwrap())
    };
    let arp = |target: &str| {
        let words = [[0, 1], [8, 0], [6, 4], [0, 1]].concat();
        let ethernet = [&ALL[..], &client, &[8, 6]].concat();
        [&ethernet[..], &words, &client, &v4(CLIENT[0]), &[0; 6], &v4(target)].concat()
    };
    let solicitation = |target: &str| {
        let option = [&[1, 1][..], &client].concat();
        let data = [&v6(target)[..], &option].concat();
        let ip = v6_to(multicast_v6(0xff00_0002), "ff02::1:ff00:2");
        packet(|to| ip.icmpv6_raw(135, 0, [0; 4]).write(to, &data).unwrap())
    };
    let fragments = {
        let payload = stream::piece(1, 1480);
        let mut header = Ipv4Header::new(1480, 64, IpNumber::UDP, v4(CLIENT[0]), v4(SERVER[0])).unwrap();
        header.more_fragments = true;
        header.dont_fragment = false;
        header.header_checksum = header.calc_header_checksum();
        let mut frame = [&server[..], &client, &EtherType::IPV4.0.to_be_bytes(), &header.to_bytes()].concat();
        frame.extend([4000u16, 2000, 1508, 0].into_iter().flat_map(u16::to_be_bytes));
        frame.extend(&payload[8..]);
        frame
    };
    vec![
        ("an ARP request for the server", arp(SERVER[0])),
        ("an ARP request for its other address", arp("10.9.0.3")),
        ("an ARP request for nobody", arp("10.9.0.77")),
        ("a solicitation for the server", solicitation(SERVER[1])),
        ("a solicitation for nobody", solicitation("fd00:9::77:2")),
        (
            "a ping",
            packet(|to| v4_to(server, SERVER[0]).icmpv4_echo_request(1, 2).write(to, b"hello").unwrap()),
        ),
        (
            "a ping over IPv6",
            packet(|to| v6_to(server, SERVER[1]).icmpv6_echo_request(1, 2).write(to, b"hello").unwrap()),
        ),
        (
            "a ping to all nodes",
            packet(|to| {
                let ip = v6_to(multicast_v6(1), "ff02::1");
                ip.icmpv6_echo_request(1, 2).write(to, b"hello").unwrap();
            }),
        ),
        ("a SYN to a closed port", tcp(v4_to(server, SERVER[0]), 2000)),
        ("a SYN to a closed port over IPv6", tcp(v6_to(server, SERVER[1]), 2000)),
        ("a SYN to an open port", tcp(v4_to(server, SERVER[0]), 22)),
        ("a SYN to the echoed port of another address", tcp(v4_to(server, "10.9.0.3"), 1122)),
        ("a datagram to a closed port", udp(v4_to(server, SERVER[0]), 2000)),
        ("a datagram to a closed port over IPv6", udp(v6_to(server, SERVER[1]), 2000)),
        ("a datagram to the echoed port of another address", udp(v4_to(server, "10.9.0.3"), 1122)),
        ("a broadcast", udp(v4_to(ALL, "10.9.255.255"), 1122)),
        ("a limited broadcast", udp(v4_to(ALL, "255.255.255.255"), 1122)),
        ("a multicast", udp(v4_to([1, 0, 0x5e, 0, 0, 1], "224.0.0.1"), 1122)),
        ("a multicast over IPv6", udp(v6_to(multicast_v6(1), "ff02::1"), 1122)),
        ("a broadcast to an open port", udp(v4_to(ALL, "10.9.255.255"), 5000)),
        ("the first fragment of a datagram", fragments),
        ("a frame for another host", udp(v4_to([2, 0, 0, 0, 0, 99], SERVER[0]), 1122)),
        ("an unknown EtherType", [&server[..], &client, &[0x88, 0xb5], &[7; 60]].concat()),
        ("an unknown protocol", {
            let header = Ipv4Header::new(8, 64, IpNumber(253), v4(CLIENT[0]), v4(SERVER[0])).unwrap();
            [&server[..], &client, &[8, 0], &header.to_bytes(), &[7; 8]].concat()
        }),
    ]
}

/// A frame without what is chosen at random: identifications and initial sequence numbers, and the sums over
/// them.
fn masked(mut frame: Vec<u8>) -> Vec<u8> {
    let transport = match frame[12..14] {
        [8, 0] => {
            frame[18..20].fill(0);
            frame[24..26].fill(0);
            (frame[23] == 6).then_some(34)
        }
        [0x86, 0xdd] => (frame[20] == 6).then_some(54),
        _ => None,
    };
    if let Some(tcp) = transport {
        frame[tcp + 4..tcp + 8].fill(0);
        frame[tcp + 16..tcp + 18].fill(0);
    }
    frame
}

/// Sends each frame, and a ping behind it. Returns what came before the answer to that ping.
fn replay(socket: &Socket, frames: &[(&'static str, Vec<u8>)], marker: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut socket = socket;
    frames
        .iter()
        .map(|(what, frame)| {
            socket.send(frame).unwrap();
            socket.send(marker).unwrap();
            let mut answers = Vec::new();
            loop {
                let mut buffer = vec![0; 2000];
                let length = socket.read(&mut buffer).unwrap_or_else(|error| panic!("{what}: {error}"));
                buffer.truncate(length);
                if buffer.ends_with(MARKER) {
                    return answers;
                }
                // Its reports of multicast groups are no answers.
                if !buffer.starts_with(&[0x33, 0x33, 0, 0, 0, 22]) {
                    answers.push(masked(buffer));
                }
            }
        })
        .collect()
}

/// The payload of pings that mark the end of what is an answer to a frame.
const MARKER: &[u8] = b"this is the end";

pub(crate) fn same_answers() {
    let server = server();
    // The server knows everybody, and answers as often as it is asked.
    let (client_mac, server_mac) = (mac(&Host::here(), "va"), mac(&server, "vb"));
    sh(&format!(
        "ip neighbour replace 10.9.0.2 lladdr {server_mac} dev va
        ip neighbour replace fd00:9::2 lladdr {server_mac} dev va"
    ));
    server.sh(&format!(
        "ip address add 10.9.0.3/16 dev vb
        ip neighbour replace 10.9.0.1 lladdr {client_mac} dev vb
        ip neighbour replace fd00:9::1 lladdr {client_mac} dev vb
        sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0"
    ));
    let (_listener, open) =
        server.run(|| (TcpListener::bind("10.9.0.2:22").unwrap(), UdpSocket::bind("0.0.0.0:5000").unwrap()));
    open.set_read_timeout(Some(stream::STALL)).unwrap();
    let (client_mac, server_mac) = (mac_bytes(&Host::here(), "va"), mac_bytes(&server, "vb"));
    let frames = business_of_others(client_mac, server_mac);
    let marker = packet(|to| {
        let ip = PacketBuilder::ethernet2(client_mac, server_mac).ipv4(v4(CLIENT[0]), v4(SERVER[0]), 64);
        ip.icmpv4_echo_request(9, 9).write(to, MARKER).unwrap();
    });
    let socket = sys::packet_socket("va");
    socket.set_read_timeout(Some(stream::STALL)).unwrap();
    sys::stay_on_this_cpu();
    let without = replay(&socket, &frames, &marker);
    assert_eq!(open.recv(&mut [0; 16]).unwrap(), 5);
    let bpfecho = start(&server);
    let with = replay(&socket, &frames, &marker);
    assert_eq!(open.recv(&mut [0; 16]).unwrap(), 5);
    for (((what, _), without), with) in frames.iter().zip(&without).zip(&with) {
        assert_eq!(with, without, "{what}");
    }
    let answered = without.iter().filter(|answers| !answers.is_empty()).count();
    assert!(answered >= 13, "only {answered} of the frames have an answer");
    let end = bpfecho.end();
    assert_eq!(end.stderr.matches("packet").count(), 0, "{}", end.stderr);
}

pub(crate) fn other_services() {
    let server = server();
    let (listener, echo) =
        server.run(|| (TcpListener::bind("10.9.0.2:22").unwrap(), UdpSocket::bind("10.9.0.2:53").unwrap()));
    let _bpfecho = start(&server);
    // Each side sends its own stream, both at once.
    const LENGTH: u64 = 16 << 20;
    thread::scope(|scope| {
        scope.spawn(|| {
            let (session, _) = listener.accept().unwrap();
            stream::exchange(&session, LENGTH, 10_000);
        });
        stream::exchange(&stream::connect("10.9.0.2:22"), LENGTH, 1000);
    });
    let client = UdpSocket::bind("10.9.0.1:0").unwrap();
    client.connect("10.9.0.2:53").unwrap();
    for socket in [&client, &echo] {
        socket.set_read_timeout(Some(stream::STALL)).unwrap();
    }
    client.send(b"question").unwrap();
    let mut buffer = [0; 16];
    let (length, from) = echo.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"question");
    echo.send_to(b"answer", from).unwrap();
    let length = client.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"answer");
    // And the server as a client of others.
    let listener = TcpListener::bind("10.9.0.1:1122").unwrap();
    let session = server.run(|| stream::connect("10.9.0.1:1122"));
    (&session).write_all(b"hello").unwrap();
    drop(session);
    let mut received = String::new();
    listener.accept().unwrap().0.read_to_string(&mut received).unwrap();
    assert_eq!(received, "hello");
}
