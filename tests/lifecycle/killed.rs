//! Runs that are killed at any moment.

use std::thread;
use std::time::{Duration, Instant};

use loader::{Position, Side};

use super::support::bpfecho::{Bpfecho, Running, command, run};
use super::support::foreign::{Foreign, NEXT};
use super::support::namespace::sh;
use super::support::{mounts, random, sys, tc};

/// Kills runs on one end of a cable.
pub(crate) fn killed_on_a_cable(hook: &str) {
    sh("ip link add v0 type veth peer name v1
        ip link set v0 up
        ip link set v1 up");
    killed(hook, "v0");
}

/// Kills 200 runs on `interface`. By links nothing is left at once; what else is left is gone after the next run, or
/// after `--stop`. What others have there is never touched.
pub(crate) fn killed(hook: &str, interface: &str) {
    mounts::own_bpffs();
    let index = tc::find(interface).unwrap().index;
    let side = if interface == "lo" { Side::Egress } else { Side::Ingress };
    let foreign = Foreign::attach(index, side, Position::First, NEXT);
    let address = if interface == "lo" { "127.0.0.1" } else { "10.7.0.5" };
    let arguments = format!("{address} 1122 --hook {hook} --ifname {interface}");
    let quiet = format!("{arguments} -q");
    let stop = format!("--stop -q --ifname {interface}");

    let begin = Instant::now();
    let bpfecho = Bpfecho::start(&arguments);
    let start_takes = begin.elapsed();
    let begin = Instant::now();
    bpfecho.end();
    let end_takes = begin.elapsed();

    let mut random = random::Random::new(0x6b69_6c6c);
    let mut delay = |up_to: Duration| {
        thread::sleep(Duration::from_nanos(random.next() % (up_to.as_nanos() as u64 * 5 / 4)));
    };
    let mut left = 0;
    for round in 0..200 {
        // The clsact qdisc is somebody else's in half of all runs.
        if round == 100 {
            tc::add_foreign_filters_to(interface);
        }
        let before = tc::state_of(interface);
        if round % 4 == 3 {
            let bpfecho = Bpfecho::start(&arguments);
            sys::kill(bpfecho.pid(), libc::SIGTERM);
            delay(end_takes);
            bpfecho.end_by(libc::SIGKILL);
        } else {
            let running = Running::start(&mut command(&quiet));
            delay(start_takes);
            running.end_by(libc::SIGKILL);
        }
        let after = tc::state_of(interface);
        if after != before {
            assert_eq!(hook, "clsact", "{after}");
            left += 1;
            // A qdisc without its filter would be nobody's.
            assert_eq!(tc::ours_on(interface).len(), 1, "round {round}: {after}");
            match round % 2 {
                0 => run(&stop),
                _ => Bpfecho::start(&arguments).end().stdout,
            };
        }
        assert_eq!(tc::state_of(interface), before, "round {round}: {after}");
        foreign.assert_there();
    }
    assert_eq!(left != 0, hook == "clsact", "the moments are not as random as they should be");
}
