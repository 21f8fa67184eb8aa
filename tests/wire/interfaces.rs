//! Interfaces of other kinds than one end of a cable.

use std::fs::File;
use std::io::{Read, Write};

use etherparse::PacketBuilder;

use super::packet;
use super::support::bpfecho::Bpfecho;
use super::support::namespace::sh;
use super::support::network::{End, Host, V4, V6, await_up, join, server};
use super::support::{datagram, stream, sys};

/// A network device in the hands of the test.
struct Tunnel(File);

impl Tunnel {
    /// Sends `packet`, and asserts that exactly `answer` comes back.
    #[track_caller]
    fn exchange(&self, packet: &[u8], answer: &[u8]) {
        assert_eq!(self.ask(packet), answer);
    }

    fn ask(&self, packet: &[u8]) -> Vec<u8> {
        let mut file = &self.0;
        file.write_all(packet).unwrap();
        loop {
            assert!(sys::await_readable(&self.0, stream::STALL.as_millis() as i32), "there is no answer");
            let mut buffer = [0; 65536];
            let length = file.read(&mut buffer).unwrap();
            // Reports of multicast groups, which begin with hop-by-hop options, come at any time.
            if !(buffer[0] >> 4 == 6 && buffer[6] == 0) {
                return buffer[..length].to_vec();
            }
        }
    }
}

pub(crate) fn tunnel() {
    let tunnel = Tunnel(sys::tun("t0"));
    sh("ip link set t0 addrgenmode none
        ip link set t0 mtu 1400 up
        ip address add 10.9.0.2/24 dev t0
        ip address add fd00:9::2/64 dev t0 nodad");
    await_up(&Host::here(), "t0");
    let _bpfecho = Bpfecho::start("10.9.0.2 fd00:9::2 1122 --ifname t0 --protocol tcp,udp,icmp");

    // All is rebuilt from what it must be, so every checksum is compared, too.
    let (client, server) = ([10, 9, 0, 1], [10, 9, 0, 2]);
    let there = || PacketBuilder::ipv4(client, server, 64);
    let back = || PacketBuilder::ipv4(server, client, 63);
    let mut address = [0xfd, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let client = address;
    address[15] = 2;
    let there_v6 = || PacketBuilder::ipv6(client, address, 64);
    let back_v6 = || PacketBuilder::ipv6(address, client, 63);
    for length in [0, 1, 2, 64, 1352] {
        let data = stream::piece(length as u64, length);
        tunnel.exchange(
            &packet(|to| there().udp(4000, 1122).write(to, data).unwrap()),
            &packet(|to| back().udp(1122, 4000).write(to, data).unwrap()),
        );
        tunnel.exchange(
            &packet(|to| there_v6().udp(4000, 1122).write(to, data).unwrap()),
            &packet(|to| back_v6().udp(1122, 4000).write(to, data).unwrap()),
        );
        tunnel.exchange(
            &packet(|to| there().icmpv4_echo_request(7, 9).write(to, data).unwrap()),
            &packet(|to| back().icmpv4_echo_reply(7, 9).write(to, data).unwrap()),
        );
        tunnel.exchange(
            &packet(|to| there_v6().icmpv6_echo_request(7, 9).write(to, data).unwrap()),
            &packet(|to| back_v6().icmpv6_echo_reply(7, 9).write(to, data).unwrap()),
        );
    }

    // A connection from beginning to end: the server's numbers are the client's and a constant.
    const CLIENT: u32 = 0xffff_fff0;
    let offer = |mss: u16| [&[2, 4][..], &mss.to_be_bytes()].concat();
    let answer = tunnel.ask(&packet(|to| {
        let syn = there().tcp(4000, 1122, CLIENT, 0xffff).syn();
        syn.options_raw(&offer(8960)).unwrap().write(to, &[]).unwrap();
    }));
    let server = u32::from_be_bytes(answer[24..28].try_into().unwrap());
    let syn_ack = packet(|to| {
        let syn_ack = back().tcp(1122, 4000, server, 0xffff).syn().ack(CLIENT.wrapping_add(1));
        // The MTU without the headers.
        syn_ack.options_raw(&offer(1360)).unwrap().write(to, &[]).unwrap();
    });
    assert_eq!(answer, syn_ack);
    let (client, server) = (CLIENT.wrapping_add(1), server.wrapping_add(1));
    // How far the client has sent and received, and what it says. The answer confirms what it has received.
    for (sent, received, data, fin) in [
        (0, 0, &b"hello world, it is late"[..], false),
        (23, 23, b"", false),
        (23, 23, b"", true),
        (24, 24, b"", false),
    ] {
        let [theirs, ours] = [client.wrapping_add(sent), server.wrapping_add(received)];
        let [sequence, acknowledgment] = [server.wrapping_add(sent), client.wrapping_add(received)];
        tunnel.exchange(
            &packet(|to| {
                let segment = there().tcp(4000, 1122, theirs, 1000).ack(ours);
                let segment = if fin { segment.fin() } else { segment };
                segment.write(to, data).unwrap();
            }),
            &packet(|to| {
                let segment = back().tcp(1122, 4000, sequence, 1000).ack(acknowledgment);
                let segment = if fin { segment.fin() } else { segment };
                segment.write(to, data).unwrap();
            }),
        );
    }
}

/// A stream and a datagram over each family.
fn exchange() {
    for remote in [V4, V6] {
        stream::exchange(&stream::connect(remote), 64 << 20, 1 << 16);
        datagram::of_length(remote, 9000, 1);
    }
}

pub(crate) fn bridge() {
    let server = Host::new();
    server.sh("ip link add br0 type bridge");
    join(End(&Host::here(), "va", &["10.9.0.1/16", "fd00:9::1/64"]), End(&server, "vb", &[]));
    server.sh("ip link set vb master br0
        ip link set br0 addrgenmode none
        ip link set br0 up
        ip address add 10.9.0.2/16 dev br0
        ip address add fd00:9::2/64 dev br0 nodad");
    await_up(&server, "br0");
    let bpfecho = server.run(|| Bpfecho::start("10.9.0.2 fd00:9::2 1122 --ifname br0"));
    exchange();
    assert_eq!(bpfecho.end().count("handshake"), 2);
}

pub(crate) fn macvlan() {
    let server = Host::new();
    join(End(&Host::here(), "va", &["10.9.0.1/16", "fd00:9::1/64"]), End(&server, "vb", &[]));
    // Else `vb` would answer ARP for its neighbour on the same host, too.
    server.sh("sysctl -qw net.ipv4.conf.all.arp_ignore=1
        ip link add mv0 link vb type macvlan mode bridge
        ip link set mv0 addrgenmode none
        ip link set mv0 up
        ip address add 10.9.0.2/16 dev mv0
        ip address add fd00:9::2/64 dev mv0 nodad");
    await_up(&server, "mv0");
    let bpfecho = server.run(|| Bpfecho::start("10.9.0.2 fd00:9::2 1122 --ifname mv0"));
    exchange();
    assert_eq!(bpfecho.end().count("handshake"), 2);
}

pub(crate) fn several() {
    let server = server();
    let bpfecho = server.run(|| Bpfecho::start("127.0.0.1 10.9.0.2 fd00:9::2 1122 --ifname lo --ifname vb"));
    exchange();
    // The server is its own client, by its own address and by that of loopback.
    server.run(|| {
        stream::exchange(&stream::connect("127.0.0.1:1122"), 1 << 20, 1 << 16);
        exchange();
    });
    assert_eq!(bpfecho.end().count("handshake"), 5);
}
