//! Paths with routers, of other sizes than 1500 bytes, and that lose packets.

use std::thread;

use super::start;
use super::support::bpfecho::Bpfecho;
use super::support::namespace::{counter, sh};
use super::support::network::{End, Host, V4, V6, await_up, join, offloads_off, server};
use super::support::{datagram, stream, sys};

/// The server behind a router.
const BEHIND_ROUTER: [&str; 2] = ["10.8.0.2:1122", "[fd00:8::2]:1122"];

/// A router between the caller, on its interface `ra`, and the server, on `rb`.
struct Routed {
    router: Host,
    server: Host,
}

impl Routed {
    fn new() -> Self {
        let (here, router, server) = (Host::here(), Host::new(), Host::new());
        router.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        // A router asks for its neighbours from a link-local address.
        join(
            End(&here, "va", &["10.9.0.1/24", "fd00:9::1/64"]),
            End(&router, "ra", &["10.9.0.9/24", "fd00:9::9/64", "fe80::9/64"]),
        );
        join(
            End(&server, "vb", &["10.8.0.2/24", "fd00:8::2/64"]),
            End(&router, "rb", &["10.8.0.9/24", "fd00:8::9/64", "fe80::9/64"]),
        );
        sh("ip route add default via 10.9.0.9; ip route add default via fd00:9::9");
        server.sh("ip route add default via 10.8.0.9; ip route add default via fd00:8::9");
        Self { router, server }
    }

    /// Sets the size of packets of an interface.
    fn set_mtu(&self, host: &Host, name: &str, mtu: u32) {
        host.sh(&format!("ip link set {name} mtu {mtu}"));
        await_up(host, name);
    }

    fn start(&self) -> Bpfecho {
        self.server.run(|| Bpfecho::start("10.8.0.2 fd00:8::2 1122 --ifname vb"))
    }

    /// Streams and datagrams, after which no segment may be larger than 1280 bytes with its headers.
    fn exchange(&self) {
        for (remote, overhead) in BEHIND_ROUTER.into_iter().zip([52, 72]) {
            let client = stream::connect(remote);
            stream::exchange(&client, 64 << 20, 1 << 16);
            assert_eq!(sys::tcp_info(&client).tcpi_snd_mss, 1280 - overhead);
            // The first may be lost, until its sender knows how large a packet may be.
            for length in [1000, 1472, 1473, 9000, 60_000] {
                datagram::of_length(remote, length, 5);
            }
        }
        assert_eq!(counter("InCsumErrors"), 0);
    }
}

pub(crate) fn small_client_leg() {
    let routed = Routed::new();
    routed.set_mtu(&Host::here(), "va", 1280);
    routed.set_mtu(&routed.router, "ra", 1280);
    let _bpfecho = routed.start();
    routed.exchange();
}

pub(crate) fn small_server_leg() {
    let routed = Routed::new();
    routed.set_mtu(&routed.router, "rb", 1280);
    routed.set_mtu(&routed.server, "vb", 1280);
    let _bpfecho = routed.start();
    routed.exchange();
}

pub(crate) fn small_middle() {
    let routed = Routed::new();
    // The handshake promises 1500 bytes, so the client has to learn from the router.
    routed.set_mtu(&routed.router, "rb", 1280);
    let _bpfecho = routed.start();
    routed.exchange();
}

pub(crate) fn jumbo() {
    let server = server();
    for (host, name) in [(&Host::here(), "va"), (&server, "vb")] {
        host.sh(&format!("ip link set {name} mtu 9000"));
        await_up(host, name);
        offloads_off(host, name);
    }
    let _bpfecho = start(&server);
    for (remote, overhead) in [(V4, 52), (V6, 72)] {
        let client = stream::connect(remote);
        stream::exchange(&client, 256 << 20, 1 << 17);
        assert_eq!(sys::tcp_info(&client).tcpi_snd_mss, 9000 - overhead);
        for length in [8972, 8973, 60_000] {
            datagram::of_length(remote, length, 1);
        }
    }
}

/// The length of each of the streams that suffer loss.
const LOSSY_LENGTH: u64 = 8 << 20;

fn loss(remote: &str) {
    let routed = Routed::new();
    // One segment is one packet, or else some 40 segments were lost at once.
    offloads_off(&Host::here(), "va");
    offloads_off(&routed.router, "ra");
    offloads_off(&routed.router, "rb");
    offloads_off(&routed.server, "vb");
    let _bpfecho = routed.start();
    for iptables in ["iptables", "ip6tables"] {
        routed
            .router
            .sh(&format!("{iptables} -A FORWARD -m statistic --mode random --probability 0.05 -j DROP"));
    }
    // Loss is to be the only fault: two CPUs would also change the order.
    sys::stay_on_this_cpu();
    thread::scope(|scope| {
        for index in 0..8 {
            scope.spawn(move || {
                let client = stream::connect_with(remote, ["cubic", "bbr"][index % 2]);
                stream::exchange(&client, LOSSY_LENGTH, 1 << 16);
            });
        }
    });
    assert_ne!(counter("RetransSegs"), 0, "nothing was lost");
    assert_eq!(counter("PAWSEstab"), 0);
}

pub(crate) fn loss_v4() {
    loss(BEHIND_ROUTER[0]);
}

pub(crate) fn loss_v6() {
    loss(BEHIND_ROUTER[1]);
}
