//! What of ours is attached to interfaces, whoever attached it: it is read from the kernel alone.

use loader::rtnetlink::{FilterInfo, Interface, Netlink, NetlinkError, filters};
use loader::{
    BpfLink, BpfLinkError, BpfLinkInfo, Errno, LinkHook, Map, Program, Side, XdpMode, links, tcx_programs,
};
use probe::abi::{self, Counters};

use super::endpoints::read_filter_name;
use super::keeper::process_of;
use super::pins;
use crate::echo::{ABOUT, sum_of_cpus};

/// The names of our programs.
const PROGRAMS: [&str; 3] = [abi::LOOPBACK_PROGRAM, abi::WIRE_PROGRAM, abi::XDP_PROGRAM];

/// A program of ours on an interface.
#[derive(Debug)]
pub struct Found {
    /// The interface.
    pub interface: Interface,
    /// Where the program is.
    pub place: Place,
    /// The kernel's id of the program.
    pub program_id: u32,
    /// What it echoes, if that can be read.
    pub endpoints: Option<String>,
    /// When it was loaded, in nanoseconds since the machine was started, if that can be read.
    pub loaded_ns: Option<u64>,
    /// The id of its map of counters, and what they say, if that can be read. Programs that share one belong together.
    pub counters: Option<(u32, Counters)>,
    /// The process that keeps it, 0 if it has no number here; `None` if it stays by itself.
    pub process: Option<u32>,
}

/// Where a program is on its interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A tcx link, if it is one.
    Tcx {
        /// The side.
        side: Side,
        /// The id of the link.
        link: Option<u32>,
    },
    /// A filter of clsact.
    Clsact {
        /// The side.
        side: Side,
        /// The filter.
        filter: FilterInfo,
        /// Whether the clsact qdisc was made for it.
        own_clsact: bool,
    },
    /// XDP.
    Xdp {
        /// In which mode.
        mode: XdpMode,
        /// The id of the link, if one attaches it.
        link: Option<u32>,
    },
}

impl Place {
    /// The hook, as it is said to people.
    pub fn hook(&self) -> String {
        match self {
            Self::Tcx { side, .. } => format!("tcx {side}"),
            Self::Clsact { side, .. } => format!("clsact {side}"),
            Self::Xdp { mode, .. } => format!("xdp {mode}"),
        }
    }

    /// The id of the link, if one attaches it.
    pub fn link(&self) -> Option<u32> {
        match self {
            Self::Tcx { link, .. } | Self::Xdp { link, .. } => *link,
            Self::Clsact { .. } => None,
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The programs, interface by interface.
    pub found: Vec<Found>,
    /// Why programs on tcx and XDP could not be looked into, if they could not: some may be ours.
    pub blind: Option<String>,
}

/// Looks for programs of ours on `interfaces`.
///
/// # Errors
///
/// Any [`NetlinkError`].
pub fn take(netlink: &mut Netlink, interfaces: &[Interface]) -> Result<Inventory, NetlinkError> {
    let mut inventory = Inventory::default();
    for interface in interfaces {
        for (mode, program_id) in &interface.xdp {
            let link = || xdp_link(interface, *program_id);
            inventory.look(interface, *program_id, || Place::Xdp { mode: *mode, link: link() });
        }
        for side in [Side::Ingress, Side::Egress] {
            match tcx_programs(interface.index, side) {
                Ok(programs) => {
                    for program in programs {
                        let place = || Place::Tcx { side, link: program.link_id };
                        inventory.look(interface, program.program_id, place);
                    }
                }
                Err(error) if error.errno() == Errno::EPERM => inventory.blind = Some(error.to_string()),
                // A kernel without tcx, or an interface that has just gone.
                Err(_) => {}
            }
            for filter in filters(netlink, interface.index, side)? {
                inventory.found.extend(look_at_filter(interface, side, filter));
            }
        }
    }
    Ok(inventory)
}

impl Inventory {
    /// Looks at a program on tcx or XDP.
    fn look(&mut self, interface: &Interface, program_id: u32, place: impl FnOnce() -> Place) {
        match Inside::of(program_id) {
            Ok(Some(Inside { endpoints, loaded_ns, counters })) => self.found.push(Found {
                interface: interface.clone(),
                place: place(),
                program_id,
                endpoints,
                loaded_ns: Some(loaded_ns),
                counters,
                process: process_of(program_id),
            }),
            // Of somebody else, or gone meanwhile.
            Ok(None) => {}
            Err(error) => self.blind = Some(error),
        }
    }
}

/// What `filter` is, if it is ours. Its name alone says much, but counters are inside.
fn look_at_filter(interface: &Interface, side: Side, filter: FilterInfo) -> Option<Found> {
    let name = filter.name.as_deref().filter(|_| filter.kind == "bpf")?;
    let said = PROGRAMS.iter().find_map(|program| read_filter_name(name, program))?;
    let program_id = filter.program_id?;
    let inside = Inside::of(program_id).ok().flatten();
    let endpoints = inside.as_ref().and_then(|inside| inside.endpoints.clone());
    Some(Found {
        interface: interface.clone(),
        place: Place::Clsact { side, filter, own_clsact: said.own_clsact },
        program_id,
        endpoints: endpoints.or(said.endpoints),
        loaded_ns: inside.as_ref().map(|inside| inside.loaded_ns),
        counters: inside.and_then(|inside| inside.counters),
        process: process_of(program_id),
    })
}

/// What is known of a program of ours by looking into it.
struct Inside {
    endpoints: Option<String>,
    loaded_ns: u64,
    counters: Option<(u32, Counters)>,
}

impl Inside {
    /// `None` if the program is not ours, or gone; the error says why it could not be seen.
    fn of(program_id: u32) -> Result<Option<Self>, String> {
        let program = match Program::open(program_id) {
            Err(error) if error.errno() == Errno::ENOENT => return Ok(None),
            result => result.map_err(|error| error.to_string())?,
        };
        if !PROGRAMS.contains(&program.name()) {
            return Ok(None);
        }
        let info = program.info().map_err(|error| error.to_string())?;
        let mut inside = Self { endpoints: None, loaded_ns: info.loaded_ns, counters: None };
        for id in info.maps {
            let Ok(map) = Map::open(id) else { continue };
            match map.definition().name.as_str() {
                ABOUT => {
                    let text = map.lookup(&0u32.to_ne_bytes()).ok().flatten();
                    inside.endpoints = text.and_then(|text| String::from_utf8(text).ok());
                }
                abi::map::COUNTERS => inside.counters = sum_of_cpus(&map).ok().map(|sums| (id, sums)),
                _ => {}
            }
        }
        Ok(Some(inside))
    }
}

/// All links, also those in other network namespaces, as far as they can be looked into.
pub fn all_links() -> impl Iterator<Item = BpfLinkInfo> {
    let ids = links().unwrap_or_default();
    ids.into_iter().filter_map(|id| BpfLink::open(id).and_then(|link| link.info()).ok())
}

/// The link that attaches a program to XDP. The kernel lists no such links by their interface, so all are looked at.
fn xdp_link(interface: &Interface, program_id: u32) -> Option<u32> {
    let place = Some((interface.index, LinkHook::Xdp));
    all_links().find(|link| link.program_id == program_id && link.place == place).map(|link| link.id)
}

/// Removes `found`, which no process keeps.
///
/// # Errors
///
/// [`RemoveError`].
pub fn remove(netlink: &mut Netlink, found: &Found) -> Result<(), RemoveError> {
    let index = found.interface.index;
    match &found.place {
        Place::Clsact { side, filter, own_clsact } => {
            loader::rtnetlink::remove_leftover(netlink, index, *side, filter, *own_clsact)?;
        }
        Place::Tcx { link: Some(id), .. } | Place::Xdp { link: Some(id), .. } => {
            match BpfLink::open(*id) {
                Err(error) if error.errno() == Errno::ENOENT => {}
                link => link?.detach()?,
            }
            pins::unpin(*id);
        }
        Place::Xdp { mode, link: None } => {
            if let Ok(program) = Program::open(found.program_id) {
                loader::rtnetlink::detach_xdp(netlink, index, *mode, &program)?;
            }
        }
        // We attach to tcx by links only.
        Place::Tcx { link: None, .. } => {}
    }
    Ok(())
}

/// Why something could not be removed.
#[derive(Debug)]
pub enum RemoveError {
    /// It is a filter, or was attached over rtnetlink.
    Netlink(NetlinkError),
    /// It is a link.
    Link(BpfLinkError),
}

impl std::fmt::Display for RemoveError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Netlink(error) => error.fmt(formatter),
            Self::Link(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for RemoveError {}

impl From<NetlinkError> for RemoveError {
    fn from(error: NetlinkError) -> Self {
        Self::Netlink(error)
    }
}

impl From<BpfLinkError> for RemoveError {
    fn from(error: BpfLinkError) -> Self {
        Self::Link(error)
    }
}
