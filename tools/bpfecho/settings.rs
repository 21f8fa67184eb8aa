//! The settings of the program, from the configuration.
//!
//! What is known when the program is loaded costs no look-up: one served address, no gaps between the ports, everybody
//! answered. With the values in the program, the verifier takes away what they make superfluous.

use std::net::IpAddr;

use probe::abi::{self, NO_ADDRESS, destination, link, ports, protocols, setting, sources, versions};

use crate::configuration::{Configuration, Place, decide};
use crate::prefix::Prefix;

/// The values of the program's settings. None is zero, as [`setting`] demands.
pub fn settings(configuration: &Configuration, helpers: u32) -> [(&'static str, u64); setting::ALL.len()] {
    let has_virtual = configuration.destinations.iter().any(|(_, value)| value & destination::VIRTUAL != 0);
    let neighbours = if has_virtual { protocols::NEIGHBOURS } else { 0 };
    let link = match configuration.place {
        Place::Loopback | Place::Ethernet { .. } => link::ETHERNET,
        Place::Tunnel => link::NONE,
    };
    let [a, b, c, d, e, f] = match configuration.place {
        Place::Ethernet { mac } => mac,
        Place::Loopback | Place::Tunnel => [0; 6],
    };
    let served = &configuration.ports;
    let has_gaps = match (served.first(), served.last()) {
        (Some(first), Some(last)) => served.iter().count() != usize::from(last - first) + 1,
        _ => true,
    };
    let lone_v4 = match lone(&configuration.destinations, IpAddr::is_ipv4) {
        Some(IpAddr::V4(address)) => abi::lone_v4(address.octets()),
        _ => NO_ADDRESS,
    };
    let lone_v6 = match lone(&configuration.destinations, IpAddr::is_ipv6) {
        Some(IpAddr::V6(address)) => abi::lone_v6(&address.octets()),
        _ => [NO_ADDRESS; 2],
    };
    // What no setting may be has to be looked up.
    let lone_v6 = if lone_v6.iter().any(|half| *half <= NO_ADDRESS) { [NO_ADDRESS; 2] } else { lone_v6 };
    let broadcast = everybody(&configuration.sources);
    [
        (setting::FIRST_PORT, configuration.ports.first().unwrap_or(u16::MAX).into()),
        (setting::LAST_PORT, configuration.ports.last().unwrap_or(1).into()),
        (setting::MTU, configuration.mtu.into()),
        (setting::PROTOCOLS, (configuration.protocols.bits() | neighbours).into()),
        (setting::LINK, link.into()),
        (setting::MAC, u64::from_ne_bytes([a, b, c, d, e, f, 1, 1])),
        (setting::HELPERS, helpers.into()),
        (setting::VERSIONS, versions(&configuration.destinations).into()),
        (setting::PORTS, if has_gaps { ports::LISTED } else { ports::ALL }.into()),
        (setting::LONE_V4, lone_v4),
        (setting::LONE_V6_HIGH, lone_v6[0]),
        (setting::LONE_V6_LOW, lone_v6[1]),
        (setting::SOURCES, if broadcast.is_some() { sources::EVERYBODY } else { sources::LISTED }.into()),
        (setting::BROADCAST, broadcast.unwrap_or(NO_ADDRESS)),
    ]
}

/// Of which versions of IP something is served; of all where nothing is, as no setting may be zero.
fn versions(destinations: &[(Prefix, u32)]) -> u32 {
    let served = destinations.iter().filter(|(_, value)| *value != 0);
    let version = |prefix: &Prefix| if prefix.address().is_ipv4() { versions::V4 } else { versions::V6 };
    let sum = served.fold(0, |sum, (prefix, _)| sum | version(prefix));
    if sum == 0 { versions::V4 | versions::V6 } else { sum }
}

/// The address that is served if it is the only one of its family.
fn lone(destinations: &[(Prefix, u32)], is_of_family: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let echoes = |value: &u32| value & destination::ECHO != 0;
    let mut served = destinations
        .iter()
        .filter(|(prefix, value)| echoes(value) && is_of_family(&prefix.address()))
        .map(|(prefix, _)| prefix);
    let first = served.next()?;
    let is_lone = first.is_single() && served.all(|prefix| prefix == first);
    (is_lone && decide(destinations, first.address()).is_some_and(|value| echoes(&value)))
        .then(|| first.address())
}

/// If everybody is answered but for nobodies and one IPv4 address at most: the value of [`setting::BROADCAST`].
fn everybody(answered: &[(Prefix, bool)]) -> Option<u64> {
    let nobodies = || Prefix::NOBODY.into_iter().chain(Prefix::LOOPBACK);
    let all = nobodies().all(|nobody| answered.contains(&(nobody, false)))
        && Prefix::EVERYBODY.iter().all(|all| decide_prefix(answered, all) == Some(true));
    let mut others = answered.iter().filter(|(prefix, _)| {
        !Prefix::EVERYBODY.contains(prefix) && !nobodies().any(|nobody| nobody == *prefix)
    });
    let Some(other) = others.next() else { return all.then_some(NO_ADDRESS) };
    let (prefix, answered) = other;
    // It may be listed twice.
    let is_lone = !answered && prefix.is_single() && others.all(|another| another == other);
    match prefix.address() {
        IpAddr::V4(address) if all && is_lone => Some(abi::lone_v4(address.octets())),
        _ => None,
    }
}

/// What the last entry for just this prefix says.
fn decide_prefix(entries: &[(Prefix, bool)], wanted: &Prefix) -> Option<bool> {
    entries.iter().rev().find(|(prefix, _)| prefix == wanted).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {

    use probe::abi::{NO_ADDRESS, helpers, lone_v4, lone_v6};
    use probe::headers::Be32;

    use super::*;
    use crate::configuration::tests::configuration;

    #[test]
    fn no_setting_is_zero() {
        let mac = [2, 0, 0, 0, 0, 1];
        let values = |place, value| {
            let configuration = configuration(place, &[("10.9.0.0/16", value)], "7,2000-2999");
            settings(&configuration, helpers::OLD).map(|(_, value)| value)
        };
        let value = u64::from_ne_bytes([2, 0, 0, 0, 0, 1, 1, 1]);
        assert_eq!(values(Place::Ethernet { mac }, 3), [7, 2999, 1500, 11, 1, value, 1, 1, 2, 1, 1, 1, 2, 1]);
        assert_eq!(values(Place::Ethernet { mac }, 1)[3], 3);
        assert_eq!(values(Place::Tunnel, 1)[4], 2);
        let ethernet = configuration(Place::Ethernet { mac }, &[("10.9.0.0/16", 1)], "7");
        assert_eq!(settings(&ethernet, helpers::NEW)[6].1, 2);
        assert!([Place::Tunnel, Place::Loopback].iter().all(|place| !values(*place, 1).contains(&0)));
    }

    #[test]
    fn what_is_known_is_not_looked_up() {
        let value = |configuration: &Configuration, name| {
            let settings = settings(configuration, helpers::NEW);
            settings.iter().find(|(setting, _)| *setting == name).unwrap().1
        };
        let with = |destinations: &[(&str, u32)], ports| configuration(Place::Loopback, destinations, ports);
        let versions = |destinations: &[_]| value(&with(destinations, "7"), setting::VERSIONS);
        assert_eq!(versions(&[("10.9.0.5", 1), ("fd00::5", 0)]), 1);
        assert_eq!(versions(&[("10.9.0.5", 0), ("fd00::5", 3)]), 2);
        assert_eq!([versions(&[("10.9.0.5", 1), ("fd00::5", 1)]), versions(&[])], [3, 3]);
        let ports = |text| value(&with(&[], text), setting::PORTS);
        assert_eq!(["7", "7-9", "7,8,9", "7,9"].map(ports), [1, 1, 1, 2]);

        let v4 = |destinations: &[_]| value(&with(destinations, "7"), setting::LONE_V4);
        let lone = lone_v4([10, 9, 0, 5]);
        assert_eq!(v4(&[("10.9.0.5", 1)]), lone);
        assert_eq!(v4(&[("0.0.0.0/0", 0), ("10.9.0.5", 3), ("10.9.0.5", 1), ("fd00::/8", 1)]), lone);
        for several in [
            &[("10.9.0.5", 1), ("10.9.0.6", 1)][..],
            &[("10.9.0.0/31", 1)],
            &[("10.9.0.5", 1), ("10.9.0.5", 0)],
            &[("fd00::5", 1)],
            &[],
        ] {
            assert_eq!(v4(several), NO_ADDRESS, "{several:?}");
        }
        let v6 = |destinations: &[_]| {
            let configuration = with(destinations, "7");
            [setting::LONE_V6_HIGH, setting::LONE_V6_LOW].map(|half| value(&configuration, half))
        };
        let lone = lone_v6(&"fd00::5".parse::<std::net::Ipv6Addr>().unwrap().octets());
        assert_eq!(v6(&[("fd00::5", 1), ("10.9.0.0/16", 1)]), lone);
        assert_eq!(v6(&[("fd00::/64", 1)]), [NO_ADDRESS; 2]);
        // One whose half would be no value of a setting.
        let [zero, _] = lone_v6(&[0; 16]);
        let address = std::net::Ipv6Addr::from(
            [[0xfd, 0, 0, 0, 0, 0, 0, 0], zero.to_ne_bytes()]
                .concat()
                .try_into()
                .map(|bytes: [u8; 16]| bytes)
                .unwrap(),
        );
        assert_eq!(v6(&[(&address.to_string(), 1)]), [NO_ADDRESS; 2]);
    }

    #[test]
    fn everybody_but_nobody_is_not_looked_up() {
        let answered = |line: &str| {
            let sources = crate::configuration::tests::only(line, "eth0").sources;
            (everybody(&sources), sources)
        };
        let (value, sources) = answered("10.9.0.5 7 --ifname eth0");
        assert_eq!(value, Some(lone_v4([10, 9, 0, 255])));
        // The program's rules are these.
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "1.0.0.0",
            "10.9.0.1",
            "126.255.255.255",
            "127.0.0.1",
            "128.0.0.0",
            "223.255.255.255",
            "224.0.0.0",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::2",
            "1::",
            "1::1",
            "fd00::1",
            "feff::",
            "ff00::",
            "ff02::1",
            "::1:0:0",
        ] {
            let address: IpAddr = address.parse().unwrap();
            let rule = match address {
                IpAddr::V4(address) => probe::address::is_of_a_host_v4(Be32(address.octets())),
                IpAddr::V6(address) => probe::address::is_of_a_host_v6(&address.octets()),
            };
            assert_eq!(decide(&sources, address), Some(rule), "{address}");
        }
        assert_eq!(answered("10.9.0.5 7 --ifname eth0 --allow 10.0.0.0/8").0, None);
        assert_eq!(answered("10.9.0.5 7 --ifname eth0 --allow 0.0.0.0/0").0, None);
        let nobodies = || Prefix::NOBODY.into_iter().chain(Prefix::LOOPBACK).map(|prefix| (prefix, false));
        let all: Vec<_> =
            Prefix::EVERYBODY.map(|prefix| (prefix, true)).into_iter().chain(nobodies()).collect();
        assert_eq!(everybody(&all), Some(NO_ADDRESS));
        assert_eq!(everybody(&all[1..]), None);
        assert_eq!(everybody(&all[..all.len() - 1]), None);
        for other in ["10.9.0.0/24", "fd00::5"] {
            let others = [&all[..], &[(other.parse().unwrap(), false)]].concat();
            assert_eq!(everybody(&others), None, "{other}");
        }
        let two = [&all[..], &["10.9.0.1", "10.9.0.2"].map(|other| (other.parse().unwrap(), false))].concat();
        assert_eq!(everybody(&two), None);
    }
}
