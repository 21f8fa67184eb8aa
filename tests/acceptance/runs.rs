//! Runs without a process, killed ones, and those that may do little.

use super::hooks::assert_nothing_left;
use super::line::Line;
use super::support::bpfecho::{Bpfecho, command, run};
use super::support::ordinary::Ordinary;
use super::support::{datagram, kernel, mounts, stream, sys, tc};

/// The hooks of traffic control that the kernel has.
fn hooks() -> Vec<&'static str> {
    tc::HOOKS.into_iter().filter(|hook| *hook != "tcx" || kernel::has_tcx()).collect()
}

pub(crate) fn background() {
    mounts::own_bpffs();
    for hook in hooks() {
        let arguments = format!("127.0.0.1 ::1 1122 --hook {hook} --background");
        let said = run(&arguments);
        let place = format!(" (lo, {hook} egress), without a process: bpfecho --stop ends it\n");
        assert!(said.ends_with(&place), "{said}");
        Line::Loopback.addresses().into_iter().for_each(datagram::exchange);
        let client = stream::connect(Line::Loopback.addresses()[0]);
        stream::ping(&client, b"before");
        let [program] = tc::ours()[..] else { panic!("{:?}", tc::ours()) };
        let status = run("--status");
        let row: Vec<&str> = status.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[..4], ["lo", hook, "egress", &program.to_string()], "{status}");
        assert!(
            status.contains("UDP/IPv4 1 packet, 6 bytes; UDP/IPv6 1 packet, 6 bytes; 1 handshake"),
            "{status}"
        );
        // Who echoes the same takes over.
        run(&arguments);
        stream::ping(&client, b"after");
        assert!(tc::ours().len() == 1 && tc::ours()[0] != program);
        assert_eq!(run("--stop"), format!("bpfecho: stopped 127.0.0.1 ::1 1122 (lo, {hook} egress)\n"));
        assert_nothing_left(&Line::Loopback);
        assert!(!mounts::has_pins());
        assert_eq!(run("--status"), "bpfecho: nothing is attached\n");
    }
}

/// What is attached by a link goes with the process; a filter stays and echoes until the next run, or `--stop`.
pub(crate) fn killed() {
    for line in [Line::Loopback, Line::cable()] {
        let address = line.addresses()[0];
        for hook in hooks() {
            let start = || line.start(&format!("--hook {hook}"));
            let kill = |bpfecho: Bpfecho| {
                bpfecho.end_by(libc::SIGKILL);
                if hook == "clsact" {
                    datagram::exchange(address);
                    assert_eq!(line.run(|| tc::ours_on(line.interface())).len(), 1);
                } else {
                    assert_nothing_left(&line);
                }
            };
            let bpfecho = start();
            let client = stream::connect(address);
            stream::ping(&client, b"before");
            kill(bpfecho);
            let bpfecho = start();
            stream::small_exchange(&client, 1);
            assert_eq!(line.run(|| tc::ours_on(line.interface())).len(), 1);
            assert_eq!(bpfecho.end().status.code(), Some(0));
            assert_nothing_left(&line);
            kill(start());
            line.run(|| run(&format!("--stop --ifname {}", line.interface())));
            assert_nothing_left(&line);
        }
    }
}

/// Two are enough where the kernel is not too old; what else is missing there is said.
pub(crate) fn two_capabilities() {
    let ordinary = Ordinary::new();
    let mut held = vec!["bpf", "net_admin"];
    let cable = Line::cable();
    let refused = |held: &[&str], reason: &str| {
        let mut command = ordinary.command(held);
        let output = cable.run(|| command.args(cable.arguments().split(' ')).output().unwrap());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.ends_with(reason), "{said}");
        kernel::not_here(&said);
    };
    if kernel::charges_memlock() {
        refused(&held, " counts BPF memory as locked memory, and the limit is 65536 bytes (ulimit -l)\n");
        sys::allow_locked_memory();
    }
    if kernel::needs_perfmon() {
        refused(&held, ": needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, this process lacks CAP_PERFMON\n");
        held.push("perfmon");
    }
    for line in [Line::Loopback, cable] {
        for hook in hooks() {
            let mut command = ordinary.command(&held);
            command.args(line.arguments().split(' ')).args(["--hook", hook, "--protocol", "tcp,udp,icmp"]);
            let bpfecho = line.run(|| Bpfecho::spawn(&mut command));
            for address in line.addresses() {
                datagram::exchange(address);
                stream::small_exchange(&stream::connect(address), 1);
            }
            assert!(bpfecho.end().status.success());
            assert_nothing_left(&line);
        }
    }
}

pub(crate) fn missing_capabilities() {
    if kernel::charges_memlock() {
        sys::allow_locked_memory();
    }
    let ordinary = Ordinary::new();
    for (held, lacks) in
        [(&[][..], "CAP_BPF and CAP_NET_ADMIN"), (&["net_admin"], "CAP_BPF"), (&["bpf"], "CAP_NET_ADMIN")]
    {
        let output = ordinary.command(held).arg("1122").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.ends_with(&format!(
                ": EPERM: needs CAP_BPF and CAP_NET_ADMIN, this process lacks {lacks}\n"
            )),
            "{said}"
        );
    }
    assert_nothing_left(&Line::Loopback);
}

/// Nothing is in the way, whatever is asked for.
pub(crate) fn check() {
    let mut asked = hooks();
    asked.push("auto");
    for line in [Line::Loopback, Line::cable()] {
        for hook in &asked {
            let arguments = format!("{} --hook {hook} --check", line.arguments());
            let output = line.run(|| command(&arguments).output().unwrap());
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(0), "{said}");
            let slow = |line: &str| kernel::interprets() && line.starts_with("warn  jit ");
            assert!(said.lines().all(|line| line.starts_with("ok    ") || slow(line)), "{said}");
            let tcx = if kernel::has_tcx() {
                "tcx\n"
            } else {
                "no tcx, which came with Linux 6.6; clsact is taken instead\n"
            };
            assert!(said.contains(&format!("ok    hooks         {tcx}")), "{said}");
            assert!(said.contains("ok    programs      load, and answer a packet right\n"), "{said}");
        }
        assert_nothing_left(&line);
    }
}
