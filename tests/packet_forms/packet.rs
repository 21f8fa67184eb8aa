//! Packets, field by field, and their bytes. Nothing here is shared with the program under test.

use std::net::{IpAddr, SocketAddr};

pub(crate) type Mac = [u8; 6];

pub(crate) const SERVER_MAC: Mac = [2, 0, 0, 0, 0, 5];
pub(crate) const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 9];

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
pub(crate) const FRAGMENT: u8 = 44;

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;
pub(crate) const ECE: u8 = 0x40;
pub(crate) const CWR: u8 = 0x80;

/// Where a packet meets the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Egress of loopback.
    Loopback,
    /// Ingress of another interface.
    Wire,
}

#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) to_mac: Mac,
    pub(crate) from_mac: Mac,
    /// VLAN tags, the outer one first: EtherType and control.
    pub(crate) tags: Vec<[u8; 4]>,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) hops: u8,
    pub(crate) identification: u16,
    /// Flags and offset in an IPv4 header.
    pub(crate) fragment: u16,
    /// IPv4 options, a multiple of four bytes.
    pub(crate) options: Vec<u8>,
    /// IPv6 extension headers: the kind of each, and all but its first byte, which says what follows.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    pub(crate) transport: Transport,
    /// Whether the checksum is still to be completed by a device: it is the sum of the pseudo header.
    pub(crate) partial: bool,
    /// What is behind the IP packet.
    pub(crate) padding: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Transport {
    Udp {
        payload: Vec<u8>,
        checksum: bool,
    },
    Tcp(Segment),
    /// What is behind the checksum is `rest`.
    Icmp {
        kind: u8,
        code: u8,
        rest: Vec<u8>,
    },
    /// A piece of one of these, or of anything else.
    Piece {
        protocol: u8,
        bytes: Vec<u8>,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    /// The four bits before the flags.
    pub(crate) reserved: u8,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) urgent: u16,
    /// A multiple of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

/// The Internet checksum before it is inverted (RFC 1071); each part but the last has an even length.
fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for word in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

impl Packet {
    /// What the answer has in common with every packet: it goes back to where it came from, on the wire from the
    /// next hop.
    pub(crate) fn back(&self, hook: Hook) -> Self {
        let mut answer = Self { from: self.to, to: self.from, ..self.clone() };
        if hook == Hook::Wire {
            (answer.to_mac, answer.from_mac) = (self.from_mac, self.to_mac);
            answer.hops -= 1;
        }
        if let Transport::Icmp { kind, .. } = &mut answer.transport {
            *kind = if self.is_v4() { 0 } else { 129 };
        }
        answer
    }

    /// On loopback, as the answer to `question`: the urgent pointer makes up for all that was edited in a segment, so that
    /// its checksum stays as it was.
    pub(crate) fn balanced(mut self, question: &Self, hook: Hook) -> Self {
        if let (Hook::Loopback, Transport::Tcp(sent), Transport::Tcp(answer)) =
            (hook, &question.transport, &mut self.transport)
            && answer.flags & (SYN | URG) == 0
        {
            let [before, after] = [sent, answer].map(|segment| u32::from(sum(&[&segment.bytes()])));
            answer.urgent = ((before + 0xffff - after) % 0xffff) as u16;
        }
        self
    }

    /// Whether it is from or to this address.
    pub(crate) fn has_address(&self, address: &str) -> bool {
        [self.from, self.to].iter().any(|endpoint| endpoint.ip().to_string() == address)
    }

    pub(crate) fn is_v4(&self) -> bool {
        self.from.is_ipv4()
    }

    /// The bytes of the IP header and all behind it that is not `transport`.
    pub(crate) fn network_length(&self) -> usize {
        let extensions: usize = self.extensions.iter().map(|(_, bytes)| 1 + bytes.len()).sum();
        if self.is_v4() { 20 + self.options.len() } else { 40 + extensions }
    }

    /// The bytes of the payload of TCP or UDP.
    pub(crate) fn payload_length(&self) -> usize {
        match &self.transport {
            Transport::Udp { payload, .. } | Transport::Tcp(Segment { payload, .. }) => payload.len(),
            _ => 0,
        }
    }

    /// Where the transport header is in the frame.
    pub(crate) fn transport_offset(&self) -> usize {
        14 + 4 * self.tags.len() + self.network_length()
    }

    /// This datagram in fragments that carry `size` bytes each, a multiple of eight.
    pub(crate) fn cut(&self, size: usize) -> Vec<Self> {
        let (protocol, bytes) = self.transport();
        let mut pieces = Vec::new();
        for (index, piece) in bytes.chunks(size).enumerate() {
            let offset = index * size;
            let more = offset + piece.len() < bytes.len();
            let transport = Transport::Piece { protocol, bytes: piece.into() };
            let mut packet = Self { transport, ..self.clone() };
            if self.is_v4() {
                packet.fragment = (offset as u16 / 8) | (u16::from(more) << 13);
            } else {
                let [high, low] = (offset as u16 | u16::from(more)).to_be_bytes();
                let [a, b] = self.identification.to_be_bytes();
                packet.extensions.push((FRAGMENT, vec![0, high, low, 0x5a, 0, a, b]));
            }
            pieces.push(packet);
        }
        pieces
    }

    /// The frame.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (protocol, transport) = self.transport();
        let mut frame = [self.to_mac, self.from_mac].concat();
        frame.extend(self.tags.as_flattened());
        frame.extend(if self.is_v4() { [0x08, 0x00] } else { [0x86, 0xdd] });
        frame.extend(if self.is_v4() {
            self.ipv4(protocol, transport.len())
        } else {
            self.ipv6(protocol, transport.len())
        });
        frame.extend(transport);
        frame.extend(&self.padding);
        frame
    }

    fn addresses(&self) -> Vec<u8> {
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
            (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
            _ => panic!("one version of IP"),
        }
    }

    fn ipv4(&self, protocol: u8, length: usize) -> Vec<u8> {
        let words = 5 + self.options.len() / 4;
        let total = (words * 4 + length) as u16;
        let mut header = vec![0x40 | words as u8, 0x29];
        header.extend(total.to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.hops, protocol, 0, 0]);
        header.extend(self.addresses());
        header.extend(&self.options);
        let checksum = !sum(&[&header]);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn ipv6(&self, protocol: u8, length: usize) -> Vec<u8> {
        let kinds: Vec<u8> = self.extensions.iter().map(|(kind, _)| *kind).chain([protocol]).collect();
        let payload = self.network_length() - 40 + length;
        let mut header = vec![0x62, 0x95, 0x43, 0x21];
        header.extend((payload as u16).to_be_bytes());
        header.extend([kinds[0], self.hops]);
        header.extend(self.addresses());
        for ((_, bytes), next) in self.extensions.iter().zip(&kinds[1..]) {
            header.push(*next);
            header.extend(bytes);
        }
        header
    }

    /// The protocol's number, and its header and payload with their checksum.
    fn transport(&self) -> (u8, Vec<u8>) {
        let ports = [self.from.port().to_be_bytes(), self.to.port().to_be_bytes()].concat();
        match &self.transport {
            Transport::Udp { payload, checksum } => {
                let length = (8 + payload.len()) as u16;
                let mut bytes = [&ports[..], &length.to_be_bytes(), &[0, 0], payload].concat();
                if *checksum {
                    self.set_checksum(UDP, &mut bytes, 6);
                }
                (UDP, bytes)
            }
            Transport::Tcp(segment) => {
                let mut bytes = [&ports[..], &segment.bytes()].concat();
                self.set_checksum(TCP, &mut bytes, 16);
                (TCP, bytes)
            }
            Transport::Icmp { kind, code, rest } => {
                let mut bytes = [&[*kind, *code, 0, 0][..], rest].concat();
                let protocol = if self.is_v4() { ICMP } else { ICMPV6 };
                self.set_checksum(protocol, &mut bytes, 2);
                (protocol, bytes)
            }
            Transport::Piece { protocol, bytes } => (*protocol, bytes.clone()),
        }
    }

    fn set_checksum(&self, protocol: u8, bytes: &mut [u8], at: usize) {
        let length = (bytes.len() as u32).to_be_bytes();
        let pseudo_header = [&self.addresses()[..], &length, &[0, 0, 0, protocol]].concat();
        let checksum = match protocol {
            _ if self.partial => sum(&[&pseudo_header]),
            ICMP => !sum(&[bytes]),
            _ => !sum(&[&pseudo_header, bytes]),
        };
        // Zero says that there is none, and means the same as its complement (RFC 768).
        let checksum = if protocol == UDP && checksum == 0 { 0xffff } else { checksum };
        bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}

impl Segment {
    fn bytes(&self) -> Vec<u8> {
        assert_eq!(self.options.len() % 4, 0);
        let words = 5 + self.options.len() / 4;
        let mut bytes = [self.sequence.to_be_bytes(), self.acknowledgment.to_be_bytes()].concat();
        bytes.extend([(words << 4) as u8 | self.reserved, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.urgent.to_be_bytes());
        bytes.extend(&self.options);
        bytes.extend(&self.payload);
        bytes
    }
}
