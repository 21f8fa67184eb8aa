//! What is between clients and the echo.

use super::support::bpfecho::Bpfecho;
use super::support::network::{self, Host, server};

/// Between the clients, which are where the test is, and the echo.
pub(crate) enum Line {
    /// Both are on one host.
    Loopback,
    /// The echo is on another host, on its interface `vb`.
    Cable(Host),
}

impl Line {
    /// A new cable.
    pub(crate) fn cable() -> Self {
        Self::Cable(server())
    }

    /// Where the echo is to be found, over IPv4 and over IPv6.
    pub(crate) fn addresses(&self) -> [&'static str; 2] {
        match self {
            Self::Loopback => ["127.0.0.1:1122", "[::1]:1122"],
            Self::Cable(_) => [network::V4, network::V6],
        }
    }

    /// The interface on which the echo is.
    pub(crate) fn interface(&self) -> &'static str {
        match self {
            Self::Loopback => "lo",
            Self::Cable(_) => "vb",
        }
    }

    /// On which side of it.
    pub(crate) fn side(&self) -> &'static str {
        match self {
            Self::Loopback => "egress",
            Self::Cable(_) => "ingress",
        }
    }

    /// What the command is told for an echo on both addresses.
    pub(crate) fn arguments(&self) -> &'static str {
        match self {
            Self::Loopback => "127.0.0.1 ::1 1122",
            Self::Cable(_) => "10.9.0.2 fd00:9::2 1122 --ifname vb --allow 10.9.0.0/16,fd00:9::/64",
        }
    }

    /// Runs `body` where the echo is.
    pub(crate) fn run<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::Loopback => body(),
            Self::Cable(server) => server.run(body),
        }
    }

    /// Starts an echo with some more options.
    pub(crate) fn start(&self, options: &str) -> Bpfecho {
        self.run(|| Bpfecho::start(&format!("{} {options}", self.arguments())))
    }
}
