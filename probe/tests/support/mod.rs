//! What the tests share: a host, builders of packets that owe nothing to the crate under test, and the last
//! step of the hook.

#![allow(dead_code)] // every test program uses a part of this

pub(crate) mod golden;
pub(crate) mod random;

use std::net::{IpAddr, SocketAddr};

use etherparse::checksum::Sum16BitWords;
use etherparse::{IpNumber, Ipv4Header, Ipv4Options, Ipv6Header, TcpHeader, UdpHeader};
use probe::abi::Address;
use probe::packet::Packet;
use probe::reflect::{Finish, Host, Outcome, Reflected, reflect};

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

pub(crate) const ETHERNET: usize = 14;

/// The served port of [`Server::usual`], in a range with gaps.
pub(crate) const PORT: u16 = 7007;
pub(crate) const SERVER_4: &str = "192.0.2.7";
pub(crate) const SERVER_6: &str = "2001:db8::7";
pub(crate) const CLIENT_4: &str = "198.51.100.9";
pub(crate) const CLIENT_6: &str = "2001:db8:9::c";
pub(crate) const CLIENT_PORT: u16 = 40961;

pub(crate) struct Server {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) ports: Vec<u16>,
    pub(crate) mtu: u32,
}

impl Server {
    pub(crate) fn usual() -> Self {
        let addresses = vec![SERVER_4.parse().unwrap(), SERVER_6.parse().unwrap()];
        Self { addresses, ports: vec![7000, PORT, 7010], mtu: 1500 }
    }
}

impl Host for Server {
    fn port_range(&self) -> (u16, u16) {
        (*self.ports.iter().min().unwrap(), *self.ports.iter().max().unwrap())
    }

    fn serves_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    fn serves_address(&self, address: &Address) -> bool {
        self.addresses.iter().any(|served| match served {
            IpAddr::V4(served) => served.to_ipv6_mapped().octets() == *address,
            IpAddr::V6(served) => served.octets() == *address,
        })
    }

    fn mtu(&self) -> u32 {
        self.mtu
    }
}

/// Both versions of IP, for tests that do not care: client and server.
pub(crate) fn routes() -> [Route; 2] {
    [Route::new(CLIENT_4, SERVER_4), Route::new(CLIENT_6, SERVER_6)]
}

/// Who sends to whom, and what the IP header says besides.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
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
        Self { from, to, options: Vec::new(), said: None, extension: None }
    }

    pub(crate) fn back(&self) -> Self {
        Self { from: self.to, to: self.from, ..self.clone() }
    }

    /// The bytes before the transport header, from the Ethernet header on.
    pub(crate) fn headers(&self) -> usize {
        let extension = self.extension.as_ref().map_or(0, |(_, bytes)| bytes.len());
        ETHERNET + if self.from.is_ipv4() { 20 + self.options.len() } else { 40 + extension }
    }

    /// A frame with `transport` behind the IP header.
    pub(crate) fn frame(&self, protocol: u8, transport: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend([0x08, 0x00]);
                let length = u16::try_from(transport.len()).unwrap();
                let mut header =
                    Ipv4Header::new(0, 61, IpNumber(protocol), from.octets(), to.octets()).unwrap();
                header.options = Ipv4Options::try_from(&self.options[..]).unwrap();
                header.set_payload_len(usize::from(length)).unwrap();
                header.total_len = self.said.unwrap_or(header.total_len);
                header.identification = 0x1234;
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
                    hop_limit: 61,
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

/// `reflect` on the bytes of `frame`, all of them in the linear part.
pub(crate) fn run(server: &Server, frame: &mut [u8]) -> Outcome {
    let length = frame.len() as u32;
    reflect(server, Packet::new(frame), length)
}

/// The last step, as the kernel does it for a packet with a complete checksum.
pub(crate) fn finish(frame: &mut Vec<u8>, reflected: &Reflected) {
    match reflected.finish {
        Finish::Nothing => {}
        Finish::Checksum { offset, difference } => {
            // bpf_l4_csum_replace(skb, offset, 0, difference, 0): csum_fold(csum_add(diff, ~csum_unfold(sum))).
            let offset = offset as usize;
            let field = &mut frame[offset..offset + 2];
            let old = !u32::from(u16::from_ne_bytes([field[0], field[1]]));
            let (sum, carry) = old.overflowing_add(difference);
            let mut sum = sum.wrapping_add(u32::from(carry));
            sum = (sum & 0xffff) + (sum >> 16);
            sum = (sum & 0xffff) + (sum >> 16);
            field.copy_from_slice(&(!(sum as u16)).to_ne_bytes());
        }
        Finish::Trim(length) => frame.truncate(length as usize),
    }
}

/// The finished answer to `frame`, which must be reflected.
pub(crate) fn echo(server: &Server, frame: &[u8]) -> (Reflected, Vec<u8>) {
    let mut answer = frame.to_vec();
    match run(server, &mut answer) {
        Outcome::Reflected(reflected) => {
            finish(&mut answer, &reflected);
            (reflected, answer)
        }
        other => panic!("{other:?} for {frame:02x?}"),
    }
}

/// Asserts that `frame` has this outcome and that no byte of it changes.
pub(crate) fn assert_untouched(server: &Server, frame: &[u8], outcome: Outcome) {
    let mut bytes = frame.to_vec();
    assert_eq!(run(server, &mut bytes), outcome, "{frame:02x?}");
    assert_eq!(bytes, frame, "changed a byte");
}

/// Whether the checksum of a TCP or UDP frame is right, if the frame is whole: IPv4 or IPv6 without extension,
/// and true lengths. A UDP checksum of zero over IPv4 is right.
pub(crate) fn checksum_is_right(frame: &[u8]) -> Option<bool> {
    let ip = frame.get(ETHERNET..)?;
    let (protocol, addresses, transport) = match frame[12..ETHERNET] {
        [0x08, 0x00] => {
            let start = usize::from(ip.first()? & 15) * 4;
            let end = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
            if start < 20 {
                return None;
            }
            (*ip.get(9)?, ip.get(12..20)?, ip.get(start..end)?)
        }
        [0x86, 0xdd] => {
            let end = 40 + usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]));
            (*ip.get(6)?, ip.get(8..40)?, ip.get(40..end)?)
        }
        _ => return None,
    };
    let least = match protocol {
        TCP => 20,
        UDP => 8,
        _ => return None,
    };
    if transport.len() < least {
        return None;
    }
    if protocol == UDP && addresses.len() == 8 && transport[6..8] == [0, 0] {
        return Some(true);
    }
    let length = (transport.len() as u32).to_be_bytes();
    let sum = Sum16BitWords::new().add_slice(addresses).add_4bytes(length).add_2bytes([0, protocol]);
    Some(sum.add_slice(transport).ones_complement() == 0)
}
