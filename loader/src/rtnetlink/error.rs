//! What can go wrong with rtnetlink.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::string::String;

use crate::hint::{self, Failure};
use crate::place::{IfIndex, Side, XdpMode};
use crate::program::ProgramError;
use crate::sys::{Errno, Evidence};

/// What was asked of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum Action {
    ListInterfaces,
    ListAddresses,
    ListRoutes,
    RouteTo(IpAddr),
    ListRules,
    SetAllMulticast(IfIndex, bool),
    ListQdiscs(IfIndex),
    AddClsact(IfIndex),
    RemoveClsact(IfIndex),
    ListFilters(IfIndex, Side),
    AddFilter(IfIndex, Side),
    ReadFilter(IfIndex, Side),
    RemoveFilter(IfIndex, Side),
    AttachXdp(IfIndex, XdpMode),
    DetachXdp(IfIndex, XdpMode),
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, side, text) = match self {
            Self::ListInterfaces => return formatter.write_str("listing the interfaces"),
            Self::ListAddresses => return formatter.write_str("listing the addresses"),
            Self::ListRoutes => return formatter.write_str("listing the routes"),
            Self::RouteTo(address) => return write!(formatter, "asking for the route to {address}"),
            Self::ListRules => return formatter.write_str("listing the rules of nftables"),
            Self::SetAllMulticast(index, true) => (index, None, "switching all-multicast on"),
            Self::SetAllMulticast(index, false) => (index, None, "switching all-multicast off"),
            Self::AttachXdp(index, XdpMode::Native) => (index, None, "attaching a native XDP program"),
            Self::AttachXdp(index, XdpMode::Generic) => (index, None, "attaching a generic XDP program"),
            Self::DetachXdp(index, _) => (index, None, "detaching the XDP program"),
            Self::ListQdiscs(index) => (index, None, "listing the qdiscs"),
            Self::AddClsact(index) => (index, None, "adding a clsact qdisc"),
            Self::RemoveClsact(index) => (index, None, "removing the clsact qdisc"),
            Self::ListFilters(index, side) => (index, Some(side), "listing the filters"),
            Self::AddFilter(index, side) => (index, Some(side), "attaching a BPF filter"),
            Self::ReadFilter(index, side) => (index, Some(side), "reading a filter"),
            Self::RemoveFilter(index, side) => (index, Some(side), "removing a filter"),
        };
        write!(formatter, "interface {}", index.0)?;
        if let Some(side) = side {
            write!(formatter, " {side}")?;
        }
        write!(formatter, ": {text}")
    }
}

/// Why a request over rtnetlink failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // the message of each variant says what it and its fields mean
pub enum NetlinkError {
    /// The socket itself failed.
    Socket { operation: &'static str, errno: Errno },
    /// The kernel refused; `text` is its extended acknowledgement.
    Refused { action: Action, errno: Errno, text: Option<String>, hint: Option<Cow<'static, str>> },
    /// An answer makes no sense.
    Malformed { action: Action, reason: &'static str },
    /// The kernel's lists changed during each of several attempts to read them.
    Interrupted { action: Action },
    /// Another qdisc, of kind `ingress` mostly, is where clsact would go; it has no egress side.
    OtherQdisc { interface: IfIndex, kind: String },
    /// The name of a filter has a NUL or more than 255 bytes.
    FilterName { name: String },
    /// The program's id could not be read.
    Program(ProgramError),
}

impl NetlinkError {
    pub(super) fn socket(operation: &'static str, error: &io::Error) -> Self {
        Self::Socket { operation, errno: errno_of(error) }
    }

    pub(super) fn refused(action: Action, errno: Errno, text: Option<String>) -> Self {
        Self::refused_given(action, errno, text, Evidence::gather)
    }

    /// [`refused`](Self::refused) with the evidence for a hint.
    pub(super) fn refused_given(
        action: Action,
        errno: Errno,
        text: Option<String>,
        evidence: impl FnOnce() -> Evidence,
    ) -> Self {
        let failure = match action {
            Action::AddClsact(_) => Failure::NewClsact { text: text.as_deref() },
            Action::AddFilter(..) => Failure::NewBpfFilter { text: text.as_deref() },
            _ => Failure::Netlink,
        };
        let hint = hint::explain_from(failure, errno, evidence);
        Self::Refused { action, errno, text, hint }
    }

    /// The kernel's error number, where it gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Socket { errno, .. } | Self::Refused { errno, .. } => Some(*errno),
            Self::Program(error) => Some(error.errno()),
            _ => None,
        }
    }
}

pub(super) fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

impl From<ProgramError> for NetlinkError {
    fn from(error: ProgramError) -> Self {
        Self::Program(error)
    }
}

impl fmt::Display for NetlinkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { operation, errno } => write!(formatter, "netlink socket: {operation}: {errno}"),
            Self::Refused { action, errno, text, hint } => {
                write!(formatter, "{action}: {errno}")?;
                if let Some(text) = text {
                    write!(formatter, " {text:?}")?;
                }
                crate::map::write_hint(formatter, hint.as_deref())
            }
            Self::Malformed { action, reason } => write!(formatter, "{action}: broken answer: {reason}"),
            Self::Interrupted { action } => write!(formatter, "{action}: the list kept changing"),
            Self::OtherQdisc { interface, kind } => write!(
                formatter,
                "interface {}: adding a clsact qdisc: a qdisc of kind {kind:?} is in its place",
                interface.0
            ),
            Self::FilterName { name } => {
                write!(formatter, "filter {name:?}: a name has at most 255 bytes and no NUL")
            }
            Self::Program(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for NetlinkError {}
