//! What the program on each interface is told: from the request, and from what is known of the interface and
//! the host. Pure.

use std::fmt;
use std::net::IpAddr;

use loader::Side;
use loader::rtnetlink::{Interface, InterfaceAddress, LinkKind};
use probe::abi::destination::{ECHO, VIRTUAL};

use crate::arguments::Request;
use crate::port_set::Ports;
use crate::prefix::Prefix;
use crate::protocols::Protocols;

/// What one program is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Where it works.
    pub place: Place,
    /// The largest packet of the interface, without its link-layer header, in bytes.
    pub mtu: u32,
    /// What is echoed.
    pub protocols: Protocols,
    /// On which ports; at least one.
    pub ports: Ports,
    /// What is echoed there: a sum of [`probe::abi::destination`], 0 for nothing. The longest prefix decides,
    /// and of equal ones the last.
    pub destinations: Vec<(Prefix, u32)>,
    /// Who is answered; not asked on loopback. The longest prefix decides, and of equal ones the last.
    pub sources: Vec<(Prefix, bool)>,
}

/// Where a program works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the egress hook of a loopback interface.
    Loopback,
    /// On the ingress hook of an Ethernet interface.
    Ethernet {
        /// Its MAC address.
        mac: [u8; 6],
    },
    /// On the ingress hook of an interface whose packets begin with their IP header.
    Tunnel,
}

impl Place {
    /// On which side of the interface packets are turned round: what is sent, or what comes in.
    pub fn side(self) -> Side {
        match self {
            Self::Loopback => Side::Egress,
            Self::Ethernet { .. } | Self::Tunnel => Side::Ingress,
        }
    }
}

/// What is known of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The addresses of all its interfaces.
    pub addresses: Vec<InterfaceAddress>,
    /// The routers it sends through.
    pub gateways: Vec<IpAddr>,
}

/// Why a request makes no sense on these interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigurationError {
    /// The packets of the interface are not understood.
    Link {
        /// Its name.
        name: String,
        /// Its type, ARPHRD_* of linux/if_arp.h.
        kind: u16,
    },
    /// Virtual hosts where nobody looks for them.
    Virtual {
        /// The name of the interface.
        name: String,
    },
    /// XDP where no interface has it.
    Xdp {
        /// The name of one of the interfaces.
        name: String,
    },
    /// A virtual host that exists.
    Exists(Prefix),
    /// Sources are limited, and none of the interfaces asks for them.
    Allow,
    /// None of the addresses is of use on the interface.
    Nothing {
        /// Its name.
        name: String,
        /// One that would be, if it has any.
        own: Option<IpAddr>,
        /// Whether virtual hosts would be.
        may_be_virtual: bool,
    },
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { name, kind } => write!(
                formatter,
                "`{name}` is neither Ethernet nor a tunnel (link type {kind}): its packets are not \
                 understood here, choose another with --ifname"
            ),
            Self::Virtual { name } => write!(
                formatter,
                "`{name}` is not Ethernet, where alone --virtual-hosts can be found: choose another with \
                 --ifname"
            ),
            Self::Xdp { name } => write!(
                formatter,
                "`{name}` is not Ethernet, which --hook xdp and xdp-generic are for: choose another with --ifname, or \
                 --hook auto"
            ),
            Self::Exists(prefix) => write!(
                formatter,
                "{prefix} exists already, as an address of this host, of a router or of a whole network: \
                 leave it out of --virtual-hosts"
            ),
            Self::Allow => {
                formatter.write_str("--allow is about other hosts, and on loopback there are none")
            }
            Self::Nothing { name, own, may_be_virtual } => {
                write!(formatter, "nothing to echo on `{name}`: name an address")?;
                if let Some(own) = own {
                    write!(formatter, ", such as its own {own}")?;
                }
                formatter.write_str(if *may_be_virtual { ", or --virtual-hosts" } else { "" })
            }
        }
    }
}

impl std::error::Error for ConfigurationError {}

/// What the program on each of `interfaces` is told, in the same order.
///
/// # Errors
///
/// [`ConfigurationError`] if one of the interfaces, or what is asked of them all, makes no sense.
pub fn configure(
    request: &Request,
    interfaces: &[Interface],
    host: &Host,
) -> Result<Vec<Configuration>, ConfigurationError> {
    let places = interfaces.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    // On loopback virtual hosts are of no use, but another interface may be where they are.
    let some_ethernet = places.iter().any(|place| matches!(place, Place::Ethernet { .. }));
    let nobody_asks = |place: &Place| *place == Place::Tunnel || *place == Place::Loopback && !some_ethernet;
    let deaf = interfaces.iter().zip(&places).find(|(_, place)| nobody_asks(place));
    if let Some((interface, _)) = deaf.filter(|_| !request.virtual_hosts.is_empty()) {
        return Err(ConfigurationError::Virtual { name: interface.name.clone() });
    }
    if let (false, Some(_), Some(interface)) = (some_ethernet, request.plan.hook.xdp(), interfaces.first()) {
        return Err(ConfigurationError::Xdp { name: interface.name.clone() });
    }
    if !request.allow.is_empty() && places.iter().all(|place| *place == Place::Loopback) {
        return Err(ConfigurationError::Allow);
    }
    if let Some(prefix) = existing(host).find(|one| request.virtual_hosts.contains(one)) {
        return Err(ConfigurationError::Exists(prefix));
    }
    let interfaces = interfaces.iter().zip(places);
    interfaces.map(|(interface, place)| configuration(request, interface, place, host)).collect()
}

fn place(interface: &Interface) -> Result<Place, ConfigurationError> {
    match interface.link {
        LinkKind::Loopback => Ok(Place::Loopback),
        LinkKind::Ethernet => Ok(Place::Ethernet { mac: interface.mac.unwrap_or_default() }),
        LinkKind::None => Ok(Place::Tunnel),
        LinkKind::Other(kind) => Err(ConfigurationError::Link { name: interface.name.clone(), kind }),
    }
}

fn configuration(
    request: &Request,
    interface: &Interface,
    place: Place,
    host: &Host,
) -> Result<Configuration, ConfigurationError> {
    let destinations = match place {
        Place::Loopback => loopback_destinations(request),
        Place::Ethernet { .. } | Place::Tunnel => wire_destinations(request, host),
    };
    if destinations.iter().all(|(_, value)| *value == 0) {
        return Err(nothing(interface, place, host));
    }
    let sources = match place {
        Place::Loopback => Vec::new(),
        Place::Ethernet { .. } | Place::Tunnel => sources(request, interface, host),
    };
    Ok(Configuration {
        place,
        mtu: interface.mtu,
        protocols: request.protocols,
        ports: request.ports.clone(),
        destinations,
        sources,
    })
}

/// What `request` serves on at least one of `interfaces`.
pub fn served(request: &Request, interfaces: &[Interface]) -> impl Iterator<Item = Prefix> {
    served_on(request, interfaces.iter().any(|interface| interface.link == LinkKind::Loopback))
}

/// What `request` serves on loopback, or else on the wire, where nobody means this host by a loopback
/// address.
fn served_on(request: &Request, loopback: bool) -> impl Iterator<Item = Prefix> {
    let is_served = move |prefix: &Prefix| loopback || !prefix.is_within_any(&Prefix::LOOPBACK);
    request.served.iter().copied().filter(is_served)
}

fn loopback_destinations(request: &Request) -> Vec<(Prefix, u32)> {
    let mut destinations = vec![NO_MAPPED];
    destinations.extend(served_on(request, true).map(|prefix| (prefix, ECHO)));
    destinations.extend(Prefix::NOBODY.map(|prefix| (prefix, 0)));
    destinations
}

/// No IPv4 address, unless an IPv4 prefix says so: in the program's keys they are in short prefixes of IPv6.
const NO_MAPPED: (Prefix, u32) = (Prefix::EVERYBODY[0], 0);

fn wire_destinations(request: &Request, host: &Host) -> Vec<(Prefix, u32)> {
    let mut destinations = vec![NO_MAPPED];
    destinations.extend(served_on(request, false).map(|prefix| (prefix, ECHO)));
    destinations.extend(request.virtual_hosts.iter().map(|prefix| (*prefix, ECHO | VIRTUAL)));
    let holes = Prefix::NOBODY.into_iter().chain(Prefix::LOOPBACK);
    destinations.extend(holes.map(|prefix| (prefix, 0)));
    // Who exists must not get a virtual host in his place, unless the user has named just him.
    let is_hole = |one: &Prefix| one.is_within_any(&request.virtual_hosts) && !request.served.contains(one);
    destinations.extend(existing(host).filter(is_hole).map(|one| (one, 0)));
    destinations
}

/// The addresses that are taken: by this host, by all hosts of a network of its, by a router.
fn existing(host: &Host) -> impl Iterator<Item = Prefix> {
    let own = host.addresses.iter().flat_map(|own| {
        let network = subnet(own).map(|subnet| subnet.address());
        broadcasts(own).into_iter().chain(network).chain([own.address])
    });
    own.chain(host.gateways.iter().copied()).map(Prefix::from)
}

fn sources(request: &Request, interface: &Interface, host: &Host) -> Vec<(Prefix, bool)> {
    let mut sources = vec![(NO_MAPPED.0, false)];
    let allowed = if request.allow.is_empty() { &Prefix::EVERYBODY } else { request.allow.as_slice() };
    sources.extend(allowed.iter().map(|prefix| (*prefix, true)));
    let holes = Prefix::NOBODY.into_iter().chain(Prefix::LOOPBACK);
    sources.extend(holes.map(|prefix| (prefix, false)));
    let own = host.addresses.iter().filter(|own| own.interface == interface.index);
    sources.extend(own.flat_map(broadcasts).map(|address| (address.into(), false)));
    sources
}

/// The subnet of an address, if its first address is not that of one host: not where it has two at most (RFC
/// 3021, RFC 6164). Over IPv6 that address is any of the subnet's routers (RFC 4291 2.6.1).
fn subnet(own: &InterfaceAddress) -> Option<Prefix> {
    let bits = if own.address.is_ipv4() { 32 } else { 128 };
    (own.prefix_length < bits - 1).then(|| Prefix::network(own.address, own.prefix_length))
}

/// The addresses that are those of all hosts to the kernel: the one that is set, and the last of the subnet
/// in any case.
fn broadcasts(own: &InterfaceAddress) -> Vec<IpAddr> {
    let last = subnet(own).and_then(|subnet| subnet.last_ipv4());
    own.broadcast.into_iter().chain(last).map(IpAddr::V4).collect()
}

/// What `entries` say of `address`, as the program looks it up: the longest prefix decides, and of equal ones the last.
pub fn decide<T: Copy>(entries: &[(Prefix, T)], address: IpAddr) -> Option<T> {
    let bits = |prefix: &Prefix| {
        let key = prefix.key();
        let (length, address) = key.split_at(4);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
        (length.try_into().map_or(0, u32::from_ne_bytes), number(address))
    };
    let (_, wanted) = bits(&address.into());
    let matching = entries.iter().filter(|(prefix, _)| {
        let (length, address) = bits(prefix);
        (address ^ wanted).leading_zeros() >= length
    });
    // Of equal maxima the last.
    matching.max_by_key(|(prefix, _)| bits(prefix).0).map(|(_, value)| *value)
}

/// The error for an interface on which nothing can be echoed, with the address that was most likely meant.
fn nothing(interface: &Interface, place: Place, host: &Host) -> ConfigurationError {
    let own = host.addresses.iter().filter(|own| own.interface == interface.index).map(|own| own.address);
    let is_link_local = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    ConfigurationError::Nothing {
        name: interface.name.clone(),
        own: own.min_by_key(is_link_local),
        may_be_virtual: matches!(place, Place::Ethernet { .. }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::arguments::{self, Command};
    use loader::IfIndex;

    /// One that says this, for ports.
    pub(crate) fn configuration(place: Place, destinations: &[(&str, u32)], ports: &str) -> Configuration {
        Configuration {
            place,
            mtu: 1500,
            protocols: Protocols::default(),
            ports: ports.parse().unwrap(),
            destinations: destinations
                .iter()
                .map(|(prefix, value)| (prefix.parse().unwrap(), *value))
                .collect(),
            sources: Vec::new(),
        }
    }

    fn request(line: &str) -> Request {
        match arguments::parse(line.split_whitespace().map(Into::into)) {
            Ok(Command::Echo(request)) => request,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn interface(name: &str) -> Interface {
        let (index, link, mac) = match name {
            "lo" => (1, LinkKind::Loopback, Some([0; 6])),
            "eth0" => (2, LinkKind::Ethernet, Some([2, 0, 0, 0, 0, 1])),
            "tun0" => (3, LinkKind::None, None),
            _ => (4, LinkKind::Other(32), None),
        };
        let (name, index) = (name.into(), IfIndex(index));
        Interface {
            index,
            name,
            mtu: 1500,
            link,
            mac,
            up: true,
            all_multicast: false,
            kind: None,
            xdp: Vec::new(),
        }
    }

    fn own(index: u32, address: &str, prefix_length: u8, broadcast: Option<&str>) -> InterfaceAddress {
        InterfaceAddress {
            interface: IfIndex(index),
            address: address.parse().unwrap(),
            prefix_length,
            broadcast: broadcast.map(|address| address.parse().unwrap()),
        }
    }

    /// A host with an address of each kind on eth0, one elsewhere, and routers.
    fn host() -> Host {
        Host {
            addresses: vec![
                own(1, "127.0.0.1", 8, None),
                own(1, "::1", 128, None),
                own(2, "fe80::5", 64, None),
                own(2, "10.9.0.5", 24, Some("10.9.0.255")),
                own(2, "fd00:9::5", 64, None),
                own(4, "10.9.7.5", 31, None),
            ],
            gateways: ["10.9.0.1", "fd00:9::1", "192.168.0.1"].map(|it| it.parse().unwrap()).into(),
        }
    }

    fn configured(line: &str, names: &[&str]) -> Result<Vec<Configuration>, ConfigurationError> {
        let interfaces: Vec<_> = names.iter().map(|name| interface(name)).collect();
        configure(&request(line), &interfaces, &host())
    }

    /// The only configuration.
    pub(crate) fn only(line: &str, name: &str) -> Configuration {
        configured(line, &[name]).unwrap_or_else(|error| panic!("{line}: {error}")).remove(0)
    }

    /// What is said of `address` in the end.
    fn value<T: Copy>(entries: &[(Prefix, T)], address: &str) -> T {
        decide(entries, address.parse().unwrap()).expect("an entry")
    }

    #[test]
    fn on_loopback_what_is_served_is_echoed() {
        let configuration = only("127.0.0.0/8 10.80.0.0/16 fd00::/16 ::/0 7", "lo");
        assert_eq!((configuration.place, configuration.mtu), (Place::Loopback, 1500));
        assert!(configuration.sources.is_empty());
        for (address, echoed) in [
            ("127.0.0.1", ECHO),
            ("127.255.255.255", ECHO),
            ("10.80.3.4", ECHO),
            ("fd00::7", ECHO),
            ("::1", ECHO),
            ("ff02::1", 0),
            ("::", 0),
            // Not by ::/0.
            ("10.81.0.1", 0),
            ("224.0.0.1", 0),
            ("0.0.0.0", 0),
        ] {
            assert_eq!(value(&configuration.destinations, address), echoed, "{address}");
        }
        // Martians are not served by the widest prefix either, and one address is just that.
        let all = only("0.0.0.0/0 7", "lo").destinations;
        assert_eq!(
            ["224.0.0.1", "0.0.0.1", "255.255.255.255", "8.8.8.8"].map(|it| value(&all, it)),
            [0, 0, 0, 1]
        );
        let one = only("7", "lo").destinations;
        assert_eq!(["127.0.0.1", "127.0.0.2", "::"].map(|it| value(&one, it)), [ECHO, 0, 0]);
    }

    #[test]
    fn on_the_wire_loopback_addresses_are_nobody() {
        let configuration = only("0.0.0.0/0 ::/0 127.0.0.1 ::1 7 --ifname eth0", "eth0");
        assert_eq!(configuration.place, Place::Ethernet { mac: [2, 0, 0, 0, 0, 1] });
        for (address, echoed) in [
            ("10.9.0.5", ECHO),
            ("8.8.8.8", ECHO),
            ("fd00::1", ECHO),
            ("127.0.0.1", 0),
            ("::1", 0),
            ("224.0.0.1", 0),
            ("ff02::1", 0),
        ] {
            assert_eq!(value(&configuration.destinations, address), echoed, "{address}");
        }
        assert_eq!(only("10.9.0.5 7", "tun0").place, Place::Tunnel);
    }

    #[test]
    fn who_exists_is_no_virtual_host() {
        let configuration = only("10.9.7.5 7 --virtual-hosts 10.9.0.0/16,fd00:9::/64", "eth0");
        for (address, echoed) in [
            ("10.9.0.7", ECHO | VIRTUAL),
            ("10.9.1.255", ECHO | VIRTUAL),
            ("fd00:9::7", ECHO | VIRTUAL),
            // Own addresses, and one of them named.
            ("10.9.0.5", 0),
            ("fd00:9::5", 0),
            ("10.9.7.5", ECHO),
            // A network of two has no broadcast.
            ("10.9.7.4", ECHO | VIRTUAL),
            // Network, broadcast, routers.
            ("10.9.0.0", 0),
            ("fd00:9::", 0),
            ("10.9.0.255", 0),
            ("10.9.0.1", 0),
            ("fd00:9::1", 0),
            ("10.10.0.1", 0),
        ] {
            assert_eq!(value(&configuration.destinations, address), echoed, "{address}");
        }
        // No entry for what is outside anyway.
        let prefixes: Vec<_> =
            configuration.destinations.iter().map(|(prefix, _)| prefix.to_string()).collect();
        assert!(!prefixes.contains(&"192.168.0.1".into()) && !prefixes.contains(&"fe80::5".into()));
    }

    #[test]
    fn nobody_is_answered_who_does_not_exist_or_is_not_allowed() {
        let everybody = only("10.9.0.5 7", "eth0").sources;
        for (address, answered) in [
            ("10.9.0.7", true),
            ("8.8.8.8", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("0.0.0.0", false),
            ("127.0.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("10.9.0.255", false),
            ("::", false),
            ("::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(value(&everybody, address), answered, "{address}");
        }
        let some = only("10.9.0.5 7 --allow 10.0.0.0/8,::/0", "eth0").sources;
        for (address, answered) in
            [("10.1.2.3", true), ("fd00::1", true), ("8.8.8.8", false), ("::1", false), ("10.9.0.255", false)]
        {
            assert_eq!(value(&some, address), answered, "{address}");
        }
    }

    #[test]
    fn each_interface_has_its_own() {
        let line = "127.0.0.1 10.9.0.5 7 --virtual-hosts 10.8.0.0/16 --protocol icmp";
        let [lo, eth0] = configured(line, &["lo", "eth0"]).unwrap().try_into().unwrap();
        assert_eq!((lo.place, lo.protocols.bits()), (Place::Loopback, 4));
        assert_eq!(value(&lo.destinations, "127.0.0.1"), ECHO);
        assert_eq!(value(&lo.destinations, "10.8.0.1"), 0);
        assert_eq!(value(&eth0.destinations, "127.0.0.1"), 0);
        assert_eq!(value(&eth0.destinations, "10.8.0.1"), ECHO | VIRTUAL);
        assert_eq!(value(&eth0.destinations, "10.9.0.5"), ECHO);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let link = "`ib0` is neither Ethernet nor a tunnel (link type 32): its packets are not understood \
                    here, choose another with --ifname";
        let not_ethernet = |name: &str| {
            format!(
                "`{name}` is not Ethernet, where alone --virtual-hosts can be found: choose another with \
                 --ifname"
            )
        };
        let exists = |address: &str| {
            format!(
                "{address} exists already, as an address of this host, of a router or of a whole network: \
                 leave it out of --virtual-hosts"
            )
        };
        // One that has it is enough.
        assert!(configured("127.0.0.1 10.9.0.5 7 --hook xdp", &["lo", "eth0"]).is_ok());
        let cases: &[(&str, &[&str], String)] = &[
            ("10.9.0.5 7", &["eth0", "ib0"], link.into()),
            ("--virtual-hosts 10.8.0.0/16", &["lo"], not_ethernet("lo")),
            (
                "7 --hook xdp-generic",
                &["lo", "tun0"],
                "`lo` is not Ethernet, which --hook xdp and xdp-generic are for: choose another with --ifname, or \
                 --hook auto"
                    .into(),
            ),
            ("--virtual-hosts 10.8.0.0/16", &["eth0", "tun0"], not_ethernet("tun0")),
            (
                "7 --allow 10.0.0.0/8",
                &["lo"],
                "--allow is about other hosts, and on loopback there are none".into(),
            ),
            (
                "7",
                &["lo", "eth0"],
                "nothing to echo on `eth0`: name an address, such as its own 10.9.0.5, or --virtual-hosts"
                    .into(),
            ),
            ("::1 127.1.0.0/16 7", &["tun0"], "nothing to echo on `tun0`: name an address".into()),
            (
                "--virtual-hosts 10.8.0.0/16",
                &["eth0", "lo"],
                "nothing to echo on `lo`: name an address, such as its own 127.0.0.1".into(),
            ),
            ("--virtual-hosts 10.8.0.0/16,10.9.0.5", &["eth0"], exists("10.9.0.5")),
            ("--virtual-hosts 10.9.0.1", &["eth0"], exists("10.9.0.1")),
            ("--virtual-hosts 10.9.0.255", &["eth0"], exists("10.9.0.255")),
        ];
        for (line, names, reason) in cases {
            let error = configured(line, names).unwrap_err();
            assert_eq!(error.to_string(), *reason, "{line} {names:?}");
        }
    }
}
