//! Interfaces that lead to other hosts: what is attached to them, what is said of them, and that all is as it
//! was afterwards.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::process::Stdio;

use super::support::bpfecho::{Bpfecho, command};
use super::support::namespace::sh;
use super::support::{sys, tc};

/// Makes a pair of Ethernet interfaces that are up, `v0` with the addresses 10.7.0.5 and fd00:7::5.
fn ethernet() {
    sh("ip link add v0 type veth peer name v1
        ip address add 10.7.0.5/24 dev v0
        ip address add fd00:7::5/64 dev v0 nodad
        ip link set v0 up
        ip link set v1 up");
}

/// The names of our filters on the ingress side of `interface`.
fn filters(interface: &str) -> Vec<String> {
    let shown = sh(&format!("tc filter show dev {interface} ingress"));
    let name =
        |line: &str| Some(line.split_once("bpfecho_wire")?.1.split(" direct-action").next()?.trim().into());
    shown.lines().filter(|line| line.contains(" handle ")).filter_map(name).collect()
}

fn is_all_multicast(interface: &str) -> bool {
    sh(&format!("ip link show dev {interface}")).contains("ALLMULTI")
}

/// All that is said by a run that is ended as soon as it is ready.
fn transcript(arguments: &str) -> String {
    let mut child = command(arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(": echoing ") && stderr.read_line(&mut said).unwrap() != 0 {}
    sys::kill(child.id(), libc::SIGTERM);
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    said
}

pub(crate) fn attached_and_detached() {
    ethernet();
    for hook in tc::HOOKS {
        let arguments = "10.7.0.5 fd00:7::/64 127.0.0.1 7,2000-2999 --ifname v0 --ifname lo";
        let bpfecho = Bpfecho::start(&format!("{arguments} --hook {hook}"));
        assert_eq!(
            bpfecho.ready,
            format!(
                "bpfecho: echoing TCP and UDP on 10.7.0.5, 127.0.0.1 and fd00:7::/64 ports 7 and 2000-2999 (v0, \
                 {hook} ingress; lo, {hook} egress)"
            )
        );
        if hook == "clsact" {
            assert_eq!(filters("v0"), ["+clsact 10.7.0.5 fd00:7::/64 7,2000-2999"]);
        }
        assert_eq!((tc::ours_on("v0").len(), tc::ours().len()), (1, 1));
        // Both on one host: what is for its own address goes by `lo`.
        super::exchange("127.0.0.1:2000");
        super::exchange("10.7.0.5:2999");
        assert_eq!(bpfecho.end().stderr, "bpfecho: echoed UDP/IPv4 2 packets, 12 bytes\n");
        assert_eq!((tc::ours_on("v0").len(), tc::ours().len()), (0, 0));
        assert!(!sh("tc qdisc show").contains("clsact"));
    }
}

/// The interfaces may have nothing in common with Ethernet.
pub(crate) fn tunnel() {
    sh("ip tuntap add tun7 mode tun && ip address add 10.7.0.5/24 dev tun7");
    for hook in tc::HOOKS {
        let bpfecho = Bpfecho::start(&format!("10.7.0.5 7 --ifname tun7 --protocol icmp --hook {hook}"));
        assert_eq!(bpfecho.ready, format!("bpfecho: echoing ICMP on 10.7.0.5 (tun7, {hook} ingress)"));
        if hook == "clsact" {
            assert_eq!(filters("tun7"), ["+clsact 10.7.0.5 icmp"]);
        }
        assert_eq!(tc::ours_on("tun7").len(), 1);
        assert!(bpfecho.end().status.success());
        assert!(tc::ours_on("tun7").is_empty() && !sh("tc qdisc show").contains("clsact"));
    }
}

pub(crate) fn warnings() {
    ethernet();
    let ready = "bpfecho: echoing TCP on 10.7.0.5 port 7 (v0, tcx ingress)\nbpfecho: echoed nothing\n";
    let arguments = "10.7.0.5 7 --ifname v0 --protocol tcp";
    assert_eq!(
        transcript(arguments),
        format!(
            "bpfecho: warning: whoever reaches `v0` can use this server; --allow PREFIX limits it\n{ready}"
        )
    );
    assert_eq!(transcript(&format!("{arguments} --allow 10.7.0.0/24")), ready);
    sh("ip link set v0 down");
    assert_eq!(
        transcript(&format!("{arguments} --allow 10.7.0.0/24")),
        format!("bpfecho: `v0` is down, nothing can be sent on it: ip link set v0 up\n{ready}")
    );
}

/// Who asks for an IPv6 neighbour sends to groups that an interface need not listen to.
pub(crate) fn all_multicast() {
    ethernet();
    let bpfecho = Bpfecho::start("7 --virtual-hosts 10.9.0.0/16,fd00:9::/64 --ifname v0 --hook clsact");
    assert_eq!(
        bpfecho.ready,
        "bpfecho: echoing TCP and UDP on virtual hosts 10.9.0.0/16 and fd00:9::/64 port 7 (v0, clsact \
         ingress)"
    );
    assert_eq!(filters("v0"), ["+clsact virtual 10.9.0.0/16 virtual fd00:9::/64 7"]);
    assert!(is_all_multicast("v0"));
    assert!(bpfecho.end().status.success());
    assert!(!is_all_multicast("v0"));
    // Somebody else's wish stays, and IPv4 needs none of it.
    let bpfecho = Bpfecho::start("7 --virtual-hosts 10.9.0.0/16 --ifname v0");
    assert!(!is_all_multicast("v0"));
    drop(bpfecho);
    sh("ip link set v0 allmulticast on");
    assert!(Bpfecho::start("7 --virtual-hosts fd00:9::/64 --ifname v0").end().status.success());
    assert!(is_all_multicast("v0"));
    // An interface that goes away takes all of it along.
    sh("ip link set v0 allmulticast off");
    let bpfecho = Bpfecho::start("7 --virtual-hosts fd00:9::/64 --ifname v0");
    sh("ip link del v0");
    assert_eq!(bpfecho.await_end().status.code(), Some(1));
}

/// Only what is echoed is held, and only on this host's addresses.
pub(crate) fn held_ports() {
    ethernet();
    let bpfecho = Bpfecho::start("10.7.0.5 7 --virtual-hosts 10.9.0.0/16 --ifname v0 --protocol tcp,icmp");
    assert!(TcpListener::bind("10.7.0.5:7").is_err());
    UdpSocket::bind("10.7.0.5:7").unwrap();
    drop(bpfecho);
    TcpListener::bind("10.7.0.5:7").unwrap();
}

pub(crate) fn leftovers() {
    ethernet();
    let arguments = "10.7.0.5 127.0.0.1 7 --ifname v0 --ifname lo --hook clsact";
    Bpfecho::start(arguments).end_by(libc::SIGKILL);
    assert_eq!((filters("v0").len(), tc::ours().len()), (1, 1));
    let bpfecho = Bpfecho::start(arguments);
    assert_eq!((filters("v0").len(), tc::ours().len()), (1, 1));
    assert!(bpfecho.end().status.success());
    assert_eq!((filters("v0").len(), tc::ours().len()), (0, 0));
    // With a prefix no ports are held, and still one that runs is no leftover.
    let arguments = "10.7.0.0/24 7 --ifname v0 --hook clsact";
    Bpfecho::start(arguments).end_by(libc::SIGKILL);
    let first = Bpfecho::start(arguments);
    let left = filters("v0");
    assert_eq!(left.len(), 1);
    let second = Bpfecho::start(arguments);
    assert_eq!(filters("v0").len(), 2);
    drop(second);
    assert_eq!(filters("v0"), left);
    drop(first);
    assert!(!sh("tc qdisc show").contains("clsact"));
}
