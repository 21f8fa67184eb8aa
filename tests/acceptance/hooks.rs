//! Each hook of the kernel, and what is said where there is none.

use std::io::Read;
use std::net::IpAddr;

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use loader::XdpMode;
use socket2::Socket;

use super::line::Line;
use super::support::bpfecho::{Bpfecho, command};
use super::support::network::{CLIENT, SERVER};
use super::support::{datagram, kernel, stream, sys, tc};

/// Where packets are taken if `hook` is asked for, as the ready line has it; nowhere if the kernel has no such hook.
fn place(hook: &str, line: &Line) -> Option<String> {
    let fallback = if kernel::has_tcx() { "tcx" } else { "clsact" };
    let side = line.side();
    match hook {
        "auto" => Some(format!("{fallback} {side}")),
        "xdp" => Some(format!("xdp native and {fallback} {side}")),
        "xdp-generic" => Some(format!("xdp generic and {fallback} {side}")),
        "tcx" if !kernel::has_tcx() => None,
        hook => Some(format!("{hook} {side}")),
    }
}

/// The mode of XDP programs, if `hook` is one.
fn mode(hook: &str) -> Option<XdpMode> {
    match hook {
        "xdp" => Some(XdpMode::Native),
        "xdp-generic" => Some(XdpMode::Generic),
        _ => None,
    }
}

/// Asserts that nothing is on the interface of the echo.
#[track_caller]
pub(crate) fn assert_nothing_left(line: &Line) {
    let name = line.interface();
    let left = line.run(|| (tc::ours_on(name), tc::has_clsact_on(name), tc::find(name).unwrap().xdp));
    assert_eq!(left, (vec![], false, vec![]));
}

pub(crate) fn echoes_by(hook: &str, line: &Line) {
    let Some(place) = place(hook, line) else { return refused(line) };
    let bpfecho = line.start(&format!("--hook {hook}"));
    let name = line.interface();
    assert!(bpfecho.ready.ends_with(&format!(" port 1122 ({name}, {place})")), "{}", bpfecho.ready);
    for address in line.addresses() {
        datagram::exchange(address);
        stream::exchange(&stream::connect(address), 1 << 20, 1 << 16);
    }
    let (programs, xdp) = line.run(|| (tc::ours_on(name).len(), tc::find(name).unwrap().xdp));
    let modes: Vec<XdpMode> = xdp.iter().map(|(mode, _)| *mode).collect();
    assert_eq!((programs, modes), (1, Vec::from_iter(mode(hook))));
    let end = bpfecho.end();
    assert_eq!((end.status.code(), end.packets("UDP/IPv4"), end.packets("UDP/IPv6")), (Some(0), 1, 1));
    assert_eq!(end.count("handshake"), 2, "{}", end.stderr);
    assert_nothing_left(line);
}

/// Without tcx it says so.
fn refused(line: &Line) {
    let fails = |option: &str| {
        let output = line.run(|| command(&format!("{} {option}", line.arguments())).output().unwrap());
        assert_eq!(output.status.code(), Some(1), "{option}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let index = line.run(|| tc::find(line.interface()).unwrap().index.0);
    let said = fails("--hook tcx");
    let reason = "this kernel has no tcx, which came with Linux 6.6";
    let place = format!("interface {index} {}", line.side());
    assert_eq!(said, format!("bpfecho: {place}: attaching by tcx: EINVAL: {reason}\n"));
    let finding = "fail  hooks         no tcx, which came with Linux 6.6: choose --hook clsact\n";
    let checked = fails("--hook tcx --check");
    assert!(checked.contains(finding), "{checked}");
    assert_nothing_left(line);
    kernel::not_here(&said);
}

/// What is plain is answered by XDP, so that nothing behind it sees it.
pub(crate) fn xdp_answers(hook: &str) {
    let line = Line::cable();
    // A veth takes what XDP sends only while it has an XDP program itself.
    let _peer = (hook == "xdp").then(|| Bpfecho::start("10.99.0.1 9 --ifname va --hook xdp"));
    let _bpfecho = line.start(&format!("--hook {hook}"));
    sys::stay_on_this_cpu();
    let near = socket("va");
    let behind = line.run(|| socket("vb"));
    let macs = [tc::find("va"), line.run(|| tc::find("vb"))].map(|end| end.unwrap().mac.unwrap());
    for (client, server) in CLIENT.into_iter().zip(SERVER) {
        for port in [ECHO, OTHER] {
            near.send(&frame(macs, [client, server], port)).unwrap();
        }
        assert_eq!(next(&near), [ECHO, CLIENT_PORT], "{server} sends something else");
        // Packets stay in order: what was sent to the echo would have been here before.
        assert_eq!(next(&behind), [CLIENT_PORT, OTHER]);
    }
}

const CLIENT_PORT: u16 = 2000;
/// The port that is echoed, and one that is not.
const ECHO: u16 = 1122;
const OTHER: u16 = 1123;

fn socket(interface: &str) -> Socket {
    let socket = sys::packet_socket(interface);
    socket.set_read_timeout(Some(stream::STALL)).unwrap();
    socket
}

/// A datagram, with its checksum.
fn frame([client_mac, server_mac]: [[u8; 6]; 2], [client, server]: [&str; 2], port: u16) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(client_mac, server_mac);
    let network = match (client.parse().unwrap(), server.parse().unwrap()) {
        (IpAddr::V4(client), IpAddr::V4(server)) => link.ipv4(client.octets(), server.octets(), 64),
        (IpAddr::V6(client), IpAddr::V6(server)) => link.ipv6(client.octets(), server.octets(), 64),
        _ => panic!("{client} and {server} are of different families"),
    };
    let mut frame = Vec::new();
    network.udp(CLIENT_PORT, port).write(&mut frame, b"hello").unwrap();
    frame
}

/// The ports of the next datagram.
fn next(mut socket: &Socket) -> [u16; 2] {
    loop {
        let mut frame = [0; 2000];
        let length = socket.read(&mut frame).unwrap();
        if let Ok(packet) = SlicedPacket::from_ethernet(&frame[..length])
            && let Some(TransportSlice::Udp(udp)) = packet.transport
        {
            return [udp.source_port(), udp.destination_port()];
        }
    }
}
