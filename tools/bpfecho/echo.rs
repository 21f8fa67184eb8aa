//! The probe in the kernel: loaded for some addresses and ports, attached to an interface, read out.

use std::net::{IpAddr, Ipv6Addr};

use loader::tc::{Attachment, FILTER_NAME_LENGTH, IfIndex, Interface, NetlinkError, Side};
use loader::{LinkError, LoadError, Map, MapError, Object, ParseError, Program, ProgramKind};
use probe::abi::{self, Counters, map, setting};

/// The compiled probe in this machine's byte order.
#[cfg(target_endian = "little")]
const PROBE: &[u8] = include_bytes!("../../probe/bpfecho.bpfel.o");
/// The compiled probe in this machine's byte order.
#[cfg(target_endian = "big")]
const PROBE: &[u8] = include_bytes!("../../probe/bpfecho.bpfeb.o");

/// The program, loaded and configured.
pub struct Echo {
    program: Program,
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
    /// Loads the program for `addresses` and `ports`, of which there is at least one each and no port is zero,
    /// and for an interface with an MTU of `mtu` bytes. With `verbose` the log of a program that the kernel
    /// rejects is complete.
    ///
    /// # Errors
    ///
    /// [`EchoError`] with what the kernel refused; nothing is left in it then.
    pub fn load(addresses: &[IpAddr], ports: &[u16], mtu: u32, verbose: bool) -> Result<Self, EchoError> {
        let object = Object::parse(PROBE)?;
        let create = |name: &'static str, entries: Option<u32>| {
            let definition = object.maps().iter().find(|definition| definition.name == name);
            let mut definition = definition.ok_or(EchoError::NoMap(name))?.clone();
            definition.max_entries = entries.unwrap_or(definition.max_entries);
            Ok::<Map, EchoError>(Map::create(&definition)?)
        };
        let address_map = create(map::ADDRESSES, Some(addresses.len() as u32))?;
        let port_map = create(map::PORTS, None)?;
        let counters = create(map::COUNTERS, None)?;
        for &address in addresses {
            address_map.update(&address_key(address), &[0])?;
        }
        for (index, word) in (0u32..).zip(port_words(ports)) {
            if word != 0 {
                port_map.update(&index.to_ne_bytes(), &word.to_ne_bytes())?;
            }
        }
        let first = ports.iter().min().copied().unwrap_or(u16::MAX);
        let last = ports.iter().max().copied().unwrap_or(1);
        let linked = object.link(
            abi::LOOPBACK_PROGRAM,
            &[(map::ADDRESSES, &address_map), (map::PORTS, &port_map), (map::COUNTERS, &counters)],
            &[
                (setting::FIRST_PORT, u64::from(first)),
                (setting::LAST_PORT, u64::from(last)),
                (setting::MTU, u64::from(mtu)),
            ],
        )?;
        let program = linked.load(ProgramKind::SchedCls, verbose)?;
        Ok(Self { program, counters, filter_name: filter_name(addresses, ports) })
    }

    /// Attaches the program where it turns round what is sent on `interface`.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`]; nothing is left behind then.
    pub fn attach(&self, interface: &Interface) -> Result<Attachment, NetlinkError> {
        Attachment::new(interface.index, Side::Egress, &self.program, &self.filter_name)
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
        for cpu in self.counters.lookup_per_cpu(&0u32.to_ne_bytes())? {
            for (sum, value) in sums.iter_mut().zip(cpu.chunks_exact(8)) {
                *sum += value.try_into().map_or(0, u64::from_ne_bytes);
            }
        }
        Ok(sums)
    }

    /// Removes filters of the same name as this program's from `interface`, which a killed run for the same
    /// addresses and ports has left behind. For a caller that knows that no other run is alive, and while this
    /// program is not attached.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`]; that there is no filter is none.
    pub fn remove_leftovers(&self, interface: IfIndex) -> Result<(), NetlinkError> {
        if self.filter_name.len() == FILTER_NAME_LENGTH {
            return Ok(()); // cut off: it may be another's
        }
        loader::tc::remove_named(interface, Side::Egress, &self.filter_name)
    }
}

/// The name of the filter as `tc filter show` prints it: it says what is echoed.
fn filter_name(addresses: &[IpAddr], ports: &[u16]) -> String {
    let mut name = String::from(abi::LOOPBACK_PROGRAM);
    for address in addresses {
        name.push_str(&format!(" {address}"));
    }
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    name.push_str(&format!(" {}", ports.join(",")));
    name.truncate(FILTER_NAME_LENGTH);
    name
}

/// `address` as the program looks it up.
fn address_key(address: IpAddr) -> abi::Address {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => Ipv6Addr::octets(&address),
    }
}

/// The entries of the map of ports.
fn port_words(ports: &[u16]) -> Vec<u64> {
    let mut words = vec![0; map::PORT_WORDS as usize];
    for port in ports {
        words[usize::from(port / 64)] |= 1 << (port % 64);
    }
    words
}
