//! Programs of others on tcx: each sees what is not echoed in front of it, and stays what and where it is.

use std::net::UdpSocket;

use loader::rtnetlink::Interface;
use loader::{IfIndex, Position, Side, tcx_programs};

use super::support::bpfecho::{Bpfecho, command, run};
use super::support::datagram::{self, exchange};
use super::support::foreign::{Foreign, NEXT, PASS};
use super::support::{mounts, tc};

const ADDRESS: &str = "127.0.0.1:1122";

fn lo() -> IfIndex {
    let Interface { index, .. } = tc::find("lo").unwrap();
    index
}

fn foreign(verdict: i32) -> Foreign {
    Foreign::attach(lo(), Side::Egress, Position::Last, verdict)
}

/// The programs on the egress side of `lo`.
fn order() -> Vec<u32> {
    tcx_programs(lo(), Side::Egress).unwrap().iter().map(|program| program.program_id).collect()
}

pub(crate) fn see_their_packets() {
    let programs = [NEXT, NEXT].map(foreign);
    let [front, behind] = &programs;
    let theirs = UdpSocket::bind("127.0.0.1:1123").unwrap();
    let client = datagram::client("127.0.0.1:1123");
    // How many packets the two have seen of five that are echoed, and of three that are not.
    let count = |place: &str| {
        let bpfecho = Bpfecho::start(&format!("1122 {place}"));
        let before = programs.each_ref().map(Foreign::seen);
        for _ in 0..5 {
            exchange(ADDRESS);
        }
        for _ in 0..3 {
            client.send(b"hello").unwrap();
            theirs.recv(&mut [0; 5]).unwrap();
        }
        assert_eq!(bpfecho.end().packets("UDP/IPv4"), 5);
        programs.iter().for_each(Foreign::assert_there);
        let after = programs.each_ref().map(Foreign::seen);
        [after[0] - before[0], after[1] - before[1]]
    };
    assert_eq!(count(""), [3, 3]);
    assert_eq!(count(&format!("--after {}", front.id())), [8, 3]);
    assert_eq!(count(&format!("--before {}", behind.id())), [8, 3]);
    assert_eq!(count("--after all"), [8, 8]);
    assert_eq!(count("--before all"), [3, 3]);
}

pub(crate) fn places() {
    mounts::own_bpffs();
    let programs = [NEXT, NEXT].map(foreign);
    let [a, b] = programs.each_ref().map(Foreign::id);
    let place_of_ours = || {
        let [ours] = tc::ours().try_into().unwrap();
        let mut order = order();
        let place = order.iter().position(|id| *id == ours).unwrap();
        order.remove(place);
        assert_eq!(order, [a, b]);
        place
    };
    for (arguments, place) in [
        ("", 0),
        ("--before all", 0),
        ("--after all", 2),
        (&format!("--before {a}"), 0),
        (&format!("--before {b}"), 1),
        (&format!("--after {a}"), 1),
        (&format!("--after {b}"), 2),
    ] {
        let bpfecho = Bpfecho::start(&format!("1122 {arguments}"));
        assert_eq!(place_of_ours(), place, "{arguments}");
        exchange(ADDRESS);
        assert!(bpfecho.end().status.success());
        assert_eq!(order(), [a, b]);
    }
    // Whoever takes over has the place, unless another is asked for.
    run(&format!("1122 --background --after {a}"));
    run("1122 --background");
    assert_eq!(place_of_ours(), 1);
    for (arguments, place) in [(format!("--after {b}"), 2), ("--before all".into(), 0)] {
        run(&format!("1122 --background {arguments}"));
        assert_eq!(place_of_ours(), place, "{arguments}");
    }
    run("--stop");
    assert_eq!(order(), [a, b]);
    let gone = foreign(NEXT).id();
    for place in ["before", "after"] {
        let output = command(&format!("1122 --{place} {gone}")).output().unwrap();
        let text =
            format!("bpfecho: interface 1 egress: attaching by tcx: ENOENT: program {gone} is not there\n");
        assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(1), text));
        assert_eq!(order(), [a, b]);
    }
    programs.iter().for_each(Foreign::assert_there);
}

/// Behind a program after which nobody sees packets, we see none.
pub(crate) fn end_of_the_chain() {
    let foreign = foreign(PASS);
    let bpfecho = Bpfecho::start(&format!("1122 --after {}", foreign.id()));
    datagram::client(ADDRESS).send(b"hello").unwrap();
    assert_eq!(foreign.seen(), 1);
    assert_eq!(bpfecho.end().stderr, "bpfecho: echoed nothing\n");
    let bpfecho = Bpfecho::start("1122");
    exchange(ADDRESS);
    assert_eq!(foreign.seen(), 1);
    assert_eq!(bpfecho.end().packets("UDP/IPv4"), 1);
    foreign.assert_there();
}
