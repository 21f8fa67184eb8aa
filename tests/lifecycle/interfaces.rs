//! Interfaces that go, and interfaces that come.

use super::support::bpfecho::{Bpfecho, command};
use super::support::datagram::exchange;
use super::support::namespace::sh;
use super::support::network::{End, Host, V4, V6, join};
use super::support::tc;

pub(crate) fn gone() {
    for hook in tc::HOOKS {
        sh("ip link add v0 type veth peer name v1");
        let bpfecho = Bpfecho::start(&format!(
            "10.7.0.5 127.0.0.1 1122 --ifname lo --ifname v0 --allow 10.7.0.0/24 --hook {hook}"
        ));
        exchange("127.0.0.1:1122");
        // One that it has nothing to do with.
        sh("ip link add v2 type veth peer name v3 && ip link del v2");
        exchange("127.0.0.1:1122");
        sh("ip link del v0");
        let end = bpfecho.await_end();
        assert_eq!(end.status.code(), Some(1));
        assert_eq!(
            end.stderr,
            "bpfecho: echoed UDP/IPv4 2 packets, 12 bytes\n\
             bpfecho: `v0` is gone, and the echo with it: --wait at the start waits for it\n"
        );
        assert_eq!((tc::ours(), tc::has_clsact()), (vec![], false));
    }
}

pub(crate) fn awaited() {
    let arguments = "10.9.0.2 fd00:9::2 1122 --ifname vb --wait";
    let waiting = || Bpfecho::spawn_until(&mut command(arguments), "bpfecho: waiting for the interface `vb`");
    let end = waiting().end();
    assert_eq!((end.status.code(), end.stderr.as_str()), (Some(0), ""));

    let server = Host::new();
    let mut bpfecho = server.run(waiting);
    join(
        End(&Host::here(), "va", &["10.9.0.1/16", "fd00:9::1/64"]),
        End(&server, "vb", &["10.9.0.2/16", "fd00:9::2/64"]),
    );
    bpfecho.await_line("echoing");
    assert!(bpfecho.ready.ends_with("port 1122 (vb, tcx ingress)"), "{}", bpfecho.ready);
    exchange(V4);
    exchange(V6);
    let end = bpfecho.end();
    assert_eq!((end.packets("UDP/IPv4"), end.packets("UDP/IPv6"), end.status.code()), (1, 1, Some(0)));
}
