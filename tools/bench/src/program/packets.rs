//! The packets that programs are measured on: as Linux sends them, with 64 bytes of payload where there is any.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    IpHeaders, Ipv4Extensions, Ipv4Header, Ipv4Options, Ipv6Extensions, Ipv6FlowLabel, Ipv6Header,
    PacketBuilder, PacketBuilderStep, TcpHeader, VlanId, ip_number,
};

use super::echo::PORT;
use crate::bytecode::{Hook, Layout};

/// The payload of segments and datagrams.
const PAYLOAD: [u8; 64] = *b"bpfecho: what comes in goes out, each byte of it, in this order.";

/// From where is sent.
const CLIENT_PORT: u16 = 40961;
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A sequence number, and the time of timestamps.
const SEQUENCE: u32 = 0x1234_5678;
const TIME: u32 = 0x0102_0304;

/// The window scale of a client, which on loopback the difference of the sequence numbers carries: see `probe::mirror`.
const SCALE: u8 = 7;

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// A segment with payload, all before it being acknowledged: a request of ping-pong.
    Segment,
    /// A segment without.
    Acknowledgment,
    /// The first segment of a connection.
    Syn,
    /// The last one, without payload.
    Fin,
    /// A datagram of UDP.
    Datagram,
}

/// What it is carried by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    V4,
    V6,
    /// IPv4 behind a VLAN tag.
    Tagged,
    /// IPv4 with an option: router alert.
    WithOption,
}

/// A kind of packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// For the names of measures.
    pub(super) name: &'static str,
    pub(super) transport: Transport,
    pub(super) network: Network,
    /// Whether it is sent to the port that is echoed.
    pub(super) ours: bool,
}

const fn ours(name: &'static str, transport: Transport, network: Network) -> Kind {
    Kind { name, transport, network, ours: true }
}

/// A packet to another port.
pub(super) const NOT_OURS: Kind =
    Kind { name: "not ours", transport: Transport::Segment, network: Network::V4, ours: false };
/// A segment with payload.
pub(crate) const SEGMENT: Kind = ours("TCP segment", Transport::Segment, Network::V4);
/// A datagram.
pub(crate) const DATAGRAM: Kind = ours("UDP datagram", Transport::Datagram, Network::V4);

/// All kinds that are answered.
const ANSWERED: [Kind; 11] = [
    SEGMENT,
    ours("TCP acknowledgment", Transport::Acknowledgment, Network::V4),
    DATAGRAM,
    ours("TCP segment, IPv6", Transport::Segment, Network::V6),
    ours("UDP datagram, IPv6", Transport::Datagram, Network::V6),
    ours("SYN", Transport::Syn, Network::V4),
    ours("FIN", Transport::Fin, Network::V4),
    ours("TCP segment, VLAN tag", Transport::Segment, Network::Tagged),
    ours("UDP datagram, VLAN tag", Transport::Datagram, Network::Tagged),
    ours("TCP segment, IPv4 option", Transport::Segment, Network::WithOption),
    ours("UDP datagram, IPv4 option", Transport::Datagram, Network::WithOption),
];

/// The kinds that the program at `hook` answers: loopback has no unusual packets, and XDP leaves them, and handshakes,
/// to traffic control.
pub(super) fn answered(hook: Hook) -> impl Iterator<Item = Kind> {
    ANSWERED.into_iter().filter(move |kind| {
        let usual = matches!(kind.network, Network::V4 | Network::V6);
        match hook {
            Hook::Loopback => usual,
            Hook::Wire => true,
            Hook::Xdp => usual && kind.transport != Transport::Syn,
        }
    })
}

/// A packet from its Ethernet header on.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    /// How many bytes there are before the payload: an even number.
    pub(crate) headers: usize,
    pub(crate) layout: Layout,
}

/// The address of the server.
pub(crate) fn server(hook: Hook, v6: bool) -> IpAddr {
    match (hook, v6) {
        (Hook::Loopback, false) => Ipv4Addr::LOCALHOST.into(),
        (Hook::Loopback, true) => Ipv6Addr::LOCALHOST.into(),
        (Hook::Wire | Hook::Xdp, false) => Ipv4Addr::new(10, 9, 0, 2).into(),
        (Hook::Wire | Hook::Xdp, true) => Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 2).into(),
    }
}

/// The address of the client.
fn client(hook: Hook, v6: bool) -> IpAddr {
    match server(hook, v6) {
        loopback if hook == Hook::Loopback => loopback,
        IpAddr::V4(server) => Ipv4Addr::from(u32::from(server) - 1).into(),
        IpAddr::V6(server) => Ipv6Addr::from(u128::from(server) - 1).into(),
    }
}

impl Kind {
    /// A packet of this kind as the program at `hook` sees it, to the server's MAC address.
    pub(crate) fn frame(&self, hook: Hook, server_mac: [u8; 6]) -> Result<Frame, String> {
        let ethernet = PacketBuilder::ethernet2(CLIENT_MAC, server_mac);
        let ip = self.ip(hook)?;
        let network = ip.header_len();
        let (step, tag) = match self.network {
            Network::Tagged => (ethernet.single_vlan(VlanId::try_new(9).map_err(text)?).ip(ip), 4),
            _ => (ethernet.ip(ip), 0),
        };
        let payload: &[u8] = match self.transport {
            Transport::Segment | Transport::Datagram => &PAYLOAD,
            Transport::Acknowledgment | Transport::Syn | Transport::Fin => &[],
        };
        let mut bytes = Vec::new();
        self.write(hook, step, payload, &mut bytes)?;
        let start = 14 + tag;
        let (first, address_length) = if self.network == Network::V6 { (8, 16) } else { (12, 4) };
        Ok(Frame {
            headers: bytes.len() - payload.len(),
            bytes,
            layout: Layout { addresses: start + first, address_length, ports: start + network },
        })
    }

    fn ip(&self, hook: Hook) -> Result<IpHeaders, String> {
        let v6 = self.network == Network::V6;
        match (client(hook, v6), server(hook, v6)) {
            (IpAddr::V6(client), IpAddr::V6(server)) => {
                let header = Ipv6Header {
                    traffic_class: 0,
                    flow_label: Ipv6FlowLabel::try_new(0x54321).map_err(text)?,
                    payload_length: 0,
                    next_header: ip_number::TCP,
                    hop_limit: 64,
                    source: client.octets(),
                    destination: server.octets(),
                };
                Ok(IpHeaders::Ipv6(header, Ipv6Extensions::default()))
            }
            (IpAddr::V4(client), IpAddr::V4(server)) => {
                let mut header =
                    Ipv4Header::new(0, 64, ip_number::TCP, client.octets(), server.octets()).map_err(text)?;
                header.dont_fragment = true;
                if self.network == Network::WithOption {
                    header.options = Ipv4Options::from([148, 4, 0, 0]);
                }
                Ok(IpHeaders::Ipv4(header, Ipv4Extensions::default()))
            }
            _ => Err("two versions of IP".into()),
        }
    }

    /// Writes the packet whose headers up to IP's are `step`.
    fn write(
        &self,
        hook: Hook,
        step: PacketBuilderStep<IpHeaders>,
        payload: &[u8],
        bytes: &mut Vec<u8>,
    ) -> Result<(), String> {
        let port = if self.ours { PORT } else { PORT + 1 };
        if self.transport == Transport::Datagram {
            return step.udp(CLIENT_PORT, port).write(bytes, payload).map_err(text);
        }
        let mut header = TcpHeader::new(CLIENT_PORT, port, SEQUENCE, 512);
        header.psh = self.transport == Transport::Segment;
        header.fin = self.transport == Transport::Fin;
        header.syn = self.transport == Transport::Syn;
        header.ack = !header.syn;
        let ([a, b, c, d], [e, f]) = (TIME.to_be_bytes(), 1460_u16.to_be_bytes());
        if header.syn {
            // MSS, SACK permitted, timestamps, window scale.
            let options = [2, 4, e, f, 4, 2, 8, 10, a, b, c, d, 0, 0, 0, 0, 1, 3, 3, SCALE];
            header.set_options_raw(&options).map_err(text)?;
        } else {
            let delta = if hook == Hook::Loopback { u32::from(SCALE) << 28 } else { 0 };
            header.acknowledgment_number = SEQUENCE.wrapping_add(delta);
            header.set_options_raw(&[1, 1, 8, 10, a, b, c, d, a, b, c, d - 1]).map_err(text)?;
        }
        step.tcp_header(header).write(bytes, payload).map_err(text)
    }
}

impl Frame {
    /// Whether `answer` is this packet with addresses and ports exchanged, and the same payload.
    pub(super) fn is_answered_by(&self, answer: &[u8]) -> bool {
        let Layout { addresses, address_length, ports } = self.layout;
        let is_exchanged = |at: usize, length: usize| {
            let fields = |bytes: &'_ [u8]| Some(bytes.get(at..at + 2 * length)?.to_vec());
            let (Some(before), Some(mut after)) = (fields(&self.bytes), fields(answer)) else { return false };
            after.rotate_left(length);
            before == after
        };
        answer.len() == self.bytes.len()
            && is_exchanged(addresses, address_length)
            && is_exchanged(ports, 2)
            && answer[self.headers..] == self.bytes[self.headers..]
    }
}

fn text(error: impl std::fmt::Display) -> String {
    format!("making a packet: {error}")
}
