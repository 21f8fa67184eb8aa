//! Programs that may be installed, as people use them for an echo server.

use std::env;
use std::net::SocketAddr;
use std::process::Command;

/// Connections at a time, where a program has a limit.
const CONNECTIONS: &str = "20000";
const BACKLOG: &str = "4096";

pub(super) fn socat_obstacle() -> Option<String> {
    missing(&["socat"])
}

/// A process for each connection. An unnamed pipe has no need of another that runs cat(1).
pub(super) fn socat(address: SocketAddr) -> Command {
    let (family, host) = match address {
        SocketAddr::V4(address) => (4, address.ip().to_string()),
        SocketAddr::V6(address) => (6, format!("[{}]", address.ip())),
    };
    let port = address.port();
    let listen = format!("TCP{family}-LISTEN:{port},bind={host},fork,reuseaddr,nodelay,backlog={BACKLOG}");
    with_descendants(&["socat", &listen, "PIPE"])
}

pub(super) fn ncat_obstacle() -> Option<String> {
    missing(&["ncat", "cat"])
}

/// A process for each connection, and one of cat(1). Version 7.93 loses the end of what it was sent when the client ends its
/// side, and long streams may stop.
pub(super) fn ncat(address: SocketAddr) -> Command {
    let (host, port) = (address.ip(), address.port());
    // Not as the first process itself, which gets the ends of others' children, too: of these it counts too many.
    let options = format!("--listen --keep-open --max-conns {CONNECTIONS} --exec /bin/cat");
    with_descendants(&["sh", "-c", &format!("ncat {options} {host} {port}; exit")])
}

pub(super) fn inetd_obstacle() -> Option<String> {
    missing(&["busybox"]).or_else(|| {
        let list = Command::new("busybox").arg("--list").output();
        let has_inetd =
            list.is_ok_and(|list| list.stdout.split(|byte| *byte == b'\n').any(|name| name == b"inetd"));
        (!has_inetd).then(|| "this busybox has no inetd".to_string())
    })
}

/// A process for each connection. Its own echo is for port 7 only, so it is cat that echoes.
pub(super) fn inetd(address: SocketAddr) -> Command {
    let service = format!("{}:{} stream tcp nowait root /bin/cat cat", address.ip(), address.port());
    // It reads its services from a file.
    let script = format!("exec busybox inetd -f -q {BACKLOG} /dev/stdin <<END\n{service}\nEND");
    with_descendants(&["sh", "-c", &script])
}

/// `command` as the first process of a PID namespace, so that it and all that it starts is killed with the one
/// that is started here.
fn with_descendants(command: &[&str]) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--kill-child"]).args(command);
    unshare
}

/// Which of `programs`, and of what all need, is not installed.
fn missing(programs: &[&str]) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_installed =
        |program: &&&str| env::split_paths(&path).any(|directory| directory.join(program).is_file());
    let missing = ["unshare"].iter().chain(programs).find(|program| !is_installed(program))?;
    Some(format!("{missing} is not installed"))
}
