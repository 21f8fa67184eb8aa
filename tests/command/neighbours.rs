//! Others on the same interface: more instances, leftovers of killed ones, and filters of somebody else, of
//! which every byte must stay.

use std::net::UdpSocket;

use bpfecho::echo::ABOUT;
use probe::abi::map;

use super::errors::assert_fails;
use super::exchange;
use super::shim::{Lacks, Shim};
use super::support::bpfecho::{Bpfecho, command};
use super::support::namespace::sh;
use super::support::tc;

const ADDRESS: &str = "127.0.0.1:1122";

pub(crate) fn side_by_side() {
    for (first_ends_first, hook) in [(true, "tcx"), (false, "tcx"), (true, "clsact"), (false, "clsact")] {
        let start = |ports: &str| Bpfecho::start(&format!("127.0.0.1 ::1 {ports} --hook {hook}"));
        let [first, second, third] = ["1122", "1123", "1124,1125"].map(start);
        assert_eq!(tc::ours().len(), 3);
        for port in 1122..=1125 {
            exchange(&format!("127.0.0.1:{port}"));
            exchange(&format!("[::1]:{port}"));
        }
        // Each has seen its own packets only.
        let said = "bpfecho: echoed UDP/IPv4 1 packet, 6 bytes; UDP/IPv6 1 packet, 6 bytes\n";
        let (one, other, other_port) =
            if first_ends_first { (first, second, 1123) } else { (second, first, 1122) };
        assert_eq!(one.end().stderr, said);
        assert_eq!(tc::ours().len(), 2);
        exchange(&format!("127.0.0.1:{other_port}"));
        assert_eq!(
            other.end().stderr,
            "bpfecho: echoed UDP/IPv4 2 packets, 12 bytes; UDP/IPv6 1 packet, 6 bytes\n"
        );
        assert_eq!(tc::ours().len(), 1);
        exchange("127.0.0.1:1124");
        exchange("[::1]:1125");
        assert!(third.end().status.success());
        assert!(tc::ours().is_empty());
    }
}

/// Of several, the one that made the qdisc ends last.
pub(crate) fn the_maker_of_clsact_ends_last() {
    let first = Bpfecho::start("127.0.0.1 1122 --hook clsact");
    let second = Bpfecho::start("127.0.0.1 1123 --hook clsact");
    assert!(second.end().status.success());
    assert!(tc::has_clsact());
    exchange(ADDRESS);
    assert!(first.end().status.success());
    assert!(!tc::has_clsact());
}

pub(crate) fn foreign_filters_survive() {
    tc::add_foreign_filters();
    let foreign = tc::state();
    assert_eq!(foreign.matches(" bytecode ").count(), 3, "{foreign}");
    // During a run they are all there as they were, and ours besides: a line for its priority, one for itself.
    let assert_there = || {
        let state = tc::state();
        let mut lines = state.lines();
        assert!(foreign.lines().all(|wanted| lines.any(|line| line == wanted)), "{state}");
        assert_eq!(state.lines().count(), foreign.lines().count() + 2, "{state}");
        assert_eq!(tc::ours().len(), 1);
    };
    // A run and its end.
    let bpfecho = Bpfecho::start("127.0.0.1 1122 --hook clsact");
    assert_there();
    exchange(ADDRESS);
    assert!(bpfecho.end().status.success());
    assert_eq!(tc::state(), foreign);
    // A start that fails early, and one that fails half-way.
    let shim = Shim::new();
    let holder = UdpSocket::bind(ADDRESS).unwrap();
    assert_eq!(command("127.0.0.1 1122 --hook clsact").output().unwrap().status.code(), Some(1));
    drop(holder);
    let lacks_bpf = "interface 1 egress: attaching a BPF filter: ENOENT \"TC classifier not found\": this kernel \
                     has no BPF classifier: CONFIG_NET_CLS_BPF (module cls_bpf)";
    assert_fails(shim.apply(&mut command("127.0.0.1 1122 --hook clsact"), Lacks::Bpf, false), 1, lacks_bpf);
    assert_eq!(tc::state(), foreign);
    // A run that is killed, and the next one.
    Bpfecho::start("127.0.0.1 1122 --hook clsact").end_by(libc::SIGKILL);
    assert_there();
    let bpfecho = Bpfecho::start("127.0.0.1 1122 --hook clsact");
    assert_there();
    exchange(ADDRESS);
    assert!(bpfecho.end().status.success());
    assert_eq!(tc::state(), foreign);
}

pub(crate) fn foreign_filters_that_come_later_survive() {
    for side in ["egress", "ingress"] {
        let bpfecho = Bpfecho::start("127.0.0.1 1122 --hook clsact");
        sh(&format!("tc filter add dev lo {side} prio 10 {}", tc::GO_ON));
        exchange(ADDRESS);
        assert!(bpfecho.end().status.success());
        assert!(tc::ours().is_empty());
        assert!(sh(&format!("tc filter show dev lo {side}")).contains(" bytecode "), "{side}");
        sh("tc qdisc del dev lo clsact");
    }
}

/// Somebody takes our filter away, or puts another in its place.
pub(crate) fn our_filter_is_gone_or_replaced() {
    let bpfecho = Bpfecho::start("127.0.0.1 1122 --hook clsact");
    sh("tc qdisc del dev lo clsact");
    let end = bpfecho.end();
    assert_eq!((end.status.code(), end.stderr.as_str()), (Some(0), "bpfecho: echoed nothing\n"));
    assert!(!tc::has_clsact());

    let bpfecho = Bpfecho::start("127.0.0.1 1122 --hook clsact");
    let replaced = format!("tc filter replace dev lo egress pref 49152 handle 1 {}", tc::GO_ON);
    sh(&replaced);
    assert!(tc::ours().is_empty());
    let state = tc::state();
    assert_eq!(bpfecho.end().status.code(), Some(0));
    assert_eq!(tc::state(), state);
    sh("tc qdisc del dev lo clsact");

    // Another clsact in place of ours, with a filter of somebody else.
    let bpfecho = Bpfecho::start("127.0.0.1 1122 --hook clsact");
    sh("tc qdisc del dev lo clsact");
    tc::add_foreign_filters();
    let state = tc::state();
    assert_eq!(bpfecho.end().status.code(), Some(0));
    assert_eq!(tc::state(), state);
}

pub(crate) fn leftovers() {
    Bpfecho::start("127.0.0.1 ::1 1122 --hook clsact").end_by(libc::SIGKILL);
    let old = tc::ours();
    assert_eq!(old.len(), 1);
    // What was left still echoes, but the next one with the same endpoints takes its place.
    exchange(ADDRESS);
    for _ in 0..2 {
        let bpfecho = Bpfecho::start("127.0.0.1 ::1 1122 --hook clsact");
        let new = tc::ours();
        assert_eq!(new.len(), 1);
        assert_ne!(new, old);
        exchange(ADDRESS);
        exchange("[::1]:1122");
        bpfecho.end_by(libc::SIGKILL);
        assert_eq!(tc::ours(), new);
    }
    let bpfecho = Bpfecho::start("127.0.0.1 ::1 1122 --hook clsact");
    assert_eq!(tc::ours().len(), 1);
    assert!(bpfecho.end().status.success());
    assert!(tc::ours().is_empty());
    // One with other endpoints is not touched: it might be alive.
    Bpfecho::start("127.0.0.1 1122 --hook clsact").end_by(libc::SIGKILL);
    let old = tc::ours();
    let bpfecho = Bpfecho::start("127.0.0.1 1123 --hook clsact");
    assert!(bpfecho.end().status.success());
    assert_eq!(tc::ours(), old);
}

/// Whoever looks at a host with the usual tools sees whose the programs are.
pub(crate) fn names() {
    let bpfecho = Bpfecho::start("127.0.0.1 1122 --hook tcx");
    let [id] = tc::ours()[..] else { panic!() };
    assert!(
        sh("bpftool net show dev lo").contains(&format!("lo(1) tcx/egress bpfecho_lo prog_id {id} link_id "))
    );
    assert!(
        sh(&format!("bpftool prog show id {id}")).contains(&format!("{id}: sched_cls  name bpfecho_lo "))
    );
    let links = sh("bpftool link show");
    assert!(
        links.contains(&format!(": tcx  prog {id}  \n\tifindex lo(1)  attach_type tcx_egress")),
        "{links}"
    );
    let shown = sh(&format!("bpftool prog show id {id}"));
    let ids = shown.split_once(" map_ids ").unwrap().1.split_whitespace().next().unwrap();
    let maps: String = ids.split(',').map(|id| sh(&format!("bpftool map show id {id}"))).collect();
    for name in [map::DESTINATIONS, map::PORTS, map::COUNTERS, ABOUT] {
        assert!(maps.contains(&format!("  name {name}  ")), "{name}: {maps}");
    }
    bpfecho.end();

    let bpfecho = Bpfecho::start("127.0.0.1 1122 --hook clsact");
    let shown = sh("tc filter show dev lo egress");
    assert!(shown.contains(" bpfecho_lo +clsact 127.0.0.1 1122 direct-action "), "{shown}");
    assert!(sh("bpftool net show dev lo").contains("lo(1) clsact/egress bpfecho_lo +clsact 127.0.0.1 1122"));
    bpfecho.end();

    sh("ip link add v0 type veth peer name v1 && ip link set v0 up");
    let _bpfecho = Bpfecho::start("10.7.0.5 1122 --ifname v0 --hook xdp");
    let [(_, id)] = tc::find("v0").unwrap().xdp[..] else { panic!() };
    assert!(sh("bpftool net show dev v0").contains(&format!(") driver id {id}")));
    assert!(sh(&format!("bpftool prog show id {id}")).contains(": xdp  name bpfecho_xdp "));
}
