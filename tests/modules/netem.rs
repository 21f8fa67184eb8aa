//! Networks that lose, delay, duplicate, reorder and damage packets. Each stream comes back bit by bit, and the client's
//! own counters say that the network was as bad as it should be.
//!
//! Damage is done on one of the two ways at a time: bpfecho carries checksums along, and of two flipped bits, one on the way
//! there and one on the way back, some pairs cancel out in a sum.

use std::net::TcpStream;
use std::time::Duration;

use super::support::bpfecho::Bpfecho;
use super::support::namespace::counter;
use super::support::network::{V4, V6, server};
use super::support::{rtnetlink, stream, sys};

/// What the network does to packets, with which probability.
#[derive(Clone, Copy, Default)]
struct Netem {
    delay: Duration,
    loss: f64,
    duplicate: f64,
    /// Those that overtake the delayed ones.
    reorder: f64,
    /// Of one bit.
    corrupt: f64,
}

const DELAY: Duration = Duration::from_millis(20);

impl Netem {
    /// `struct tc_netem_qopt` and the attributes behind it (linux/pkt_sched.h).
    fn options(&self) -> Vec<u8> {
        const TCA_NETEM_REORDER: u16 = 3;
        const TCA_NETEM_CORRUPT: u16 = 4;
        const TCA_NETEM_LATENCY64: u16 = 10;
        const LIMIT: u32 = 10_000;
        let probability = |value: f64| (value * f64::from(u32::MAX)) as u32;
        // Each packet is the first of a gap that may be reordered.
        let gap = u32::from(self.reorder != 0.0);
        let mut options = Vec::new();
        for number in [0, LIMIT, probability(self.loss), gap, probability(self.duplicate), 0] {
            options.extend(number.to_ne_bytes());
        }
        let latency = (self.delay.as_nanos() as i64).to_ne_bytes();
        let independent =
            |value: f64| [probability(value).to_ne_bytes(), [0; 4]].concat().try_into().unwrap();
        for (attribute, value) in [
            (TCA_NETEM_LATENCY64, latency),
            (TCA_NETEM_REORDER, independent(self.reorder)),
            (TCA_NETEM_CORRUPT, independent(self.corrupt)),
        ] {
            options.extend(12u16.to_ne_bytes());
            options.extend(attribute.to_ne_bytes());
            options.extend(value);
        }
        options
    }
}

/// Sends a stream of this length over each family, on a cable that does this to what the client sends, and to what comes
/// back. Calls `check` behind each.
fn over(there: Netem, back: Netem, length: u64, check: impl Fn(&TcpStream)) {
    let server = server();
    let _bpfecho = server.run(|| Bpfecho::start("10.9.0.2 fd00:9::2 1122 --ifname vb"));
    // While all is well both ends find each other.
    for address in [V4, V6] {
        stream::small_exchange(&stream::connect(address), 1);
    }
    rtnetlink::without_aggregates("va");
    rtnetlink::set_qdisc("va", "netem", there.options());
    server.run(|| rtnetlink::set_qdisc("vb", "netem", back.options()));
    for address in [V4, V6] {
        let client = stream::connect(address);
        stream::exchange(&client, length, 1 << 14);
        check(&client);
    }
}

/// Asserts that the client has counted some of these.
fn some(counters: &[&str]) {
    assert!(counters.iter().map(|name| counter(name)).sum::<u64>() > 0, "none of {counters:?}");
}

pub(crate) fn loss() {
    let netem = Netem { loss: 0.05, ..Netem::default() };
    over(netem, netem, 1 << 20, |_| some(&["RetransSegs"]));
}

pub(crate) fn reorder() {
    let netem = Netem { delay: DELAY / 4, reorder: 0.25, ..Netem::default() };
    over(netem, netem, 1 << 20, |_| some(&["TCPOFOQueue"]));
}

pub(crate) fn duplicate() {
    let netem = Netem { duplicate: 0.1, ..Netem::default() };
    over(netem, netem, 1 << 20, |_| some(&["TCPDSACKOldSent", "TCPDSACKOfoSent"]));
}

pub(crate) fn delay() {
    let netem = Netem { delay: DELAY, ..Netem::default() };
    over(netem, netem, 1 << 20, |client| {
        let microseconds = sys::tcp_info(client).tcpi_rtt;
        assert!(u128::from(microseconds) >= (2 * DELAY).as_micros(), "{microseconds}");
    });
}

const CORRUPT: Netem =
    Netem { delay: Duration::ZERO, loss: 0.0, duplicate: 0.0, reorder: 0.0, corrupt: 0.02 };

pub(crate) fn corrupt_there() {
    over(CORRUPT, Netem::default(), 1 << 20, |_| some(&["InCsumErrors"]));
}

pub(crate) fn corrupt_back() {
    over(Netem::default(), CORRUPT, 1 << 20, |_| some(&["InCsumErrors"]));
}

const ALL: Netem = Netem { delay: DELAY, loss: 0.02, duplicate: 0.02, reorder: 0.1, corrupt: 0.02 };

pub(crate) fn all_there() {
    over(ALL, Netem { corrupt: 0.0, ..ALL }, 1 << 19, |_| all());
}

pub(crate) fn all_back() {
    over(Netem { corrupt: 0.0, ..ALL }, ALL, 1 << 19, |_| all());
}

fn all() {
    for name in ["RetransSegs", "TCPOFOQueue", "InCsumErrors"] {
        some(&[name]);
    }
}
