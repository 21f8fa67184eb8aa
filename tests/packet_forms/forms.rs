//! The table: forms of packets, and what becomes of each.

use std::net::{IpAddr, SocketAddr};

use super::packet::*;
use super::shapes::{DESTINATION, HOP_BY_HOP, ROUTING, SHAPES_4, SHAPES_6, extend};

/// What is served, on port [`PORT`].
pub(crate) const SERVED: &str = "10.7.0.5 10.7.0.6 fd00:7::5 fd00:7::6 7000 --protocol tcp,udp,icmp";

/// The same without [`OTHERS`].
pub(crate) const ONE_EACH: &str = "10.7.0.5 fd00:7::5 7000 --protocol tcp,udp,icmp";

/// See [`ONE_EACH`].
pub(crate) const OTHERS: [&str; 2] = ["10.7.0.6", "fd00:7::6"];

const PORT: u16 = 7000;

/// A packet or a few of one kind, in order, and what becomes of each.
pub(crate) struct Form {
    pub(crate) name: String,
    pub(crate) exchanges: Vec<(Packet, Fate)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// It comes back as this.
    Answered(Box<Packet>),
    /// It vanishes.
    Dropped,
    /// It goes on as it is.
    Passed,
}
use Fate::{Answered, Dropped, Passed};

impl Fate {
    pub(crate) fn answered(answer: Packet) -> Self {
        Answered(Box::new(answer))
    }

    /// Whether less comes back than was `sent`.
    pub(crate) fn cuts(&self, sent: &Packet) -> bool {
        matches!(self, Answered(answer) if answer.bytes().len() < sent.bytes().len())
    }
}

/// All forms on an interface with this MTU, over both versions of IP.
pub(crate) fn forms(hook: Hook, mtu: usize) -> Vec<Form> {
    let mut forms = Vec::new();
    for v4 in [true, false] {
        let mut table = Table { hook, mtu, v4, forms: Vec::new() };
        table.shapes();
        table.datagrams();
        table.handshakes();
        table.segments();
        table.pings();
        table.fragments();
        table.extremes();
        table.not_answered();
        if hook == Hook::Wire {
            table.refused_on_the_wire();
        }
        forms.extend(table.forms);
    }
    forms
}

/// A datagram that is answered by itself, told from others by `number`.
pub(crate) fn marker(hook: Hook, number: u16) -> Packet {
    let table = Table { hook, mtu: 0, v4: true, forms: Vec::new() };
    Packet { from: (table.client(), number).into(), ..table.packet(udp(b"marker")) }
}

/// A datagram and a ping, which come back as they are.
pub(crate) fn plain(hook: Hook, v4: bool) -> [Packet; 2] {
    let table = Table { hook, mtu: 0, v4, forms: Vec::new() };
    [udp(b"hello"), table.ping(b"\0\x01\0\x01hello")].map(|transport| table.packet(transport))
}

/// TCP data of `length` bytes, and the answer.
pub(crate) fn aggregate(hook: Hook, v4: bool, length: usize) -> (Packet, Packet) {
    let mut table = Table { hook, mtu: 0, v4, forms: Vec::new() };
    table.segment("an aggregate", table.established(ACK, 70_000, payload(length)), 0);
    match table.forms.remove(0).exchanges.remove(0) {
        (sent, Answered(answer)) => (sent, *answer),
        other => panic!("{other:?}"),
    }
}

/// A message on a connection on the wire whose sender has confirmed everything before it, and the mere
/// acknowledgment that it sends before each if it waits for its own.
pub(crate) fn message(v4: bool) -> (Packet, Packet) {
    let table = Table { hook: Hook::Wire, mtu: 0, v4, forms: Vec::new() };
    let from = (table.client(), 777).into();
    let [acknowledgment, message] = [Vec::new(), payload(300)]
        .map(|payload| table.packet(Transport::Tcp(table.established(ACK | PSH, 0, payload))));
    (Packet { from, ..acknowledgment }, Packet { from, ..message })
}

/// An arbitrary place in the client's stream, before its numbers wrap.
const SEQUENCE: u32 = 0xffff_ff80;
const WINDOW: u16 = 502;
/// The window scale that the client has offered.
const SCALE: u8 = 7;

const TSVAL: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
const TSECR: [u8; 4] = [0x9a, 0xbc, 0xde, 0xf1];

/// The layout of timestamps in most segments.
fn timestamps(value: [u8; 4], echo: [u8; 4]) -> Vec<u8> {
    [&[1, 1, 8, 10][..], &value, &echo].concat()
}

/// Bytes without a pattern that a checksum would not notice.
pub(crate) fn payload(length: usize) -> Vec<u8> {
    (0..length as u32).map(|index| (index.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

fn udp(payload: &[u8]) -> Transport {
    Transport::Udp { payload: payload.into(), checksum: true }
}

/// The MSS that is offered: more than any MTU here leaves room for.
const OFFERED_MSS: [u8; 2] = [0xff, 0xf0];

fn linux_options() -> Vec<u8> {
    [&[2, 4][..], &OFFERED_MSS, &[4, 2, 8, 10], &TSVAL, &[0; 4], &[1, 3, 3, SCALE]].concat()
}

fn syn(options: Vec<u8>) -> Segment {
    Segment {
        sequence: SEQUENCE,
        acknowledgment: 0,
        reserved: 0,
        flags: SYN,
        window: 64240,
        urgent: 0,
        options,
        payload: Vec::new(),
    }
}

struct Table {
    hook: Hook,
    mtu: usize,
    v4: bool,
    forms: Vec<Form>,
}

impl Table {
    fn address(&self, v4: &str, v6: &str) -> IpAddr {
        if self.v4 { v4 } else { v6 }.parse().unwrap()
    }

    fn client(&self) -> IpAddr {
        self.address("10.7.0.9", "fd00:7::9")
    }

    /// A plain packet to the server. Each form has a connection of its own.
    fn packet(&self, transport: Transport) -> Packet {
        let number = self.forms.len() as u16;
        Packet {
            to_mac: SERVER_MAC,
            from_mac: CLIENT_MAC,
            tags: Vec::new(),
            from: SocketAddr::new(self.client(), 40_000 + number),
            to: SocketAddr::new(self.address("10.7.0.5", "fd00:7::5"), PORT),
            hops: 61,
            identification: 0x8100 + number,
            fragment: 0,
            options: Vec::new(),
            extensions: Vec::new(),
            transport,
            partial: false,
            padding: Vec::new(),
        }
    }

    fn add(&mut self, name: &str, mut exchanges: Vec<(Packet, Fate)>) {
        for (sent, fate) in &mut exchanges {
            if let Answered(answer) = fate {
                **answer = answer.clone().balanced(sent, self.hook);
            }
        }
        let version = if self.v4 { "IPv4" } else { "IPv6" };
        self.forms.push(Form { name: format!("{version}: {name}"), exchanges });
    }

    /// Comes back as it is.
    fn same(&mut self, name: &str, sent: Packet) {
        let answer = sent.back(self.hook);
        self.add(name, vec![(sent, Fate::answered(answer))]);
    }

    fn answered(&mut self, name: &str, sent: Packet, transport: Transport) {
        let answer = Packet { transport, ..sent.back(self.hook) };
        self.add(name, vec![(sent, Fate::answered(answer))]);
    }

    fn refused(&mut self, name: &str, sent: Packet, fate: Fate) {
        self.add(name, vec![(sent, fate)]);
    }

    /// How far the server's sequence numbers are ahead: on loopback the window scale is in them.
    fn delta(&self) -> u32 {
        if self.hook == Hook::Wire { 0 } else { u32::from(SCALE) << 28 }
    }

    /// A segment of a client who has confirmed all but the last `in_flight` bytes.
    fn established(&self, flags: u8, in_flight: u32, payload: Vec<u8>) -> Segment {
        Segment {
            acknowledgment: SEQUENCE.wrapping_add(self.delta()).wrapping_sub(in_flight),
            flags,
            window: WINDOW,
            options: timestamps(TSVAL, TSECR),
            payload,
            ..syn(Vec::new())
        }
    }

    /// The answer to it: on loopback it confirms `in_advance` bytes of what it carries.
    fn echo(&self, sent: &Segment, in_advance: u32) -> Segment {
        let (in_advance, scale) =
            if self.hook == Hook::Wire { (0, 0) } else { (in_advance, u32::from(SCALE)) };
        Segment {
            sequence: sent.sequence.wrapping_add(self.delta()),
            acknowledgment: sent.acknowledgment.wrapping_sub(self.delta()).wrapping_add(in_advance),
            window: (((u32::from(sent.window) << scale) - in_advance) >> scale) as u16,
            options: timestamps(TSVAL, TSVAL),
            ..sent.clone()
        }
    }

    fn segment(&mut self, name: &str, sent: Segment, in_advance: u32) {
        let answer = self.echo(&sent, in_advance);
        self.answered(name, self.packet(Transport::Tcp(sent)), Transport::Tcp(answer));
    }

    /// The answer to a SYN in `packet`, with these options behind the MSS, filled with NOP.
    fn syn_ack(&self, packet: &Packet, sent: &Segment, scale: u8, behind_mss: &[u8]) -> Segment {
        let mut options = Vec::new();
        if sent.options.windows(4).any(|window| window == [&[2, 4][..], &OFFERED_MSS].concat()) {
            let mss = (self.mtu - packet.network_length() - 20).min(0xfff0) as u16;
            options = [[2, 4], mss.to_be_bytes()].concat();
        }
        options.extend(behind_mss);
        options.resize(sent.options.len(), 1);
        let scale = if self.hook == Hook::Wire { 0 } else { u32::from(scale) };
        Segment {
            sequence: sent.sequence.wrapping_add(scale << 28),
            acknowledgment: sent.sequence.wrapping_add(1),
            reserved: 0,
            flags: SYN | ACK,
            urgent: 0,
            options,
            payload: Vec::new(),
            ..sent.clone()
        }
    }

    /// Window scale, SACK permitted, which is offered on the wire only, and timestamps.
    fn linux_answer(&self) -> Vec<u8> {
        let mut options = [&[1, 3, 3, SCALE][..], &timestamps(TSVAL, TSVAL)].concat();
        if self.hook == Hook::Wire {
            options[4..6].copy_from_slice(&[4, 2]);
        }
        options
    }

    fn ping(&self, rest: &[u8]) -> Transport {
        Transport::Icmp { kind: if self.v4 { 8 } else { 128 }, code: 0, rest: rest.into() }
    }

    /// Each kind of packet in each shape.
    fn shapes(&mut self) {
        let shapes = if self.v4 { &SHAPES_4[..] } else { &SHAPES_6[..] };
        for (name, shape) in shapes {
            let shaped = |table: &Self, transport| {
                let mut packet = table.packet(transport);
                shape(&mut packet);
                packet
            };
            self.same(&format!("UDP, {name}"), shaped(self, udp(b"hello")));
            self.same(&format!("ping, {name}"), shaped(self, self.ping(b"\x12\x34\x00\x01hello, world")));

            let data = self.established(ACK | PSH, 0, payload(333));
            let answer = Transport::Tcp(self.echo(&data, 333));
            self.answered(&format!("data, {name}"), shaped(self, Transport::Tcp(data)), answer);

            let syn = syn(linux_options());
            let packet = shaped(self, Transport::Tcp(syn.clone()));
            let answer = self.syn_ack(&packet, &syn, SCALE, &self.linux_answer());
            self.answered(&format!("SYN, {name}"), packet, Transport::Tcp(answer));

            let syn = Segment { payload: payload(77), ..syn };
            let packet = shaped(self, Transport::Tcp(syn.clone()));
            let answer = self.syn_ack(&packet, &syn, SCALE, &self.linux_answer());
            self.answered(&format!("SYN with data, {name}"), packet, Transport::Tcp(answer));
        }
    }

    fn datagrams(&mut self) {
        let longest = 1500 - 8 - if self.v4 { 20 } else { 40 };
        for length in [0, 1, 2, longest - 1, longest] {
            self.same(&format!("UDP of {length} bytes"), self.packet(udp(&payload(length))));
        }
        if self.v4 {
            let without = Transport::Udp { payload: payload(100), checksum: false };
            self.same("UDP without a checksum", self.packet(without));
            // The shortest frame that Ethernet has.
            let packet = Packet { padding: vec![0xa5; 60 - 14 - 20 - 8 - 1], ..self.packet(udp(b"x")) };
            assert_eq!(packet.bytes().len(), 60);
            self.same("UDP of one byte with padding", packet);
        } else {
            let packet = Packet { padding: vec![0xa5; 7], ..self.packet(udp(b"x")) };
            self.same("UDP of one byte with padding", packet);
        }
        let second = self.address("10.7.0.6", "fd00:7::6");
        self.same("UDP to the other address", Packet { to: (second, PORT).into(), ..self.packet(udp(b"x")) });
        self.same("UDP from port 1", Packet { from: (self.client(), 1).into(), ..self.packet(udp(b"x")) });
    }

    fn handshake(&mut self, name: &str, syn: Segment, scale: u8, behind_mss: &[u8]) {
        let packet = self.packet(Transport::Tcp(syn.clone()));
        let answer = self.syn_ack(&packet, &syn, scale, behind_mss);
        self.answered(name, packet, Transport::Tcp(answer));
    }

    fn handshakes(&mut self) {
        let [high, low] = OFFERED_MSS;
        let sack: &[u8] = if self.hook == Hook::Wire { &[1, 1, 4, 2] } else { &[1; 4] };
        self.handshake("SYN without options", syn(Vec::new()), 0, &[]);
        self.handshake("SYN with MSS", syn(vec![2, 4, high, low]), 0, &[]);
        self.handshake("SYN with SACK permitted", syn(vec![4, 2, 0, 0]), 0, sack);
        self.handshake("SYN with the largest scale", syn(vec![3, 3, 14, 0]), 14, &[1, 3, 3, 14]);
        self.handshake("SYN with a scale too large", syn(vec![3, 3, 15, 0]), 14, &[1, 3, 3, 14]);

        let small = Segment { options: vec![2, 4, 0x02, 0x18], ..syn(Vec::new()) };
        let answer = Segment {
            options: small.options.clone(),
            ..self.syn_ack(&self.packet(udp(&[])), &syn(Vec::new()), 0, &[])
        };
        let packet = self.packet(Transport::Tcp(small));
        self.answered("SYN with an MSS below ours", packet, Transport::Tcp(answer));

        let windows = vec![2, 4, high, low, 1, 3, 3, 8, 1, 1, 4, 2];
        self.handshake("SYN of Windows", syn(windows), 8, &[&[1, 3, 3, 8], sack].concat());
        let macos =
            [&[2, 4, high, low, 1, 3, 3, 6, 1, 1, 8, 10][..], &TSVAL, &[0; 4], &[4, 2, 0, 0]].concat();
        let mut behind_mss = self.linux_answer();
        behind_mss[3] = 6;
        self.handshake("SYN of macOS", syn(macos), 6, &behind_mss);

        let unknown = [&[253, 36][..], &payload(34), &[2, 4, high, low]].concat();
        self.handshake("SYN with unknown options", syn(unknown), 0, &[]);
        let cookie = [&linux_options()[..], &[34, 10], &payload(8), &[0, 0]].concat();
        self.handshake("SYN with a Fast Open cookie", syn(cookie.clone()), SCALE, &self.linux_answer());
        let with_data = Segment { payload: payload(1000), ..syn(cookie) };
        self.handshake("SYN with a Fast Open cookie and data", with_data, SCALE, &self.linux_answer());

        let full = Segment { payload: payload(1400), ..syn(linux_options()) };
        self.handshake("SYN with all the data of a frame", full, SCALE, &self.linux_answer());

        for (name, reserved) in [("SYN with ECN", 0), ("SYN with AccECN", 1)] {
            let ecn = Segment { flags: SYN | ECE | CWR, reserved, ..syn(linux_options()) };
            self.handshake(name, ecn, SCALE, &self.linux_answer());
        }
        let urgent = Segment { flags: SYN | URG | PSH, urgent: 99, ..syn(linux_options()) };
        self.handshake("SYN with everything else", urgent, SCALE, &self.linux_answer());
    }

    fn segments(&mut self) {
        // Alone, a message is acknowledged by its echo on loopback; in flight it is not.
        for length in [1, 2, 1400] {
            let data = self.established(ACK | PSH, 0, payload(length));
            self.segment(&format!("{length} bytes alone"), data, length as u32);
            let data = self.established(ACK, 2000, payload(length));
            self.segment(&format!("{length} bytes in flight"), data, 0);
        }
        self.segment("an acknowledgment", self.established(ACK, 0, Vec::new()), 0);
        self.segment("an acknowledgment of a part", self.established(ACK, 1000, Vec::new()), 0);
        self.segment("FIN", self.established(FIN | ACK, 0, Vec::new()), 1);
        self.segment("FIN with data", self.established(FIN | ACK | PSH, 0, payload(100)), 101);
        let urgent =
            Segment { urgent: 5, reserved: 1, ..self.established(ACK | URG | ECE | CWR, 0, payload(5)) };
        self.segment("data with all flags", urgent, 5);

        // Linux's keepalive has nothing, and is answered by where the server is.
        let probe = Segment {
            sequence: SEQUENCE.wrapping_sub(1),
            acknowledgment: SEQUENCE.wrapping_add(self.delta()),
            ..self.established(ACK, 0, Vec::new())
        };
        let answer = Segment { sequence: probe.acknowledgment, ..self.echo(&probe, 0) };
        let packet = self.packet(Transport::Tcp(probe));
        self.answered("a keepalive probe", packet, Transport::Tcp(answer));

        let bare = Segment { options: Vec::new(), ..self.established(ACK, 0, payload(10)) };
        let answer = Segment { options: Vec::new(), ..self.echo(&bare, 10) };
        let packet = self.packet(Transport::Tcp(bare));
        self.answered("data without options", packet, Transport::Tcp(answer));
        // Timestamps at an odd place, among unknown options.
        let odd = |echo: [u8; 4]| [&[1, 8, 10][..], &TSVAL, &echo, &[253, 29], &payload(27)].concat();
        let data = Segment { options: odd(TSECR), ..self.established(ACK, 0, payload(11)) };
        let answer = Segment { options: odd(TSVAL), ..self.echo(&data, 11) };
        let packet = self.packet(Transport::Tcp(data));
        self.answered("data with 40 bytes of options", packet, Transport::Tcp(answer));

        if self.hook == Hook::Wire {
            // The server's numbers are the client's, so the blocks mean the same on both sides.
            let [a, b] = [SEQUENCE.wrapping_sub(500), SEQUENCE].map(u32::to_be_bytes);
            let blocks = [&[1, 1, 5, 10][..], &a, &b].concat();
            let sack = Segment {
                options: [timestamps(TSVAL, TSECR), blocks.clone()].concat(),
                ..self.established(ACK, 1000, Vec::new())
            };
            let answer =
                Segment { options: [timestamps(TSVAL, TSVAL), blocks].concat(), ..self.echo(&sack, 0) };
            let packet = self.packet(Transport::Tcp(sack));
            self.answered("an acknowledgment with SACK", packet, Transport::Tcp(answer));
        }
    }

    fn pings(&mut self) {
        for length in [0, 1, 56, 1400] {
            let rest = [&[0xff, 0xff, 0x00, 0x07][..], &payload(length)].concat();
            self.same(&format!("ping with {length} bytes"), self.packet(self.ping(&rest)));
        }
    }

    /// `answer` and what is sent, cut alike, for an MTU of 1500 bytes.
    fn in_fragments(&mut self, name: &str, sent: &Packet, answer: &Packet) {
        let fragment_header = if self.v4 { 0 } else { 8 };
        let size = (1500 - sent.network_length() - fragment_header) / 8 * 8;
        let answer = answer.clone().balanced(sent, self.hook);
        let exchanges =
            sent.cut(size).into_iter().zip(answer.cut(size).into_iter().map(Fate::answered)).collect();
        self.add(name, exchanges);
    }

    fn fragments(&mut self) {
        let datagram = self.packet(udp(&payload(3500)));
        self.in_fragments("UDP in fragments", &datagram, &datagram.back(self.hook));
        let datagram = self.packet(udp(&payload(60_000)));
        self.in_fragments("60,000 bytes in fragments", &datagram, &datagram.back(self.hook));
        let mut datagram = self.packet(udp(&payload(3000)));
        datagram.tags = vec![[0x81, 0x00, 0x00, 0x07]];
        if self.v4 {
            datagram.options = vec![1; 4];
        } else {
            extend(&mut datagram, HOP_BY_HOP);
            extend(&mut datagram, ROUTING);
        }
        self.in_fragments("UDP in fragments with options and a tag", &datagram, &datagram.back(self.hook));
        let ping = self.packet(self.ping(&payload(3000)));
        self.in_fragments("a ping in fragments", &ping, &ping.back(self.hook));

        // How long a segment is the first fragment does not tell, so nothing is acknowledged in advance.
        let data = self.established(ACK, 0, payload(2000));
        let answer = Transport::Tcp(self.echo(&data, 0));
        let data = self.packet(Transport::Tcp(data));
        let answer = Packet { transport: answer, ..data.back(self.hook) };
        self.in_fragments("data in fragments", &data, &answer);

        let passed = |pieces: Vec<Packet>| pieces.into_iter().map(|piece| (piece, Passed)).collect();
        let unknown = self.packet(udp(&payload(3000))).cut(1448).split_off(1);
        self.add("fragments without the first", passed(unknown));
        let mut elsewhere = self.packet(udp(&payload(3000)));
        elsewhere.to.set_port(PORT + 1);
        self.add("fragments to another port", passed(elsewhere.cut(1448)));
        let syn = self.packet(Transport::Tcp(Segment { payload: payload(100), ..syn(linux_options()) }));
        self.add("a SYN in fragments", passed(syn.cut(64)));
        let data = self.packet(Transport::Tcp(self.established(ACK, 0, payload(100))));
        self.add("a fragment that ends in the TCP header", passed(data.cut(24)));
    }

    fn extremes(&mut self) {
        let last = Packet { hops: 255, ..self.packet(udp(b"far")) };
        self.same("UDP with the highest hop limit", last);
        if self.hook == Hook::Wire {
            self.same("UDP with one hop left", Packet { hops: 2, ..self.packet(udp(b"near")) });
        } else {
            self.same("UDP with no hop left", Packet { hops: 0, ..self.packet(udp(b"here")) });
        }
    }

    fn not_answered(&mut self) {
        for (name, flags) in [
            ("RST", RST),
            ("RST with ACK", RST | ACK),
            ("no flags", 0),
            ("Xmas", FIN | PSH | URG),
            ("FIN alone", FIN),
            ("SYN with FIN", SYN | FIN),
            ("SYN with ACK", SYN | ACK),
            ("all flags", 0xff),
        ] {
            let segment = Transport::Tcp(self.established(flags, 0, payload(3)));
            self.refused(name, self.packet(segment), Dropped);
        }
        // Loopback has the scale in the numbers, and none is 15; on the wire they are nearly equal.
        let acknowledgment = SEQUENCE.wrapping_sub(if self.hook == Hook::Wire { 1 << 31 } else { 1 << 28 });
        let stray = Segment { acknowledgment, ..self.established(ACK, 0, payload(3)) };
        self.refused("data of an unknown connection", self.packet(Transport::Tcp(stray)), Dropped);

        let mut other = self.packet(udp(b"x"));
        other.to.set_port(PORT - 1);
        self.refused("UDP to another port", other, Passed);
        let mut other = self.packet(Transport::Tcp(syn(linux_options())));
        other.to.set_port(PORT + 1);
        self.refused("SYN to another port", other, Passed);
        let mut other = self.packet(udp(b"x"));
        other.to.set_ip(self.address("10.7.0.7", "fd00:7::7"));
        self.refused("UDP to another host", other, Passed);
        let reply =
            Transport::Icmp { kind: if self.v4 { 0 } else { 129 }, code: 0, rest: b"\0\x01\0\x01".into() };
        self.refused("a reply to a ping", self.packet(reply), Passed);
        let odd =
            Transport::Icmp { kind: if self.v4 { 8 } else { 128 }, code: 1, rest: b"\0\x01\0\x01".into() };
        self.refused("a ping with a code", self.packet(odd), Passed);
        if !self.v4 {
            let mut stops = self.packet(udp(b"x"));
            extend(&mut stops, (43, [0, 4, 1, 0, 0, 0, 0]));
            self.refused("routing with a stop left", stops, Passed);
            let mut many = self.packet(udp(b"x"));
            (0..7).for_each(|_| extend(&mut many, DESTINATION));
            self.refused("seven extension headers", many, Passed);
        }
    }

    /// Over each protocol.
    fn refused_all(&mut self, name: &str, fate: &Fate, change: impl Fn(&mut Packet)) {
        let data = Transport::Tcp(self.established(ACK, 0, payload(10)));
        let transports = [
            ("UDP", udp(b"hello")),
            ("data", data),
            ("SYN", Transport::Tcp(syn(linux_options()))),
            ("ping", self.ping(b"\0\x01\0\x01hello")),
        ];
        for (kind, transport) in transports {
            // Many hosts may be pinged at once, if not by this program.
            if kind == "ping" && matches!(fate, Passed) {
                continue;
            }
            let mut packet = self.packet(transport);
            change(&mut packet);
            self.refused(&format!("{kind} {name}"), packet, fate.clone());
        }
    }

    fn refused_on_the_wire(&mut self) {
        for (name, mac) in [
            ("to all", [0xff; 6]),
            ("to a group", [0x01, 0, 0x5e, 0, 0, 5]),
            ("to another station", [2, 0, 0, 0, 0, 6]),
        ] {
            self.refused_all(name, &Passed, |packet| packet.to_mac = mac);
        }
        for (name, mac) in [
            ("from a group's MAC", [0x33, 0x33, 0, 0, 0, 1]),
            ("from all MACs", [0xff; 6]),
            ("from our MAC", SERVER_MAC),
        ] {
            self.refused_all(name, &Dropped, |packet| packet.from_mac = mac);
        }
        let sources: &[&str] = if self.v4 {
            // The last one is the broadcast address of the interface's own subnet.
            &["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.251", "240.0.0.1", "255.255.255.255", "10.7.0.255"]
        } else {
            &["::", "::1", "ff02::1"]
        };
        for source in sources {
            let address = source.parse().unwrap();
            self.refused_all(&format!("from {source}"), &Dropped, |packet| packet.from.set_ip(address));
        }
        self.refused_all("from its receiver", &Dropped, |packet| packet.from.set_ip(packet.to.ip()));
        for hops in [0, 1] {
            self.refused_all(&format!("with {hops} hops"), &Dropped, |packet| packet.hops = hops);
        }

        let endpoint = SocketAddr::new(self.address("10.7.0.6", "fd00:7::6"), PORT);
        for transport in [udp(b"x"), Transport::Tcp(syn(Vec::new()))] {
            let packet = Packet { from: endpoint, ..self.packet(transport) };
            self.refused("from a port that echoes", packet, Dropped);
        }
        // Only both together make a loop.
        let client = Packet { from: (endpoint.ip(), 1234).into(), ..self.packet(udp(b"x")) };
        self.same("UDP from the other address", client);
        let client = Packet { from: (self.client(), PORT).into(), ..self.packet(udp(b"x")) };
        self.same("UDP from the same port", client);

        for port in [7, 11, 13, 17, 19, 37, 53, 69, 123] {
            let packet = Packet { from: (self.client(), port).into(), ..self.packet(udp(b"x")) };
            self.refused(&format!("UDP from port {port}"), packet, Dropped);
            // TCP clients may have any port.
            let data = self.established(ACK, 0, payload(10));
            let answer = Transport::Tcp(self.echo(&data, 0));
            let packet = Packet { from: (self.client(), port).into(), ..self.packet(Transport::Tcp(data)) };
            self.answered(&format!("data from port {port}"), packet, answer);
        }
        if !self.v4 {
            let mapped: IpAddr = "::ffff:10.7.0.5".parse().unwrap();
            self.refused_all("to a mapped address", &Passed, |packet| packet.to.set_ip(mapped));
            let mapped: IpAddr = "::ffff:10.7.0.9".parse().unwrap();
            self.refused_all("from a mapped address", &Passed, |packet| packet.from.set_ip(mapped));
        }
    }
}
