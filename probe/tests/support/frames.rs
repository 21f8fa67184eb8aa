//! Builders of packets that owe nothing to the crate under test.

use std::net::{IpAddr, SocketAddr};

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber, Ipv4Header, Ipv4Options,
    Ipv6Header, TcpHeader, UdpHeader,
};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;
pub(crate) const ECE: u8 = 0x40;
pub(crate) const CWR: u8 = 0x80;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;

pub(crate) const ETHERNET: usize = 14;

/// The served port of [`Server::usual`], in a range with gaps.
pub(crate) const PORT: u16 = 7007;
pub(crate) const SERVER_4: &str = "192.0.2.7";
pub(crate) const SERVER_6: &str = "2001:db8::7";
pub(crate) const CLIENT_4: &str = "198.51.100.9";
pub(crate) const CLIENT_6: &str = "2001:db8:9::c";
pub(crate) const CLIENT_PORT: u16 = 40961;

/// The MAC addresses of every frame from client to server.
pub(crate) const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Flags of IPv4.
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

/// Both versions of IP, for tests that do not care: client and server.
pub(crate) fn routes() -> [Route; 2] {
    [Route::new(CLIENT_4, SERVER_4), Route::new(CLIENT_6, SERVER_6)]
}

/// Who sends to whom, and what the IP header says besides.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// The MAC addresses: receiver and sender.
    pub(crate) macs: [[u8; 6]; 2],
    /// VLAN tags: EtherType and control, four bytes each.
    pub(crate) tags: Vec<u8>,
    /// The time to live.
    pub(crate) hops: u8,
    /// The flags and offset of an IPv4 fragment.
    pub(crate) fragment: u16,
    /// IPv4 options, a multiple of four bytes.
    pub(crate) options: Vec<u8>,
    /// A length to state instead of the true one.
    pub(crate) said: Option<u16>,
    /// Bytes between an IPv6 header and the transport header, and the "next header" that announces them.
    pub(crate) extension: Option<(u8, Vec<u8>)>,
}

impl Route {
    pub(crate) fn new(from: &str, to: &str) -> Self {
        let from = SocketAddr::new(from.parse().unwrap(), CLIENT_PORT);
        let to = SocketAddr::new(to.parse().unwrap(), PORT);
        Self {
            from,
            to,
            macs: [SERVER_MAC, CLIENT_MAC],
            tags: Vec::new(),
            hops: 61,
            fragment: DONT_FRAGMENT,
            options: Vec::new(),
            said: None,
            extension: None,
        }
    }

    pub(crate) fn back(&self) -> Self {
        Self { from: self.to, to: self.from, ..self.clone() }
    }

    /// The way back over the wire: to the sender's station, and one hop nearer to the end.
    pub(crate) fn bounced(&self) -> Self {
        let [receiver, sender] = self.macs;
        Self { macs: [sender, receiver], hops: self.hops - 1, ..self.back() }
    }

    /// The bytes before the transport header, from the Ethernet header on.
    pub(crate) fn headers(&self) -> usize {
        let extension = self.extension.as_ref().map_or(0, |(_, bytes)| bytes.len());
        ETHERNET
            + self.tags.len()
            + if self.from.is_ipv4() { 20 + self.options.len() } else { 40 + extension }
    }

    /// A frame with `transport` behind the IP header.
    pub(crate) fn frame(&self, protocol: u8, transport: &[u8]) -> Vec<u8> {
        let mut frame = [&self.macs.concat()[..], &self.tags].concat();
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend([0x08, 0x00]);
                let length = u16::try_from(transport.len()).unwrap();
                let mut header =
                    Ipv4Header::new(0, self.hops, IpNumber(protocol), from.octets(), to.octets()).unwrap();
                header.options = Ipv4Options::try_from(&self.options[..]).unwrap();
                header.set_payload_len(usize::from(length)).unwrap();
                header.total_len = self.said.unwrap_or(header.total_len);
                header.identification = 0x1234;
                header.dont_fragment = self.fragment & DONT_FRAGMENT != 0;
                header.more_fragments = self.fragment & MORE_FRAGMENTS != 0;
                header.fragment_offset = (self.fragment & 0x1fff).try_into().unwrap();
                header.header_checksum = header.calc_header_checksum();
                frame.extend(header.to_bytes());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend([0x86, 0xdd]);
                let none = (protocol, Vec::new());
                let (next, extension) = self.extension.as_ref().unwrap_or(&none);
                let length = u16::try_from(extension.len() + transport.len()).unwrap();
                let header = Ipv6Header {
                    traffic_class: 0x20,
                    flow_label: 0x54321.try_into().unwrap(),
                    payload_length: self.said.unwrap_or(length),
                    next_header: IpNumber(*next),
                    hop_limit: self.hops,
                    source: from.octets(),
                    destination: to.octets(),
                };
                frame.extend(header.to_bytes());
                frame.extend(extension);
            }
            _ => panic!("one version of IP"),
        }
        frame.extend(transport);
        frame
    }

    fn pseudo_header(&self, protocol: u8, length: usize) -> Sum16BitWords {
        let mut sum = Sum16BitWords::new();
        sum = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => sum.add_4bytes(from.octets()).add_4bytes(to.octets()),
            (IpAddr::V6(from), IpAddr::V6(to)) => sum.add_16bytes(from.octets()).add_16bytes(to.octets()),
            _ => panic!("one version of IP"),
        };
        sum.add_4bytes((length as u32).to_be_bytes()).add_2bytes([0, protocol])
    }
}

/// A TCP segment, field by field.
#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    pub(crate) route: Route,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: u8,
    /// The bit before the flags: AE of AccECN, once NS.
    pub(crate) accurate_ecn: bool,
    pub(crate) window: u16,
    pub(crate) urgent: u16,
    /// A multiple of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Tcp {
    pub(crate) fn new(route: &Route, flags: u8) -> Self {
        Self {
            route: route.clone(),
            sequence: 0,
            acknowledgment: 0,
            flags,
            accurate_ecn: false,
            window: 502,
            urgent: 0,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// What is the same in the answer: ports and addresses exchanged, the rest as it is.
    pub(crate) fn back(&self) -> Self {
        Self { route: self.route.back(), ..self.clone() }
    }

    /// Likewise, over the wire.
    pub(crate) fn bounced(&self) -> Self {
        Self { route: self.route.bounced(), ..self.clone() }
    }

    /// The answer to `question` on loopback, where the urgent pointer makes up for all other changes, so that the checksum
    /// stays the same.
    pub(crate) fn balanced(self, question: &Self) -> Self {
        if self.flags & (SYN | URG) != 0 {
            return self;
        }
        let checksum = |segment: &Self| {
            let frame = segment.frame();
            let offset = segment.route.headers() + 16;
            u32::from(u16::from_be_bytes([frame[offset], frame[offset + 1]]))
        };
        let urgent = (checksum(&self) + 0xffff - checksum(question)) % 0xffff;
        Self { urgent: urgent as u16, ..self }
    }

    fn header(&self) -> TcpHeader {
        assert_eq!(self.options.len() % 4, 0, "etherparse would pad");
        let bit = |flag: u8| self.flags & flag != 0;
        let mut header =
            TcpHeader::new(self.route.from.port(), self.route.to.port(), self.sequence, self.window);
        header.acknowledgment_number = self.acknowledgment;
        header.ns = self.accurate_ecn;
        header.fin = bit(FIN);
        header.syn = bit(SYN);
        header.rst = bit(RST);
        header.psh = bit(PSH);
        header.ack = bit(ACK);
        header.urg = bit(URG);
        header.ece = bit(ECE);
        header.cwr = bit(CWR);
        header.urgent_pointer = self.urgent;
        header.set_options_raw(&self.options).unwrap();
        header
    }

    /// The frame with a complete checksum.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut header = self.header();
        header.checksum = match (self.route.from.ip(), self.route.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                header.calc_checksum_ipv4_raw(from.octets(), to.octets(), &self.payload).unwrap()
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                header.calc_checksum_ipv6_raw(from.octets(), to.octets(), &self.payload).unwrap()
            }
            _ => panic!("one version of IP"),
        };
        self.frame_with(&header)
    }

    /// The frame as it is on loopback: the checksum is that of the pseudo header alone, not inverted.
    pub(crate) fn partial(&self) -> Vec<u8> {
        let mut header = self.header();
        let length = header.header_len() + self.payload.len();
        header.checksum = !self.route.pseudo_header(TCP, length).ones_complement().to_be();
        self.frame_with(&header)
    }

    fn frame_with(&self, header: &TcpHeader) -> Vec<u8> {
        self.route.frame(TCP, &[&header.to_bytes(), &self.payload[..]].concat())
    }

    /// The length of the frame's headers.
    pub(crate) fn headers(&self) -> usize {
        self.route.headers() + 20 + self.options.len()
    }
}

/// A UDP datagram as a frame with a complete checksum.
pub(crate) fn udp(route: &Route, payload: &[u8]) -> Vec<u8> {
    let (from, to) = (route.from.port(), route.to.port());
    let header = match (route.from.ip(), route.to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = UdpHeader::without_ipv4_checksum(from, to, payload.len()).unwrap();
            header.checksum =
                header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), payload).unwrap();
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv6Header::default()
            };
            UdpHeader::with_ipv6_checksum(from, to, &header, payload).unwrap()
        }
        _ => panic!("one version of IP"),
    };
    route.frame(UDP, &[&header.to_bytes(), payload].concat())
}

/// A UDP datagram whose checksum is that of the pseudo header alone, not inverted.
pub(crate) fn udp_partial(route: &Route, payload: &[u8]) -> Vec<u8> {
    let mut frame = udp(route, payload);
    let checksum = !route.pseudo_header(UDP, 8 + payload.len()).ones_complement();
    frame[route.headers() + 6..][..2].copy_from_slice(&checksum.to_ne_bytes());
    frame
}

/// An ICMP or ICMPv6 echo request as a frame.
pub(crate) fn ping(route: &Route, payload: &[u8]) -> Vec<u8> {
    icmp_echo(route, payload, Icmpv4Type::EchoRequest, Icmpv6Type::EchoRequest)
}

/// An ICMP or ICMPv6 echo reply as a frame.
pub(crate) fn pong(route: &Route, payload: &[u8]) -> Vec<u8> {
    icmp_echo(route, payload, Icmpv4Type::EchoReply, Icmpv6Type::EchoReply)
}

fn icmp_echo(
    route: &Route,
    payload: &[u8],
    v4: fn(IcmpEchoHeader) -> Icmpv4Type,
    v6: fn(IcmpEchoHeader) -> Icmpv6Type,
) -> Vec<u8> {
    let echo = IcmpEchoHeader { id: 0x4321, seq: 7 };
    match (route.from.ip(), route.to.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let header = Icmpv4Header::with_checksum(v4(echo), payload);
            route.frame(ICMP, &[&header.to_bytes(), payload].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let header = Icmpv6Header::with_checksum(v6(echo), from.octets(), to.octets(), payload).unwrap();
            route.frame(ICMPV6, &[&header.to_bytes(), payload].concat())
        }
        _ => panic!("one version of IP"),
    }
}

/// The datagram in `frame`, which is built on `route`, in pieces of `size` bytes, a multiple of eight.
pub(crate) fn fragments(route: &Route, protocol: u8, frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let transport = &frame[route.headers()..];
    let pieces = transport.chunks(size).enumerate().map(|(index, piece)| {
        let offset = (index * size) as u16;
        let more = usize::from(offset) + piece.len() < transport.len();
        let mut route = route.clone();
        if route.from.is_ipv4() {
            route.fragment = offset >> 3 | if more { MORE_FRAGMENTS } else { 0 };
        } else {
            route.extension = Some((44, fragment_header(protocol, offset | u16::from(more))));
        }
        route.frame(protocol, piece)
    });
    pieces.collect()
}

/// An IPv6 fragment header with the field of offset and flag.
pub(crate) fn fragment_header(next: u8, field: u16) -> Vec<u8> {
    [&[next, 0][..], &field.to_be_bytes(), &[0, 0, 0x12, 0x34]].concat()
}
