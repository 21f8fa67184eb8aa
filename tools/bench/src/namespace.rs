//! Network namespaces.

use std::fs::{self, File};
use std::os::fd::AsFd;

use bpfecho::sys::{bring_up, enter_new_network};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The port that subjects serve.
pub(crate) const PORT: u16 = 1122;

/// What is set in each namespace (networking/ip-sysctl.rst of the kernel's documentation).
const SETTINGS: [(&str, &str); 5] = [
    // Tens of thousands of connections are open at once, all to one address and port.
    ("net/ipv4/ip_local_port_range", "1024 65535"),
    ("net/ipv4/ip_local_reserved_ports", "1122"),
    // A port in TIME-WAIT is used again after a second, as the timestamps of the new connection are later (RFC 6191).
    // Without that, a client that opens thousands of connections a second has used them all up long before the minute
    // of TIME-WAIT is over.
    ("net/ipv4/tcp_tw_reuse", "1"),
    // Servers ask for what they like. No connection is to wait for the repetition of its SYN.
    ("net/core/somaxconn", "65535"),
    ("net/ipv4/tcp_max_syn_backlog", "65535"),
];

/// A network of its own, in which `lo` is up. It exists as long as the value, or a process or a socket in it.
pub(crate) struct Namespace(File);

impl Namespace {
    /// A new one.
    pub(crate) fn new() -> Result<Self, String> {
        let outside = Self::here()?;
        enter_new_network().map_err(|error| format!("making a network namespace: {error}"))?;
        let new = Self::here().and_then(|new| {
            bring_up("lo").map_err(|error| format!("bringing lo up: {error}"))?;
            SETTINGS.iter().try_for_each(|(name, value)| set(name, value))?;
            Ok(new)
        });
        outside.enter()?;
        new
    }

    /// The one in which the caller is.
    pub(crate) fn here() -> Result<Self, String> {
        let path = "/proc/thread-self/ns/net";
        File::open(path).map(Self).map_err(|error| format!("opening {path}: {error}"))
    }

    /// Runs `body` in it. Sockets, threads and processes that are made there stay there.
    pub(crate) fn run<R>(&self, body: impl FnOnce() -> R) -> Result<R, String> {
        let outside = Self::here()?;
        self.enter()?;
        let result = body();
        outside.enter()?;
        Ok(result)
    }

    fn enter(&self) -> Result<(), String> {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| format!("entering a network namespace: {error}"))
    }
}

fn set(name: &str, value: &str) -> Result<(), String> {
    let path = format!("/proc/sys/{name}");
    fs::write(&path, value).map_err(|error| format!("writing {value} to {path}: {error}"))
}
