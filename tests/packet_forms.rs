//! Forms of packets against the real kernel: each is crafted field by field, with the answer it must get, and goes
//! through the program alone (`BPF_PROG_TEST_RUN`), over a pair of Ethernet interfaces, and over `lo`. Every byte
//! of what comes back is compared.

#[path = "packet_forms/forms.rs"]
mod forms;
#[path = "packet_forms/packet.rs"]
mod packet;
#[path = "packet_forms/shapes.rs"]
mod shapes;
#[path = "packet_forms/socket.rs"]
mod socket;
mod support;
#[path = "packet_forms/xdp.rs"]
mod xdp;

use std::net::IpAddr;
use std::process::ExitCode;

use bpfecho::arguments::{self, Command};
use bpfecho::configuration::{Configuration, Host, configure};
use bpfecho::echo::Echo;
use forms::{Fate, Form, ONE_EACH, OTHERS, SERVED, aggregate, forms, marker, message, plain};
use loader::TestInput;
use loader::rtnetlink::Netlink;
use packet::{CLIENT_MAC, Hook, Packet, SERVER_MAC, Transport};
use socket::{Offload, Socket};
use support::bpfecho::Bpfecho;
use support::namespace::sh;
use support::test;

fn main() -> ExitCode {
    support::main([
        test("the_program_alone_on_loopback", || alone(Hook::Loopback)).needs(&["ip"]),
        test("the_program_alone_on_the_wire", || alone(Hook::Wire)).needs(&["ip"]),
        test("the_program_alone_in_xdp", xdp::alone).needs(&["ip"]),
        test("two_capabilities_are_enough_for_each_program", xdp::loaded_with_two_capabilities)
            .needs(&["ip"]),
        test("a_sum_over_the_whole_packet_stays_right", whole_sums).needs(&["ip"]),
        test("aggregates_alone_come_back_whole", aggregates_alone).needs(&["ip"]),
        test("over_loopback", || over(Hook::Loopback)).needs(&["ip"]),
        test("over_ethernet", || over(Hook::Wire)).needs(&["ip"]),
        test("over_ethernet_that_takes_no_tags", without_tags).needs(&["ethtool", "ip"]),
        test("headers_may_be_anywhere", scattered).needs(&["ip"]),
        test("checksums_may_be_left_to_the_device", partial_checksums).needs(&["ip"]),
        test("aggregates_come_back_whole", aggregates).needs(&["ip"]),
        test("jumbo_frames", jumbo_frames).needs(&["ip"]),
        test("who_waits_for_acknowledgments_is_nudged", nudged).needs(&["ip"]),
        test("only_who_is_allowed_is_answered", allowed).needs(&["ip"]),
        test("over_ethernet_by_native_xdp", || xdp::over("xdp")).needs(&["ip"]),
        test("over_ethernet_by_generic_xdp", || xdp::over("xdp-generic")).needs(&["ip"]),
        test("on_tcx_behind_generic_xdp_of_others", || xdp::behind_another("tcx")).needs(&["ip"]),
        test("on_clsact_behind_generic_xdp_of_others", || xdp::behind_another("clsact")).needs(&["ip"]),
        test("native_xdp_leaves_checksums_of_the_device_alone", || xdp::partial("xdp")).needs(&["ip"]),
        test("generic_xdp_leaves_checksums_of_the_device_alone", || xdp::partial("xdp-generic"))
            .needs(&["ip"]),
    ])
}

/// Verdicts of the traffic-control hook (linux/pkt_cls.h).
const UNSPEC: i32 = -1;
const OK: i32 = 0;
const SHOT: i32 = 2;
const REDIRECT: i32 = 7;

const HOOKS: [Hook; 2] = [Hook::Loopback, Hook::Wire];

/// The server's interface.
fn interface(hook: Hook) -> &'static str {
    if hook == Hook::Loopback { "lo" } else { "v0" }
}

fn mtu(hook: Hook) -> usize {
    if hook == Hook::Loopback { 65536 } else { 1500 }
}

/// Makes a pair of Ethernet interfaces that are up: `v0` of the server, and `v1`.
fn ethernet(mtu: usize) {
    let [server, client] =
        [SERVER_MAC, CLIENT_MAC].map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
    sh(&format!(
        "ip link add v0 mtu {mtu} address {server} type veth peer name v1 mtu {mtu} address {client}
        ip address add 10.7.0.5/24 dev v0
        ip address add fd00:7::5/64 dev v0 nodad
        ip link set v0 up
        ip link set v1 up
        until ip link show v0 | grep -q 'state UP'; do :; done
        until ip link show v1 | grep -q 'state UP'; do :; done"
    ));
}

/// What the command makes of these arguments.
fn configuration(hook: Hook, arguments: &str) -> Configuration {
    let line = format!("{arguments} --ifname {}", interface(hook));
    let Ok(Command::Echo(request)) = arguments::parse(line.split_whitespace().map(Into::into)) else {
        panic!("{line}")
    };
    let mut netlink = Netlink::open().unwrap();
    let mut interfaces = netlink.interfaces().unwrap();
    interfaces.retain(|one| one.name == interface(hook));
    let host = Host { addresses: netlink.addresses().unwrap(), gateways: Vec::new() };
    configure(&request, &interfaces, &host).unwrap().remove(0)
}

/// The program as the command loads it, not attached.
fn load(hook: Hook, arguments: &str) -> Echo {
    Echo::load(&configuration(hook, arguments), false, true).unwrap()
}

/// How a program is run without a network.
struct Setting {
    /// What is told of a packet besides its bytes: `struct __sk_buff` (linux/bpf.h).
    context: [u8; 192],
    checksum_complete: bool,
}

impl Setting {
    /// The packet comes in where `hook` is.
    fn of(hook: Hook) -> Self {
        let mut interfaces = Netlink::open().unwrap().interfaces().unwrap();
        interfaces.retain(|one| one.name == interface(hook));
        Self { context: [0; 192], checksum_complete: false }.with(40, interfaces[0].index.0)
    }

    fn aggregate(self, segments: u32, size: u32) -> Self {
        self.with(164, segments).with(176, size)
    }

    fn with(mut self, offset: usize, value: u32) -> Self {
        self.context[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }
}

/// Runs each form through the program.
fn run(echo: &Echo, hook: Hook, forms: &[Form], setting: &Setting) {
    let Setting { context, checksum_complete } = setting;
    for form in forms {
        for (sent, fate) in &form.exchanges {
            let sent = sent.bytes();
            let run = echo.program().test_run(TestInput {
                packet: &sent,
                context,
                repeat: 1,
                checksum_complete: *checksum_complete,
            });
            let run = run.unwrap_or_else(|error| panic!("{}: {error}", form.name));
            let (verdict, after) = match (fate, hook) {
                (Fate::Answered(answer), Hook::Loopback) => (OK, answer.bytes()),
                (Fate::Answered(answer), Hook::Wire) => (REDIRECT, answer.bytes()),
                (Fate::Dropped, Hook::Loopback) => (REDIRECT, sent),
                (Fate::Dropped, Hook::Wire) => (SHOT, sent),
                (Fate::Passed, _) => (UNSPEC, sent),
            };
            assert_eq!(run.verdict, verdict, "{}", form.name);
            assert_same(&form.name, &run.packet, &after);
        }
    }
}

/// Asserts that the bytes are the same, or shows from where on they differ.
#[track_caller]
fn assert_same(name: &str, got: &[u8], expected: &[u8]) {
    let differs = got.iter().zip(expected).position(|(got, expected)| got != expected);
    assert!(
        differs.is_none() && got.len() == expected.len(),
        "{name}: {} bytes for {}, from {differs:?} on\n     got {:02x?}\nexpected {:02x?}",
        got.len(),
        expected.len(),
        &got[..got.len().min(200)],
        &expected[..expected.len().min(200)],
    );
}

fn alone(hook: Hook) {
    ethernet(1500);
    let setting = Setting::of(hook);
    let mut forms = forms(hook, mtu(hook));
    run(&load(hook, SERVED), hook, &forms, &setting);
    // One address of each version, which is not looked up.
    forms.retain(|form| !form.exchanges.iter().any(|(sent, _)| OTHERS.iter().any(|it| sent.has_address(it))));
    run(&load(hook, ONE_EACH), hook, &forms, &setting);
}

fn whole_sums() {
    ethernet(1500);
    for hook in HOOKS {
        let mut forms = forms(hook, mtu(hook));
        // The kernel forgets the sum of a packet that is cut: __skb_trim_rcsum() in include/linux/skbuff.h.
        forms.retain(|form| form.exchanges.iter().all(|(sent, fate)| !fate.cuts(sent)));
        let setting = Setting { checksum_complete: true, ..Setting::of(hook) };
        run(&load(hook, SERVED), hook, &forms, &setting);
    }
}

fn aggregates_alone() {
    ethernet(1500);
    for hook in HOOKS {
        let echo = load(hook, SERVED);
        for v4 in [true, false] {
            // No more fits into the page that such a packet has.
            let (sent, answer) = aggregate(hook, v4, 3000);
            let form = Form { name: "an aggregate".into(), exchanges: vec![(sent, Fate::answered(answer))] };
            for checksum_complete in [false, true] {
                let setting = Setting { checksum_complete, ..Setting::of(hook).aggregate(6, 500) };
                run(&echo, hook, std::slice::from_ref(&form), &setting);
            }
        }
    }
}

/// A line to the server, and the server.
struct Line {
    hook: Hook,
    socket: Socket,
    /// Ended when the test ends.
    server: Bpfecho,
    markers: u16,
}

impl Line {
    fn open(hook: Hook, arguments: &str) -> Self {
        let server = Bpfecho::start(&format!("{arguments} --ifname {}", interface(hook)));
        let socket = Socket::open(if hook == Hook::Loopback { "lo" } else { "v1" });
        Self { hook, socket, server, markers: 1000 }
    }

    fn send(&self, packet: &Packet) {
        self.socket.send(&packet.bytes(), &offload(packet));
    }

    /// The next frame from the server, or on loopback from the client, whose MAC addresses stay as they are; not
    /// what the kernel sends by itself.
    fn receive(&self) -> (Vec<u8>, Offload) {
        let source = if self.hook == Hook::Loopback { CLIENT_MAC } else { SERVER_MAC };
        self.socket.receive(|frame| frame[0] & 1 == 0 && frame[6..12] == source)
    }

    /// Asserts that `answer` comes next. Where the device would not complete a checksum, the kernel has done it.
    /// Returns what is left to do.
    #[track_caller]
    fn expect(&self, name: &str, answer: &Packet) -> Offload {
        let (frame, left) = self.receive();
        let partial = answer.partial && left.flags == Offload::NEEDS_CHECKSUM;
        assert_same(name, &frame, &Packet { partial, ..answer.clone() }.bytes());
        let expected = offload(&Packet { partial, ..answer.clone() });
        let place = |offload: &Offload| (offload.flags, offload.checksum_start, offload.checksum_offset);
        assert_eq!(place(&left), place(&expected), "{name}");
        left
    }

    fn exchange(&mut self, name: &str, sent: &Packet, fate: &Fate) {
        self.send(sent);
        match fate {
            Fate::Answered(answer) => _ = self.expect(name, answer),
            // There it has arrived.
            Fate::Passed if self.hook == Hook::Loopback => _ = self.expect(name, sent),
            Fate::Passed | Fate::Dropped => self.expect_nothing(name),
        }
    }

    /// Asserts that nothing comes: what is sent now is answered first.
    fn expect_nothing(&mut self, name: &str) {
        self.markers += 1;
        let marker = marker(self.hook, self.markers);
        self.send(&marker);
        self.expect(&format!("nothing for {name}"), &marker.back(self.hook));
    }

    fn exchange_all(&mut self, forms: &[Form]) {
        for form in forms {
            for (sent, fate) in &form.exchanges {
                self.exchange(&form.name, sent, fate);
            }
            self.expect_nothing(&format!("more than one answer to {}", form.name));
        }
    }
}

fn over(hook: Hook) {
    ethernet(1500);
    Line::open(hook, SERVED).exchange_all(&forms(hook, mtu(hook)));
}

/// Tags that the kernel keeps beside the frame are written into it before it is sent.
fn without_tags() {
    ethernet(1500);
    sh("ethtool -K v0 txvlan off && ethtool -K v0 tx-vlan-stag-hw-insert off");
    let mut forms = forms(Hook::Wire, 1500);
    forms.retain(|form| form.exchanges.iter().any(|(sent, _)| !sent.tags.is_empty()));
    Line::open(Hook::Wire, SERVED).exchange_all(&forms);
}

/// Most of each frame is behind what the program can access at once, and only helpers reach it: so much that the
/// kernel has to keep it elsewhere is padded.
fn scattered() {
    ethernet(9000);
    for hook in HOOKS {
        let mut line = Line::open(hook, SERVED);
        for form in forms(hook, if hook == Hook::Loopback { 65536 } else { 9000 }) {
            let [(sent, fate)] = &form.exchanges[..] else { continue };
            let padded = |packet: &Packet| Packet { padding: vec![0xa5; 5000], ..packet.clone() };
            let sent_padded = padded(sent);
            line.socket.send(&sent_padded.bytes(), &Offload { header_length: 14, ..Offload::default() });
            match fate {
                // The padding goes with what is cut off.
                Fate::Answered(answer) if fate.cuts(sent) => _ = line.expect(&form.name, answer),
                Fate::Answered(answer) => _ = line.expect(&form.name, &padded(answer)),
                Fate::Passed if hook == Hook::Loopback => _ = line.expect(&form.name, &sent_padded),
                Fate::Passed | Fate::Dropped => line.expect_nothing(&form.name),
            }
        }
    }
}

/// What a local socket leaves to the device: the checksum, of which there is the sum of the pseudo header.
fn offload(packet: &Packet) -> Offload {
    if !packet.partial {
        return Offload::default();
    }
    let checksum_start = packet.transport_offset() as u16;
    let checksum_offset = if matches!(packet.transport, Transport::Tcp(_)) { 16 } else { 6 };
    Offload {
        flags: Offload::NEEDS_CHECKSUM,
        header_length: checksum_start + checksum_offset + 2,
        checksum_start,
        checksum_offset,
        ..Offload::default()
    }
}

fn partial(packet: &Packet) -> Packet {
    Packet { partial: true, ..packet.clone() }
}

fn partial_checksums() {
    ethernet(1500);
    for hook in HOOKS {
        let left = exchange_partial(&mut Line::open(hook, SERVED));
        assert!(left > 50, "only {left} were left to the device");
    }
}

/// Exchanges all forms that can be, with checksums that are left to the device. Returns how many of the answers were,
/// too.
fn exchange_partial(line: &mut Line) -> u32 {
    let mut left = 0;
    for form in forms(line.hook, mtu(line.hook)) {
        let [(sent, Fate::Answered(answer))] = &form.exchanges[..] else { continue };
        if !matches!(sent.transport, Transport::Udp { checksum: true, .. } | Transport::Tcp(_)) {
            continue;
        }
        line.send(&partial(sent));
        left += u32::from(line.expect(&form.name, &partial(answer)).flags);
        line.expect_nothing(&form.name);
    }
    left
}

fn aggregates() {
    ethernet(1500);
    for hook in HOOKS {
        let line = Line::open(hook, SERVED);
        for v4 in [true, false] {
            let (sent, answer) = aggregate(hook, v4, 20_000);
            let gso_type = if v4 { Offload::TCP_4 } else { Offload::TCP_6 };
            let offload = Offload { gso_type, gso_size: 1448, ..offload(&partial(&sent)) };
            line.socket.send(&partial(&sent).bytes(), &offload);
            let left = line.expect("an aggregate", &partial(&answer));
            assert_eq!((left.flags, left.gso_type, left.gso_size), (Offload::NEEDS_CHECKSUM, gso_type, 1448));
        }
    }
}

fn jumbo_frames() {
    ethernet(9000);
    let mut line = Line::open(Hook::Wire, SERVED);
    for v4 in [true, false] {
        let [datagram, _] = plain(Hook::Wire, v4);
        let payload = forms::payload(9000 - datagram.network_length() - 8);
        let jumbo = Packet { transport: Transport::Udp { payload, checksum: true }, ..datagram };
        line.exchange("a jumbo frame", &jumbo, &Fate::answered(jumbo.back(Hook::Wire)));
    }
    // The MSS is that of the MTU, too.
    let mut forms = forms(Hook::Wire, 9000);
    forms.retain(|form| form.name.contains("SYN"));
    line.exchange_all(&forms);
}

/// The third message behind a mere acknowledgment comes back twice.
fn nudged() {
    ethernet(1500);
    for [v4, partial] in [[true, true], [true, false], [false, true], [false, false]] {
        let mut line = Line::open(Hook::Wire, SERVED);
        let (acknowledgment, message) = message(v4);
        let [acknowledgment, message] = [acknowledgment, message].map(|packet| Packet { partial, ..packet });
        let echo = |packet: &Packet| with_echoed_timestamps(&packet.back(Hook::Wire));
        for _ in 0..3 {
            line.expect_nothing("a message of those before");
            line.exchange("an acknowledgment", &acknowledgment, &Fate::answered(echo(&acknowledgment)));
            line.exchange("a message", &message, &Fate::answered(echo(&message)));
        }
        line.expect("the message again", &echo(&message));
        line.expect_nothing("the message a third time");
    }
}

fn with_echoed_timestamps(packet: &Packet) -> Packet {
    let mut packet = packet.clone();
    if let Transport::Tcp(segment) = &mut packet.transport {
        segment.options.copy_within(4..8, 8);
    }
    packet
}

fn allowed() {
    ethernet(1500);
    let mut line = Line::open(Hook::Wire, &format!("{SERVED} --allow 10.7.0.8/30,fd00:7::8/125"));
    for (source, is_allowed) in [
        ("10.7.0.7", false),
        ("10.7.0.8", true),
        ("10.7.0.11", true),
        ("10.7.0.12", false),
        ("127.0.0.1", false),
        ("fd00:7::7", false),
        ("fd00:7::8", true),
        ("fd00:7::f", true),
        ("fd00:7::10", false),
        ("fd00:8::8", false),
    ] {
        let source: IpAddr = source.parse().unwrap();
        for mut sent in plain(Hook::Wire, source.is_ipv4()) {
            sent.from.set_ip(source);
            let fate = if is_allowed { Fate::answered(sent.back(Hook::Wire)) } else { Fate::Dropped };
            line.exchange(&source.to_string(), &sent, &fate);
        }
    }
}
