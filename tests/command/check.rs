//! `--check`: what it finds on a host that is as it should be, and on others.

use std::net::UdpSocket;
use std::process::Command;

use serde_json::Value;

use super::shim::{Lacks, Shim};
use super::support::bpfecho::command;
use super::support::namespace::sh;
use super::support::ordinary::Ordinary;
use super::support::tc;

/// What was found.
struct Found {
    status: Option<i32>,
    /// Each line: how bad, what it is about, the text with its remedy.
    findings: Vec<[String; 3]>,
}

impl Found {
    fn of(command: &mut Command) -> Self {
        let state = tc::state();
        let output = command.arg("--json").output().unwrap();
        assert_eq!(tc::state(), state, "something has changed");
        let stdout = String::from_utf8(output.stdout).unwrap();
        let mut findings = Vec::new();
        for line in stdout.lines() {
            let said: Value = serde_json::from_str(line).unwrap();
            let text = |field: &str| said[field].as_str().unwrap_or_default().to_string();
            if said["event"] == "check" {
                let remedy =
                    if said["remedy"].is_null() { String::new() } else { format!(": {}", text("remedy")) };
                findings.push([text("level"), text("topic"), text("text") + &remedy]);
            } else {
                assert_eq!((text("event"), said["status"].as_u64()), ("error".into(), Some(1)));
            }
        }
        Self { status: output.status.code(), findings }
    }

    fn here(arguments: &str) -> Self {
        Self::of(&mut command(&format!("{arguments} --check")))
    }

    /// Asserts that this, and nothing else, is not as it should be.
    #[track_caller]
    fn assert_only(&self, expected: &[(&str, &str, &str)]) {
        let bad: Vec<_> = self.findings.iter().filter(|[level, ..]| level != "ok").collect();
        let bad: Vec<_> =
            bad.iter().map(|[level, topic, text]| (&level[..], &topic[..], &text[..])).collect();
        assert_eq!(bad, expected);
        let failed = expected.iter().any(|(level, ..)| *level == "fail");
        assert_eq!(self.status, Some(failed.into()));
    }
}

/// The command that a text gives as a remedy.
fn remedy(found: &Found) -> &str {
    let [_, _, text] = found.findings.iter().find(|[level, ..]| level != "ok").unwrap();
    text.rsplit_once(": ").unwrap().1
}

pub(crate) fn healthy() {
    let found = Found::here("127.0.0.1 ::1 1122");
    found.assert_only(&[]);
    let topics: Vec<&str> = found.findings.iter().map(|[_, topic, _]| topic.as_str()).collect();
    let expected = [
        "kernel",
        "capabilities",
        "programs",
        "jit",
        "ports",
        "interface",
        "others",
        "routing",
        "routing",
        "firewall",
        "hooks",
        "hooks",
    ];
    assert_eq!(topics, expected);
    // For people, a line each.
    let output = command("--check").output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.lines().all(|line| line.starts_with("ok    ") && line.as_bytes()[18] == b' '), "{stdout}");
    assert!(stdout.contains("\nok    routing       what this host sends to 127.0.0.1 comes over `lo`\n"));
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

pub(crate) fn ports() {
    let _holder = UdpSocket::bind("127.0.0.1:1122").unwrap();
    let text = format!(
        "UDP port 1122 on 127.0.0.1 is in use by `command` (process {}): stop that, choose another port, or echo in \
         front of it with --force",
        std::process::id()
    );
    let found = Found::here("1122");
    found.assert_only(&[("fail", "ports", &text.replace("`command`", &format!("`{}`", own_name())))]);
    let said = command("1122 --check").output().unwrap();
    assert_eq!(String::from_utf8(said.stderr).unwrap(), "bpfecho: 1 check failed: this would not echo\n");
    assert_eq!(Found::here("1122 --force").status, Some(0));
}

/// What the kernel calls this process.
fn own_name() -> String {
    std::fs::read_to_string("/proc/self/comm").unwrap().trim_end().into()
}

pub(crate) fn interfaces() {
    Found::here("10.7.0.5 --ifname v0").assert_only(&[(
        "fail",
        "interface",
        "no interface is called `v0`: there are lo",
    )]);
    Found::here("10.7.0.5 --ifname v0 --wait").assert_only(&[(
        "warn",
        "interface",
        "`v0` is not there: there are lo: --wait waits for it",
    )]);
    sh("ip link set lo down");
    let found = Found::here("1122");
    assert!(found.findings.iter().any(|[level, topic, text]| {
        (level.as_str(), topic.as_str(), text.as_str())
            == ("warn", "interface", "`lo` is loopback, MTU 65536, down: ip link set lo up")
    }));
    sh("ip link set lo up");
    Found::here("1122").assert_only(&[]);
}

/// The remedy is one.
pub(crate) fn routing() {
    let text = "asking for the route to 10.80.0.0: ENETUNREACH: ip route add local 10.80.0.0/16 dev lo";
    let found = Found::here("10.80.0.0/16 7");
    found.assert_only(&[("fail", "routing", text)]);
    sh(remedy(&found));
    Found::here("10.80.0.0/16 7").assert_only(&[]);
    sh("ip link add v0 type veth peer name v1
        ip address add 10.7.0.5/24 dev v0
        ip link set v0 up
        ip link set v1 up");
    let text =
        "what this host sends to 10.7.0.0/24 does not come over `lo`: ip route add local 10.7.0.0/24 dev lo";
    Found::here("10.7.0.0/24 7").assert_only(&[("fail", "routing", text)]);
    let text = "10.7.0.6 is no address of this host: others have to be told to send it to `v0`: an address, a route \
                there, or --virtual-hosts";
    Found::here("10.7.0.5 10.7.0.6 7 --ifname v0").assert_only(&[("warn", "routing", text)]);
    Found::here("10.7.0.5 7 --virtual-hosts 10.7.0.6 --ifname v0").assert_only(&[]);
}

pub(crate) fn firewall() {
    let load = |rules: &str| {
        let file = std::env::temp_dir().join(format!("bpfecho-check-{}", std::process::id()));
        std::fs::write(&file, format!("flush ruleset\n{rules}")).unwrap();
        sh(&format!("nft -f {}; status=$?; rm {0}; exit $status", file.display()));
    };
    let chain = |rule: &str| {
        format!("table inet t {{\nchain c {{\ntype filter hook output priority 0\n{rule}\n}}\n}}\n")
    };
    for rule in
        ["ct state established,related accept", "tcp dport 7 drop", "ct state new counter", "ct mark 0 drop"]
    {
        load(&chain(rule));
        Found::here("7").assert_only(&[]);
    }
    let text = "connections that look invalid may be dropped by t c: ";
    let add = format!("{text}add a notrack rule for the ports on lo, as the README has it");
    for rule in [
        "ct state invalid drop",
        "ct state invalid,untracked reject",
        "ct state { invalid, new } drop",
        "ct state vmap { established : accept, invalid : drop }",
    ] {
        load(&chain(rule));
        Found::here("7").assert_only(&[("warn", "firewall", &add)]);
    }
    let readme = include_str!("../notrack.nft");
    load(&format!("{}{readme}", chain("ct state invalid drop")));
    let see = format!("{text}see that the notrack rules that there are cover the ports");
    Found::here("7").assert_only(&[("warn", "firewall", &see)]);
    load("");
    sh("iptables -A INPUT -m conntrack --ctstate INVALID -j DROP");
    let add = add.replace("t c:", "filter INPUT:");
    Found::here("7").assert_only(&[("warn", "firewall", &add)]);
}

pub(crate) fn privileges() {
    let ordinary = Ordinary::new();
    for (held, lacks) in
        [(&[][..], "CAP_BPF and CAP_NET_ADMIN"), (&["net_admin"], "CAP_BPF"), (&["bpf"], "CAP_NET_ADMIN")]
    {
        let found = Found::of(ordinary.command(held).args(["1122", "--check"]));
        let text = format!(
            "lacks {lacks}: be root, or have them given to the program (setcap cap_bpf,cap_net_admin+ep)"
        );
        assert_eq!(found.status, Some(1));
        assert!(found.findings.contains(&["fail", "capabilities", &text].map(String::from)), "{lacks}");
    }
    // With both all that needs more is not tried.
    let found = Found::of(ordinary.command(&["bpf", "net_admin"]).args(["1122", "--check"]));
    found.assert_only(&[]);
    let text = "clsact was not tried: a network to try it in needs CAP_SYS_ADMIN";
    let found =
        Found::of(ordinary.command(&["bpf", "net_admin"]).args(["1122", "--check", "--hook", "clsact"]));
    found.assert_only(&[("warn", "hooks", text)]);
}

pub(crate) fn hooks() {
    let shim = Shim::new();
    let found = Found::of(shim.apply(&mut command("1122 --check --hook clsact"), Lacks::Clsact, false));
    let text = "interface 1: adding a clsact qdisc: ENOENT \"Specified qdisc kind is unknown\": this kernel has no \
                clsact qdisc: CONFIG_NET_SCH_INGRESS (module sch_ingress)";
    found.assert_only(&[("fail", "hooks", text)]);
    // Where nobody needs it, it is not missed.
    Found::of(shim.apply(&mut command("1122 --check"), Lacks::Clsact, false)).assert_only(&[]);
    sh("tc qdisc add dev lo ingress");
    let text = "`lo` has a qdisc of kind ingress where clsact would go: tc qdisc del dev lo ingress, if nobody needs \
                it, or --hook tcx";
    Found::here("1122 --hook clsact").assert_only(&[("fail", "qdisc", text)]);
    Found::here("1122").assert_only(&[]);
}

/// What XDP does not see, and who else is there.
pub(crate) fn xdp() {
    sh("ip link add v0 type veth peer name v1
        ip address add 10.7.0.5/24 dev v0
        ip link set v0 up
        ip link set v1 up");
    let found = Found::here("10.7.0.5 7 --ifname v0 --hook xdp");
    let offloads: Vec<&str> = found
        .findings
        .iter()
        .filter(|[_, topic, _]| topic == "offloads")
        .map(|[.., text]| text.as_str())
        .collect();
    let [program, checksums, tags] = offloads[..] else { panic!("{offloads:?}") };
    assert!(
        program
            .starts_with("the other end of `v0` takes what XDP sends only if it has an XDP program, too: ")
    );
    assert!(checksums.ends_with(": ethtool -K PEER tx off at the other end of `v0`"));
    assert!(tags.ends_with(": ethtool -K PEER txvlan off"), "{tags}");
    Found::here("10.7.0.5 7 --ifname v0 --hook xdp-generic").assert_only(&[]);

    let other = super::support::bpfecho::Bpfecho::start("10.7.0.5 9 --ifname v0 --hook xdp-generic");
    let [(_, id)] = tc::find("v0").unwrap().xdp[..] else { panic!() };
    let found = Found::here("10.7.0.5 7 --ifname v0 --hook xdp-generic");
    let bad = found.findings.iter().find(|[level, ..]| level == "fail").unwrap();
    let begin = format!("there is room for one XDP program on `v0`: program {id} on xdp generic, program ");
    assert!(bad[1] == "others" && bad[2].starts_with(&begin), "{bad:?}");
    assert!(bad[2].ends_with(": choose --hook tcx or clsact, which come behind it"), "{bad:?}");
    assert_eq!(found.status, Some(1));
    drop(other);
}
