//! What is to be known of one interface.

use loader::rtnetlink::{Interface, LinkKind, Netlink, filters};
use loader::{Side, tcx_programs};
use probe::abi::destination::{ECHO, VIRTUAL};

use super::finding::Finding;
use crate::arguments::Request;
use crate::attach::hook::Hook;
use crate::attach::traps::{Trap, traps};
use crate::configuration::{Configuration, Place};
use crate::prefix::Prefix;

pub(super) fn look(
    netlink: &mut Netlink,
    request: &Request,
    interface: &Interface,
    configuration: &Configuration,
) -> Vec<Finding> {
    let mut findings = vec![link(interface)];
    findings.extend(offloads(request, interface));
    findings.extend(qdisc(netlink, request, interface));
    findings.push(others(netlink, request, interface, configuration));
    findings.extend(ways(netlink, interface, configuration));
    findings
}

fn link(interface: &Interface) -> Finding {
    let Interface { name, mtu, .. } = interface;
    let kind = match (&interface.kind, interface.link) {
        (_, LinkKind::Loopback) => "loopback",
        (Some(kind), _) => kind,
        (None, LinkKind::Ethernet) => "Ethernet",
        (None, _) => "without Ethernet header",
    };
    let text = format!("`{name}` is {kind}, MTU {mtu}");
    if interface.up {
        Finding::ok("interface", format!("{text}, up"))
    } else {
        Finding::warn("interface", format!("{text}, down"), Some(format!("ip link set {name} up")))
    }
}

/// What the device does with packets before XDP sees them.
fn offloads(request: &Request, interface: &Interface) -> Vec<Finding> {
    const TOPIC: &str = "offloads";
    let Some(mode) = request.plan.hook.xdp() else { return Vec::new() };
    let traps = traps(interface, mode);
    if traps.is_empty() {
        return vec![Finding::ok(TOPIC, "none is in the way of XDP")];
    }
    traps.into_iter().map(|Trap { text, remedy }| Finding::warn(TOPIC, text, Some(remedy))).collect()
}

/// Whether there is room for a clsact qdisc, if it is asked for.
fn qdisc(netlink: &mut Netlink, request: &Request, interface: &Interface) -> Option<Finding> {
    const TOPIC: &str = "qdisc";
    let name = &interface.name;
    if request.plan.hook != Hook::Clsact {
        return None;
    }
    Some(match netlink.qdisc_at_clsact(interface.index) {
        Ok(None) => Finding::ok(TOPIC, format!("`{name}` has room for clsact")),
        Ok(Some(kind)) if kind == "clsact" => {
            Finding::ok(TOPIC, format!("`{name}` has a clsact, which stays"))
        }
        Ok(Some(kind)) => {
            let remedy = format!("tc qdisc del dev {name} {kind}, if nobody needs it, or --hook tcx");
            let text = format!("`{name}` has a qdisc of kind {kind} where clsact would go");
            Finding::fail(TOPIC, text, Some(remedy))
        }
        Err(error) => Finding::warn(TOPIC, error.to_string(), None),
    })
}

/// Which programs are there already.
fn others(
    netlink: &mut Netlink,
    request: &Request,
    interface: &Interface,
    configuration: &Configuration,
) -> Finding {
    const TOPIC: &str = "others";
    let name = &interface.name;
    let side = if configuration.place == Place::Loopback { Side::Egress } else { Side::Ingress };
    let mut others: Vec<String> =
        interface.xdp.iter().map(|(mode, id)| format!("program {id} on xdp {mode}")).collect();
    let tcx = tcx_programs(interface.index, side).unwrap_or_default();
    others.extend(tcx.iter().map(|program| format!("program {} on tcx {side}", program.program_id)));
    let filters = match filters(netlink, interface.index, side) {
        Ok(filters) => filters,
        Err(error) => return Finding::warn(TOPIC, error.to_string(), None),
    };
    others.extend(filters.iter().map(|filter| {
        let what = filter.name.as_deref().unwrap_or(&filter.kind);
        format!("filter `{what}` of priority {} on clsact {side}", filter.priority)
    }));
    if request.plan.hook.xdp().is_some() && !interface.xdp.is_empty() {
        let remedy = "choose --hook tcx or clsact, which come behind it";
        let text = format!("there is room for one XDP program on `{name}`: {}", others.join(", "));
        return Finding::fail(TOPIC, text, Some(remedy.into()));
    }
    if others.is_empty() {
        return Finding::ok(TOPIC, format!("no other program on `{name}` {side}"));
    }
    let text = format!("on `{name}` there are {}", others.join(", "));
    Finding::ok(TOPIC, format!("{text}; --before and --after choose a place on tcx"))
}

/// Whether packets for the echoed addresses come along.
fn ways(netlink: &mut Netlink, interface: &Interface, configuration: &Configuration) -> Vec<Finding> {
    let served = configuration.destinations.iter().filter(|(_, value)| value & (ECHO | VIRTUAL) == ECHO);
    served.map(|(prefix, _)| way(netlink, interface, configuration.place, prefix)).collect()
}

fn way(netlink: &mut Netlink, interface: &Interface, place: Place, prefix: &Prefix) -> Finding {
    const TOPIC: &str = "routing";
    let name = &interface.name;
    // One of a network stands for all.
    let route = netlink.route_to(prefix.address());
    match (place, route) {
        (Place::Loopback, Ok(Some(route))) if route.is_local || route.interface == interface.index => {
            Finding::ok(TOPIC, format!("what this host sends to {prefix} comes over `{name}`"))
        }
        (Place::Loopback, Ok(_)) => {
            let remedy = format!("ip route add local {prefix} dev {name}");
            Finding::fail(
                TOPIC,
                format!("what this host sends to {prefix} does not come over `{name}`"),
                Some(remedy),
            )
        }
        (Place::Loopback, Err(error)) => {
            let remedy = format!("ip route add local {prefix} dev {name}");
            Finding::fail(TOPIC, error.to_string(), Some(remedy))
        }
        (_, Ok(Some(route))) if route.is_local => {
            Finding::ok(TOPIC, format!("{prefix} is an address of this host, which others can find"))
        }
        _ => Finding::warn(
            TOPIC,
            format!("{prefix} is no address of this host: others have to be told to send it to `{name}`"),
            Some("an address, a route there, or --virtual-hosts".into()),
        ),
    }
}
