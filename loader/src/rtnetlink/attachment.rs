//! Attaching a program to an interface, and undoing exactly that.

use std::string::{String, ToString};
use std::vec::Vec;

use super::error::{Action, NetlinkError};
use super::netlink::Netlink;
use super::request::{CLSACT, Request};
use super::{FilterInfo, answer};
use crate::place::{IfIndex, Side};
use crate::program::Program;
use crate::sys::Errno;

/// The longest name of a filter in bytes (CLS_BPF_NAME_LEN without its NUL).
pub const FILTER_NAME_LENGTH: usize = 255;

/// The clsact qdisc of an interface: what filters on both sides hang on.
#[derive(Debug)]
pub struct Clsact {
    interface: IfIndex,
    made_by_us: bool,
}

impl Clsact {
    /// Makes sure that the interface has a clsact qdisc.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::OtherQdisc`] when a qdisc of another kind is in its place, otherwise any
    /// [`NetlinkError`].
    pub fn ensure(netlink: &mut Netlink, interface: IfIndex) -> Result<Self, NetlinkError> {
        match netlink.request(&Request::add_clsact(interface)) {
            Ok(_) => Ok(Self { interface, made_by_us: true }),
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                match netlink.qdisc_at_clsact(interface)? {
                    Some(kind) if kind == CLSACT => Ok(Self { interface, made_by_us: false }),
                    Some(kind) => Err(NetlinkError::OtherQdisc { interface, kind }),
                    // Removed in between.
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether [`ensure`](Self::ensure) made it, as opposed to found it.
    pub fn made_by_us(&self) -> bool {
        self.made_by_us
    }

    /// Removes the qdisc if `ensure` made it and no filter hangs on it.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`]; a qdisc or an interface that is gone is none.
    pub fn remove(self, netlink: &mut Netlink) -> Result<(), NetlinkError> {
        self.remove_with(netlink, None).map(drop)
    }

    /// Removes the qdisc, and with it the filter `own`, if `ensure` made it and nothing else hangs on it. Returns
    /// whether. Whoever is killed in the middle of removing one after the other would leave a qdisc that nobody knows
    /// again.
    fn remove_with(
        &self,
        netlink: &mut Netlink,
        own: Option<(Side, &FilterInfo)>,
    ) -> Result<bool, NetlinkError> {
        let interface = self.interface;
        if !self.made_by_us || netlink.qdisc_at_clsact(interface)?.as_deref() != Some(CLSACT) {
            return Ok(false);
        }
        for side in [Side::Ingress, Side::Egress] {
            let own = own.filter(|(its, _)| *its == side).map(|(_, info)| info);
            let mut introduced = false;
            // Whatever else is listed, understood or not, is a use of the qdisc.
            for part in netlink.request(&Request::list_filters(interface, side))? {
                match answer::filter(&part) {
                    // The entry that introduces its priority.
                    Ok(None) if own.is_some() && !introduced => introduced = true,
                    Ok(Some(info)) if own == Some(&info) => {}
                    _ => return Ok(false),
                }
            }
        }
        match netlink.request(&Request::remove_clsact(interface)) {
            // EINVAL: of another kind by now.
            Err(error) if is_gone(&error) || error.errno() == Some(Errno::EINVAL) => Ok(true),
            result => result.map(|_| true),
        }
    }
}

/// A BPF program on one side of an interface, in direct-action mode and for all protocols.
#[derive(Debug)]
pub struct Filter {
    interface: IfIndex,
    side: Side,
    info: FilterInfo,
}

impl Filter {
    /// Attaches `program` at a priority that is free, in front of all filters whose priority the kernel
    /// chose. `name` is what `tc filter show` displays. The interface needs a clsact qdisc.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`].
    pub fn attach(
        netlink: &mut Netlink,
        interface: IfIndex,
        side: Side,
        program: &Program,
        name: &str,
    ) -> Result<Self, NetlinkError> {
        let request = request_filter(interface, side, program, name)?;
        let echo = netlink.request(&request)?;
        Self::find(netlink, interface, side, program, &echo)
    }

    /// The new filter for `program`, in the kernel's `echo` of it.
    fn find(
        netlink: &mut Netlink,
        interface: IfIndex,
        side: Side,
        program: &Program,
        echo: &[Vec<u8>],
    ) -> Result<Self, NetlinkError> {
        let program_id = Some(program.id()?);
        let action = Action::AddFilter(interface, side);
        let malformed = |reason| NetlinkError::Malformed { action, reason };
        let ours = |info: &FilterInfo| info.program_id == program_id;
        for part in echo {
            if let Some(info) = answer::filter(part).map_err(malformed)?.filter(ours) {
                return Ok(Self { interface, side, info });
            }
        }
        // The kernel does not mind if it has no memory for an echo.
        let info = filters(netlink, interface, side)?.into_iter().find(ours);
        Ok(Self { interface, side, info: info.ok_or(malformed("no echo of the new filter"))? })
    }

    /// The filter as the kernel lists it.
    pub fn info(&self) -> &FilterInfo {
        &self.info
    }

    /// Removes the filter, unless something else is in its place.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`]; a filter, a qdisc or an interface that is gone is none.
    pub fn detach(self, netlink: &mut Netlink) -> Result<(), NetlinkError> {
        remove(netlink, self.interface, self.side, &self.info)
    }
}

/// The request for a filter with `program`.
fn request_filter(
    interface: IfIndex,
    side: Side,
    program: &Program,
    name: &str,
) -> Result<Request, NetlinkError> {
    if name.len() > FILTER_NAME_LENGTH || name.contains('\0') {
        return Err(NetlinkError::FilterName { name: name.to_string() });
    }
    Ok(Request::add_filter(interface, side, program.fd().as_raw(), name))
}

/// All filters on one side of an interface; none when it has no clsact qdisc.
///
/// # Errors
///
/// Any [`NetlinkError`].
pub fn filters(
    netlink: &mut Netlink,
    interface: IfIndex,
    side: Side,
) -> Result<Vec<FilterInfo>, NetlinkError> {
    netlink.list(&Request::list_filters(interface, side), answer::filter)
}

/// Removes the filter `info`, unless something else is in its place: the kernel is asked first what is
/// there, and that has to be `info` in every field, the program's id among them.
///
/// # Errors
///
/// Any [`NetlinkError`]; a filter, a qdisc or an interface that is gone is none.
pub fn remove(
    netlink: &mut Netlink,
    interface: IfIndex,
    side: Side,
    info: &FilterInfo,
) -> Result<(), NetlinkError> {
    let current = match netlink.list(&Request::read_filter(interface, side, info), answer::filter) {
        Err(error) => return ignore_gone(netlink, interface, side, info, error),
        Ok(current) => current,
    };
    if !current.contains(info) {
        return Ok(());
    }
    match netlink.request(&Request::remove_filter(interface, side, info)) {
        Err(error) => ignore_gone(netlink, interface, side, info, error),
        Ok(_) => Ok(()),
    }
}

/// Removes what a process that is gone has left behind: the filter `info` as [`remove`] does, and with `clsact` the
/// qdisc, too, if nobody else uses it.
///
/// # Errors
///
/// Any [`NetlinkError`].
pub fn remove_leftover(
    netlink: &mut Netlink,
    interface: IfIndex,
    side: Side,
    info: &FilterInfo,
    clsact: bool,
) -> Result<(), NetlinkError> {
    let clsact = Clsact { interface, made_by_us: clsact };
    if clsact.remove_with(netlink, Some((side, info)))? {
        return Ok(());
    }
    remove(netlink, interface, side, info)?;
    clsact.remove(netlink)
}

/// Passes `error` on unless there is nothing left to remove.
fn ignore_gone(
    netlink: &mut Netlink,
    interface: IfIndex,
    side: Side,
    info: &FilterInfo,
    error: NetlinkError,
) -> Result<(), NetlinkError> {
    // EINVAL has many reasons, among them that the qdisc, the chain or the kind of classifier is not there
    // any more.
    let gone = is_gone(&error)
        || error.errno() == Some(Errno::EINVAL) && !filters(netlink, interface, side)?.contains(info);
    if gone { Ok(()) } else { Err(error) }
}

/// A missing filter, qdisc or interface needs no removal.
fn is_gone(error: &NetlinkError) -> bool {
    matches!(error.errno(), Some(Errno::ENOENT | Errno::ENODEV))
}

/// A program attached to an interface. Detaches on drop.
///
/// It works in the network namespace that was current when it was made.
#[derive(Debug)]
pub struct Attachment {
    netlink: Netlink,
    /// `None` once detached.
    attached: Option<(Filter, Clsact)>,
}

impl Attachment {
    /// Attaches `program` to one side of the interface; see [`Clsact::ensure`] and [`Filter::attach`]. With `inherit`
    /// a clsact that is there counts as made by this attachment: it takes over from another one. The name of the filter
    /// is what `name` makes of whether the clsact is its own.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`]; nothing is left behind then.
    pub fn new(
        interface: IfIndex,
        side: Side,
        program: &Program,
        inherit: bool,
        name: impl Fn(bool) -> String,
    ) -> Result<Self, NetlinkError> {
        let mut netlink = Netlink::open()?;
        if netlink.qdisc_at_clsact(interface)?.is_none()
            && let Some(attached) = attach_with_clsact(&mut netlink, interface, side, program, &name(true))?
        {
            return Ok(Self { netlink, attached: Some(attached) });
        }
        let mut clsact = Clsact::ensure(&mut netlink, interface)?;
        let made_now = clsact.made_by_us;
        clsact.made_by_us |= inherit;
        match Filter::attach(&mut netlink, interface, side, program, &name(clsact.made_by_us)) {
            Ok(filter) => Ok(Self { netlink, attached: Some((filter, clsact)) }),
            Err(error) => {
                clsact.made_by_us = made_now;
                // Why attaching failed matters more than why this does.
                let _ = clsact.remove(&mut netlink);
                Err(error)
            }
        }
    }

    /// The filter as the kernel lists it.
    pub fn filter(&self) -> Option<&FilterInfo> {
        self.attached.as_ref().map(|(filter, _)| filter.info())
    }

    /// Leaves all in place.
    pub fn leave(mut self) {
        self.attached = None;
    }

    /// Removes the filter, and the clsact qdisc if this attachment made it and nobody else uses it.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`]; that something has already been removed is none.
    pub fn detach(mut self) -> Result<(), NetlinkError> {
        self.release()
    }

    fn release(&mut self) -> Result<(), NetlinkError> {
        let Some((filter, clsact)) = self.attached.take() else {
            return Ok(());
        };
        let Filter { interface, side, info } = filter;
        remove_leftover(&mut self.netlink, interface, side, &info, clsact.made_by_us)
    }
}

/// Makes a clsact qdisc and a filter in one step: whoever is killed between two would leave a qdisc that nobody knows
/// again. `None` if somebody else has made the qdisc meanwhile.
fn attach_with_clsact(
    netlink: &mut Netlink,
    interface: IfIndex,
    side: Side,
    program: &Program,
    name: &str,
) -> Result<Option<(Filter, Clsact)>, NetlinkError> {
    let requests = [&Request::add_clsact(interface), &request_filter(interface, side, program, name)?];
    let clsact = Clsact { interface, made_by_us: true };
    match netlink.request_both(requests)? {
        [Ok(_), Ok(echo)] => Ok(Some((Filter::find(netlink, interface, side, program, &echo)?, clsact))),
        [Ok(_), Err(error)] => {
            // Why attaching failed matters more than why this does.
            let _ = clsact.remove(netlink);
            Err(error)
        }
        [Err(error), filter] if error.errno() == Some(Errno::EEXIST) => {
            if let Ok(echo) = filter {
                Filter::find(netlink, interface, side, program, &echo)?.detach(netlink)?;
            }
            Ok(None)
        }
        [Err(error), _] => Err(error),
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.release();
    }
}
