//! Segments and the answers they must get, for golden tests.

use probe::abi::Counter;
use probe::reflect::Outcome;

use super::{ACK, Route, SYN, Server, Tcp, checksum_is_right, echo, finish_partial, run};

pub(crate) const SEQUENCE: u32 = 0xfffe_1234;
pub(crate) const TSVAL: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
pub(crate) const TSECR: [u8; 4] = [0x9a, 0xbc, 0xde, 0xf1];

pub(crate) fn aligned_timestamps(value: [u8; 4], echo: [u8; 4]) -> Vec<u8> {
    [&[1, 1, 8, 10][..], &value, &echo].concat()
}

pub(crate) fn syn(route: &Route, options: &[u8]) -> Tcp {
    Tcp { sequence: SEQUENCE, options: options.to_vec(), window: 64240, ..Tcp::new(route, SYN) }
}

/// The answer to `syn`: exactly SYN and ACK, and no payload.
pub(crate) fn syn_ack(syn: &Tcp, scale: u32, options: &[u8]) -> Tcp {
    Tcp {
        route: syn.route.back(),
        sequence: syn.sequence.wrapping_add(scale << 28),
        acknowledgment: syn.sequence.wrapping_add(1),
        window: syn.window,
        options: options.to_vec(),
        ..Tcp::new(&syn.route, SYN | ACK)
    }
}

pub(crate) fn packets(v4: bool) -> Counter {
    if v4 { Counter::Tcp4Packets } else { Counter::Tcp6Packets }
}

/// Asserts every byte of the answer, with a complete checksum and with that of loopback, and what is counted.
#[track_caller]
pub(crate) fn assert_answer<const WIRE: bool>(
    server: &Server<WIRE>,
    segment: &Tcp,
    answer: &Tcp,
    event: Option<Counter>,
) {
    let balanced = answer.clone().balanced(segment);
    let answer = if WIRE { answer } else { &balanced };
    let (reflected, bytes) = echo(server, &segment.frame());
    assert_eq!(bytes, answer.frame(), "{segment:?}");
    if segment.route.extension.is_none() {
        assert_eq!(checksum_is_right(&bytes), Some(true));
    }
    let packets = packets(segment.route.from.is_ipv4());
    assert_eq!((reflected.packets, reflected.bytes as usize), (packets, answer.payload.len()));
    assert_eq!(reflected.event, event);

    // The kernel leaves such a checksum alone, as the pseudo header is the same.
    let mut bytes = segment.partial();
    if let Outcome::Reflected(reflected) = run(server, &mut bytes) {
        finish_partial(&mut bytes, &reflected);
    }
    assert_eq!(bytes, answer.partial(), "{segment:?}");
}
