//! Random packets, the same on every machine.

use super::{
    ACK, CLIENT_6, CLIENT_MAC, CWR, ECE, FIN, ICMP, ICMPV6, PORT, PSH, Route, SERVER_MAC, SYN, TCP, Tcp, UDP,
    ping, routes, udp,
};

/// A small generator of random numbers (SplitMix64): the same numbers on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.number() as u8
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }
}

/// TCP options in random order, at even and odd places, some of them broken.
fn options(random: &mut Random) -> Vec<u8> {
    let mut options = Vec::new();
    // Timestamps come once: which of several count is not said anywhere.
    let mut kinds = 9;
    for _ in 0..random.below(7) {
        let length = random.below(12);
        let option = match random.below(kinds) {
            0 | 1 => vec![1],
            2 => [&[2, 4][..], &random.bytes(2)].concat(),
            3 => vec![3, 3, random.below(16) as u8],
            4 => vec![4, 2],
            5 => [&[253, length as u8 + 2][..], &random.bytes(length)].concat(),
            6 => vec![random.byte(), random.below(40) as u8],
            _ => {
                kinds = 7;
                [&[8, 10][..], &random.bytes(8)].concat()
            }
        };
        if options.len() + option.len() <= 40 {
            options.extend(option);
        }
    }
    options.resize(options.len().next_multiple_of(4), random.below(2) as u8);
    options
}

/// A segment with these flags and this payload, whose other fields are random; the numbers mostly those of a
/// connection to the mirror.
pub(crate) fn segment_with(random: &mut Random, route: &Route, flags: u8, payload: Vec<u8>) -> Tcp {
    let sequence = random.number() as u32;
    let delta = (random.below(16) as u32) << 28;
    let ahead = [0, 0, 1, u32::MAX, random.below(1 << 27) as u32][random.below(5)];
    Tcp {
        sequence,
        acknowledgment: sequence.wrapping_add(delta).wrapping_sub(ahead),
        accurate_ecn: random.chance(10),
        window: random.number() as u16 >> random.below(16),
        urgent: random.number() as u16,
        options: options(random),
        payload,
        ..Tcp::new(route, flags)
    }
}

/// IPv6 extension headers before `protocol`, which may be too many, or ask for what is not done.
fn extension(random: &mut Random, protocol: u8) -> Option<(u8, Vec<u8>)> {
    let mut chain = None;
    let (mut next, mut headers) = (protocol, Vec::new());
    for _ in 0..1 + random.below(7) {
        let kind = [0, 43, 44, 51, 60][random.below(5)];
        let units = if kind == 44 { 0 } else { random.below(3) };
        let mut header = random.bytes(8 + 8 * units);
        header[0] = next;
        // Authentication headers count otherwise.
        header[1] = if kind == 51 { 2 * units } else { units } as u8;
        if random.chance(90) {
            header[2..4].fill(0);
        }
        headers = [header, headers].concat();
        next = kind;
        chain = Some((kind, headers.clone()));
    }
    chain
}

/// A client and [`super::PORT`] of the server, with anything that may be before a header of `protocol`.
fn route(random: &mut Random, protocol: [u8; 2]) -> Route {
    let [v4, v6] = routes();
    let mut route = if random.chance(50) { v4 } else { v6 };
    route.from.set_port(random.number() as u16);
    route.hops = [61, 61, 61, 61, 2, 255, 1, 0][random.below(8)];
    if random.chance(20) {
        let tag = |random: &mut Random| [[0x81, 0], [0x88, 0xa8]][random.below(2)];
        for _ in 0..1 + random.below(3) {
            let tag = [tag(random), [random.byte(), random.byte()]].concat();
            route.tags.extend(tag);
        }
    }
    if random.chance(30) {
        let words = random.below(11);
        route.options = random.bytes(words * 4);
        route.extension = extension(random, protocol[usize::from(route.from.is_ipv6())]);
    }
    if random.chance(20) {
        route.fragment = [0x2000, 1, 0x2004, 0x8000, 0][random.below(5)];
    }
    route
}

/// A valid segment with random fields.
pub(crate) fn segment(random: &mut Random) -> Tcp {
    let flags =
        [SYN, SYN | ECE | CWR, ACK, ACK | PSH, FIN | ACK, ACK, ACK | PSH, random.byte()][random.below(8)];
    let length = [0, 0, 1, 3, random.below(64), random.below(1700)][random.below(6)];
    let payload = random.bytes(length);
    let route = route(random, [TCP; 2]);
    segment_with(random, &route, flags, payload)
}

/// A valid UDP datagram or ping.
pub(crate) fn datagram(random: &mut Random) -> Vec<u8> {
    let length = random.below(64);
    let payload = random.bytes(length);
    if random.chance(70) {
        udp(&route(random, [UDP; 2]), &payload)
    } else {
        ping(&route(random, [ICMP, ICMPV6]), &payload)
    }
}

/// An ARP request or a neighbour solicitation, for a virtual host.
pub(crate) fn question(random: &mut Random) -> Vec<u8> {
    if random.chance(50) {
        let message =
            [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 198, 51, 100, 9, 0, 0, 0, 0, 0, 0, 203, 0, 113];
        return [&SERVER_MAC[..], &CLIENT_MAC, &[8, 6], &message, &[random.byte()]].concat();
    }
    let route = Route { hops: 255, ..Route::new(CLIENT_6, "2001:db8:5::77") };
    let target = [0x20, 1, 0x0d, 0xb8, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, random.byte()];
    let option = &[1, 1, 2, 0, 0, 0, 0, 2][..if random.chance(70) { 8 } else { 0 }];
    route.frame(ICMPV6, &[&[135, 0, 0x12, 0x34, 0, 0, 0, 0][..], &target, option].concat())
}

/// The next packet of a conversation in which each side waits for the other: an acknowledgment, or a message.
pub(crate) fn turn(random: &mut Random) -> Vec<u8> {
    let route = &routes()[random.below(2)];
    let payload = if random.chance(50) { random.bytes(12) } else { Vec::new() };
    let sequence = random.number() as u32;
    Tcp { sequence, acknowledgment: sequence, payload, ..Tcp::new(route, ACK) }.frame()
}

/// A datagram from the server itself, or from its port.
pub(crate) fn from_nobody(random: &mut Random) -> Vec<u8> {
    let mut route = routes()[random.below(2)].clone();
    if random.chance(50) {
        route.from = route.to;
    }
    route.from.set_port([PORT, 7, 53, 123][random.below(4)]);
    udp(&route, b"hello")
}

/// Changes one to four of the first `limit` bytes of `frame`.
pub(crate) fn damage(random: &mut Random, frame: &mut [u8], limit: usize) {
    for _ in 0..1 + random.below(4) {
        let place = random.below(frame.len().min(limit));
        match random.below(3) {
            0 => frame[place] = random.byte(),
            1 => frame[place] ^= 1 << random.below(8),
            _ => frame[place] = [0, 1, 4, 0x7f, 0x80, 0xff][random.below(6)],
        }
    }
}
