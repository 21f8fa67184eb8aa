//! One run, from the request to the end.

use std::fmt;

use loader::Errno;
use loader::tc::{Interface, Netlink, NetlinkError};

use crate::arguments::{Request, Verbosity};
use crate::echo::{Echo, EchoError};
use crate::notify;
use crate::ports::{self, HoldError};
use crate::report;
use crate::sys::EndSignals;

/// Why a run could not begin, or ended other than by a signal.
#[derive(Debug)]
pub enum RunError {
    /// No interface has the name.
    NoInterface {
        /// The name.
        name: String,
        /// The names there are.
        names: Vec<String>,
    },
    /// The interface is not a loopback interface.
    NotLoopback(String),
    /// A port is in use.
    Port(HoldError),
    /// The program could not be loaded or read out.
    Echo(EchoError),
    /// Interfaces could not be listed, or the program could not be attached or detached.
    Netlink(NetlinkError),
    /// Signals could not be waited for.
    Signal(Errno),
}

impl fmt::Display for RunError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface { name, names } => {
                write!(formatter, "no interface is called `{name}`: there are {}", names.join(", "))
            }
            Self::NotLoopback(name) => write!(
                formatter,
                "`{name}` is not a loopback interface: this version echoes on loopback only, as `--ifname lo`"
            ),
            Self::Port(error) => error.fmt(formatter),
            Self::Echo(error) => error.fmt(formatter),
            Self::Netlink(error) => error.fmt(formatter),
            Self::Signal(error) => write!(formatter, "waiting for signals: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

impl From<HoldError> for RunError {
    fn from(error: HoldError) -> Self {
        Self::Port(error)
    }
}

impl From<EchoError> for RunError {
    fn from(error: EchoError) -> Self {
        Self::Echo(error)
    }
}

impl From<NetlinkError> for RunError {
    fn from(error: NetlinkError) -> Self {
        Self::Netlink(error)
    }
}

/// Echoes what `request` names until a signal ends it.
///
/// # Errors
///
/// [`RunError`]; what was attached is detached again.
pub fn run(request: &Request) -> Result<(), RunError> {
    let say = |level: Verbosity, text: &dyn fmt::Display| {
        let wanted = match level {
            Verbosity::Quiet => true,
            Verbosity::Normal => request.verbosity != Verbosity::Quiet,
            Verbosity::Verbose => request.verbosity == Verbosity::Verbose,
        };
        if wanted {
            report::say(text);
        }
    };
    let signals = EndSignals::hold_back().map_err(RunError::Signal)?;
    let interface = find_interface(&request.interface)?;
    if !interface.loopback {
        return Err(RunError::NotLoopback(interface.name));
    }
    if !interface.up {
        let name = &interface.name;
        say(
            Verbosity::Normal,
            &format!("`{name}` is down, nothing can be sent on it: ip link set {name} up"),
        );
    }
    let held = if request.force {
        None
    } else {
        Some(ports::hold(&request.addresses, &request.ports, interface.index.0)?)
    };
    let verbose = request.verbosity == Verbosity::Verbose;
    let echo = match Echo::load(&request.addresses, &request.ports, interface.mtu, verbose) {
        Err(EchoError::Load(error)) if verbose => {
            report::say(&format!("the verifier's log:\n{}\n(end of the log)", error.log()));
            return Err(EchoError::Load(error).into());
        }
        result => result?,
    };
    if held.as_ref().is_some_and(|held| held.complete) {
        echo.remove_leftovers(interface.index)?;
    }
    let attachment = echo.attach(&interface)?;
    if let (Ok(id), Some(filter)) = (echo.program().id(), attachment.filter()) {
        let (priority, handle) = (filter.priority, filter.handle);
        say(
            Verbosity::Verbose,
            &format!(
                "program {id} is filter {handle:#x} of priority {priority}, for an MTU of {} bytes",
                interface.mtu
            ),
        );
    }
    say(Verbosity::Normal, &report::ready_line(request));
    if let Err(error) = notify::ready() {
        say(Verbosity::Normal, &format!("telling NOTIFY_SOCKET that all is ready: {error}"));
    }

    signals.wait().map_err(RunError::Signal)?;
    let detached = attachment.detach();
    say(Verbosity::Normal, &report::summary(&echo.counters()?));
    Ok(detached?)
}

/// The interface called `name`.
fn find_interface(name: &str) -> Result<Interface, RunError> {
    let mut interfaces = Netlink::open()?.interfaces()?;
    match interfaces.iter().position(|interface| interface.name == name) {
        Some(index) => Ok(interfaces.swap_remove(index)),
        None => Err(RunError::NoInterface {
            name: name.into(),
            names: interfaces.into_iter().map(|interface| interface.name).collect(),
        }),
    }
}
