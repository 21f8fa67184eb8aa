//! Hosts on which nothing is mounted, nothing can be written, and nobody listens.

use std::process::{Command, Stdio};

use super::support::bpfecho::{Bpfecho, Running, command};
use super::support::datagram::exchange;
use super::support::network::await_that;
use super::support::{stream, tc};

const ADDRESS: &str = "127.0.0.1:1122";

/// The command where /proc, /sys and /dev are empty folders, and no file system can be written to; `redirected` is for
/// the shell that starts it, without a terminal.
fn bare_with(arguments: &str, redirected: &str) -> Command {
    let script = format!(
        "for folder in /proc /sys /dev; do mount -t tmpfs -o ro none $folder || exit; done
        mount -o remount,bind,ro / || exit
        exec setsid \"$0\" {arguments} {redirected}"
    );
    let mut bare = Command::new("unshare");
    bare.args(["--mount", "sh", "-c", &script]).arg(command("").get_program()).stdin(Stdio::null());
    bare
}

fn bare(arguments: &str) -> Command {
    bare_with(arguments, "")
}

/// What the command says there, which must have the exit status `status`.
#[track_caller]
fn run(arguments: &str, status: i32) -> String {
    let output = bare(arguments).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments}: {said}");
    said
}

pub(crate) fn foreground() {
    for hook in tc::HOOKS {
        let bpfecho = Bpfecho::spawn(&mut bare(&format!("127.0.0.1 1122 --hook {hook}")));
        let ready = format!("bpfecho: echoing TCP and UDP on 127.0.0.1 port 1122 (lo, {hook} egress)");
        assert_eq!(bpfecho.ready, ready);
        exchange(ADDRESS);
        stream::ping(&stream::connect(ADDRESS), b"hello");
        let listed = run("--status", 0);
        assert!(listed.contains("127.0.0.1 1122") && listed.contains("1 packet, 6 bytes"), "{listed}");
        let in_use = run("127.0.0.1 1122", 1);
        assert!(
            in_use.starts_with("bpfecho: UDP port 1122 on 127.0.0.1 is in use by another process: "),
            "{in_use}"
        );
        let end = bpfecho.end();
        assert!(end.status.success() && end.packets("UDP/IPv4") == 1, "{end:?}");
    }
    assert!(run("1122 --check", 0).contains("load, and answer a packet right"));
}

pub(crate) fn background() {
    let said = run("127.0.0.1 1122 --background", 0);
    let expected = "bpfecho: taking clsact instead of tcx: mounting a bpf filesystem at /sys/fs/bpf, to keep the program \
                    there: ENOENT: mount sysfs at /sys; --hook clsact does without\n\
                    bpfecho: echoing TCP and UDP on 127.0.0.1 port 1122 (lo, clsact egress), without a process: bpfecho \
                    --stop ends it\n";
    assert_eq!(said, expected);
    exchange(ADDRESS);
    assert_eq!(run("--stop", 0), "bpfecho: stopped 127.0.0.1 1122 (lo, clsact egress)\n");
    assert!(!tc::has_clsact());
    let said = run("127.0.0.1 1122 --background --hook tcx", 1);
    let expected = "bpfecho: mounting a bpf filesystem at /sys/fs/bpf, to keep the program there: ENOENT: mount sysfs at \
                    /sys; --hook clsact does without\n";
    assert_eq!(said, expected);
    assert!(tc::ours().is_empty());
}

/// Nobody can be told anything, and there is nothing to put in the place of the descriptors.
pub(crate) fn silence() {
    for closed in ["<&- >&- 2>&-", "2>&-", "<&-"] {
        for json in ["", "--json"] {
            let mut bare = bare_with(&format!("127.0.0.1 1122 {json}"), closed);
            let mut bpfecho = Running::start(bare.stdout(Stdio::piped()).stderr(Stdio::piped()));
            await_that("it echoes, or ends", || {
                !tc::ours().is_empty() || bpfecho.child().try_wait().unwrap().is_some()
            });
            exchange(ADDRESS);
            assert_eq!(bpfecho.end_by(libc::SIGTERM).0, Some(0), "{closed} {json}");
            assert!(tc::ours().is_empty());
        }
    }
}
