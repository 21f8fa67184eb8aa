//! The probe in the kernel: loaded for an interface, attached to it, read out.

use loader::tc::{Attachment, FILTER_NAME_LENGTH, IfIndex, NetlinkError, Side};
use loader::{LinkError, LoadError, Map, MapError, Object, ParseError, Program, ProgramKind};
use probe::abi::{self, CounterPair, Counters, destination, frags, link, map, protocols, setting};

use crate::configuration::{Configuration, Place};
use crate::protocols::Protocols;

/// The compiled probe in this machine's byte order.
#[cfg(target_endian = "little")]
const PROBE: &[u8] = include_bytes!("../../probe/bpfecho.bpfel.o");
/// The compiled probe in this machine's byte order.
#[cfg(target_endian = "big")]
const PROBE: &[u8] = include_bytes!("../../probe/bpfecho.bpfeb.o");

/// The program, loaded and configured.
pub struct Echo {
    program: Program,
    side: Side,
    counters: Map,
    filter_name: String,
}

/// Why the program could not be loaded.
#[derive(Debug)]
pub enum EchoError {
    /// The embedded object is not one the loader can read.
    Parse(ParseError),
    /// It does not fit the maps and settings of this program.
    Link(LinkError),
    /// A map cannot be made, written or read.
    Map(MapError),
    /// The object lacks a map.
    NoMap(&'static str),
    /// The kernel does not take the program.
    Load(LoadError),
}

impl std::fmt::Display for EchoError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parse(error) => error.fmt(formatter),
            Self::Link(error) => error.fmt(formatter),
            Self::Map(error) => error.fmt(formatter),
            Self::NoMap(name) => write!(formatter, "the embedded object has no map `{name}`"),
            Self::Load(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for EchoError {}

impl From<ParseError> for EchoError {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}

impl From<LinkError> for EchoError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<MapError> for EchoError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl From<LoadError> for EchoError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl Echo {
    /// Loads the program for one interface. With `verbose` the log of a program that the kernel rejects is
    /// complete.
    ///
    /// # Errors
    ///
    /// [`EchoError`] with what the kernel refused; nothing is left in it then.
    pub fn load(configuration: &Configuration, verbose: bool) -> Result<Self, EchoError> {
        let object = Object::parse(PROBE)?;
        let entries = |count: usize| u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let mut maps = Vec::new();
        for name in map::ALL {
            let definition = object.maps().iter().find(|definition| definition.name == name);
            let mut definition = definition.ok_or(EchoError::NoMap(name))?.clone();
            match name {
                map::DESTINATIONS => definition.max_entries = entries(configuration.destinations.len()),
                map::SOURCES => definition.max_entries = entries(configuration.sources.len()),
                _ => {}
            }
            maps.push((name, Map::create(&definition)?));
        }
        fill(&maps, configuration)?;
        let (program, side) = match configuration.place {
            Place::Loopback => (abi::LOOPBACK_PROGRAM, Side::Egress),
            Place::Ethernet { .. } | Place::Tunnel => (abi::WIRE_PROGRAM, Side::Ingress),
        };
        let named: Vec<(&str, &Map)> = maps.iter().map(|(name, map)| (*name, map)).collect();
        let program =
            object.link(program, &named, &settings(configuration))?.load(ProgramKind::SchedCls, verbose)?;
        let counters = maps.into_iter().find(|(name, _)| *name == map::COUNTERS);
        let (_, counters) = counters.ok_or(EchoError::NoMap(map::COUNTERS))?;
        let filter_name = filter_name(program.name(), configuration);
        Ok(Self { program, side, counters, filter_name })
    }

    /// Attaches the program where it turns round what is sent on `interface`, or what comes in there.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`]; nothing is left behind then.
    pub fn attach(&self, interface: IfIndex) -> Result<Attachment, NetlinkError> {
        Attachment::new(interface, self.side, &self.program, &self.filter_name)
    }

    /// The program itself.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What was counted so far, the sum of all CPUs.
    ///
    /// # Errors
    ///
    /// [`EchoError::Map`].
    pub fn counters(&self) -> Result<Counters, EchoError> {
        let mut sums = [0; abi::COUNTERS];
        for (index, sums) in (0u32..).zip(sums.chunks_mut(size_of::<CounterPair>() / size_of::<u64>())) {
            for cpu in self.counters.lookup_per_cpu(&index.to_ne_bytes())? {
                for (sum, value) in sums.iter_mut().zip(cpu.chunks_exact(size_of::<u64>())) {
                    *sum += value.try_into().map_or(0, u64::from_ne_bytes);
                }
            }
        }
        Ok(sums)
    }

    /// Removes filters of the same name as this program's from `interface`, which a killed run for the same
    /// addresses and ports has left behind. For a caller that knows that no other run is alive, and while
    /// this program is not attached.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`]; that there is no filter is none.
    pub fn remove_leftovers(&self, interface: IfIndex) -> Result<(), NetlinkError> {
        if self.filter_name.len() == FILTER_NAME_LENGTH {
            return Ok(()); // cut off: it may be another's
        }
        loader::tc::remove_named(interface, self.side, &self.filter_name)
    }
}

/// Writes addresses and ports into `maps`.
fn fill(maps: &[(&'static str, Map)], configuration: &Configuration) -> Result<(), EchoError> {
    let find = |wanted: &'static str| {
        let found = maps.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, map)| map).ok_or(EchoError::NoMap(wanted))
    };
    let destinations = find(map::DESTINATIONS)?;
    for (prefix, value) in &configuration.destinations {
        destinations.update(&prefix.key(), &value.to_ne_bytes())?;
    }
    let sources = find(map::SOURCES)?;
    for (prefix, answered) in &configuration.sources {
        sources.update(&prefix.key(), &u32::from(*answered).to_ne_bytes())?;
    }
    let ports = find(map::PORTS)?;
    for (index, word) in (0u32..).zip(configuration.ports.words()) {
        if word != 0 {
            ports.update(&index.to_ne_bytes(), &word.to_ne_bytes())?;
        }
    }
    Ok(())
}

/// The values of the program's settings. None is zero, as [`setting`] demands.
fn settings(configuration: &Configuration) -> [(&'static str, u64); setting::ALL.len()] {
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
    [
        (setting::FIRST_PORT, configuration.ports.first().unwrap_or(u16::MAX).into()),
        (setting::LAST_PORT, configuration.ports.last().unwrap_or(1).into()),
        (setting::MTU, configuration.mtu.into()),
        (setting::PROTOCOLS, (configuration.protocols.bits() | neighbours).into()),
        (setting::LINK, link.into()),
        (setting::MAC, u64::from_ne_bytes([a, b, c, d, e, f, 1, 1])),
        (setting::FRAGS, frags::NO.into()),
    ]
}

/// The name of the filter as `tc filter show` prints it: it says what is echoed.
fn filter_name(program: &str, configuration: &Configuration) -> String {
    let mut name = String::from(program);
    for (prefix, value) in &configuration.destinations {
        name += &match value {
            0 => continue,
            value if value & destination::VIRTUAL != 0 => format!(" virtual {prefix}"),
            _ => format!(" {prefix}"),
        };
    }
    if configuration.protocols.has_ports() {
        name += &format!(" {}", configuration.ports.compact());
    }
    if configuration.protocols != Protocols::default() {
        name += &format!(" {}", configuration.protocols.compact());
    }
    // All of it is ASCII.
    name.truncate(FILTER_NAME_LENGTH);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(place: Place, destinations: &[(&str, u32)], ports: &str) -> Configuration {
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

    #[test]
    fn filter_names_say_what_is_echoed() {
        let mut wire = configuration(
            Place::Tunnel,
            &[("0.0.0.0/0", 0), ("10.0.0.5", 1), ("fd00::/64", 1), ("10.9.0.0/16", 3), ("10.9.0.1", 0)],
            "7,2000-2999",
        );
        let name = "bpfecho_wire 10.0.0.5 fd00::/64 virtual 10.9.0.0/16 7,2000-2999";
        assert_eq!(filter_name("bpfecho_wire", &wire), name);
        wire.protocols = "tcp,icmp".parse().unwrap();
        assert_eq!(filter_name("bpfecho_wire", &wire), format!("{name} tcp,icmp"));
        wire.protocols = "icmp".parse().unwrap();
        assert_eq!(filter_name("x", &wire), "x 10.0.0.5 fd00::/64 virtual 10.9.0.0/16 icmp");
        let long = configuration(Place::Loopback, &[("fd00:1111:2222::/64", 1); 20], "7");
        assert_eq!(filter_name("bpfecho_lo", &long).len(), FILTER_NAME_LENGTH);
    }

    #[test]
    fn no_setting_is_zero() {
        let mac = [2, 0, 0, 0, 0, 1];
        let values = |place, value| {
            let configuration = configuration(place, &[("10.9.0.0/16", value)], "7,2000-2999");
            settings(&configuration).map(|(_, value)| value)
        };
        let value = u64::from_ne_bytes([2, 0, 0, 0, 0, 1, 1, 1]);
        assert_eq!(values(Place::Ethernet { mac }, 3), [7, 2999, 1500, 11, 1, value, 1]);
        assert_eq!(values(Place::Ethernet { mac }, 1)[3], 3);
        assert_eq!(values(Place::Tunnel, 1)[4], 2);
        assert!([Place::Tunnel, Place::Loopback].iter().all(|place| !values(*place, 1).contains(&0)));
    }
}
