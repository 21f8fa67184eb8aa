//! Programs that stay without a process, and what lists and ends them.

use std::collections::BTreeSet;
use std::thread;

use serde_json::Value;

use super::support::bpfecho::{Bpfecho, run};
use super::support::datagram::{self, exchange};
use super::support::namespace::sh;
use super::support::network::await_that;
use super::support::{mounts, tc};

const ADDRESS: &str = "127.0.0.1:1122";

/// Asserts that nothing of ours is on `lo`, and nothing pinned.
#[track_caller]
fn assert_nothing_left() {
    assert_eq!((tc::ours(), tc::has_clsact(), mounts::has_pins()), (vec![], false, false));
    assert_eq!(run("--status"), "bpfecho: nothing is attached\n");
}

/// The table of `--status` without its first row, as words.
fn table(arguments: &str) -> Vec<Vec<String>> {
    let shown = run(arguments);
    let rows = shown.lines().skip(1).filter(|line| !line.starts_with("  "));
    rows.map(|row| row.split_whitespace().map(String::from).collect()).collect()
}

pub(crate) fn without_a_process() {
    mounts::own_bpffs();
    for hook in tc::HOOKS {
        let said = run(&format!("127.0.0.1 1122 --background --hook {hook}"));
        assert_eq!(
            said,
            format!(
                "bpfecho: echoing TCP and UDP on 127.0.0.1 port 1122 (lo, {hook} egress), without a process: bpfecho \
                 --stop ends it\n"
            )
        );
        exchange(ADDRESS);
        let program = tc::ours()[0];
        let [row] = table("--status").try_into().unwrap();
        let (since, rest) = (format!("{}{}", row[5], row[6]), [&row[..5], &row[7..]].concat());
        let expected = ["lo", hook, "egress", &program.to_string(), "none", "127.0.0.1", "1122"];
        assert_eq!(rest, expected, "{since}");
        assert!(run("--status").ends_with("\n  echoed UDP/IPv4 1 packet, 6 bytes\n"));
        // Who echoes the same takes over, also the place.
        assert!(run(&format!("127.0.0.1 1122 --background -q --hook {hook}")).is_empty());
        exchange(ADDRESS);
        assert!(tc::ours().len() == 1 && tc::ours()[0] != program);
        assert_eq!(run("--stop"), format!("bpfecho: stopped 127.0.0.1 1122 (lo, {hook} egress)\n"));
        assert_nothing_left();
        assert_eq!(run("--stop"), "bpfecho: nothing is attached\n");
    }
}

pub(crate) fn mounted_anew() {
    mounts::own_bpffs();
    run("127.0.0.1 1122 --background");
    exchange(ADDRESS);
    mounts::unmount_bpffs();
    // Its files go, and what they hold, behind the back of whoever has unmounted it.
    await_that("nothing is attached", || tc::ours().is_empty());
    mounts::mount_bpffs();
    assert_nothing_left();
    run("127.0.0.1 1122 --background");
    exchange(ADDRESS);
    run("--stop");
    assert_nothing_left();
}

pub(crate) fn hidden() {
    mounts::own_bpffs();
    run("127.0.0.1 1122 --background");
    mounts::mount_bpffs();
    assert_eq!(table("--status").len(), 1);
    exchange(ADDRESS);
    // Taken over, and pinned where it can be seen.
    run("127.0.0.1 1122 --background");
    exchange(ADDRESS);
    assert_eq!((tc::ours().len(), mounts::has_pins()), (1, true));
    run("--stop");
    assert_nothing_left();
    run("127.0.0.1 1122 --background");
    mounts::unmount_bpffs();
    await_that("nothing is attached", || tc::ours().is_empty());
    // The first pin is of a link that attaches nothing any more.
    assert!(mounts::has_pins());
    run("--stop");
    assert_nothing_left();
}

pub(crate) fn twenty() {
    mounts::own_bpffs();
    sh("ip link add v0 type veth peer name v1
        ip link set v0 up
        ip link set v1 up");
    let interfaces = ["lo", "v0", "v1"];
    for port in 1..=20 {
        let interface = interfaces[port % 3];
        let address = if interface == "lo" { "127.0.0.1" } else { "10.7.0.5" };
        let hook = tc::HOOKS[port % 2];
        run(&format!("{address} {port} --ifname {interface} --background --hook {hook}"));
    }
    let counts = || interfaces.map(|interface| tc::ours_on(interface).len());
    assert_eq!(counts(), [6, 7, 7]);
    let listed: BTreeSet<String> =
        table("--status").into_iter().map(|row| row.last().unwrap().clone()).collect();
    assert_eq!(listed.len(), 20);
    assert_eq!(table("--status --ifname v0").len(), 7);
    assert_eq!(run("--stop --ifname v1").lines().count(), 7);
    assert_eq!(counts(), [6, 7, 0]);
    assert!(!sh("tc qdisc show dev v1").contains("clsact"));
    // Without an interface it is the one without which a run is, too.
    assert_eq!(run("--stop").lines().count(), 6);
    assert_eq!(counts(), [0, 7, 0]);
    run("127.0.0.1 1122 --background");
    assert_eq!(run("--stop --all").lines().count(), 8);
    assert_eq!(counts(), [0; 3]);
    assert!(!sh("tc qdisc show").contains("clsact"));
    assert_nothing_left();
}

/// Each takes the folder of pins away if it leaves it empty, and needs it.
pub(crate) fn at_the_same_time() {
    mounts::own_bpffs();
    sh("ip link add v0 type veth peer name v1");
    thread::scope(|scope| {
        for arguments in
            ["127.0.0.1 1122 --ifname lo", "10.7.0.5 1122 --ifname v0", "10.7.0.6 1122 --ifname v1"]
        {
            let interface = arguments.split(' ').next_back().unwrap();
            scope.spawn(move || {
                for _ in 0..30 {
                    run(&format!("{arguments} --background"));
                    assert_eq!(tc::ours_on(interface).len(), 1);
                    run(&format!("--stop --ifname {interface}"));
                    assert_eq!(tc::ours_on(interface).len(), 0);
                }
            });
        }
    });
    assert_nothing_left();
}

pub(crate) fn status() {
    mounts::own_bpffs();
    for hook in tc::HOOKS {
        run(&format!("127.0.0.1 ::1 1122 --background --hook {hook}"));
        let foreground = Bpfecho::start(&format!("127.0.0.1 1123 --hook {hook}"));
        for (address, size, times) in [(ADDRESS, 100, 7), ("[::1]:1122", 1000, 5), ("127.0.0.1:1123", 10, 3)]
        {
            let client = datagram::client(address);
            for _ in 0..times {
                client.send(&vec![1; size]).unwrap();
                assert_eq!(client.recv(&mut [0; 2000]).unwrap(), size);
            }
        }
        let said = run("--status --json");
        let programs: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(programs.len(), 2, "{said}");
        for program in programs {
            assert_eq!((&program["schema"], &program["event"]), (&1.into(), &"program".into()));
            assert_eq!((&program["ifname"], &program["ifindex"]), (&"lo".into(), &1.into()));
            assert_eq!(program["hook"], format!("{hook} egress"));
            assert_eq!(program["link_id"].is_u64(), hook == "tcx");
            assert!(program["since"].as_u64() > Some(0) && program["counters_id"].is_u64());
            let is_foreground = program["echoes"] == "127.0.0.1 1123";
            let process = if is_foreground { foreground.pid().into() } else { Value::Null };
            assert_eq!(program["process"], process);
            let expected: &[(&str, u64)] = if is_foreground {
                &[("udp4_packets", 3), ("udp4_bytes", 30)]
            } else {
                assert_eq!(program["echoes"], "127.0.0.1 ::1 1122");
                &[("udp4_packets", 7), ("udp4_bytes", 700), ("udp6_packets", 5), ("udp6_bytes", 5000)]
            };
            let mut counters = program["counters"].as_object().unwrap().clone();
            counters.retain(|_, count| *count != 0);
            let expected = expected.iter().map(|(name, count)| ((*name).into(), (*count).into()));
            assert_eq!(counters, expected.collect());
        }
        drop(foreground);
        run("--stop");
        assert_eq!(run("--status --json"), "");
    }
}

pub(crate) fn stop_waits() {
    mounts::own_bpffs();
    for hook in tc::HOOKS {
        let start = |port: u32| Bpfecho::start(&format!("127.0.0.1 {port} --hook {hook}"));
        let processes = [1122, 1123].map(start);
        for port in [1124, 1125] {
            run(&format!("127.0.0.1 {port} --background --hook {hook}"));
        }
        assert_eq!(tc::ours().len(), 4);
        exchange("127.0.0.1:1123");
        let said = run("--stop");
        assert_nothing_left();
        let mut said: Vec<_> = said.lines().collect();
        said.sort_unstable();
        let expected = [1122, 1123, 1124, 1125]
            .map(|port| format!("bpfecho: stopped 127.0.0.1 {port} (lo, {hook} egress)"));
        assert_eq!(said, expected);
        let summaries = processes.map(|process| {
            let end = process.await_end();
            assert_eq!(end.status.code(), Some(0));
            end.stderr
        });
        assert_eq!(summaries, ["bpfecho: echoed nothing\n", "bpfecho: echoed UDP/IPv4 1 packet, 6 bytes\n"]);
    }
}
