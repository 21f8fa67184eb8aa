//! What hangs on interfaces.

use loader::rtnetlink::{Interface, Netlink, filters};
use loader::{Program, Side, tcx_programs};

use super::kernel;
use super::namespace::sh;

/// The hooks of traffic control.
pub(crate) const HOOKS: [&str; 2] = ["tcx", "clsact"];

/// What is on `lo`: the same text means that nothing has changed.
pub(crate) fn state() -> String {
    state_of("lo")
}

/// What is on an interface: qdiscs and filters, programs on tcx and XDP.
pub(crate) fn state_of(interface: &str) -> String {
    let shown = sh(&format!(
        "tc qdisc show dev {interface}; echo egress:; tc filter show dev {interface} egress; \
         echo ingress:; tc filter show dev {interface} ingress"
    ));
    let Interface { index, xdp, .. } = find(interface).unwrap();
    let tcx = [Side::Egress, Side::Ingress].map(|side| tcx_programs(index, side).unwrap());
    format!("{shown}tcx: {tcx:?}\nxdp: {xdp:?}\n")
}

/// Whether `lo` has a clsact qdisc.
pub(crate) fn has_clsact() -> bool {
    has_clsact_on("lo")
}

/// Whether an interface has one.
pub(crate) fn has_clsact_on(interface: &str) -> bool {
    let index = find(interface).unwrap().index;
    Netlink::open().unwrap().qdisc_at_clsact(index).unwrap().as_deref() == Some("clsact")
}

/// The programs of bpfecho on `lo`, by their ids: on tcx, and in filters.
pub(crate) fn ours() -> Vec<u32> {
    ours_on("lo")
}

/// See [`ours`]; none where there is no such interface.
pub(crate) fn ours_on(interface: &str) -> Vec<u32> {
    let Some(Interface { index, .. }) = find(interface) else { return Vec::new() };
    let side = if interface == "lo" { Side::Egress } else { Side::Ingress };
    let name = |id: u32| Program::open(id).map_or_else(|_| String::new(), |program| program.name().into());
    let mut ids = Vec::new();
    if kernel::has_tcx() {
        ids.extend(tcx_programs(index, side).unwrap().into_iter().map(|program| program.program_id));
        ids.retain(|id| name(*id).starts_with("bpfecho_"));
    }
    let mut filters = filters(&mut Netlink::open().unwrap(), index, side).unwrap();
    filters.retain(|filter| filter.name.as_ref().is_some_and(|name| name.starts_with("bpfecho_")));
    ids.extend(filters.iter().filter_map(|filter| filter.program_id));
    ids
}

/// An interface by its name.
pub(crate) fn find(name: &str) -> Option<Interface> {
    let all = Netlink::open().unwrap().interfaces().unwrap();
    all.into_iter().find(|one| one.name == name)
}

/// What a filter of somebody else does: it lets each packet go on to the next filter.
pub(crate) const GO_ON: &str = "bpf direct-action bytecode '1,6 0 0 4294967295'";

/// Adds filters of somebody else to both sides of `lo`, on egress before and behind those of bpfecho.
pub(crate) fn add_foreign_filters() {
    add_foreign_filters_to("lo");
}

/// See [`add_foreign_filters`].
pub(crate) fn add_foreign_filters_to(interface: &str) {
    sh(&format!(
        "tc qdisc add dev {interface} clsact 2>&1 | grep -v Exclusivity
        tc filter add dev {interface} egress prio 10 {GO_ON} &&
        tc filter add dev {interface} egress prio 60000 {GO_ON} &&
        tc filter add dev {interface} ingress prio 10 {GO_ON}"
    ));
}
