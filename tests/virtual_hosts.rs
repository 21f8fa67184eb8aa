//! Hosts that exist in the program only: found by neighbours, as many as the prefix has, and never in the way
//! of one that exists.

mod support;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::ExitCode;

use socket2::{Domain, Protocol, Socket, Type};
use support::bpfecho::Bpfecho;
use support::namespace::sh;
use support::network::{End, Host, await_that, join, mac, server};
use support::{stream, test};

fn main() -> ExitCode {
    support::main([
        test("each_of_many_addresses_answers", many).needs(&["ip", "sysctl"]),
        test("each_of_many_ipv6_addresses_answers", many_v6).needs(&["ip", "sysctl"]),
        test("a_stream_with_a_virtual_host", streams).needs(&["ip"]),
        test("a_neighbour_that_asks_gets_one_answer", one_answer).needs(&["ip", "arping", "ndisc6"]),
        test("the_hosts_own_address_keeps_its_services", own_services).needs(&["ip", "sysctl"]),
        test("nobody_answers_for_the_gateway", gateway).needs(&["ip", "arping", "ndisc6"]),
        test("an_address_can_be_taken_by_a_host", taken).needs(&["ip", "arping"]),
        test("an_ipv6_address_can_be_taken_by_a_host", taken_v6).needs(&["ip", "ndisc6"]),
        test("nmap_finds_them", nmap).needs(&["ip", "nmap"]),
    ])
}

/// Starts an echo on the whole of the usual network.
fn start(server: &Host) -> Bpfecho {
    server.run(|| Bpfecho::start("1122 --virtual-hosts 10.9.0.0/16,fd00:9::/64 --ifname vb"))
}

/// A socket for pings to any address of a family.
fn ping_socket(domain: Domain) -> UdpSocket {
    sh("sysctl -qw net.ipv4.ping_group_range='0 0'");
    let protocol = if domain == Domain::IPV4 { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol)).unwrap();
    socket.set_read_timeout(Some(stream::STALL)).unwrap();
    // With the ports read as nothing, pings are datagrams like others.
    socket.into()
}

/// Asserts that `address` answers ping, UDP and TCP.
fn assert_answers(ping: &UdpSocket, datagrams: &UdpSocket, address: IpAddr, index: u64) {
    let (request, reply) = if address.is_ipv4() { (8, 0) } else { (128, 129) };
    let mut buffer = [0; 100];
    let message = [&[request, 0, 0, 0, 0, 0, 0, index as u8][..], b"hello"].concat();
    ping.send_to(&message, (address, 0)).unwrap();
    let (length, from) = ping.recv_from(&mut buffer).unwrap_or_else(|error| panic!("{address}: {error}"));
    assert_eq!((from.ip(), buffer[0], &buffer[6..length]), (address, reply, &message[6..]));

    let message = stream::piece(index, 64);
    datagrams.send_to(message, (address, 1122)).unwrap();
    let (length, from) =
        datagrams.recv_from(&mut buffer).unwrap_or_else(|error| panic!("{address}: {error}"));
    assert_eq!((from, &buffer[..length]), (SocketAddr::new(address, 1122), message));

    let client = stream::connect(&SocketAddr::new(address, 1122).to_string());
    stream::small_exchange(&client, index);
}

/// `count` addresses that `draw` draws, none of which is `taken`.
fn addresses(count: usize, taken: &[&str], draw: impl Fn(u64) -> IpAddr) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    for address in (0..).map(draw).filter(|address| !taken.contains(&address.to_string().as_str())) {
        addresses.insert(address);
        if addresses.len() == count {
            break;
        }
    }
    addresses
}

/// Random bytes, the same in every run.
fn random<const N: usize>(index: u64) -> [u8; N] {
    stream::piece(index * N as u64, N).try_into().unwrap()
}

pub(crate) fn many() {
    let server = server();
    let bpfecho = start(&server);
    let (ping, datagrams) = (ping_socket(Domain::IPV4), UdpSocket::bind("0.0.0.0:0").unwrap());
    datagrams.set_read_timeout(Some(stream::STALL)).unwrap();
    let taken = ["10.9.0.0", "10.9.0.1", "10.9.0.2", "10.9.255.255"];
    let draw = |index| {
        let [a, b] = random(index);
        Ipv4Addr::new(10, 9, a, b).into()
    };
    for (index, address) in (0..).zip(addresses(500, &taken, draw)) {
        assert_answers(&ping, &datagrams, address, index);
    }
    let end = bpfecho.end();
    assert_eq!(
        (end.packets("ICMP/IPv4"), end.packets("UDP/IPv4"), end.count("handshake")),
        (500, 500, 500),
        "{}",
        end.stderr
    );
    assert!(end.count("neighbour request") >= 500, "{}", end.stderr);
}

pub(crate) fn many_v6() {
    let server = server();
    let bpfecho = start(&server);
    let (ping, datagrams) = (ping_socket(Domain::IPV6), UdpSocket::bind("[::]:0").unwrap());
    datagrams.set_read_timeout(Some(stream::STALL)).unwrap();
    let network = u128::from("fd00:9::".parse::<Ipv6Addr>().unwrap());
    let draw = |index| Ipv6Addr::from(network | u128::from(u64::from_be_bytes(random(index)))).into();
    for (index, address) in (0..).zip(addresses(100, &[], draw)) {
        assert_answers(&ping, &datagrams, address, index);
    }
    let end = bpfecho.end();
    assert_eq!(
        (end.packets("ICMP/IPv6"), end.packets("UDP/IPv6"), end.count("handshake")),
        (100, 100, 100),
        "{}",
        end.stderr
    );
    assert!(end.count("neighbour request") >= 100, "{}", end.stderr);
}

pub(crate) fn streams() {
    let server = server();
    let _bpfecho = start(&server);
    for remote in ["10.9.200.7:1122", "[fd00:9::aaaa:7]:1122"] {
        stream::exchange(&stream::connect(remote), 64 << 20, 1 << 16);
    }
}

/// The MAC addresses that ARP finds for `address`, one for each answer to one request.
fn arp(host: &Host, name: &str, address: &str) -> Vec<String> {
    macs(&host.sh(&format!("arping -r -c 1 -w 2 -i {name} {address} || true")))
}

/// The MAC addresses that neighbour discovery finds for `address`, one for each answer to one solicitation.
fn discover(host: &Host, name: &str, address: &str) -> Vec<String> {
    macs(&host.sh(&format!("ndisc6 -q -n -m -r 1 {address} {name} || true")))
}

fn macs(printed: &str) -> Vec<String> {
    printed.split_whitespace().map(str::to_lowercase).collect()
}

pub(crate) fn one_answer() {
    let server = server();
    let _bpfecho = start(&server);
    let (here, owner) = (Host::here(), mac(&server, "vb"));
    for address in ["10.9.3.4", "10.9.0.2", "10.9.255.254"] {
        assert_eq!(arp(&here, "va", address), [owner.as_str()], "{address}");
    }
    for address in ["fd00:9::3:4", "fd00:9::2"] {
        assert_eq!(discover(&here, "va", address), [owner.as_str()], "{address}");
    }
    // Those who do not want more than the first answer get one, too.
    let first = sh("ndisc6 -q -n -1 -r 1 fd00:9::3:5 va");
    assert_eq!(macs(&first), [owner.as_str()]);
    // What is not in the prefix is nobody's.
    assert_eq!(arp(&here, "va", "10.10.0.1"), [""; 0]);
}

pub(crate) fn own_services() {
    let server = server();
    let bpfecho = start(&server);
    let ping = ping_socket(Domain::IPV4);
    for (own, other) in [("10.9.0.2", "10.9.0.3"), ("[fd00:9::2]", "[fd00:9::3]")] {
        let own = format!("{own}:1122");
        let listener = server.run(|| TcpListener::bind(&own).unwrap());
        let client = stream::connect(&own);
        std::io::Write::write_all(&mut listener.accept().unwrap().0, b"not an echo").unwrap();
        let mut received = String::new();
        (&client).read_to_string(&mut received).unwrap();
        assert_eq!(received, "not an echo");
        stream::small_exchange(&stream::connect(&format!("{other}:1122")), 1);
    }
    ping.send_to(&[8, 0, 0, 0, 0, 0, 0, 1], "10.9.0.2:0").unwrap();
    assert_eq!(ping.recv_from(&mut [0; 16]).unwrap().1.ip(), Ipv4Addr::new(10, 9, 0, 2));
    let end = bpfecho.end();
    assert_eq!((end.count("handshake"), end.packets("ICMP/IPv4")), (2, 0), "{}", end.stderr);
}

pub(crate) fn gateway() {
    let server = server();
    server.sh("ip route add default via 10.9.0.254; ip route add default via fd00:9::fe");
    let _bpfecho = start(&server);
    let here = Host::here();
    assert_eq!(arp(&here, "va", "10.9.0.254"), [""; 0]);
    assert_eq!(discover(&here, "va", "fd00:9::fe"), [""; 0]);
    assert_eq!(arp(&here, "va", "10.9.0.253").len(), 1);
    assert_eq!(discover(&here, "va", "fd00:9::fd").len(), 1);
}

/// A switch that joins the caller, on `va`, the server, on `vb`, and a third host, on `vc`.
struct Switched {
    server: Host,
    third: Host,
    /// Exists as long as the cables are to hold.
    _switch: Host,
}

impl Switched {
    fn new() -> Self {
        let (here, server, third, switch) = (Host::here(), Host::new(), Host::new(), Host::new());
        switch.sh("ip link add br0 type bridge mcast_snooping 0
            ip link set br0 addrgenmode none
            ip link set br0 up");
        for (host, name, addresses) in [
            (&here, "va", ["10.9.0.1/16", "fd00:9::1/64"]),
            (&server, "vb", ["10.9.0.2/16", "fd00:9::2/64"]),
            (&third, "vc", ["10.9.0.3/16", "fd00:9::3/64"]),
        ] {
            let port = name.replace('v', "p");
            join(End(host, name, &addresses), End(&switch, &port, &[]));
            switch.sh(&format!("ip link set {port} master br0"));
        }
        Self { server, third, _switch: switch }
    }
}

pub(crate) fn taken() {
    let Switched { server, third, _switch } = Switched::new();
    let _bpfecho = start(&server);
    let here = Host::here();
    assert_eq!(arp(&third, "vc", "10.9.7.7"), [mac(&server, "vb")]);
    // A host that looks whether an address is free names no sender. Only one that exists may answer.
    let probe = |address| macs(&sh(&format!("arping -0 -r -c 1 -w 2 -i va {address} || true")));
    assert_eq!(probe("10.9.0.3"), [mac(&third, "vc")]);
    assert_eq!(probe("10.9.7.7"), [""; 0]);
    sh("ip address add 10.9.7.7/16 dev va");
    assert_eq!(arp(&third, "vc", "10.9.7.7"), [mac(&here, "va")]);
    // One that says that it has the address is believed, too.
    sh("ip address add 10.9.7.8/16 dev va; arping -U -c 1 -i va -S 10.9.7.8 10.9.7.8 || true");
    assert_eq!(arp(&third, "vc", "10.9.7.8"), [mac(&here, "va")]);
    // Its neighbours stay.
    assert_eq!(arp(&third, "vc", "10.9.7.9"), [mac(&server, "vb")]);
    // It may serve the port that is echoed elsewhere.
    third.sh("ip neighbour flush dev vc");
    let listener = TcpListener::bind("10.9.7.7:1122").unwrap();
    let client = third.run(|| stream::connect("10.9.7.7:1122"));
    std::io::Write::write_all(&mut listener.accept().unwrap().0, b"not an echo").unwrap();
    let mut received = String::new();
    (&client).read_to_string(&mut received).unwrap();
    assert_eq!(received, "not an echo");
}

pub(crate) fn taken_v6() {
    let Switched { server, third, _switch } = Switched::new();
    let _bpfecho = start(&server);
    let here = Host::here();
    assert_eq!(discover(&third, "vc", "fd00:9::7:7"), [mac(&server, "vb")]);
    sh("ip address add fd00:9::7:7/64 dev va");
    let state = || sh("ip address show dev va to fd00:9::7:7");
    await_that("the address is looked for", || !state().contains(" tentative"));
    assert!(!state().contains("dadfailed"), "{}", state());
    assert_eq!(discover(&third, "vc", "fd00:9::7:7"), [mac(&here, "va")]);
    assert_eq!(discover(&third, "vc", "fd00:9::7:8"), [mac(&server, "vb")]);
}

pub(crate) fn nmap() {
    let server = server();
    let _bpfecho = start(&server);
    let found = sh("nmap -n -sn 10.9.3.0/28");
    assert!(found.contains("(16 hosts up)"), "{found}");
    let scanned = sh("nmap -n -Pn -p 1122,1123 10.9.3.7");
    assert!(scanned.contains("1122/tcp open"), "{scanned}");
    assert!(!scanned.contains("1123/tcp open"), "{scanned}");
}
