//! XDP programs that are attached without a link, for kernels before 5.9: these stay when their owner is killed.

use super::error::NetlinkError;
use super::netlink::Netlink;
use super::request::Request;
use crate::place::{IfIndex, XdpMode};
use crate::program::Program;
use crate::sys::Errno;

/// A program on the XDP hook of an interface. Detaches on drop.
///
/// It works in the network namespace that was current when it was made.
#[derive(Debug)]
pub struct XdpAttachment {
    netlink: Netlink,
    /// `None` once detached.
    attached: Option<Attached>,
}

#[derive(Debug)]
struct Attached {
    interface: IfIndex,
    mode: XdpMode,
    program: Program,
}

impl XdpAttachment {
    /// Attaches `program`, which is kept to be recognised at the end.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`], with what the driver has against it: EBUSY when another program is there.
    pub fn new(interface: IfIndex, mode: XdpMode, program: &Program) -> Result<Self, NetlinkError> {
        let program = program.duplicate()?;
        let mut netlink = Netlink::open()?;
        netlink.request(&Request::attach_xdp(interface, program.fd().as_raw(), mode))?;
        Ok(Self { netlink, attached: Some(Attached { interface, mode, program }) })
    }

    /// Leaves the program attached.
    pub fn leave(mut self) {
        self.attached = None;
    }

    /// Detaches the program, unless another one is in its place.
    ///
    /// # Errors
    ///
    /// Any [`NetlinkError`]; that it or the interface is gone is none.
    pub fn detach(mut self) -> Result<(), NetlinkError> {
        self.release()
    }

    fn release(&mut self) -> Result<(), NetlinkError> {
        let Some(Attached { interface, mode, program }) = self.attached.take() else { return Ok(()) };
        detach(&mut self.netlink, interface, mode, &program)
    }
}

impl Drop for XdpAttachment {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.release();
    }
}

/// Detaches `program` from the XDP hook of an interface, if it is there.
///
/// # Errors
///
/// Any [`NetlinkError`]; that it or the interface is gone is none.
pub fn detach(
    netlink: &mut Netlink,
    interface: IfIndex,
    mode: XdpMode,
    program: &Program,
) -> Result<(), NetlinkError> {
    let id = program.id()?;
    let all = netlink.interfaces()?;
    let is_there = |one: &super::Interface| one.index == interface && one.xdp.contains(&(mode, id));
    if !all.iter().any(is_there) {
        return Ok(());
    }
    let exact = Request::detach_xdp(interface, program.fd().as_raw(), mode);
    let result = match netlink.request(&exact) {
        // A kernel before 5.7 does not know what is expected.
        Err(error) if error.errno() == Some(Errno::EINVAL) => {
            netlink.request(&Request::detach_any_xdp(interface, mode))
        }
        result => result,
    };
    match result {
        // EEXIST: another one has taken its place by now.
        Err(error) if matches!(error.errno(), Some(Errno::ENODEV | Errno::EEXIST)) => Ok(()),
        result => result.map(drop),
    }
}
