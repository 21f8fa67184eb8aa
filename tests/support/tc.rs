//! What hangs on `lo`, as tc(8) shows it.

use super::namespace::sh;

/// The qdiscs of `lo` and its filters on both sides: the same text means that nothing has changed.
pub(crate) fn state() -> String {
    sh("tc qdisc show dev lo; echo egress:; tc filter show dev lo egress; \
        echo ingress:; tc filter show dev lo ingress")
}

/// Whether `lo` has a clsact qdisc.
pub(crate) fn has_clsact() -> bool {
    sh("tc qdisc show dev lo").contains("qdisc clsact ")
}

/// The filters of bpfecho on `lo`: of each the id of its program.
pub(crate) fn ours() -> Vec<u32> {
    let shown = sh("tc filter show dev lo egress");
    let ours = shown.lines().filter(|line| line.contains(" handle ") && line.contains(" bpfecho_lo "));
    ours.map(|line| line.split_once(" id ").unwrap().1.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// What a filter of somebody else does: it lets each packet go on to the next filter.
pub(crate) const GO_ON: &str = "bpf direct-action bytecode '1,6 0 0 4294967295'";

/// Adds filters of somebody else to both sides, on egress before and behind those of bpfecho.
pub(crate) fn add_foreign_filters() {
    sh(&format!(
        "tc qdisc add dev lo clsact 2>&1 | grep -v Exclusivity
        tc filter add dev lo egress prio 10 {GO_ON} &&
        tc filter add dev lo egress prio 60000 {GO_ON} &&
        tc filter add dev lo ingress prio 10 {GO_ON}"
    ));
}
