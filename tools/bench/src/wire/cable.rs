//! A client and a server, and the veth between them.

use loader::rtnetlink::{Attachment, Interface, Netlink};
use loader::{BpfLink, IfIndex, Position, Program, Side, XdpMode};

use super::namespace::Host;
use crate::bytecode::{Hook, XDP_PASS, bare_swap, returning};
use crate::program::{self, Frame};
use crate::subject::{BARE_SWAP, BARE_SWAP_XDP, BPFECHO, BPFECHO_CLSACT, BPFECHO_XDP};

/// Who is measured.
pub(super) const SUBJECTS: [&str; 5] = [BPFECHO, BPFECHO_CLSACT, BPFECHO_XDP, BARE_SWAP, BARE_SWAP_XDP];

/// The names of the ends.
const CLIENT: &str = "client";
const SERVER: &str = "server";

/// Both ends, which go with the value.
pub(super) struct Cable {
    pub(super) client: Host,
    /// The client's end.
    pub(super) near: IfIndex,
    server: Host,
    far: Interface,
    _attached: Vec<Attached>,
}

/// A program on the server's end.
pub(super) enum Attached {
    Link { _link: BpfLink },
    Filter { _filter: Attachment },
}

impl Cable {
    /// A new cable with nobody at its end.
    pub(super) fn new() -> Result<Self, String> {
        let (client, server) = (Host::new()?, Host::new()?);
        let far = server.path();
        client.ip(&format!("link add {CLIENT} type veth peer name {SERVER} netns {far}"))?;
        client.ip(&format!("link set {CLIENT} up"))?;
        server.ip(&format!("link set {SERVER} up"))?;
        let near = client.run(|| interface(CLIENT))?.index;
        let far = server.run(|| interface(SERVER))?;
        Ok(Self { client, near, server, far, _attached: Vec::new() })
    }

    /// The MAC address of the server.
    pub(super) fn server_mac(&self) -> [u8; 6] {
        self.far.mac.unwrap_or_default()
    }

    /// Has those programs answer that `attach` puts on the server's end.
    pub(super) fn serve(
        &mut self,
        attach: impl FnOnce(&Interface) -> Result<Vec<Attached>, String> + Send,
    ) -> Result<(), String> {
        let far = &self.far;
        self._attached = self.server.run(|| attach(far))?;
        Ok(())
    }
}

fn interface(name: &str) -> Result<Interface, String> {
    let all =
        Netlink::open().and_then(|mut netlink| netlink.interfaces()).map_err(|error| error.to_string())?;
    all.into_iter().find(|one| one.name == name).ok_or_else(|| format!("no interface is called `{name}`"))
}

/// Attaches what `subject` has to answer packets like `frame`.
pub(super) fn attach(subject: &str, interface: &Interface, frame: &Frame) -> Result<Vec<Attached>, String> {
    let swap = |hook: Hook| bare_swap(hook, &frame.layout).load("bare_swap", hook.kind());
    match subject {
        BARE_SWAP => return Ok(vec![pass(interface)?, tcx(&swap(Hook::Wire)?, interface)?]),
        BARE_SWAP_XDP => return Ok(vec![xdp(&swap(Hook::Xdp)?, interface)?]),
        _ => {}
    }
    let address = program::server(Hook::Wire, false).to_string();
    let echo = program::load(&[address], interface)?.echo;
    match subject {
        // Alone, so that a packet that it left to traffic control would be lost.
        BPFECHO_XDP => Ok(vec![xdp(echo.xdp().ok_or("the probe has no program for XDP")?, interface)?]),
        BPFECHO_CLSACT => Ok(vec![pass(interface)?, clsact(echo.program(), interface)?]),
        _ => Ok(vec![pass(interface)?, tcx(echo.program(), interface)?]),
    }
}

/// Attaches a program on XDP that lets everything pass. In front of traffic control there has to be one: without, a
/// veth takes no frames that its other end is sent from XDP (veth_xdp_xmit() in drivers/net/veth.c).
fn pass(interface: &Interface) -> Result<Attached, String> {
    xdp(&returning(XDP_PASS).load("pass", Hook::Xdp.kind())?, interface)
}

pub(super) fn xdp(program: &Program, interface: &Interface) -> Result<Attached, String> {
    let link = BpfLink::xdp(program, interface.index, XdpMode::Native);
    link.map(|link| Attached::Link { _link: link }).map_err(|error| error.to_string())
}

fn tcx(program: &Program, interface: &Interface) -> Result<Attached, String> {
    let link = BpfLink::tcx(program, interface.index, Side::Ingress, Position::First);
    link.map(|link| Attached::Link { _link: link }).map_err(|error| error.to_string())
}

fn clsact(program: &Program, interface: &Interface) -> Result<Attached, String> {
    let filter = Attachment::new(interface.index, Side::Ingress, program, false, |_| "bpfecho".into());
    filter.map(|filter| Attached::Filter { _filter: filter }).map_err(|error| error.to_string())
}
