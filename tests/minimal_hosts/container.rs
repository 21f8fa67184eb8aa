//! Containers, in which the command is the first process.

use std::process::{Command, Stdio};

use super::support::bpfecho::{Bpfecho, command, run};
use super::support::datagram::exchange;
use super::support::namespace::sh;
use super::support::tc;

/// The command as the first process of a container, in the caller's network.
fn contained(arguments: &str) -> Command {
    let mut container = Command::new("unshare");
    container.args(["--pid", "--fork"]).arg(command("").get_program());
    container.args(arguments.split(' ')).stdin(Stdio::null());
    container
}

/// There the machine is not its own: it ends as anywhere else, and brings up and switches off nothing.
pub(crate) fn first_process() {
    let bpfecho = Bpfecho::spawn(&mut contained("127.0.0.1 1122"));
    exchange("127.0.0.1:1122");
    run("--stop");
    let end = bpfecho.await_end();
    assert_eq!((end.status.code(), end.packets("UDP/IPv4")), (Some(0), 1), "{end:?}");
    sh("ip tuntap add tun7 mode tun");
    let bpfecho = Bpfecho::spawn(&mut contained("10.7.0.5 1122 --ifname tun7"));
    assert!(!tc::find("tun7").unwrap().up);
    run("--stop --ifname tun7");
    assert_eq!(bpfecho.await_end().status.code(), Some(0));
}
