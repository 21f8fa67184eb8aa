//! Where programs are attached.

use core::fmt;

/// The number of a network interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfIndex(pub u32);

/// Which way packets go when a program sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// From the interface into the host.
    Ingress,
    /// From the host out of the interface.
    Egress,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// Who runs an XDP program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum XdpMode {
    /// The driver of the interface, before there is a socket buffer.
    Native,
    /// The kernel, for any driver.
    Generic,
}

impl XdpMode {
    /// How it is asked for: XDP_FLAGS_SKB_MODE or XDP_FLAGS_DRV_MODE (linux/if_link.h).
    pub(crate) fn flag(self) -> u32 {
        match self {
            Self::Native => 1 << 2,
            Self::Generic => 1 << 1,
        }
    }
}

impl fmt::Display for XdpMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}
