//! One run, from the request to the end.

use std::fmt;
use std::io;

use loader::rtnetlink::{Interface, LinkKind, Monitor, Netlink, NetlinkError};
use loader::{Errno, Placeholder, Side, tcx_programs};
use probe::abi::{COUNTERS, Counters};
use serde_json::json;

use crate::arguments::{Request, Selection, Verbosity};
use crate::attach::hook::Hook;
use crate::attach::keeper::Keeper;
use crate::attach::traps::{Trap, traps};
use crate::attach::{AttachError, Attached, AttachedProgram, Plan, attach, inventory, pins, reserve};
use crate::configuration::{Configuration, ConfigurationError, Host, configure, served};
use crate::echo::{Echo, EchoError};
use crate::events::{Event, Events, WaitError};
use crate::init;
use crate::json;
use crate::multicast::{self, AllMulticast};
use crate::notify;
use crate::ports::{self, HeldPorts, HoldError};
use crate::prefix::Prefix;
use crate::privileges::{self, CAP_NET_ADMIN, CAP_SYS_BOOT};
use crate::report;
use crate::self_test::{self, SelfTestError};
use crate::stats::Stats;
use crate::sys::EndSignals;
use crate::voice::Voice;

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
    /// The loaded program does not do what it should.
    SelfTest(SelfTestError),
    /// Interfaces could not be listed.
    Netlink(NetlinkError),
    /// The first process of a machine is not to leave.
    OnlyProcess,
    /// An interface could not be brought up.
    Down {
        /// Its name.
        name: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The program could not be attached or detached.
    Attach(AttachError),
    /// It could not be said who keeps the program.
    Keeper(io::Error),
    /// Privileges could not be given up.
    Privileges(Errno),
    /// Signals and changes could not be waited for.
    Wait(WaitError),
    /// An interface has gone.
    Gone {
        /// Its name.
        name: String,
    },
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
            Self::SelfTest(error) => error.fmt(formatter),
            Self::Netlink(error) => error.fmt(formatter),
            Self::OnlyProcess => formatter.write_str(
                "--background leaves no process, and without its first one this machine would end",
            ),
            Self::Down { name, errno } => write!(formatter, "bringing `{name}` up: {errno}"),
            Self::Attach(error) => error.fmt(formatter),
            Self::Keeper(error) => write!(formatter, "telling others who keeps the program: {error}"),
            Self::Privileges(error) => write!(formatter, "giving up privileges: {error}"),
            Self::Wait(WaitError::Poll(error)) => write!(formatter, "waiting for signals: {error}"),
            Self::Wait(WaitError::Netlink(error)) => {
                write!(formatter, "waiting for changes of interfaces: {error}")
            }
            Self::Gone { name } => {
                write!(formatter, "`{name}` is gone, and the echo with it: --wait at the start waits for it")
            }
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

impl From<SelfTestError> for RunError {
    fn from(error: SelfTestError) -> Self {
        Self::SelfTest(error)
    }
}

impl From<AttachError> for RunError {
    fn from(error: AttachError) -> Self {
        Self::Attach(error)
    }
}

impl From<WaitError> for RunError {
    fn from(error: WaitError) -> Self {
        Self::Wait(error)
    }
}

/// Echoes what `request` names until a signal ends it, or leaves it echoing. On a machine of which it `is_init`, with
/// nobody else on it, it first does what is needed for that.
///
/// # Errors
///
/// [`RunError`]; what was attached is detached again.
pub fn run(request: &Request, is_init: bool) -> Result<(), RunError> {
    let voice = request.voice;
    if is_init {
        if request.plan.background {
            return Err(RunError::OnlyProcess);
        }
        init::load_modules(voice);
    }
    let signals = EndSignals::hold_back().map_err(|errno| RunError::Wait(WaitError::Poll(errno)))?;
    // Before the first look at the interfaces, so that no change is missed.
    let mut monitor = Monitor::open()?;
    let mut netlink = Netlink::open()?;
    let mut keeper = Keeper::default();
    let mut events = Events::new(&signals, &mut monitor, &keeper, None);
    let Some(mut interfaces) = await_interfaces(&mut netlink, &mut events, request)? else { return Ok(()) };
    if is_init {
        init::bring_up(&mut interfaces).map_err(|(name, errno)| RunError::Down { name, errno })?;
    }
    let host = explore(&mut netlink, request)?;
    let configurations = configure(request, &interfaces, &host)?;

    // All that can fail without a trace comes before anything is attached.
    let _held = (!request.force).then(|| hold_ports(request, &interfaces)).transpose()?;
    // Nor does this leave one: it goes with the process, and every packet passes.
    let reserved: Vec<Option<Placeholder>> = interfaces
        .iter()
        .zip(&configurations)
        .map(|(interface, configuration)| reserve(interface, configuration.place.side(), request.plan))
        .collect();
    let with_xdp = request.plan.hook.xdp().is_some();
    let echoes: Vec<Echo> = configurations
        .iter()
        .map(|configuration| load(voice, configuration, with_xdp))
        .collect::<Result<_, _>>()?;
    let plan = place_to_stay(voice, request.plan, &interfaces)?;
    if !plan.background {
        announce(&mut keeper, &echoes)?;
    }

    let attachments = interfaces
        .iter()
        .zip(&echoes)
        .zip(reserved)
        .map(|((interface, echo), reserved)| take_over(&mut netlink, interface, echo, plan, reserved))
        .collect::<Result<Vec<_>, _>>()?;
    let multicasts: Vec<AllMulticast> = interfaces
        .iter()
        .zip(&configurations)
        .filter(|(_, configuration)| multicast::is_needed(configuration.place, &request.virtual_hosts))
        .filter_map(|(interface, _)| receive_multicast(voice, interface))
        .collect();
    warn(request, &interfaces);
    let programs = attachments
        .iter()
        .zip(&echoes)
        .map(|(attached, echo)| attached.programs(echo))
        .collect::<Result<Vec<_>, _>>()?;
    if plan.background {
        leave(attachments, multicasts)?;
        tell(request, &interfaces, &programs);
        return Ok(());
    }
    attachments.iter().try_for_each(Attached::unpin)?;
    // What has to be taken away again by asking the kernel for it.
    let net_admin = attachments.iter().any(Attached::needs_net_admin) || !multicasts.is_empty();
    let needed = if net_admin { CAP_NET_ADMIN } else { 0 } | if is_init { CAP_SYS_BOOT } else { 0 };
    privileges::give_up(needed, || sum(&echoes).is_ok()).map_err(RunError::Privileges)?;
    tell(request, &interfaces, &programs);
    if let Err(error) = notify::ready() {
        voice.say(&format!("telling NOTIFY_SOCKET that all is ready: {error}"));
    }

    let mut events = Events::new(&signals, &mut monitor, &keeper, request.stats);
    let end = observe(&mut netlink, &mut events, request, &interfaces, &echoes);
    for multicast in multicasts {
        if let Err(error) = multicast.end() {
            voice.warn(&error);
        }
    }
    // Each is detached, whatever becomes of the others.
    let detached: Vec<_> = attachments.into_iter().map(Attached::detach).collect();
    let counters = sum(&echoes)?;
    voice.event("summary", &report::summary(&counters), json!({ "counters": json::counters(&counters) }));
    end?;
    Ok(detached.into_iter().collect::<Result<(), _>>()?)
}

/// Attaches the programs of `echo` in the place of those that echo the same on `interface` and that no process keeps.
fn take_over(
    netlink: &mut Netlink,
    interface: &Interface,
    echo: &Echo,
    plan: Plan,
    reserved: Option<Placeholder>,
) -> Result<Attached, RunError> {
    let mut leftovers = inventory::take(netlink, std::slice::from_ref(interface))?.found;
    leftovers.retain(|found| found.process.is_none() && found.endpoints.as_deref() == Some(echo.endpoints()));
    Ok(attach(netlink, interface, echo, plan, reserved, leftovers)?)
}

/// Has all stay when this process ends, or nothing.
fn leave(attachments: Vec<Attached>, multicasts: Vec<AllMulticast>) -> Result<(), AttachError> {
    if let Err(error) = attachments.iter().try_for_each(Attached::pin) {
        attachments.iter().try_for_each(Attached::unpin)?;
        return Err(error);
    }
    attachments.into_iter().for_each(Attached::leave);
    multicasts.into_iter().for_each(AllMulticast::leave);
    Ok(())
}

/// The interfaces that `request` names, in this order. If it waits for those that are not there yet, `None` if a signal
/// ends that.
fn await_interfaces(
    netlink: &mut Netlink,
    events: &mut Events<'_>,
    request: &Request,
) -> Result<Option<Vec<Interface>>, RunError> {
    let mut waits = false;
    loop {
        match find_interfaces(netlink, &request.interfaces) {
            Err(RunError::NoInterface { name, .. }) if request.wait => {
                if !waits {
                    request.voice.say(&format!("waiting for the interface `{name}`"));
                    waits = true;
                }
            }
            result => return result.map(Some),
        }
        if events.wait()? == Event::End {
            return Ok(None);
        }
    }
}

/// The interfaces called `names`, in this order.
///
/// # Errors
///
/// [`RunError::NoInterface`] or [`RunError::Netlink`].
pub fn find_interfaces(netlink: &mut Netlink, names: &[String]) -> Result<Vec<Interface>, RunError> {
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

/// The interfaces that `selection` names.
///
/// # Errors
///
/// See [`find_interfaces`].
pub fn select_interfaces(netlink: &mut Netlink, selection: &Selection) -> Result<Vec<Interface>, RunError> {
    match selection.interfaces.as_slice() {
        [] => Ok(netlink.interfaces()?),
        names => find_interfaces(netlink, names),
    }
}

/// Holds the ports of `request` on the addresses that it serves on `interfaces`.
///
/// # Errors
///
/// [`HoldError`].
pub fn hold_ports(request: &Request, interfaces: &[Interface]) -> Result<HeldPorts, HoldError> {
    let served: Vec<Prefix> = served(request, interfaces).collect();
    let indices: Vec<u32> = interfaces.iter().map(|interface| interface.index.0).collect();
    ports::hold(&served, &request.ports, request.protocols, &indices)
}

/// What has to be known of the host for `request`.
///
/// # Errors
///
/// Any [`NetlinkError`].
pub fn explore(netlink: &mut Netlink, request: &Request) -> Result<Host, NetlinkError> {
    let addresses = netlink.addresses()?;
    // Of a router in the Internet these are a million routes.
    let gateways = if request.virtual_hosts.is_empty() { Vec::new() } else { netlink.gateways()? };
    Ok(Host { addresses, gateways })
}

/// Loads the programs for one interface and tries them out; for who wants to hear everything, with the log of one that
/// is rejected.
fn load(voice: Voice, configuration: &Configuration, with_xdp: bool) -> Result<Echo, RunError> {
    let result = Echo::load(configuration, with_xdp, voice.verbosity == Verbosity::Verbose);
    if let Err(EchoError::Load(error)) = &result {
        voice.say_more(&format!("the verifier's log:\n{}\n(end of the log)", error.log()));
    }
    let echo = result?;
    self_test::run(&echo, configuration)?;
    Ok(echo)
}

/// `plan`, with a hook by which programs can stay without a process, if they are to. Links need a bpf filesystem for that;
/// where there is none, clsact does without.
fn place_to_stay(voice: Voice, plan: Plan, interfaces: &[Interface]) -> Result<Plan, AttachError> {
    let has_tcx = || interfaces.iter().any(|interface| tcx_programs(interface.index, Side::Ingress).is_ok());
    let needs_pins = || match plan.hook {
        Hook::Clsact => false,
        Hook::Auto => has_tcx(),
        Hook::Tcx | Hook::Xdp | Hook::XdpGeneric => true,
    };
    if !plan.background || !needs_pins() {
        return Ok(plan);
    }
    match pins::prepare() {
        Ok(false) => Ok(plan),
        Ok(true) => {
            voice.say(&"mounted a bpf filesystem at /sys/fs/bpf, where the programs are kept");
            Ok(plan)
        }
        Err(error) if plan.hook == Hook::Auto => {
            voice.say(&format!("taking clsact instead of tcx: {error}"));
            Ok(Plan { hook: Hook::Clsact, ..plan })
        }
        Err(error) => Err(error.into()),
    }
}

/// Tells whoever asks that this process keeps the programs.
fn announce(keeper: &mut Keeper, echoes: &[Echo]) -> Result<(), RunError> {
    for program in echoes.iter().flat_map(|echo| [Some(echo.program()), echo.xdp()]).flatten() {
        let id = program.id().map_err(|error| RunError::Attach(error.into()))?;
        keeper.announce(id).map_err(RunError::Keeper)?;
    }
    Ok(())
}

/// Says what the user may not have meant.
fn warn(request: &Request, interfaces: &[Interface]) {
    let voice = request.voice;
    for interface in interfaces {
        let name = &interface.name;
        if !interface.up {
            voice.say(&format!("`{name}` is down, nothing can be sent on it: ip link set {name} up"));
        }
        if interface.link != LinkKind::Loopback && request.allow.is_empty() {
            voice.warn(&format!("whoever reaches `{name}` can use this server; --allow PREFIX limits it"));
        }
        for Trap { text, remedy } in
            request.plan.hook.xdp().map(|mode| traps(interface, mode)).unwrap_or_default()
        {
            voice.warn(&format!("{text}: {remedy}"));
        }
    }
}

/// Says that all is ready, and where the programs are.
fn tell(request: &Request, interfaces: &[Interface], programs: &[Vec<AttachedProgram>]) {
    let voice = request.voice;
    let mut hooks = Vec::new();
    let mut objects = Vec::new();
    for (interface, programs) in interfaces.iter().zip(programs) {
        let names: Vec<&str> = programs.iter().map(|program| program.hook.as_str()).collect();
        hooks.push((interface.name.clone(), names.join(" and ")));
        for program in programs {
            objects.push(json::program(&interface.name, interface.index.0, program));
            if !voice.json {
                voice.say_more(&format!(
                    "program {} is {} on `{}`, {}, for an MTU of {} bytes",
                    program.program_id, program.holder, interface.name, program.hook, interface.mtu
                ));
            }
        }
    }
    let line = report::ready_line(request, interfaces, &hooks);
    let in_words =
        |prefixes: &[Prefix]| -> Vec<String> { prefixes.iter().map(ToString::to_string).collect() };
    let fields = json!({
        "programs": objects,
        "addresses": in_words(&request.served),
        "virtual_hosts": in_words(&request.virtual_hosts),
        "ports": request.ports.compact(),
        "protocols": request.protocols.compact(),
        "background": request.plan.background,
    });
    let rest = if request.plan.background { ", without a process: bpfecho --stop ends it" } else { "" };
    voice.event("ready", &format!("{line}{rest}"), fields);
}

/// Says what happens until a signal ends it.
fn observe(
    netlink: &mut Netlink,
    events: &mut Events<'_>,
    request: &Request,
    interfaces: &[Interface],
    echoes: &[Echo],
) -> Result<(), RunError> {
    let mut stats = Stats::new(request.voice.json);
    loop {
        match events.wait()? {
            Event::End => {
                stats.end();
                return Ok(());
            }
            Event::Tick => stats.say(&sum(echoes)?),
            Event::Interfaces => {
                let all = netlink.interfaces()?;
                let is_there = |one: &Interface| all.iter().any(|other| other.index == one.index);
                if let Some(gone) = interfaces.iter().find(|one| !is_there(one)) {
                    stats.end();
                    return Err(RunError::Gone { name: gone.name.clone() });
                }
            }
        }
    }
}

/// Lets neighbours ask for virtual hosts. Without that they may be found all the same, so it is no error.
fn receive_multicast(voice: Voice, interface: &Interface) -> Option<AllMulticast> {
    AllMulticast::begin(interface).unwrap_or_else(|error| {
        voice.warn(&format!("{error}: neighbours may not find IPv6 virtual hosts"));
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
