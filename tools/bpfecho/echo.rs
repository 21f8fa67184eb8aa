//! The probe in the kernel: loaded for an interface, attached to it, read out.

use loader::{
    LinkError, LoadError, Map, MapDefinition, MapError, Object, ParseError, Program, ProgramKind, Side,
};
use lz4_flex::block::{DecompressError, decompress_size_prepended};
use probe::abi::{self, CounterPair, Counters, helpers, map};

use crate::attach::endpoints::endpoints;
use crate::configuration::{Configuration, Place};
use crate::settings::settings;

/// The compiled probe in this machine's byte order, compressed.
const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe.lz4"));

/// The map that says what a program echoes: text, as [`endpoints`] makes it.
pub const ABOUT: &str = "bpfecho_about";

/// `enum bpf_map_type` (linux/bpf.h).
const BPF_MAP_TYPE_ARRAY: u32 = 2;

/// The programs for one interface, loaded and configured.
pub struct Echo {
    program: Program,
    xdp: Option<Program>,
    side: Side,
    counters: Map,
    endpoints: String,
}

/// Why the program could not be loaded.
#[derive(Debug)]
pub enum EchoError {
    /// The embedded object is damaged.
    Decompress(DecompressError),
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
            Self::Decompress(error) => write!(formatter, "decompressing the embedded object: {error}"),
            Self::Parse(error) => error.fmt(formatter),
            Self::Link(error) => error.fmt(formatter),
            Self::Map(error) => error.fmt(formatter),
            Self::NoMap(name) => write!(formatter, "the embedded object has no map `{name}`"),
            Self::Load(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for EchoError {}

impl From<DecompressError> for EchoError {
    fn from(error: DecompressError) -> Self {
        Self::Decompress(error)
    }
}

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
    /// Loads the program for one interface, and `with_xdp`, if that is Ethernet, the one that goes in front of it. With
    /// `verbose` the log of a program that the kernel rejects is complete.
    ///
    /// # Errors
    ///
    /// [`EchoError`] with what the kernel refused; nothing is left in it then.
    pub fn load(configuration: &Configuration, with_xdp: bool, verbose: bool) -> Result<Self, EchoError> {
        let object = object()?;
        let object = Object::parse(&object)?;
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
        let program = match configuration.place {
            Place::Loopback => abi::LOOPBACK_PROGRAM,
            Place::Ethernet { .. } | Place::Tunnel => abi::WIRE_PROGRAM,
        };
        let named: Vec<(&str, &Map)> = maps.iter().map(|(name, map)| (*name, map)).collect();
        let load = |program, kind, helpers| -> Result<Program, EchoError> {
            Ok(object.link(program, &named, &settings(configuration, helpers))?.load(kind, verbose)?)
        };
        // A kernel may be too old for the helpers; and one before 5.18 does not know of packets in several buffers.
        let program = load(program, ProgramKind::SchedCls, helpers::NEW)
            .or_else(|_| load(program, ProgramKind::SchedCls, helpers::OLD))?;
        let xdp = match configuration.place {
            Place::Ethernet { .. } if with_xdp => Some(
                load(abi::XDP_PROGRAM, ProgramKind::XdpFrags, helpers::NEW)
                    .or_else(|_| load(abi::XDP_PROGRAM, ProgramKind::Xdp, helpers::OLD))?,
            ),
            _ => None,
        };
        let endpoints = endpoints(configuration);
        describe([Some(&program), xdp.as_ref()].into_iter().flatten(), &endpoints)?;
        let counters = maps.into_iter().find(|(name, _)| *name == map::COUNTERS);
        let (_, counters) = counters.ok_or(EchoError::NoMap(map::COUNTERS))?;
        Ok(Self { program, xdp, side: configuration.place.side(), counters, endpoints })
    }

    /// The program itself.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The XDP program in front of it, if there is one.
    pub fn xdp(&self) -> Option<&Program> {
        self.xdp.as_ref()
    }

    /// On which side of the interface it turns packets round: what is sent, or what comes in.
    pub fn side(&self) -> Side {
        self.side
    }

    /// What is echoed, in the words of the command line.
    pub fn endpoints(&self) -> &str {
        &self.endpoints
    }

    /// What was counted so far, the sum of all CPUs.
    ///
    /// # Errors
    ///
    /// [`EchoError::Map`].
    pub fn counters(&self) -> Result<Counters, EchoError> {
        Ok(sum_of_cpus(&self.counters)?)
    }

    /// Forgets what was counted so far; while no packets come.
    ///
    /// # Errors
    ///
    /// [`EchoError::Map`].
    pub fn reset_counters(&self) -> Result<(), EchoError> {
        for index in 0..map::COUNTER_PAIRS {
            self.counters.zero(&index.to_ne_bytes())?;
        }
        Ok(())
    }
}

/// The embedded object, which has all programs.
///
/// # Errors
///
/// [`EchoError::Decompress`].
pub fn object() -> Result<Vec<u8>, EchoError> {
    Ok(decompress_size_prepended(PROBE)?)
}

/// The sum of the counters in `map` over all CPUs.
///
/// # Errors
///
/// [`MapError`].
pub fn sum_of_cpus(map: &Map) -> Result<Counters, MapError> {
    let mut sums = [0; abi::COUNTERS];
    for (index, sums) in (0u32..).zip(sums.chunks_mut(size_of::<CounterPair>() / size_of::<u64>())) {
        for cpu in map.lookup_per_cpu(&index.to_ne_bytes())?.iter() {
            for (sum, value) in sums.iter_mut().zip(cpu.chunks_exact(size_of::<u64>())) {
                *sum += value.try_into().map_or(0, u64::from_ne_bytes);
            }
        }
    }
    Ok(sums)
}

/// Has each of `programs` carry a map with what it echoes, so that it can be told from others by looking at the kernel
/// alone. Before 5.10 a program has only the maps that it uses; then the name of its filter has to do.
fn describe<'a>(programs: impl Iterator<Item = &'a Program>, endpoints: &str) -> Result<(), EchoError> {
    let definition = MapDefinition {
        name: ABOUT.into(),
        kind: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: u32::try_from(endpoints.len().max(1)).unwrap_or(u32::MAX),
        max_entries: 1,
        flags: 0,
    };
    let about = Map::create(&definition)?;
    about.update(&0u32.to_ne_bytes(), endpoints.as_bytes())?;
    for program in programs {
        let _ = program.bind(&about);
    }
    Ok(())
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
