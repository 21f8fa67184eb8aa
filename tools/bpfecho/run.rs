//! One run, from the request to the end.

use std::fmt;

use loader::Errno;
use loader::tc::{Attachment, Interface, LinkKind, Netlink, NetlinkError};
use probe::abi::{COUNTERS, Counters};

use crate::arguments::{Request, Verbosity};
use crate::configuration::{Configuration, ConfigurationError, Host, configure, served};
use crate::echo::{Echo, EchoError};
use crate::multicast::{self, AllMulticast};
use crate::notify;
use crate::ports::{self, HoldError};
use crate::prefix::Prefix;
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
    /// What is asked for makes no sense on the interfaces.
    Configuration(ConfigurationError),
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
            Self::Configuration(error) => error.fmt(formatter),
            Self::Port(error) => error.fmt(formatter),
            Self::Echo(error) => error.fmt(formatter),
            Self::Netlink(error) => error.fmt(formatter),
            Self::Signal(error) => write!(formatter, "waiting for signals: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

impl From<ConfigurationError> for RunError {
    fn from(error: ConfigurationError) -> Self {
        Self::Configuration(error)
    }
}

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

/// Says what this run has to say, as far as the user wants to hear it.
#[derive(Clone, Copy)]
struct Voice(Verbosity);

impl Voice {
    fn say(self, text: &dyn fmt::Display) {
        if self.0 != Verbosity::Quiet {
            report::say(text);
        }
    }

    fn say_more(self, text: &dyn fmt::Display) {
        if self.0 == Verbosity::Verbose {
            report::say(text);
        }
    }
}

/// Echoes what `request` names until a signal ends it.
///
/// # Errors
///
/// [`RunError`]; what was attached is detached again.
pub fn run(request: &Request) -> Result<(), RunError> {
    let voice = Voice(request.verbosity);
    let signals = EndSignals::hold_back().map_err(RunError::Signal)?;
    let mut netlink = Netlink::open()?;
    let interfaces = find_interfaces(&mut netlink, &request.interfaces)?;
    let host = explore(&mut netlink, request)?;
    let configurations = configure(request, &interfaces, &host)?;

    // All that can fail without a trace comes before anything is attached.
    let served: Vec<Prefix> = served(request, &interfaces).collect();
    let indices: Vec<u32> = interfaces.iter().map(|interface| interface.index.0).collect();
    let hold = || ports::hold(&served, &request.ports, request.protocols, &indices);
    let held = (!request.force).then(hold).transpose()?;
    let echoes: Vec<Echo> =
        configurations.iter().map(|configuration| load(voice, configuration)).collect::<Result<_, _>>()?;

    // Virtual hosts are held by nothing that would tell that no other run is alive.
    let alone = held.as_ref().is_some_and(|held| held.complete) && request.virtual_hosts.is_empty();
    let mut attachments = Vec::new();
    let mut multicasts = Vec::new();
    for ((interface, configuration), echo) in interfaces.iter().zip(&configurations).zip(&echoes) {
        if alone {
            echo.remove_leftovers(interface.index)?;
        }
        let attachment = echo.attach(interface.index)?;
        tell(voice, interface, echo, &attachment);
        attachments.push(attachment);
        if multicast::is_needed(configuration.place, &request.virtual_hosts) {
            multicasts.extend(receive_multicast(voice, interface));
        }
    }
    warn(voice, request, &interfaces);
    voice.say(&report::ready_line(request, &interfaces));
    if let Err(error) = notify::ready() {
        voice.say(&format!("telling NOTIFY_SOCKET that all is ready: {error}"));
    }

    signals.wait().map_err(RunError::Signal)?;
    for multicast in multicasts {
        if let Err(error) = multicast.end() {
            voice.say(&format!("warning: {error}"));
        }
    }
    // Each is detached, whatever becomes of the others.
    let detached: Vec<_> = attachments.into_iter().map(Attachment::detach).collect();
    voice.say(&report::summary(&sum(&echoes)?));
    Ok(detached.into_iter().collect::<Result<(), _>>()?)
}

/// The interfaces called `names`, in this order.
fn find_interfaces(netlink: &mut Netlink, names: &[String]) -> Result<Vec<Interface>, RunError> {
    let all = netlink.interfaces()?;
    let find = |name: &String| {
        let found = all.iter().find(|interface| interface.name == *name).cloned();
        found.ok_or_else(|| RunError::NoInterface {
            name: name.clone(),
            names: all.iter().map(|interface| interface.name.clone()).collect(),
        })
    };
    names.iter().map(find).collect()
}

/// What has to be known of the host for `request`.
fn explore(netlink: &mut Netlink, request: &Request) -> Result<Host, NetlinkError> {
    let addresses = netlink.addresses()?;
    // Of a router in the Internet these are a million routes.
    let gateways = if request.virtual_hosts.is_empty() { Vec::new() } else { netlink.gateways()? };
    Ok(Host { addresses, gateways })
}

/// Says what the user may not have meant.
fn warn(voice: Voice, request: &Request, interfaces: &[Interface]) {
    for interface in interfaces {
        let name = &interface.name;
        if !interface.up {
            voice.say(&format!("`{name}` is down, nothing can be sent on it: ip link set {name} up"));
        }
        if interface.link != LinkKind::Loopback && request.allow.is_empty() {
            voice.say(&format!(
                "warning: whoever reaches `{name}` can use this server; --allow PREFIX limits it"
            ));
        }
    }
}

/// Loads the program for one interface; for who wants to hear everything, with the log of one that is
/// rejected.
fn load(voice: Voice, configuration: &Configuration) -> Result<Echo, EchoError> {
    let result = Echo::load(configuration, voice.0 == Verbosity::Verbose);
    if let Err(EchoError::Load(error)) = &result {
        voice.say_more(&format!("the verifier's log:\n{}\n(end of the log)", error.log()));
    }
    result
}

/// Says where a program is.
fn tell(voice: Voice, interface: &Interface, echo: &Echo, attachment: &Attachment) {
    if let (Ok(id), Some(filter)) = (echo.program().id(), attachment.filter()) {
        voice.say_more(&format!(
            "program {id} is filter {:#x} of priority {} on `{}`, for an MTU of {} bytes",
            filter.handle, filter.priority, interface.name, interface.mtu
        ));
    }
}

/// Lets neighbours ask for virtual hosts. Without that they may be found all the same, so it is no error.
fn receive_multicast(voice: Voice, interface: &Interface) -> Option<AllMulticast> {
    AllMulticast::begin(interface).unwrap_or_else(|error| {
        voice.say(&format!("warning: {error}: neighbours may not find IPv6 virtual hosts"));
        None
    })
}

/// What all of the programs have counted.
fn sum(echoes: &[Echo]) -> Result<Counters, EchoError> {
    let mut sums = [0; COUNTERS];
    for echo in echoes {
        for (sum, count) in sums.iter_mut().zip(echo.counters()?) {
            *sum += count;
        }
    }
    Ok(sums)
}
