//! Before programs are attached, each has to answer one packet right: if a kernel, or its compiler for BPF, does not do
//! what it should, no client is to notice.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use loader::{Errno, Program, ProgramError};
use probe::abi::destination::ECHO;

use crate::configuration::{Configuration, Place, decide};
use crate::echo::{Echo, EchoError};
use crate::prefix::Prefix;

/// Verdicts of traffic control (linux/pkt_cls.h) and of XDP (linux/bpf.h).
const TC_ACT_OK: i32 = 0;
const TC_ACT_REDIRECT: i32 = 7;
const XDP_TX: i32 = 3;

/// From a kernel that runs no programs for a test (before 4.12): ENOTSUPP, which it keeps to itself otherwise.
const ENOTSUPP: Errno = Errno::from_raw(524);

/// Protocols by their numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// What the kernel does not expect on any interface.
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A place in the client's stream, and the same in the server's.
const SEQUENCE: u32 = 0x1000_0000;

/// Why a program is not to be trusted.
#[derive(Debug)]
pub enum SelfTestError {
    /// It could not be run.
    Run(ProgramError),
    /// It answered, but not as it should.
    Wrong {
        /// The name of the program.
        program: String,
        /// What it was sent.
        question: String,
        /// Its verdict, and the one it should have given.
        verdicts: (i32, i32),
        /// The byte from which on the packet differs from what it should be, if it does.
        differs_at: Option<usize>,
    },
    /// What it has counted could not be forgotten.
    Counters(EchoError),
}

impl fmt::Display for SelfTestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(error) => error.fmt(formatter),
            Self::Wrong { program, question, verdicts: (got, wanted), differs_at } => {
                write!(
                    formatter,
                    "program {program:?}: trying it before it is attached: {question} got the verdict {got} instead of \
                     {wanted}"
                )?;
                if let Some(byte) = differs_at {
                    write!(formatter, ", and differs from byte {byte} on from the answer it should be")?;
                }
                formatter.write_str(
                    ": this kernel does not run it right, please report it with the kernel's version",
                )
            }
            Self::Counters(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for SelfTestError {}

/// Tries the programs of `echo`, which are not attached yet. That of a tunnel is taken on trust: the kernel cannot run a
/// test without an Ethernet header.
///
/// # Errors
///
/// [`SelfTestError`].
pub fn run(echo: &Echo, configuration: &Configuration) -> Result<(), SelfTestError> {
    let Some(peers) = Peers::of(configuration) else { return Ok(()) };
    let kind = match (configuration.protocols.tcp, configuration.protocols.udp) {
        (true, _) => Kind::Syn,
        (_, true) => Kind::Datagram,
        _ => Kind::Ping,
    };
    // A program that runs for a test is on `lo`, whose address is zero.
    let (there, verdict, back) = match configuration.place {
        Place::Tunnel => return Ok(()),
        Place::Loopback => (peers.question([0; 6], kind), TC_ACT_OK, peers.answer_on_loopback(kind)),
        Place::Ethernet { .. } => (peers.question([0; 6], kind), TC_ACT_REDIRECT, peers.answer([0; 6], kind)),
    };
    check(echo.program(), kind, &there, verdict, &back)?;
    if let (Some(program), Place::Ethernet { mac }) = (echo.xdp(), configuration.place)
        && kind != Kind::Ping
        // With every port echoed each question may come from an echo, at which XDP takes no closer look.
        && !configuration.ports.contains(peers.client.1)
    {
        let kind = if kind == Kind::Syn { Kind::Segment } else { kind };
        check(program, kind, &peers.question(mac, kind), XDP_TX, &peers.answer(mac, kind))?;
    }
    echo.reset_counters().map_err(SelfTestError::Counters)
}

/// Runs `program` on `question`, to which there is one right answer.
fn check(
    program: &Program,
    kind: Kind,
    question: &[u8],
    verdict: i32,
    answer: &[u8],
) -> Result<(), SelfTestError> {
    let run = match program.test_run(question) {
        Err(error) if error.errno() == ENOTSUPP => return Ok(()),
        result => result.map_err(SelfTestError::Run)?,
    };
    let pairs = run.packet.iter().zip(answer);
    let differs_at = pairs.into_iter().position(|(got, wanted)| got != wanted);
    if run.verdict == verdict && differs_at.is_none() && run.packet.len() == answer.len() {
        return Ok(());
    }
    Err(SelfTestError::Wrong {
        program: program.name().into(),
        question: kind.to_string(),
        verdicts: (run.verdict, verdict),
        differs_at,
    })
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Opens a TCP connection.
    Syn,
    /// Carries data on one.
    Segment,
    /// UDP.
    Datagram,
    /// An ICMP echo request.
    Ping,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Syn => "a SYN",
            Self::Segment => "a TCP segment",
            Self::Datagram => "a datagram",
            Self::Ping => "a ping",
        })
    }
}

/// Who talks with whom.
struct Peers {
    client: (IpAddr, u16),
    server: (IpAddr, u16),
}

impl Peers {
    /// Somebody who is answered, and what answers; `None` if nothing was found.
    fn of(configuration: &Configuration) -> Option<Self> {
        let echoes = |address: &IpAddr| {
            decide(&configuration.destinations, *address).is_some_and(|value| value & ECHO != 0)
        };
        let all = configuration.destinations.iter().filter(|(_, value)| value & ECHO != 0);
        let server = all.flat_map(|(prefix, _)| some_addresses(prefix)).find(echoes)?;
        let ports = &configuration.ports;
        let client_port = (1024..=u16::MAX).rev().find(|port| !ports.contains(*port)).unwrap_or(u16::MAX);
        let allowed = |address: &IpAddr| {
            // Loopback does not ask.
            let allowed = configuration.place == Place::Loopback
                || decide(&configuration.sources, *address) == Some(true)
                    && !(ports.contains(client_port) && echoes(address));
            allowed && address.is_ipv4() == server.is_ipv4() && *address != server
        };
        // Those are for documentation (RFC 5737, RFC 3849), so nobody is meant.
        let nobody = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])];
        let sources = configuration.sources.iter().filter(|(_, allowed)| *allowed);
        let client =
            nobody.into_iter().chain(sources.flat_map(|(prefix, _)| some_addresses(prefix))).find(allowed)?;
        Some(Self { client: (client, client_port), server: (server, ports.first()?) })
    }

    fn question(&self, mac: [u8; 6], kind: Kind) -> Vec<u8> {
        self.packet(kind, Way::There, [mac, CLIENT_MAC], 64)
    }

    fn answer(&self, mac: [u8; 6], kind: Kind) -> Vec<u8> {
        self.packet(kind, Way::Back, [CLIENT_MAC, mac], 63)
    }

    /// There, frames have no way to go: the MAC addresses and the time to live stay.
    fn answer_on_loopback(&self, kind: Kind) -> Vec<u8> {
        self.packet(kind, Way::Back, [[0; 6], CLIENT_MAC], 64)
    }

    /// A frame with these MAC addresses, of the receiver and of the sender, and this time to live.
    fn packet(&self, kind: Kind, way: Way, macs: [[u8; 6]; 2], hops: u8) -> Vec<u8> {
        let (from, to) = match way {
            Way::There => (self.client, self.server),
            Way::Back => (self.server, self.client),
        };
        let addresses = match (from.0, to.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
            (from, to) => [from, to].map(octets).concat(),
        };
        let v4 = addresses.len() == 8;
        let ports = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
        let (protocol, mut transport, checksum) = transport(kind, way, v4, &ports);
        let length = transport.len() as u16;
        let pseudo = [addresses.as_slice(), &[0, protocol], &length.to_be_bytes()].concat();
        // ICMP, unlike ICMPv6, has none (RFC 4443 section 2.3).
        let covered = if protocol == ICMP { transport.clone() } else { [pseudo, transport.clone()].concat() };
        transport[checksum..checksum + 2].copy_from_slice(&internet_checksum(&covered));

        let mut frame = macs.concat();
        if v4 {
            frame.extend([0x08, 0x00]);
            let mut header = vec![0x45, 0];
            header.extend((20 + length).to_be_bytes());
            header.extend([0, 0, 0, 0, hops, protocol, 0, 0]);
            header.extend(&addresses);
            let sum = internet_checksum(&header);
            header[10..12].copy_from_slice(&sum);
            frame.extend(header);
        } else {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([protocol, hops]);
            frame.extend(&addresses);
        }
        frame.extend(transport);
        frame
    }
}

/// Which way a packet goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From the client.
    There,
    /// From the server.
    Back,
}

/// A transport header with payload, without its checksum: the number of the protocol, the bytes, and where the checksum
/// is to be.
fn transport(kind: Kind, way: Way, v4: bool, ports: &[u8]) -> (u8, Vec<u8>, usize) {
    const SYN: u8 = 0x02;
    const PSH: u8 = 0x08;
    const ACK: u8 = 0x10;
    let payload = b"bpfecho!";
    let tcp = |acknowledgment: u32, flags: u8, payload: &[u8]| {
        let numbers = [SEQUENCE, acknowledgment].map(u32::to_be_bytes).concat();
        [ports, &numbers, &[0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0], payload].concat()
    };
    match (kind, way) {
        (Kind::Syn, Way::There) => (TCP, tcp(0, SYN, &[]), 16),
        // Without a window scale the server begins where the client does.
        (Kind::Syn, Way::Back) => (TCP, tcp(SEQUENCE + 1, SYN | ACK, &[]), 16),
        (Kind::Segment, _) => (TCP, tcp(SEQUENCE, PSH | ACK, payload), 16),
        (Kind::Datagram, _) => (UDP, [ports, &[0, 16, 0, 0], payload].concat(), 6),
        (Kind::Ping, way) => {
            let (protocol, request, reply) = if v4 { (ICMP, 8, 0) } else { (ICMPV6, 128, 129) };
            let kind = if way == Way::There { request } else { reply };
            (protocol, [&[kind, 0, 0, 0, 0, 1, 0, 1][..], payload].concat(), 2)
        }
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// RFC 1071, of an even number of bytes.
fn internet_checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// The first few addresses of `prefix`.
fn some_addresses(prefix: &Prefix) -> Vec<IpAddr> {
    let first = prefix.address();
    let address = |number: u8| match first {
        IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() | u32::from(number))),
        IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() | u128::from(number))),
    };
    (0..8).map(address).filter(|address| Prefix::from(*address).is_within_any(&[*prefix])).collect()
}
