//! Programs linked by hand: that in XDP, which is in front of another with the same maps, and all with any settings.

use bpfecho::configuration::Configuration;
use bpfecho::settings::settings;
use loader::{Map, Object, Program, ProgramKind};
use probe::abi::{self, Counter, destination, helpers, link, map, protocols, setting};

use super::forms::{Fate, Form, ONE_EACH, SERVED, forms, plain};
use super::packet::{Hook, Packet, Transport};
use super::support::bpfecho::Bpfecho;
use super::support::sys;
use super::{Line, ethernet, exchange_partial};

/// Verdicts of XDP (linux/bpf.h).
const PASS: i32 = 2;
const TX: i32 = 3;

/// The compiled probe in this machine's byte order.
#[cfg(target_endian = "little")]
const PROBE: &[u8] = include_bytes!("../../probe/bpfecho.bpfel.o");
/// The compiled probe in this machine's byte order.
#[cfg(target_endian = "big")]
const PROBE: &[u8] = include_bytes!("../../probe/bpfecho.bpfeb.o");

/// The maps of `configuration`, by their names.
fn maps(object: &Object, configuration: &Configuration) -> Vec<(&'static str, Map)> {
    let maps = map::ALL.map(|name| {
        let definition = object.maps().iter().find(|definition| definition.name == name);
        let mut definition = definition.unwrap().clone();
        if [map::DESTINATIONS, map::SOURCES].contains(&name) {
            definition.max_entries = 100;
        }
        let map = Map::create(&definition).unwrap();
        match name {
            map::DESTINATIONS => {
                for (prefix, value) in &configuration.destinations {
                    map.update(&prefix.key(), &value.to_ne_bytes()).unwrap();
                }
            }
            map::SOURCES => {
                for (prefix, answered) in &configuration.sources {
                    map.update(&prefix.key(), &u32::from(*answered).to_ne_bytes()).unwrap();
                }
            }
            map::PORTS => {
                for (index, word) in (0u32..).zip(configuration.ports.words()) {
                    map.update(&index.to_ne_bytes(), &word.to_ne_bytes()).unwrap();
                }
            }
            _ => {}
        }
        (name, map)
    });
    maps.into()
}

/// Loads a program with these values of protocols, link and helpers. Returns it with its counters.
fn load(configuration: &Configuration, program: &str, values: [u32; 3]) -> (Program, Map) {
    let object = Object::parse(PROBE).unwrap();
    let maps = maps(&object, configuration);
    let named: Vec<_> = maps.iter().map(|(name, map)| (*name, map)).collect();
    let [protocols, link, helpers] = values;
    let [protocols, link] = [protocols, link].map(u64::from);
    let settings = settings(configuration, helpers).map(|(name, value)| match name {
        setting::PROTOCOLS => (name, protocols),
        setting::LINK => (name, link),
        _ => (name, value),
    });
    let kind = if program == abi::XDP_PROGRAM { ProgramKind::Xdp } else { ProgramKind::SchedCls };
    let program = object.link(program, &named, &settings).unwrap().load(kind, true).unwrap();
    (program, maps.into_iter().find(|(name, _)| *name == map::COUNTERS).unwrap().1)
}

/// What `counter` has on all CPUs.
fn count(counters: &Map, counter: Counter) -> u64 {
    let (index, place) = (counter as u32 / 2, counter as usize % 2 * 8);
    let values = counters.lookup_per_cpu(&index.to_ne_bytes()).unwrap();
    values.iter().map(|pair| u64::from_ne_bytes(pair[place..place + 8].try_into().unwrap())).sum()
}

/// Whether the packet has everything at its usual place, and needs no closer look at its sender.
fn is_plain(packet: &Packet) -> bool {
    let transport_is_plain = match &packet.transport {
        Transport::Udp { .. } => true,
        Transport::Tcp(segment) => {
            // An empty segment from before what is confirmed is not mirrored as it is.
            let ahead = segment.acknowledgment.wrapping_sub(segment.sequence);
            segment.flags & super::packet::SYN == 0
                && !(segment.payload.is_empty() && (1..1 << 30).contains(&ahead))
                && (segment.options.is_empty() || segment.options.starts_with(&[1, 1, 8, 10]))
        }
        Transport::Icmp { .. } | Transport::Piece { .. } => false,
    };
    let in_front = packet.tags.len() + packet.options.len() + packet.extensions.len();
    let sender_is_plain = packet.from.port() != packet.to.port();
    transport_is_plain && sender_is_plain && in_front == 0 && packet.fragment & 0x3fff == 0
}

/// In XDP what is plain is answered, and whatever else or left to the device goes on as it is.
pub(crate) fn alone() {
    super::ethernet(1500);
    let configuration = super::configuration(Hook::Wire, SERVED);
    let protocols = protocols::TCP | protocols::UDP | protocols::ICMP | protocols::NEIGHBOURS;
    for helpers in [helpers::OLD, helpers::NEW] {
        let (program, counters) =
            load(&configuration, abi::XDP_PROGRAM, [protocols, link::ETHERNET, helpers]);
        let run = |form: &Form, sent: &Packet, expected: Option<&Packet>| {
            let sent = sent.bytes();
            let run = program.test_run(&sent).unwrap_or_else(|error| panic!("{}: {error}", form.name));
            assert_eq!(run.verdict, if expected.is_some() { TX } else { PASS }, "{}", form.name);
            super::assert_same(&form.name, &run.packet, &expected.map_or(sent, Packet::bytes));
        };
        let (mut answered, mut bytes) = (0, 0);
        for form in forms(Hook::Wire, 1500) {
            for (sent, fate) in &form.exchanges {
                let answer = match fate {
                    Fate::Answered(answer) if is_plain(sent) => Some(&**answer),
                    _ => None,
                };
                run(&form, sent, answer);
                answered += u64::from(answer.is_some());
                bytes += answer.map_or(0, Packet::payload_length) as u64;
                if matches!(sent.transport, Transport::Udp { checksum: false, .. }) {
                    continue;
                }
                let before = count(&counters, Counter::PassedPartial);
                run(&form, &super::partial(sent), None);
                let counted = count(&counters, Counter::PassedPartial) - before;
                assert!(answer.is_none() || counted == 1, "{}", form.name);
            }
        }
        assert!(answered > 60, "only {answered} were answered");
        let sum = |all: [Counter; 4]| all.map(|one| count(&counters, one)).iter().sum::<u64>();
        use Counter::{Tcp4Bytes, Tcp4Packets, Tcp6Bytes, Tcp6Packets};
        use Counter::{Udp4Bytes, Udp4Packets, Udp6Bytes, Udp6Packets};
        assert_eq!(sum([Tcp4Packets, Tcp6Packets, Udp4Packets, Udp6Packets]), answered);
        assert_eq!(sum([Tcp4Bytes, Tcp6Bytes, Udp4Bytes, Udp6Bytes]), bytes);
        // A frame that was cut off is told by its length.
        let [datagram, _] = plain(Hook::Wire, true);
        let run = program.test_run(&datagram.bytes()[..datagram.bytes().len() - 1]).unwrap();
        assert_eq!(run.verdict, if helpers == helpers::NEW { PASS } else { TX });
    }
}

/// The verifier takes each program, whatever its settings, from whom it trusts with nothing that is not needed.
pub(crate) fn loaded_with_two_capabilities() {
    const CAP_NET_ADMIN: u32 = 12;
    const CAP_BPF: u32 = 39;
    super::ethernet(1500);
    // What is known at the start, and what has to be looked up.
    let configurations =
        [ONE_EACH.into(), format!("{SERVED} 10.7.1.0/24 fd00:7:1::/64 9000 --allow 10.0.0.0/8,fd00::/8")]
            .map(|arguments| {
                let mut configuration = super::configuration(Hook::Wire, &arguments);
                configuration.destinations.iter_mut().for_each(|(_, value)| *value |= destination::VIRTUAL);
                configuration
            });
    sys::keep_capabilities(&[CAP_NET_ADMIN, CAP_BPF]);
    for configuration in &configurations {
        for protocols in 1..16 {
            load(configuration, abi::LOOPBACK_PROGRAM, [protocols, link::ETHERNET, helpers::OLD]);
            for helpers in [helpers::OLD, helpers::NEW] {
                for link in [link::ETHERNET, link::NONE] {
                    load(configuration, abi::WIRE_PROGRAM, [protocols, link, helpers]);
                }
                load(configuration, abi::XDP_PROGRAM, [protocols, link::ETHERNET, helpers]);
            }
        }
    }
}

/// The whole table, on a line on which every packet comes to XDP first.
pub(crate) fn over(hook: &str) {
    ethernet(1500);
    let _peer = peer(hook);
    let mut line = Line::open(Hook::Wire, &format!("{SERVED} --hook {hook}"));
    line.exchange_all(&forms(Hook::Wire, 1500));
    assert_eq!(line.server.end().count("passed on by XDP"), 0);
}

/// The whole table, behind generic XDP of somebody else, on whose way packets lose their link-layer header.
pub(crate) fn behind_another(hook: &str) {
    ethernet(1500);
    let _other = Bpfecho::start("10.99.0.1 9 --ifname v0 --hook xdp-generic");
    let mut line = Line::open(Hook::Wire, &format!("{SERVED} --hook {hook}"));
    line.exchange_all(&forms(Hook::Wire, 1500));
    exchange_partial(&mut line);
}

/// A checksum that is left to the device is that of nothing yet: XDP must not correct it.
pub(crate) fn partial(hook: &str) {
    ethernet(1500);
    let _peer = peer(hook);
    let mut line = Line::open(Hook::Wire, &format!("{SERVED} --hook {hook}"));
    exchange_partial(&mut line);
    let passed_on = line.server.end().count("passed on by XDP");
    assert!(passed_on > 50, "only {passed_on} were passed on");
}

/// A veth takes what XDP sends only while it has an XDP program itself: this one, which serves nothing that is asked
/// for.
fn peer(hook: &str) -> Option<Bpfecho> {
    (hook == "xdp").then(|| Bpfecho::start("10.99.0.1 9 --ifname v1 --hook xdp"))
}
