//! The command line: what was typed, and what it means.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use argh::{EarlyExit, FromArgs};

use crate::port_set::Ports;
use crate::prefix::{Prefix, PrefixError};
use crate::protocols::Protocols;

/// The port without one given, as the predecessor has it.
const DEFAULT_PORT: u16 = 12345;

/// TCP, UDP and ping echo server inside the Linux kernel: what is sent to the given addresses and ports comes
/// back.
#[derive(FromArgs)]
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
    /// How much is said.
    pub verbosity: Verbosity,
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
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match Arguments::from_args(&["bpfecho"], &words) {
        Ok(Arguments { version: true, .. }) => {
            Ok(Command::Print(concat!("bpfecho ", env!("CARGO_PKG_VERSION"), "\n").into()))
        }
        Ok(arguments) => arguments.request().map(Command::Echo).map_err(UsageError),
        Err(EarlyExit { output, status: Ok(()) }) => Ok(Command::Print(output)),
        Err(EarlyExit { output, status: Err(()) }) => {
            // Behind the reason argh puts an advice to ask for the help, which is shown anyway.
            let reason = output.lines().next().unwrap_or_default();
            Err(UsageError(reason.into()))
        }
    }
}

fn help() -> String {
    match Arguments::from_args(&["bpfecho"], &["--help"]) {
        Err(EarlyExit { output, .. }) => output,
        Ok(_) => String::new(),
    }
}

impl Arguments {
    fn request(self) -> Result<Request, String> {
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
        let mut interfaces: Vec<String> = Vec::new();
        for name in self.ifname {
            if !interfaces.contains(&name) {
                interfaces.push(name);
            }
        }
        if interfaces.is_empty() {
            interfaces.push("lo".into());
        }
        let verbosity = match (self.quiet, self.verbose) {
            (true, true) => return Err("--quiet and --verbose contradict each other".into()),
            (true, false) => Verbosity::Quiet,
            (false, false) => Verbosity::Normal,
            (false, true) => Verbosity::Verbose,
        };
        Ok(Request {
            served,
            virtual_hosts: virtual_hosts.into_iter().collect(),
            allow: allow.into_iter().collect(),
            ports,
            protocols: self.protocol,
            interfaces,
            force: self.force,
            verbosity,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(line: &str) -> Request {
        match parse(line.split_whitespace().map(|word| word.trim_matches('"').into())) {
            Ok(Command::Echo(request)) => request,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn error(line: &str) -> String {
        match parse(line.split_whitespace().map(|word| word.trim_matches('"').into())) {
            Err(UsageError(reason)) => reason,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn said(request: &Request) -> String {
        let served: Vec<_> = request.served.iter().map(ToString::to_string).collect();
        format!("{} {}", served.join(" "), request.ports.compact())
    }

    #[test]
    fn each_way_of_saying_it_means_the_obvious() {
        for (line, meaning) in [
            ("", "127.0.0.1 12345"),
            ("1122", "127.0.0.1 1122"),
            ("127.0.0.1 1122", "127.0.0.1 1122"),
            ("127.0.0.1 ::1 1122", "127.0.0.1 ::1 1122"),
            ("::1 1122", "::1 1122"),
            ("::1", "::1 12345"),
            ("10.0.0.1 10.0.0.2 10.0.0.1 7,1122", "10.0.0.1 10.0.0.2 7,1122"),
            ("1122 7", "127.0.0.1 7,1122"),
            ("::ffff:127.0.0.2 7", "127.0.0.2 7"),
            ("--port 7", "127.0.0.1 7"),
            ("--ipv6 ::1", "127.0.0.1 ::1 12345"),
            ("--ipv4 \"\" --ipv6 ::1 --port 7", "::1 7"),
            ("--ipv4 10.0.0.1 ::1", "10.0.0.1 ::1 12345"),
            ("127.0.0.1 1122 --ipv4 127.0.0.1 --port 1122", "127.0.0.1 1122"),
            ("10.80.0.0/16 fd00::/64 7,2000-2999 8", "10.80.0.0/16 fd00::/64 7-8,2000-2999"),
            ("10.0.0.1/32 --ipv4 10.0.0.1", "10.0.0.1 12345"),
            ("::ffff:10.80.0.0/112", "10.80.0.0/16 12345"),
            ("--ipv4 10.80.0.0/16 --port 7,9-8000", "10.80.0.0/16 7,9-8000"),
            ("7-9 --port 9,7,8", "127.0.0.1 7-9"),
            ("--virtual-hosts 10.9.0.0/16", " 12345"),
            ("--virtual-hosts 10.9.0.0/16 --ipv4 10.0.0.5", "10.0.0.5 12345"),
        ] {
            assert_eq!(said(&echo(line)), meaning, "{line}");
        }
    }

    #[test]
    fn lists_that_may_be_repeated() {
        let prefixes = |prefixes: &[Prefix]| -> Vec<_> { prefixes.iter().map(ToString::to_string).collect() };
        let request = echo("--virtual-hosts fd00:9::/64,10.9.0.0/16 --virtual-hosts 10.8.0.1 --ifname eth0");
        assert_eq!(prefixes(&request.virtual_hosts), ["10.8.0.1", "10.9.0.0/16", "fd00:9::/64"]);
        assert_eq!(
            (request.allow.as_slice(), request.interfaces.as_slice()),
            (&[][..], &["eth0".into()][..])
        );
        let request =
            echo("7 --allow 10.0.0.0/8,::/0 --allow 10.0.0.0/8 --ifname lo --ifname eth0 --ifname lo");
        assert_eq!(prefixes(&request.allow), ["10.0.0.0/8", "::/0"]);
        assert_eq!(request.interfaces, ["lo", "eth0"]);
        let request = echo("");
        assert_eq!((request.interfaces, request.protocols), (vec!["lo".into()], Protocols::default()));
        assert_eq!(echo("--protocol icmp,tcp").protocols.compact(), "tcp,icmp");
    }

    #[test]
    fn contradictions_and_nonsense_are_named() {
        for (line, reason) in [
            ("1122 --port 7", "the port is given twice, by position and by flag, and not the same"),
            (
                "127.0.0.1 --ipv4 127.0.0.2",
                "the IPv4 address is given twice, by position and by flag, and not the same",
            ),
            (
                "127.0.0.1 --ipv4 \"\"",
                "the IPv4 address is given twice, by position and by flag, and not the same",
            ),
            ("::1 --ipv6 ::2", "the IPv6 address is given twice, by position and by flag, and not the same"),
            ("--ipv4 \"\"", "at least one of --ipv4 and --ipv6 has to be given"),
            ("127.0.0.256 7", "`127.0.0.256` is not an IP address"),
            ("::g 7", "`::g` is not an IP address"),
            ("--ipv4 ::1", "`--ipv4 ::1`: this is not an IPv4 address"),
            ("--ipv6 127.0.0.1", "`--ipv6 127.0.0.1`: this is not an IPv6 address"),
            ("0", "`0` is not a port: ports are numbers from 1 to 65535"),
            ("65536", "`65536` is not a port: ports are numbers from 1 to 65535"),
            ("7,,8", "`` is not a port: ports are numbers from 1 to 65535"),
            ("localhost", "`localhost` is not a port: ports are numbers from 1 to 65535"),
            ("0.0.0.0 7", "0.0.0.0 is not the address of one host: name each address to echo on"),
            ("ff02::1 7", "ff02::1 is not the address of one host: name each address to echo on"),
            ("10.9.0.1/16 7", "`10.9.0.1/16` has bits behind its length set: did you mean 10.9.0.0/16?"),
            ("--ipv4 fd00::/64", "`--ipv4 fd00::/64`: this is not an IPv4 address"),
            ("--ipv6 fd00::/130", "`fd00::/130`: the length of an IPv6 prefix is a number from 0 to 128"),
            ("7/8", "`7` is not an IP address"),
            ("9-7", "`9-7` holds no port: did you mean 7-9?"),
            ("7-8 --port 7", "the port is given twice, by position and by flag, and not the same"),
            ("224.0.0.0/4 7", "224.0.0.0/4 holds no address of a host"),
            ("0.0.0.0/9 7", "0.0.0.0/9 holds no address of a host"),
            ("--ipv6 ff02::/16", "ff02::/16 holds no address of a host"),
            ("--allow ff00::/8", "ff00::/8 holds no address of a host"),
            (
                "--allow 224.0.0.1",
                "224.0.0.1 is not the address of one host: name each address of another host",
            ),
            ("--allow 127.0.0.0/16", "`--allow 127.0.0.0/16`: this is the host itself, no other"),
            ("--virtual-hosts ::1", "`--virtual-hosts ::1`: this is the host itself, no other"),
            ("--virtual-hosts 10.9.0.0/16,", "`` is not an IP address"),
            (
                "10.9.0.1 --virtual-hosts 10.9.0.1",
                "10.9.0.1 is given twice: as this host's, and with --virtual-hosts",
            ),
            (
                "--protocol sctp",
                "Error parsing option '--protocol' with value 'sctp': `sctp` is not a protocol: there are \
                 tcp, udp and icmp",
            ),
            ("-q -v", "--quiet and --verbose contradict each other"),
            ("--nonsense", "Unrecognized argument: --nonsense"),
            ("--port", "No value provided for option '--port'."),
        ] {
            assert_eq!(error(line), reason, "{line}");
        }
    }
}
