//! The command line: what was typed, and what it means.

pub mod description;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use argh::{ArgsInfo, EarlyExit, FromArgs};

use crate::attach::Plan;
use crate::attach::hook::{Hook, Neighbour};
use crate::port_set::Ports;
use crate::prefix::{Prefix, PrefixError};
use crate::protocols::Protocols;
use crate::voice::Voice;

/// The port without one given, as the predecessor has it.
const DEFAULT_PORT: u16 = 12345;

/// The interface without one given.
const LOOPBACK: &str = "lo";

/// TCP, UDP and ping echo server inside the Linux kernel: what is sent to the given addresses and ports comes
/// back.
#[derive(FromArgs, ArgsInfo)]
struct Arguments {
    /// addresses to echo on, also as prefixes like 10.9.0.0/16 (127.0.0.1), then ports, also as a list like
    /// 7,2000-2999 (12345)
    #[argh(positional, arg_name = "address-or-port")]
    words: Vec<String>,

    /// IPv4 address or prefix to echo on; "" for none (127.0.0.1, unless addresses or virtual hosts are
    /// given)
    #[argh(option, arg_name = "address")]
    ipv4: Option<String>,

    /// IPv6 address or prefix to echo on; "" for none (none)
    #[argh(option, arg_name = "address")]
    ipv6: Option<String>,

    /// port, or list of ports and ranges (12345)
    #[argh(option, arg_name = "ports")]
    port: Option<String>,

    /// interface to echo on; may be repeated (lo)
    #[argh(option, arg_name = "interface")]
    ifname: Vec<String>,

    /// what to echo: a list of tcp, udp and icmp, which is ping (tcp,udp)
    #[argh(option, arg_name = "list", default = "Protocols::default()")]
    protocol: Protocols,

    /// addresses and prefixes to answer, and no others; not asked on loopback; may be repeated (everybody)
    #[argh(option, arg_name = "prefixes")]
    allow: Vec<String>,

    /// addresses and prefixes to echo on that need not be this host's: it answers for them on Ethernet; may
    /// be repeated (none)
    #[argh(option, arg_name = "prefixes")]
    virtual_hosts: Vec<String>,

    /// echo also where something serves the port already
    #[argh(switch)]
    force: bool,

    /// which hook takes the packets: auto (tcx, or clsact before Linux 6.6), tcx, clsact, xdp or xdp-generic
    /// (auto)
    #[argh(option, arg_name = "hook", default = "Hook::default()")]
    hook: Hook,

    /// on tcx, the place before the program with this id, or before `all` (all)
    #[argh(option, arg_name = "program")]
    before: Option<Neighbour>,

    /// on tcx, the place behind the program with this id, or behind `all`
    #[argh(option, arg_name = "program")]
    after: Option<Neighbour>,

    /// leave it echoing without a process
    #[argh(switch)]
    background: bool,

    /// wait for interfaces that are not there yet
    #[argh(switch)]
    wait: bool,

    /// say whether all of this would work, and what to do if not; changes nothing
    #[argh(switch)]
    check: bool,

    /// list what of bpfecho is attached, and what it has counted, on --ifname (everywhere)
    #[argh(switch)]
    status: bool,

    /// end what --status lists, on --ifname (lo) or with --all
    #[argh(switch)]
    stop: bool,

    /// with --stop: on all interfaces
    #[argh(switch)]
    all: bool,

    /// say on standard output what happens, each so many seconds; a number right behind is that (1)
    #[argh(option, arg_name = "seconds")]
    stats: Option<Interval>,

    /// say everything in JSON, on standard output, an object a line
    #[argh(switch)]
    json: bool,

    /// say nothing but errors
    #[argh(switch, short = 'q')]
    quiet: bool,

    /// say more: the program's numbers, and the whole log if the kernel rejects it
    #[argh(switch, short = 'v')]
    verbose: bool,

    /// print the version
    #[argh(switch)]
    version: bool,
}

/// What is to be echoed, where, and how much is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The addresses, IPv4 first; at least one, or a virtual host.
    pub served: Vec<Prefix>,
    /// The addresses that need not exist on this host, IPv4 first; none of `served`.
    pub virtual_hosts: Vec<Prefix>,
    /// Whom to answer, IPv4 first; everybody if it is empty.
    pub allow: Vec<Prefix>,
    /// The ports; at least one.
    pub ports: Ports,
    /// What is echoed there.
    pub protocols: Protocols,
    /// The names of the interfaces as they were given; at least one, each once.
    pub interfaces: Vec<String>,
    /// Whether a port that is in use is taken all the same.
    pub force: bool,
    /// How the programs are attached.
    pub plan: Plan,
    /// Whether to wait for interfaces that are not there yet.
    pub wait: bool,
    /// How often to say what happens.
    pub stats: Option<Duration>,
    /// How everything is said.
    pub voice: Voice,
}

/// The interfaces that a command looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Their names, each once; all interfaces if there is none.
    pub interfaces: Vec<String>,
    /// How everything is said.
    pub voice: Voice,
}

/// How much is said on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors.
    Quiet,
    /// Also the ready line and the summary.
    Normal,
    /// Also numbers and logs.
    Verbose,
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// To echo.
    Echo(Request),
    /// To say whether that would work.
    Check(Request),
    /// To list what is attached.
    Status(Selection),
    /// To end what is attached.
    Stop(Selection),
    /// To print this text and be done: help or version.
    Print(String),
}

/// Why a command line makes no sense. `Display` gives the reason and, below it, the usage.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n\n{}", self.0, help().trim_end())
    }
}

impl std::error::Error for UsageError {}

impl UsageError {
    /// The reason alone, for who does not read the usage.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

/// Reads the arguments behind the program's name.
///
/// # Errors
///
/// [`UsageError`] for what is not understood, contradicts itself, or leaves nothing to echo.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, UsageError> {
    let arguments = arguments
        .map(|argument| {
            let text = argument.into_string();
            text.map_err(|bytes| UsageError(format!("the argument {bytes:?} is not UTF-8")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let words = with_interval(arguments.iter().map(String::as_str));
    match Arguments::from_args(&["bpfecho"], &words) {
        Ok(Arguments { version: true, .. }) => {
            Ok(Command::Print(concat!("bpfecho ", env!("CARGO_PKG_VERSION"), "\n").into()))
        }
        Ok(arguments) => arguments.command().map_err(UsageError),
        Err(EarlyExit { output, status: Ok(()) }) => Ok(Command::Print(output)),
        Err(EarlyExit { output, status: Err(()) }) => {
            // Behind the reason argh puts an advice to ask for the help, which is shown anyway.
            let reason = output.lines().next().unwrap_or_default();
            Err(UsageError(reason.into()))
        }
    }
}

/// The option whose value may be left out.
const STATS: &str = "--stats";

/// The arguments with a value for each `--stats`, as the parser wants one: the number behind it, or one second.
fn with_interval<'a>(arguments: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut words = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix(STATS).and_then(|rest| rest.strip_prefix('=')) {
            Some(interval) => words.extend([STATS, interval]),
            None => words.push(argument),
        }
        if argument == STATS {
            words.push(arguments.next_if(|word| seconds(word).is_some()).unwrap_or("1"));
        }
    }
    words
}

/// A time between two looks at what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval(Duration);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = Duration::from_millis(100)..=Duration::from_secs(86400);
        let interval = seconds(text).filter(|interval| allowed.contains(interval));
        interval.map(Self).ok_or_else(|| format!("`{text}` is no number of seconds from 0.1 to 86400"))
    }
}

/// A decimal number of seconds such as `2` or `0.5`, to the nanosecond.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}");
    Some(Duration::new(whole.parse().ok()?, nanoseconds.get(..9)?.parse().ok()?))
}

fn help() -> String {
    match Arguments::from_args(&["bpfecho"], &["--help"]) {
        Err(EarlyExit { output, .. }) => output,
        Ok(_) => String::new(),
    }
}

impl Arguments {
    fn command(self) -> Result<Command, String> {
        let (check, status, stop) = (self.check, self.status, self.stop);
        if [check, status, stop].into_iter().filter(|wanted| *wanted).count() > 1 {
            return Err("--check, --status and --stop contradict each other".into());
        }
        if self.all && !stop {
            return Err("--all is for --stop".into());
        }
        if !status && !stop {
            return self.request().map(if check { Command::Check } else { Command::Echo });
        }
        if self.says_what_to_echo() {
            let which = if status { "--status" } else { "--stop" };
            return Err(format!("{which} takes interfaces only: it is for all that echoes there"));
        }
        let voice = self.voice()?;
        let all = self.all || status;
        let interfaces = self.interfaces();
        if self.all && !interfaces.is_empty() {
            return Err("--all and --ifname contradict each other".into());
        }
        let interfaces = if interfaces.is_empty() && !all { vec![LOOPBACK.into()] } else { interfaces };
        let selection = Selection { interfaces, voice };
        Ok(if status { Command::Status(selection) } else { Command::Stop(selection) })
    }

    /// Whether anything is given that is about an echo to come.
    fn says_what_to_echo(&self) -> bool {
        let Self {
            words, ipv4, ipv6, port, protocol, allow, virtual_hosts, hook, before, after, stats, ..
        } = self;
        let lists = [words, allow, virtual_hosts];
        let switches = [self.force, self.background, self.wait];
        let options = [ipv4, ipv6, port].into_iter().any(Option::is_some)
            || [before, after].into_iter().any(Option::is_some)
            || stats.is_some();
        let choices = *protocol != Protocols::default() || *hook != Hook::default();
        options || choices || switches.contains(&true) || lists.into_iter().any(|list| !list.is_empty())
    }

    /// The interfaces that are named, each once.
    fn interfaces(&self) -> Vec<String> {
        let mut interfaces: Vec<String> = Vec::new();
        for name in &self.ifname {
            if !interfaces.contains(name) {
                interfaces.push(name.clone());
            }
        }
        interfaces
    }

    fn voice(&self) -> Result<Voice, String> {
        let verbosity = match (self.quiet, self.verbose) {
            (true, true) => return Err("--quiet and --verbose contradict each other".into()),
            (true, false) => Verbosity::Quiet,
            (false, false) => Verbosity::Normal,
            (false, true) => Verbosity::Verbose,
        };
        Ok(Voice { verbosity, json: self.json })
    }

    fn plan(&self) -> Result<Plan, String> {
        let position = match (self.before, self.after) {
            (Some(_), Some(_)) => return Err("--before and --after contradict each other".into()),
            (Some(neighbour), None) => Some(neighbour.before()),
            (None, Some(neighbour)) => Some(neighbour.after()),
            (None, None) => None,
        };
        if self.hook == Hook::Clsact && (self.before.is_some() || self.after.is_some()) {
            return Err("--before and --after are for tcx, not for clsact".into());
        }
        if self.background && self.stats.is_some() {
            return Err("--stats needs a process, of which --background leaves none: see --status".into());
        }
        Ok(Plan { hook: self.hook, position, background: self.background })
    }

    fn request(self) -> Result<Request, String> {
        let (voice, plan) = (self.voice()?, self.plan()?);
        let mut interfaces = self.interfaces();
        if interfaces.is_empty() {
            interfaces.push(LOOPBACK.into());
        }
        let mut ipv4 = BTreeSet::new();
        let mut ipv6 = BTreeSet::new();
        let mut ports = Ports::default();
        for word in &self.words {
            if word.contains(['.', ':', '/']) {
                let prefix = parse_prefix(word)?;
                if prefix.address().is_ipv4() { &mut ipv4 } else { &mut ipv6 }.insert(prefix);
            } else {
                ports = ports.union(&word.parse()?);
            }
        }
        let virtual_hosts = parse_others("--virtual-hosts", &self.virtual_hosts)?;
        let allow = parse_others("--allow", &self.allow)?;
        // The flags keep their defaults as long as no address is given in the other way.
        let none_given = ipv4.is_empty() && ipv6.is_empty() && virtual_hosts.is_empty();
        let ipv4_default = none_given.then(|| IpAddr::V4(Ipv4Addr::LOCALHOST).into());
        let ipv4_flag = self.ipv4.as_deref().map(|word| parse_family(4, word)).transpose()?;
        let ipv6_flag = self.ipv6.as_deref().map(|word| parse_family(6, word)).transpose()?;
        let ports_flag = self.port.as_deref().map(str::parse).transpose()?;
        let given = |found: BTreeSet<Prefix>| (!found.is_empty()).then_some(found);
        let ipv4 = same_twice("IPv4 address", given(ipv4), ipv4_flag)?
            .unwrap_or_else(|| ipv4_default.into_iter().collect());
        let ipv6 = same_twice("IPv6 address", given(ipv6), ipv6_flag)?.unwrap_or_default();
        let ports = same_twice("port", (!ports.is_empty()).then_some(ports), ports_flag)?
            .unwrap_or_else(|| DEFAULT_PORT.into());

        let served: Vec<Prefix> = ipv4.into_iter().chain(ipv6).collect();
        if served.is_empty() && virtual_hosts.is_empty() {
            return Err("at least one of --ipv4 and --ipv6 has to be given".into());
        }
        for prefix in &served {
            check_hosts(prefix, "to echo on")?;
            if virtual_hosts.contains(prefix) {
                return Err(format!("{prefix} is given twice: as this host's, and with --virtual-hosts"));
            }
        }
        Ok(Request {
            served,
            virtual_hosts: virtual_hosts.into_iter().collect(),
            allow: allow.into_iter().collect(),
            ports,
            protocols: self.protocol,
            interfaces,
            force: self.force,
            plan,
            wait: self.wait,
            stats: self.stats.map(|Interval(interval)| interval),
            voice,
        })
    }
}

/// What is meant by values that were given by `position` and by `flag`: they must not contradict each other.
/// `None` if neither was given.
fn same_twice<T: PartialEq>(what: &str, position: Option<T>, flag: Option<T>) -> Result<Option<T>, String> {
    match (position, flag) {
        (Some(position), Some(flag)) if position != flag => {
            Err(format!("the {what} is given twice, by position and by flag, and not the same"))
        }
        (position, flag) => Ok(position.or(flag)),
    }
}

fn parse_prefix(word: &str) -> Result<Prefix, String> {
    word.parse().map_err(|error: PrefixError| error.to_string())
}

/// Reads the value of --ipv4 or --ipv6: an address or prefix of that family, or nothing.
fn parse_family(version: u8, word: &str) -> Result<BTreeSet<Prefix>, String> {
    if word.is_empty() {
        return Ok(BTreeSet::new());
    }
    match word.parse::<Prefix>() {
        Ok(prefix) if prefix.address().is_ipv4() == (version == 4) => Ok([prefix].into()),
        Err(error @ (PrefixError::Length { .. } | PrefixError::HostBits { .. })) => Err(error.to_string()),
        _ => Err(format!("`--ipv{version} {word}`: this is not an IPv{version} address")),
    }
}

/// Reads lists of addresses and prefixes of other hosts.
fn parse_others(flag: &str, lists: &[String]) -> Result<BTreeSet<Prefix>, String> {
    let words = lists.iter().flat_map(|list| list.split(','));
    words
        .map(|word| {
            let prefix = parse_prefix(word)?;
            check_hosts(&prefix, "of another host")?;
            if prefix.is_within_any(&Prefix::LOOPBACK) {
                return Err(format!("`{flag} {prefix}`: this is the host itself, no other"));
            }
            Ok(prefix)
        })
        .collect()
}

/// Rejects what is no address of a host. `purpose` says which addresses have to be named.
fn check_hosts(prefix: &Prefix, purpose: &str) -> Result<(), String> {
    let address = prefix.address();
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if !prefix.is_single() && prefix.is_within_any(&Prefix::NOBODY) {
        Err(format!("{prefix} holds no address of a host"))
    } else if prefix.is_single() && (address.is_unspecified() || address.is_multicast() || broadcast) {
        Err(format!("{address} is not the address of one host: name each address {purpose}"))
    } else {
        Ok(())
    }
}
