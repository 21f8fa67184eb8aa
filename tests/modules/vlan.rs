//! Hosts that speak on a VLAN, and an echo below it.

use super::support::bpfecho::Bpfecho;
use super::support::network::{Host, await_up, server};
use super::support::{datagram, rtnetlink, stream};

/// Only the program answers there: the server's own VLAN interface has the addresses and finds neighbours, but nothing
/// serves the port.
pub(crate) fn echo() {
    let server = server();
    for (host, below, name, addresses) in [
        (&Host::here(), "va", "va.7", ["10.8.0.1/16", "fd00:8::1/64"]),
        (&server, "vb", "vb.7", ["10.8.0.2/16", "fd00:8::2/64"]),
    ] {
        host.run(|| {
            rtnetlink::add_vlan(name, below, 7);
            rtnetlink::set_up(name);
            addresses.into_iter().for_each(|address| rtnetlink::add_address(name, address));
        });
        await_up(host, name);
    }
    let bpfecho = server.run(|| Bpfecho::start("10.8.0.2 fd00:8::2 1122 --ifname vb"));
    for address in ["10.8.0.2:1122", "[fd00:8::2]:1122"] {
        stream::exchange(&stream::connect(address), 4 << 20, 1 << 16);
        datagram::of_length(address, 1000, 1);
        datagram::of_length(address, 10_000, 1);
    }
    let end = bpfecho.end();
    assert_eq!(end.count("handshake"), 2, "{}", end.stderr);
}
