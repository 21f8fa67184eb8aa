//! The program in the kernel without a network: `BPF_PROG_TEST_RUN`, after the real verifier and JIT. Packets
//! that etherparse builds go in; verdict, bytes and counters must be those that the rules of the probe say.

#[path = "../probe/tests/support/mod.rs"]
mod packets;
mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use bpfecho::configuration::{Configuration, Place};
use bpfecho::echo::Echo;
use bpfecho::prefix::Prefix;
use bpfecho::protocols::Protocols;
use loader::rtnetlink::Netlink;
use loader::{Errno, TestInput};
use packets::golden::{SEQUENCE, TSECR, TSVAL, aligned_timestamps, syn, syn_ack};
use packets::random::{Random, damage, datagram, from_nobody, question, segment, turn};
use packets::*;
use probe::abi::{Counter, Counters, destination, protocols};
use probe::host::Audience;
use probe::reflect::Outcome;
use support::namespace::sh;
use support::test;

fn main() -> ExitCode {
    support::main([
        test("udp_datagrams_come_back", datagrams),
        test("a_syn_is_answered_with_its_options", handshake),
        test("data_in_a_syn_is_cut_off", handshake_with_data),
        test("data_comes_back_acknowledged_when_it_is_alone", data),
        test("ends_and_probes_are_answered", ends_and_probes),
        test("ip_options_stay_and_timestamps_are_found_anywhere", options),
        test("resets_and_wrong_flags_are_consumed", consumed),
        test("what_is_not_ours_stays_as_it_is", not_ours),
        test("tags_extension_headers_and_fragments_do_not_matter", unusual),
        test("what_is_broken_stays_as_it_is", passed),
        test("many_addresses_and_ports", many),
        test("the_kernel_does_what_the_rules_say_on_loopback", same_as_the_rules_on_loopback),
        test("the_kernel_does_what_the_rules_say_on_the_wire", same_as_the_rules_on_the_wire).needs(&["ip"]),
        test("the_programs_have_names", names).needs(&["bpftool"]),
    ])
}

/// Verdicts of the traffic-control hook (linux/pkt_cls.h): go on to the next program, send, drop, send elsewhere.
const UNSPEC: i32 = -1;
const OK: i32 = 0;
const SHOT: i32 = 2;
const REDIRECT: i32 = 7;

/// The window scale of the client.
const SCALE: u32 = 7;

/// The program that does what `server` does.
fn load<const WIRE: bool>(server: &Server<WIRE>) -> Echo {
    let echoes = |protocol| server.protocols & protocol != 0;
    let hosts = server.addresses.iter().map(|&address| (address.into(), destination::ECHO));
    let virtual_hosts = server.virtual_hosts.iter().map(|&(address, length)| {
        (Prefix::network(address, length), destination::ECHO | destination::VIRTUAL)
    });
    let configuration = Configuration {
        place: if WIRE { Place::Ethernet { mac: SERVER_MAC } } else { Place::Loopback },
        mtu: server.mtu,
        protocols: Protocols {
            tcp: echoes(protocols::TCP),
            udp: echoes(protocols::UDP),
            icmp: echoes(protocols::ICMP),
        },
        ports: server.ports.iter().map(|&port| port..=port).collect(),
        destinations: virtual_hosts.chain(hosts).collect(),
        sources: Prefix::EVERYBODY
            .map(|everybody| (everybody, true))
            .into_iter()
            .chain(server.refused.iter().map(|&address| (address.into(), false)))
            .collect(),
    };
    Echo::load(&configuration, false, true).unwrap()
}

/// Runs `frame` and asserts the verdict, every byte of what it becomes, and all that was counted for it.
#[track_caller]
fn assert_run(echo: &Echo, frame: &[u8], verdict: i32, after: &[u8], counted: &[(usize, usize)]) {
    let mut counters = echo.counters().unwrap();
    let run = echo.program().test_run(frame).unwrap();
    assert_eq!(run.verdict, verdict, "{frame:02x?}");
    assert_eq!(run.packet, after, "{frame:02x?}");
    for &(counter, amount) in counted {
        counters[counter] += amount as u64;
    }
    assert_eq!(echo.counters().unwrap(), counters, "{frame:02x?}");
}

/// Asserts that `frame` goes on as it is, or vanishes.
#[track_caller]
fn assert_unchanged(echo: &Echo, frame: &[u8], verdict: i32, counter: Option<Counter>) {
    let counted: Vec<_> = counter.map(|counter| (counter as usize, 1)).into_iter().collect();
    assert_run(echo, frame, verdict, frame, &counted);
}

/// Asserts that `frame` is sent back as `answer` with `payload` bytes, whose checksums are right.
#[track_caller]
fn assert_reflected(
    echo: &Echo,
    frame: &[u8],
    answer: &[u8],
    packets: Counter,
    payload: usize,
    event: Option<Counter>,
) {
    assert_eq!(checksum_is_right(answer), Some(true));
    assert_ne!(header_checksum_is_right(answer), Some(false));
    let mut counted = vec![(packets as usize, 1), (packets as usize + 1, payload)];
    counted.extend(event.map(|event| (event as usize, 1)));
    assert_run(echo, frame, OK, answer, &counted);
}

#[track_caller]
fn assert_answer(echo: &Echo, segment: &Tcp, answer: &Tcp, event: Option<Counter>) {
    let packets = golden::packets(segment.route.from.is_ipv4());
    let answer = answer.clone().balanced(segment);
    assert_reflected(echo, &segment.frame(), &answer.frame(), packets, answer.payload.len(), event);
}

fn payload(length: usize) -> Vec<u8> {
    let mut random = Random(length as u64);
    (0..length).map(|_| random.byte()).collect()
}

fn datagrams() {
    let echo = load(&Loopback::usual());
    for (route, counter) in routes().into_iter().zip([Counter::Udp4Packets, Counter::Udp6Packets]) {
        for length in [0, 1, 2, 333, 1400] {
            let payload = payload(length);
            let answer = udp(&route.back(), &payload);
            assert_reflected(&echo, &udp(&route, &payload), &answer, counter, length, None);
        }
    }
    // No checksum is none in the answer either.
    let [route, _] = routes();
    let without_checksum = |route: &Route| {
        let mut frame = udp(route, b"hello");
        frame[ETHERNET + 20 + 6..][..2].fill(0);
        frame
    };
    let (frame, answer) = (without_checksum(&route), without_checksum(&route.back()));
    assert_reflected(&echo, &frame, &answer, Counter::Udp4Packets, 5, None);
}

/// The options of Linux: MSS, SACK permitted, timestamps, window scale.
fn linux_options() -> Vec<u8> {
    [&[2, 4, 0xff, 0xd7, 4, 2, 8, 10][..], &TSVAL, &[0; 4], &[1, 3, 3, SCALE as u8]].concat()
}

/// What is answered: an MSS of `mss`, the same scale, timestamps.
fn answered_options(mss: u16) -> Vec<u8> {
    [&[2, 4][..], &mss.to_be_bytes(), &[1, 3, 3, SCALE as u8], &aligned_timestamps(TSVAL, TSVAL)].concat()
}

fn handshake() {
    let echo = load(&Loopback::usual());
    for (route, mss) in routes().into_iter().zip([1460, 1440]) {
        let mut syn = syn(&route, &linux_options());
        let answer = syn_ack(&syn, SCALE, &answered_options(mss));
        assert_answer(&echo, &syn, &answer, Some(Counter::Handshakes));
        // ECN is offered, as RFC 3168 has it and as AccECN has it: neither is taken.
        syn.flags |= ECE | CWR;
        assert_answer(&echo, &syn, &answer, Some(Counter::Handshakes));
        syn.accurate_ecn = true;
        assert_answer(&echo, &syn, &answer, Some(Counter::Handshakes));
        // Without options.
        let syn = golden::syn(&route, &[]);
        assert_answer(&echo, &syn, &syn_ack(&syn, 0, &[]), Some(Counter::Handshakes));
    }
    // The MTU of loopback leaves the client's MSS as it is.
    let echo = load(&Loopback { mtu: 65536, ..Server::usual() });
    let [route, _] = routes();
    let syn = syn(&route, &linux_options());
    assert_answer(&echo, &syn, &syn_ack(&syn, SCALE, &answered_options(65495)), Some(Counter::Handshakes));
}

fn handshake_with_data() {
    let echo = load(&Loopback::usual());
    for (route, mss) in routes().into_iter().zip([1460, 1440]) {
        for length in [1, 2, 1000] {
            let syn = Tcp { payload: payload(length), ..syn(&route, &linux_options()) };
            let answer = syn_ack(&syn, SCALE, &answered_options(mss));
            assert!(answer.payload.is_empty());
            assert_answer(&echo, &syn, &answer, Some(Counter::Handshakes));
        }
    }
}

/// What the server's sequence numbers are ahead of the client's.
const DELTA: u32 = SCALE << 28;

/// A segment whose sender has confirmed all but the last `in_flight` bytes of what it sent before.
fn established(route: &Route, flags: u8, in_flight: u32, payload: Vec<u8>) -> Tcp {
    Tcp {
        sequence: SEQUENCE,
        acknowledgment: SEQUENCE.wrapping_add(DELTA).wrapping_sub(in_flight),
        window: 502,
        options: aligned_timestamps(TSVAL, TSECR),
        payload,
        ..Tcp::new(route, flags)
    }
}

/// The answer to `segment`, with these numbers.
fn answer(segment: &Tcp, acknowledgment: u32, window: u16) -> Tcp {
    Tcp {
        sequence: segment.sequence.wrapping_add(DELTA),
        acknowledgment,
        window,
        options: aligned_timestamps(TSVAL, TSVAL),
        ..segment.back()
    }
}

fn data() {
    let echo = load(&Loopback::usual());
    for route in routes() {
        for length in [1, 2, 333, 1400] {
            // Alone: it is acknowledged with its echo, and the window's right edge stays.
            let alone = established(&route, ACK | PSH, 0, payload(length));
            let window = ((502 << SCALE) - length as u32) >> SCALE;
            let end = SEQUENCE.wrapping_add(length as u32);
            assert_answer(&echo, &alone, &answer(&alone, end, window as u16), None);
            // Behind 1,000 bytes that are not confirmed: those are what the echo goes on asking for.
            let behind = established(&route, ACK, 1000, payload(length));
            let confirmed = SEQUENCE.wrapping_sub(1000);
            assert_answer(&echo, &behind, &answer(&behind, confirmed, 502), None);
        }
        // With less than 32 KiB of window behind it, nothing is acknowledged in advance.
        let narrow = Tcp { window: 250, ..established(&route, ACK, 0, payload(100)) };
        assert_answer(&echo, &narrow, &answer(&narrow, SEQUENCE, 250), None);
        // A mere acknowledgment.
        let ack = established(&route, ACK, 0, Vec::new());
        assert_answer(&echo, &ack, &answer(&ack, SEQUENCE, 502), None);
    }
}

fn ends_and_probes() {
    let echo = load(&Loopback::usual());
    for route in routes() {
        let fin = established(&route, FIN | ACK, 0, Vec::new());
        let end = SEQUENCE.wrapping_add(1);
        assert_answer(&echo, &fin, &answer(&fin, end, 501), Some(Counter::Closes));
        let fin = established(&route, FIN | ACK | PSH, 0, payload(100));
        let end = SEQUENCE.wrapping_add(101);
        assert_answer(&echo, &fin, &answer(&fin, end, 501), Some(Counter::Closes));
        // One byte before what was acknowledged: the answer says where the server is.
        let probe = Tcp { sequence: SEQUENCE.wrapping_sub(1), ..established(&route, ACK, 0, Vec::new()) };
        let place = Tcp { sequence: probe.acknowledgment, ..answer(&probe, SEQUENCE, 502) };
        assert_answer(&echo, &probe, &place, None);
    }
}

fn options() {
    let echo = load(&Loopback::usual());
    let [mut with_ip_options, _] = routes();
    // Router alert, and the longest record route.
    let record = [&[7, 35, 4][..], &[0; 32], &[0]].concat();
    for ip_options in [vec![148, 4, 0, 0], record, vec![1; 40]] {
        with_ip_options.options = ip_options;
        let route = &with_ip_options;
        let answered = udp(&route.back(), b"hello");
        assert_reflected(&echo, &udp(route, b"hello"), &answered, Counter::Udp4Packets, 5, None);
        let alone = established(route, ACK, 0, payload(128));
        assert_answer(&echo, &alone, &answer(&alone, SEQUENCE.wrapping_add(128), 501), None);
    }
    for route in routes() {
        // 40 bytes, with the timestamps at an odd place, and an option nobody knows behind them.
        let odd = |echoed: [u8; 4]| [&[1, 8, 10][..], &TSVAL, &echoed, &[253, 29], &payload(27)].concat();
        let alone = Tcp { options: odd(TSECR), ..established(&route, ACK, 0, payload(5)) };
        let answered = Tcp { options: odd(TSVAL), ..answer(&alone, SEQUENCE.wrapping_add(5), 501) };
        assert_answer(&echo, &alone, &answered, None);
        // In a SYN likewise, among a scale and an MSS: the answer has the three in its own order, then NOPs.
        let odd = [&[1, 8, 10][..], &TSVAL, &TSECR, &[3, 3, 3, 253, 22], &payload(20), &[2, 4, 5, 0x78]];
        let syn = syn(&route, &odd.concat());
        let known = [&[2, 4, 5, 0x78, 1, 3, 3, 3][..], &aligned_timestamps(TSVAL, TSVAL)].concat();
        let answered = [known, vec![1; 20]].concat();
        assert_eq!((syn.options.len(), answered.len()), (40, 40));
        assert_answer(&echo, &syn, &syn_ack(&syn, 3, &answered), Some(Counter::Handshakes));
    }
}

fn consumed() {
    let echo = load(&Loopback::usual());
    for route in routes() {
        for flags in [RST, RST | ACK, RST | SYN, 0xff] {
            let reset = established(&route, flags, 0, Vec::new()).frame();
            assert_unchanged(&echo, &reset, REDIRECT, Some(Counter::Resets));
        }
        for flags in [0, FIN, SYN | FIN, SYN | ACK, SYN | FIN | ACK, PSH, PSH | URG | FIN] {
            let wrong = established(&route, flags, 0, payload(3)).frame();
            assert_unchanged(&echo, &wrong, REDIRECT, Some(Counter::DroppedFlags));
        }
        // No window scale is 15: nobody has answered the SYN of this connection like that.
        let stray =
            Tcp { acknowledgment: SEQUENCE.wrapping_sub(1 << 28), ..established(&route, ACK, 0, payload(3)) };
        assert_unchanged(&echo, &stray.frame(), REDIRECT, Some(Counter::DroppedStray));
    }
}

fn not_ours() {
    let echo = load(&Loopback::usual());
    for route in routes() {
        for port in [0, 6999, 7001, PORT - 1, PORT + 1, 7011, 65535] {
            let mut other = route.clone();
            other.to.set_port(port);
            assert_unchanged(&echo, &udp(&other, b"hello"), UNSPEC, None);
            assert_unchanged(&echo, &syn(&other, &linux_options()).frame(), UNSPEC, None);
        }
        // The way back: from the served port to elsewhere.
        assert_unchanged(&echo, &udp(&route.back(), b"hello"), UNSPEC, None);
        let mut other = route.clone();
        other.to.set_ip(match route.to.ip() {
            IpAddr::V4(_) => "192.0.2.8".parse().unwrap(),
            IpAddr::V6(_) => "2001:db8::8".parse().unwrap(),
        });
        assert_unchanged(&echo, &udp(&other, b"hello"), UNSPEC, None);
        assert_unchanged(&echo, &syn(&other, &linux_options()).frame(), UNSPEC, None);
        // Neither TCP nor UDP: ICMP, UDP-Lite, SCTP.
        for protocol in [1, 58, 132, 136] {
            let frame = route.frame(protocol, &udp(&route, b"hello")[route.headers()..]);
            assert_unchanged(&echo, &frame, UNSPEC, None);
        }
        // Not even IP.
        for ethertype in [[0x08, 0x06], [0x88, 0xcc], [0x81, 0x00], [0, 0]] {
            let mut frame = udp(&route, b"hello");
            frame[12..14].copy_from_slice(&ethertype);
            assert_unchanged(&echo, &frame, UNSPEC, None);
        }
    }
    // An IPv4 address of ours as an IPv6 address is another address, also the mapped one.
    for address in ["::192.0.2.7", "::ffff:192.0.2.7"] {
        let route = Route::new(CLIENT_6, address);
        assert_unchanged(&echo, &udp(&route, b"hello"), UNSPEC, None);
        assert_unchanged(&echo, &syn(&route, &linux_options()).frame(), UNSPEC, None);
    }
    assert_unchanged(&echo, &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5], UNSPEC, None);
}

fn unusual() {
    let echo = load(&Loopback::usual());
    let [v4, v6] = routes();
    let counters = [Counter::Udp4Packets, Counter::Udp6Packets];
    for (route, counter) in [&v4, &v6].into_iter().zip(counters) {
        for tags in [&[0x81, 0, 0, 1][..], &[0x88, 0xa8, 0xe0, 2], &[0x88, 0xa8, 0, 3, 0x81, 0, 0, 4]] {
            let route = Route { tags: tags.into(), ..route.clone() };
            let answer = udp(&route.back(), b"hello");
            assert_reflected(&echo, &udp(&route, b"hello"), &answer, counter, 5, None);
        }
        // The first fragment lets the others follow.
        let payload = payload(100);
        let pieces = |route: &Route| fragments(route, UDP, &udp(route, &payload), 48);
        for ((frame, answer), length) in pieces(route).iter().zip(pieces(&route.back())).zip([40, 48, 12]) {
            assert_run(&echo, frame, OK, &answer, &[(counter as usize, 1), (counter as usize + 1, length)]);
        }
    }
    for (number, header) in [
        (0, [UDP, 0, 1, 4, 0, 0, 0, 0]),
        (43, [UDP, 0, 1, 0, 0, 0, 0, 0]),
        (44, [UDP, 0, 0, 0, 0, 0, 0, 0]),
        (51, [UDP, 0, 1, 4, 0, 0, 0, 0]),
        (60, [UDP, 0, 1, 4, 0, 0, 0, 0]),
    ] {
        let route = Route { extension: Some((number, header.into())), ..v6.clone() };
        let answer = udp(&route.back(), b"hello");
        assert_reflected(&echo, &udp(&route, b"hello"), &answer, Counter::Udp6Packets, 5, None);
    }
}

fn passed() {
    let echo = load(&Loopback::usual());
    let [v4, v6] = routes();
    // Fragments without the first.
    for fragment in [0x2001, 0x0001, 0x1fff] {
        let route = Route { fragment, ..v4.clone() };
        assert_unchanged(&echo, &udp(&route, &payload(64)), UNSPEC, Some(Counter::PassedFragment));
    }
    for (number, header, counter) in [
        (44, [UDP, 0, 1, 4, 0, 0, 0, 0], Counter::PassedFragment),
        // A stop is left; there is more than the packet has.
        (43, [UDP, 0, 1, 4, 0, 0, 0, 0], Counter::PassedExtension),
        (60, [60, 9, 1, 4, 0, 0, 0, 0], Counter::PassedExtension),
    ] {
        let route = Route { extension: Some((number, header.into())), ..v6.clone() };
        assert_unchanged(&echo, &udp(&route, b"hello"), UNSPEC, Some(counter));
    }
    for route in [v4, v6] {
        // A SYN in fragments, of whose data nobody knows how much comes.
        let with_data = Tcp { payload: payload(100), ..syn(&route, &linux_options()) };
        for fragment in fragments(&route, TCP, &with_data.frame(), 48) {
            assert_unchanged(&echo, &fragment, UNSPEC, Some(Counter::PassedFragment));
        }
        let itself = Route { from: route.to, ..route.clone() };
        assert_unchanged(&echo, &udp(&itself, b"hello"), UNSPEC, Some(Counter::PassedOwnSource));
        let too_long = Route { said: Some(1400), ..route.clone() };
        assert_unchanged(&echo, &udp(&too_long, b"hello"), UNSPEC, Some(Counter::PassedMalformed));
        // A TCP header that is said to be shorter or longer than can be.
        for offset in [0x00, 0x40, 0xf0] {
            let mut frame = syn(&route, &linux_options()).frame();
            frame[route.headers() + 12] = offset;
            assert_unchanged(&echo, &frame, UNSPEC, Some(Counter::PassedMalformed));
        }
        // Packets that end anywhere in their headers.
        let whole = syn(&route, &linux_options()).frame();
        for length in route.headers() + 4..whole.len() {
            assert_unchanged(&echo, &whole[..length], UNSPEC, Some(Counter::PassedMalformed));
        }
    }
}

fn many() {
    // Every other address and every third port.
    let addresses_4 = (0..500).map(|index| IpAddr::V4(Ipv4Addr::from(0x0a50_0001 + index * 2)));
    let addresses_6 = (0..500).map(|index| IpAddr::V6(Ipv6Addr::from((0xfd00 << 112) + 1 + index * 2)));
    let addresses: Vec<_> = addresses_4.chain(addresses_6).collect();
    let ports: Vec<u16> = (0..1000).map(|index| 2000 + index * 3).collect();
    let echo = load(&Loopback { addresses: addresses.clone(), ports: ports.clone(), ..Server::usual() });

    let near = |address: IpAddr, distance: i8| match address {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address).wrapping_add_signed(distance.into())).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address).wrapping_add_signed(distance.into())).into()),
    };
    let route = |address: IpAddr, port| {
        let [v4, v6] = routes();
        let mut route = if address.is_ipv4() { v4 } else { v6 };
        route.to = (address, port).into();
        route
    };
    let (first, last) = (ports[0], ports[999]);
    for index in [0, 1, 250, 499, 500, 501, 998, 999] {
        let address = addresses[index];
        let counter = if address.is_ipv4() { Counter::Udp4Packets } else { Counter::Udp6Packets };
        for port in [first, first + 3, ports[500], last - 3, last] {
            let route = route(address, port);
            let answer = udp(&route.back(), b"hello");
            assert_reflected(&echo, &udp(&route, b"hello"), &answer, counter, 5, None);
        }
        for port in [first - 1, first + 1, first + 2, ports[500] - 1, ports[500] + 1, last - 1, last + 1] {
            assert_unchanged(&echo, &udp(&route(address, port), b"hello"), UNSPEC, None);
        }
        for distance in [-1, 1] {
            assert_unchanged(&echo, &udp(&route(near(address, distance), first), b"hello"), UNSPEC, None);
        }
    }
}

/// On how many packets the program and the rules are compared.
const COMPARED: usize = 8000;

fn same_as_the_rules_on_loopback() {
    let server = Loopback { protocols: protocols::TCP | protocols::UDP | protocols::ICMP, ..Server::usual() };
    let never = [
        Counter::Nudges,
        Counter::Neighbours,
        Counter::DroppedSource,
        Counter::DroppedLoop,
        Counter::DroppedTtl,
        Counter::DroppedMemory,
        Counter::PassedPartial,
        Counter::PassedFrame,
    ];
    same_as_the_rules(&server, &[], &never);
}

fn same_as_the_rules_on_the_wire() {
    // An interface with the server's MAC address decides for whom a frame is; what is sent twice is sent there.
    let [server, client] =
        [SERVER_MAC, CLIENT_MAC].map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
    sh(&format!(
        "ip link add v0 up address {server} type veth peer name v1 address {client} && ip link set v1 up"
    ));
    let mut interfaces = Netlink::open().unwrap().interfaces().unwrap();
    interfaces.retain(|interface| interface.name == "v0");
    let server = Wire {
        protocols: protocols::TCP | protocols::UDP | protocols::ICMP | protocols::NEIGHBOURS,
        virtual_hosts: vec![
            (VIRTUAL_4.parse::<Ipv4Addr>().unwrap().into(), 24),
            (VIRTUAL_6.parse::<Ipv6Addr>().unwrap().into(), 64),
        ],
        ..Server::usual()
    };
    // `struct __sk_buff` (linux/bpf.h) up to `ifindex`.
    let mut context = [0; 192];
    context[40..44].copy_from_slice(&interfaces[0].index.0.to_ne_bytes());
    let never = [Counter::DroppedMemory, Counter::PassedOwnSource, Counter::PassedPartial];
    same_as_the_rules(&server, &context, &never);
}

/// Compares every outcome, and what is counted; every counter is, but those that `never` are.
fn same_as_the_rules<const WIRE: bool>(server: &Server<WIRE>, context: &[u8], never: &[Counter]) {
    let mut random = Random(0x0062_7066);
    let echo = load(server);
    let mut expected: Counters = [0; probe::abi::COUNTERS];
    let mut reflected = 0;
    for index in 0..COMPARED {
        let frame = mutated(&mut random);
        let mut answer = frame.clone();
        let verdict = match run_for(server, &mut answer, audience(&frame)) {
            Outcome::Refused(refusal) => {
                if let Some(reason) = refusal.reason {
                    expected[reason as usize] += 1;
                }
                match (refusal.goes_on(), WIRE) {
                    (true, _) => UNSPEC,
                    (false, true) => SHOT,
                    (false, false) => REDIRECT,
                }
            }
            Outcome::Reflected(outcome) => {
                finish(&mut answer, &outcome);
                expected[outcome.packets as usize] += 1;
                expected[outcome.packets as usize + 1] += u64::from(outcome.bytes);
                for event in [outcome.event, outcome.twice.then_some(Counter::Nudges)].into_iter().flatten() {
                    expected[event as usize] += 1;
                }
                reflected += 1;
                if WIRE { REDIRECT } else { OK }
            }
        };
        let run = match echo.program().test_run(TestInput { context, ..TestInput::from(&frame) }) {
            Ok(run) => run,
            // Recent kernels run nothing on half an IP header: bpf_prog_test_run_skb() in net/bpf/test_run.c.
            Err(error) if error.errno() == Errno::EINVAL && frame.len() < ETHERNET + 40 => {
                assert_eq!((verdict, &answer), (UNSPEC, &frame), "{index}");
                continue;
            }
            Err(error) => panic!("{index}: {error}: {frame:02x?}"),
        };
        assert_eq!(run.verdict, verdict, "{index}: {frame:02x?}");
        assert_eq!(run.packet, answer, "{index}: {frame:02x?}");
    }
    assert_eq!(echo.counters().unwrap(), expected);
    // The comparison is worth something only if every kind of packet is among them.
    assert!((COMPARED / 5..COMPARED * 3 / 4).contains(&reflected), "{reflected} reflected");
    for (counter, &count) in expected.iter().enumerate() {
        let never = never.iter().any(|&never| never as usize == counter);
        assert_eq!(count == 0, never, "counter {counter}: {expected:?}");
    }
}

/// For whom the kernel takes `frame`: eth_type_trans() in net/ethernet/eth.c.
fn audience(frame: &[u8]) -> Audience {
    if frame[..6] == SERVER_MAC {
        Audience::Us
    } else if frame[0] & 1 != 0 {
        Audience::Many
    } else {
        Audience::Other
    }
}

/// Networks of virtual hosts.
const VIRTUAL_4: &str = "203.0.113.0";
const VIRTUAL_6: &str = "2001:db8:5::";

/// A packet that a program serves, then perhaps with some bytes changed and the end cut off; at least an Ethernet
/// header, at most 2,000 bytes.
fn mutated(random: &mut Random) -> Vec<u8> {
    let mut frame = match random.below(20) {
        0 | 1 => question(random),
        2 | 3 => turn(random),
        4 => from_nobody(random),
        5..8 => datagram(random),
        _ => segment(random).frame(),
    };
    if random.chance(50) {
        damage(random, &mut frame, 120);
    }
    if random.chance(15) {
        frame.truncate(ETHERNET + random.below(frame.len() - ETHERNET));
    }
    frame.truncate(2000);
    frame
}

fn names() {
    let shown = |echo: &Echo| sh(&format!("bpftool prog show id {}", echo.program().id().unwrap()));
    let loopback = shown(&load(&Loopback::usual()));
    assert!(loopback.contains(": sched_cls  name bpfecho_lo  tag "), "{loopback}");
    let wire = shown(&load(&Wire::usual()));
    assert!(wire.contains(": sched_cls  name bpfecho_wire  tag "), "{wire}");
}
