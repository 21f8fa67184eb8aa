//! More hosts than one, and the cables between them.
//!
//! A host is a network namespace without a name: it exists as long as somebody has it open, so that nothing
//! is left of it, however a test ends.

use std::fs::File;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use super::namespace::{self, sh};
use super::{rtnetlink, sys};

/// The addresses of the client and of the server on the usual cable.
pub(crate) const CLIENT: [&str; 2] = ["10.9.0.1", "fd00:9::1"];
/// See [`CLIENT`].
pub(crate) const SERVER: [&str; 2] = ["10.9.0.2", "fd00:9::2"];

/// Where most tests echo.
pub(crate) const V4: &str = "10.9.0.2:1122";
/// See [`V4`].
pub(crate) const V6: &str = "[fd00:9::2]:1122";

/// A host with a network of its own.
pub(crate) struct Host {
    namespace: File,
}

impl Host {
    /// A new host, of which nothing but `lo` exists.
    pub(crate) fn new() -> Self {
        let thread = thread::spawn(|| {
            namespace::enter_new();
            Self::here()
        });
        thread.join().unwrap()
    }

    /// The host on which the first process is.
    pub(crate) fn outermost() -> Self {
        Self { namespace: File::open("/proc/1/ns/net").unwrap() }
    }

    /// The host on which the caller is.
    pub(crate) fn here() -> Self {
        Self { namespace: File::open("/proc/thread-self/ns/net").unwrap() }
    }

    /// Runs `body` on this host. Its sockets and processes stay there.
    pub(crate) fn run<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                sys::enter_namespace(&self.namespace);
                body()
            });
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Runs a command that must succeed on this host. Returns what it prints.
    pub(crate) fn sh(&self, command: &str) -> String {
        self.run(|| sh(command))
    }
}

/// One end of a cable: on which host, what it is called there, and its addresses with prefix lengths.
pub(crate) struct End<'a>(pub(crate) &'a Host, pub(crate) &'a str, pub(crate) &'a [&'a str]);

/// Joins two hosts, and waits until packets can pass.
pub(crate) fn join(one: End, other: End) {
    one.0.run(|| rtnetlink::add_veth(one.1, other.1, &other.0.namespace));
    for End(host, name, addresses) in [&one, &other] {
        host.run(|| {
            rtnetlink::without_link_local(name);
            rtnetlink::set_up(name);
            addresses.iter().for_each(|address| rtnetlink::add_address(name, address));
        });
    }
    for End(host, name, _) in [one, other] {
        await_up(host, name);
    }
}

/// Waits until an interface has a carrier, and all of its addresses may be used.
pub(crate) fn await_up(host: &Host, name: &str) {
    await_that(&format!("{name} is up"), || host.run(|| rtnetlink::is_ready(name)));
}

/// Waits until `condition` holds, which the kernel or another process brings about.
pub(crate) fn await_that(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if condition() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("this never becomes true: {what}");
}

/// The usual network: the caller is the client with the interface `va`, and this is the server with `vb`.
pub(crate) fn server() -> Host {
    let server = Host::new();
    join(
        End(&Host::here(), "va", &["10.9.0.1/16", "fd00:9::1/64"]),
        End(&server, "vb", &["10.9.0.2/16", "fd00:9::2/64"]),
    );
    server
}

/// Has the interfaces of a host do everything in software that they would otherwise leave out on a veth: sum,
/// segment and gather.
pub(crate) fn offloads_off(host: &Host, name: &str) {
    let on = || -> Vec<String> {
        let features = host.sh(&format!("ethtool -k {name}"));
        let switchable = features.lines().filter(|line| !line.contains("[fixed]"));
        switchable.filter_map(|line| Some(line.trim().strip_suffix(": on")?.into())).collect()
    };
    let off: String = on().iter().map(|feature| format!(" {feature} off")).collect();
    host.sh(&format!("ethtool -K {name}{off}"));
    assert_eq!(on(), [""; 0], "{name} has offloads");
}

/// How many frames an interface has received.
pub(crate) fn received_frames(host: &Host, name: &str) -> u64 {
    let shown = host.sh(&format!("ip -statistics link show dev {name}"));
    let numbers = shown.lines().skip_while(|line| !line.contains("RX:")).nth(1).unwrap();
    numbers.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The MAC address of an interface.
pub(crate) fn mac(host: &Host, name: &str) -> String {
    let shown = host.sh(&format!("ip link show dev {name}"));
    shown.split_once("link/ether ").unwrap().1.split(' ').next().unwrap().into()
}
