//! Programs on interfaces: attached by the hook that was asked for, taken over from whoever has echoed the same, left
//! in place or taken away.

pub mod endpoints;
pub mod hook;
pub mod inventory;
pub mod keeper;
pub mod pins;
pub mod traps;

use std::fmt;

use loader::rtnetlink::{Attachment, Interface, Netlink, NetlinkError, XdpAttachment};
use loader::{
    BpfLink, BpfLinkError, BpfLinkInfo, Errno, LinkHook, Placeholder, Position, Program, ProgramError, Side,
    XdpMode, tcx_programs,
};

use crate::echo::Echo;
use endpoints::filter_name;
use hook::Hook;
use inventory::{Found, Place, RemoveError};
use pins::PinError;

/// How programs are to be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// By which hook.
    pub hook: Hook,
    /// Where among other programs on tcx; where the one before was, or else before all, if that is not said.
    pub position: Option<Position>,
    /// Whether they are to stay when this process ends.
    pub background: bool,
}

/// The programs of one run on one interface. Detached on drop.
#[derive(Debug)]
pub struct Attached {
    /// In front of `tc`.
    xdp: Option<(XdpMode, Xdp)>,
    tc: Tc,
}

/// A program on one of the hooks of traffic control.
#[derive(Debug)]
enum Tc {
    Tcx(Side, BpfLink),
    Clsact(Side, Attachment),
}

/// A program on XDP.
#[derive(Debug)]
enum Xdp {
    Link(BpfLink),
    /// On a kernel without links to XDP.
    Netlink(XdpAttachment),
}

/// One of the programs that are attached, for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedProgram {
    /// The hook, such as `tcx egress`.
    pub hook: String,
    /// The kernel's id of the program.
    pub program_id: u32,
    /// The id of the link that attaches it, if one does.
    pub link_id: Option<u32>,
    /// How it hangs there, in words.
    pub holder: String,
}

/// Why a program could not be attached, left in place, or taken away.
#[derive(Debug)]
pub enum AttachError {
    /// By a link.
    Link(BpfLinkError),
    /// Over rtnetlink.
    Netlink(NetlinkError),
    /// It could not be asked for its id.
    Program(ProgramError),
    /// It cannot stay.
    Pin(PinError),
    /// The one that it takes over from does not go.
    Remove(RemoveError),
    /// Another XDP program is there.
    XdpInUse {
        /// The name of the interface.
        name: String,
        /// The other program's id.
        program_id: u32,
    },
    /// A place among others was asked for, where there is none.
    NoPosition(BpfLinkError),
}

impl fmt::Display for AttachError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(formatter),
            Self::Netlink(error) => error.fmt(formatter),
            Self::Program(error) => error.fmt(formatter),
            Self::Pin(error) => error.fmt(formatter),
            Self::Remove(error) => error.fmt(formatter),
            Self::XdpInUse { name, program_id } => write!(
                formatter,
                "another XDP program (id {program_id}) is on `{name}`, and there can be one only: choose --hook tcx or \
                 clsact, which come behind it"
            ),
            Self::NoPosition(error) => write!(formatter, "--before and --after are for tcx: {error}"),
        }
    }
}

impl std::error::Error for AttachError {}

impl From<BpfLinkError> for AttachError {
    fn from(error: BpfLinkError) -> Self {
        Self::Link(error)
    }
}

impl From<NetlinkError> for AttachError {
    fn from(error: NetlinkError) -> Self {
        Self::Netlink(error)
    }
}

impl From<ProgramError> for AttachError {
    fn from(error: ProgramError) -> Self {
        Self::Program(error)
    }
}

impl From<PinError> for AttachError {
    fn from(error: PinError) -> Self {
        Self::Pin(error)
    }
}

impl From<RemoveError> for AttachError {
    fn from(error: RemoveError) -> Self {
        Self::Remove(error)
    }
}

/// Takes the place on tcx for a program that is not loaded yet, unless this side of some interface is in use: then the
/// kernel has switched it on for all, and a program gets packets while it is still being attached (sch_handle_egress() in
/// net/core/dev.c).
pub fn reserve(interface: &Interface, side: Side, plan: Plan) -> Option<Placeholder> {
    let is_wanted = plan.hook != Hook::Clsact && plan.position.is_none();
    let is_free = || tcx_programs(interface.index, side).is_ok_and(|programs| programs.is_empty());
    let is_on = |link: BpfLinkInfo| link.place.is_some_and(|(_, hook)| hook == LinkHook::Tcx(side));
    let is_of_use = is_wanted && is_free() && !inventory::all_links().any(is_on);
    is_of_use.then(|| Placeholder::tcx(interface.index, side)).flatten()
}

/// Attaches the programs of `echo` to `interface`, in the place that was [reserved](reserve), and then takes away
/// `leftovers`, which echo the same there and are kept by no process. In each moment there is one that echoes.
///
/// # Errors
///
/// [`AttachError`]; leftovers may be replaced then, but still echo.
pub fn attach(
    netlink: &mut Netlink,
    interface: &Interface,
    echo: &Echo,
    plan: Plan,
    reserved: Option<Placeholder>,
    mut leftovers: Vec<Found>,
) -> Result<Attached, AttachError> {
    let tc = attach_tc(interface, echo, plan, reserved, &mut leftovers)?;
    let xdp = match (plan.hook.xdp(), echo.xdp()) {
        (Some(mode), Some(program)) => {
            Some((mode, attach_xdp(netlink, interface, program, mode, &mut leftovers)?))
        }
        _ => None,
    };
    let attached = Attached { xdp, tc };
    for found in leftovers {
        inventory::remove(netlink, &found)?;
    }
    Ok(attached)
}

/// Takes the first of `leftovers` in whose place `wanted` sees a link, and returns the id of that.
fn take_link(leftovers: &mut Vec<Found>, wanted: impl Fn(&Place) -> Option<u32>) -> Option<u32> {
    let (index, link) =
        leftovers.iter().enumerate().find_map(|(index, found)| Some((index, wanted(&found.place)?)))?;
    leftovers.remove(index);
    Some(link)
}

/// Puts `program` in the place of the one that the link with this id attaches.
fn replace(link: u32, program: &Program) -> Result<BpfLink, AttachError> {
    let link = BpfLink::open(link)?;
    link.update(program)?;
    Ok(link)
}

/// Attaches the program of traffic control: in the link of one of `leftovers`, if it has one and no other place is
/// asked for; or where `reserved` is.
fn attach_tc(
    interface: &Interface,
    echo: &Echo,
    plan: Plan,
    reserved: Option<Placeholder>,
    leftovers: &mut Vec<Found>,
) -> Result<Tc, AttachError> {
    let side = echo.side();
    if plan.hook != Hook::Clsact {
        let same_side = |place: &Place| match place {
            Place::Tcx { side: its, link } if *its == side && plan.position.is_none() => *link,
            _ => None,
        };
        if let Some(link) = take_link(leftovers, same_side) {
            return Ok(Tc::Tcx(side, replace(link, echo.program())?));
        }
        if let Some(link) = reserved.and_then(|place| place.replace(echo.program())) {
            return Ok(Tc::Tcx(side, link));
        }
        let position = plan.position.unwrap_or(Position::First);
        match BpfLink::tcx(echo.program(), interface.index, side, position) {
            Ok(link) => return Ok(Tc::Tcx(side, link)),
            Err(error) if plan.hook == Hook::Tcx || error.errno() != Errno::EINVAL => {
                return Err(error.into());
            }
            Err(error) if plan.position.is_some() => return Err(AttachError::NoPosition(error)),
            Err(_) => {}
        }
    }
    let inherit = leftovers.iter().any(|found| matches!(found.place, Place::Clsact { own_clsact: true, .. }));
    let name = |own_clsact| filter_name(echo.program().name(), own_clsact, echo.endpoints());
    Ok(Tc::Clsact(side, Attachment::new(interface.index, side, echo.program(), inherit, name)?))
}

/// Attaches the program of XDP: in the link of one of `leftovers`, if that is in the same mode; by a link of its own; or
/// without one, if the kernel has no such links. The text of an error comes that way, too.
fn attach_xdp(
    netlink: &mut Netlink,
    interface: &Interface,
    program: &Program,
    mode: XdpMode,
    leftovers: &mut Vec<Found>,
) -> Result<Xdp, AttachError> {
    let same_mode = |place: &Place| match place {
        Place::Xdp { mode: its, link } if *its == mode => *link,
        _ => None,
    };
    if let Some(link) = take_link(leftovers, same_mode) {
        return Ok(Xdp::Link(replace(link, program)?));
    }
    // There is room for one program in one mode, and traffic control echoes meanwhile.
    for found in leftovers.extract_if(.., |found| matches!(found.place, Place::Xdp { .. })) {
        inventory::remove(netlink, &found)?;
    }
    match BpfLink::xdp(program, interface.index, mode) {
        Ok(link) => Ok(Xdp::Link(link)),
        Err(error) if matches!(error.errno(), Errno::EBUSY | Errno::EEXIST) => Err(AttachError::XdpInUse {
            name: interface.name.clone(),
            program_id: interface.xdp.first().map_or(0, |(_, id)| *id),
        }),
        Err(_) => Ok(Xdp::Netlink(XdpAttachment::new(interface.index, mode, program)?)),
    }
}

impl Attached {
    /// The programs, in the order in which packets come to them.
    ///
    /// # Errors
    ///
    /// [`AttachError::Link`].
    pub fn programs(&self, echo: &Echo) -> Result<Vec<AttachedProgram>, AttachError> {
        let by_link = |hook: String, program: &Program, link: &BpfLink| -> Result<_, AttachError> {
            let id = link.info()?.id;
            let holder = format!("link {id}");
            Ok(AttachedProgram { hook, program_id: program.id()?, link_id: Some(id), holder })
        };
        let mut programs = Vec::new();
        if let (Some((mode, xdp)), Some(program)) = (&self.xdp, echo.xdp()) {
            let hook = format!("xdp {mode}");
            programs.push(match xdp {
                Xdp::Link(link) => by_link(hook, program, link)?,
                Xdp::Netlink(_) => {
                    let holder = "attached without a link".into();
                    AttachedProgram { hook, program_id: program.id()?, link_id: None, holder }
                }
            });
        }
        programs.push(match &self.tc {
            Tc::Tcx(side, link) => by_link(format!("tcx {side}"), echo.program(), link)?,
            Tc::Clsact(side, attachment) => {
                let filter = attachment.filter();
                let holder = filter.map_or_else(String::new, |filter| {
                    format!("filter {:#x} of priority {}", filter.handle, filter.priority)
                });
                let program_id = echo.program().id()?;
                AttachedProgram { hook: format!("clsact {side}"), program_id, link_id: None, holder }
            }
        });
        Ok(programs)
    }

    /// Whether CAP_NET_ADMIN is needed to take them away: what is attached by links goes with their descriptors.
    pub fn needs_net_admin(&self) -> bool {
        matches!(self.tc, Tc::Clsact(..)) || matches!(self.xdp, Some((_, Xdp::Netlink(_))))
    }

    /// Pins what else would go when this process ends.
    ///
    /// # Errors
    ///
    /// [`AttachError::Pin`].
    pub fn pin(&self) -> Result<(), AttachError> {
        Ok(self.links().try_for_each(pins::pin)?)
    }

    /// Leaves the programs, whose links are pinned.
    pub fn leave(self) {
        if let Some((_, Xdp::Netlink(attachment))) = self.xdp {
            attachment.leave();
        }
        if let Tc::Clsact(_, attachment) = self.tc {
            attachment.leave();
        }
    }

    /// Has the programs go when this process ends, also those that it has taken over from one that left them.
    ///
    /// # Errors
    ///
    /// [`AttachError::Link`].
    pub fn unpin(&self) -> Result<(), AttachError> {
        for link in self.links() {
            pins::unpin(link.info()?.id);
        }
        Ok(())
    }

    /// Takes the programs away.
    ///
    /// # Errors
    ///
    /// [`AttachError::Netlink`]; that something is gone already is none.
    pub fn detach(self) -> Result<(), AttachError> {
        for link in self.links() {
            // It goes with its descriptor, unless somebody else holds it, and a kernel may want a capability for this
            // that has been given up.
            let _ = link.detach();
        }
        if let Some((_, Xdp::Netlink(attachment))) = self.xdp {
            attachment.detach()?;
        }
        match self.tc {
            Tc::Tcx(..) => Ok(()),
            Tc::Clsact(_, attachment) => Ok(attachment.detach()?),
        }
    }

    fn links(&self) -> impl Iterator<Item = &BpfLink> {
        let xdp = match &self.xdp {
            Some((_, Xdp::Link(link))) => Some(link),
            _ => None,
        };
        let tc = match &self.tc {
            Tc::Tcx(_, link) => Some(link),
            Tc::Clsact(..) => None,
        };
        xdp.into_iter().chain(tc)
    }
}
