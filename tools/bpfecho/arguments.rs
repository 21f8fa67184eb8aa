//! The command line: what was typed, and what it means.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use argh::{EarlyExit, FromArgs};

/// The port without one given, as the predecessor has it.
const DEFAULT_PORT: u16 = 12345;

/// TCP and UDP echo server inside the Linux kernel: what is sent to the given addresses and ports comes back.
#[derive(FromArgs)]
struct Arguments {
    /// addresses to echo on (127.0.0.1), then ports, also as a list like 7,1122 (12345)
    #[argh(positional, arg_name = "address-or-port")]
    words: Vec<String>,

    /// IPv4 address to echo on; "" for none (127.0.0.1, unless addresses are given)
    #[argh(option, arg_name = "address")]
    ipv4: Option<String>,

    /// IPv6 address to echo on; "" for none (none)
    #[argh(option, arg_name = "address")]
    ipv6: Option<String>,

    /// port, or list of ports (12345)
    #[argh(option, arg_name = "ports")]
    port: Option<String>,

    /// interface to echo on (lo)
    #[argh(option, arg_name = "interface", default = "String::from(\"lo\")")]
    ifname: String,

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
    /// The addresses, IPv4 first; at least one.
    pub addresses: Vec<IpAddr>,
    /// The ports, ascending; at least one, none zero.
    pub ports: Vec<u16>,
    /// The name of the interface.
    pub interface: String,
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
        let mut ports = BTreeSet::new();
        for word in &self.words {
            match parse_address(word) {
                Some(IpAddr::V4(address)) => _ = ipv4.insert(address),
                Some(IpAddr::V6(address)) => _ = ipv6.insert(address),
                None if word.contains(['.', ':']) => return Err(format!("`{word}` is not an IP address")),
                None => ports.append(&mut parse_ports(word)?),
            }
        }
        // The flags keep their defaults as long as no address is given in the other way.
        let ipv4_default = (ipv4.is_empty() && ipv6.is_empty()).then_some(Ipv4Addr::LOCALHOST);
        let ipv4 = same_twice("IPv4 address", ipv4, self.ipv4.as_deref().map(parse_ipv4).transpose()?)?
            .unwrap_or_else(|| ipv4_default.into_iter().collect());
        let ipv6 = same_twice("IPv6 address", ipv6, self.ipv6.as_deref().map(parse_ipv6).transpose()?)?
            .unwrap_or_default();
        let ports = same_twice("port", ports, self.port.as_deref().map(parse_ports).transpose()?)?
            .unwrap_or_else(|| [DEFAULT_PORT].into());

        let addresses: Vec<IpAddr> =
            ipv4.into_iter().map(IpAddr::V4).chain(ipv6.into_iter().map(IpAddr::V6)).collect();
        if addresses.is_empty() {
            return Err("at least one of --ipv4 and --ipv6 has to be given".into());
        }
        for address in &addresses {
            let broadcast = *address == IpAddr::V4(Ipv4Addr::BROADCAST);
            if address.is_unspecified() || address.is_multicast() || broadcast {
                return Err(format!(
                    "{address} is not the address of one host: name each address to echo on"
                ));
            }
        }
        let verbosity = match (self.quiet, self.verbose) {
            (true, true) => return Err("--quiet and --verbose contradict each other".into()),
            (true, false) => Verbosity::Quiet,
            (false, false) => Verbosity::Normal,
            (false, true) => Verbosity::Verbose,
        };
        Ok(Request {
            addresses,
            ports: ports.into_iter().collect(),
            interface: self.ifname,
            force: self.force,
            verbosity,
        })
    }
}

/// What is meant by values that were given by `position` and by `flag`: they must not contradict each other.
/// `None` if neither was given.
fn same_twice<T: Ord>(
    what: &str,
    position: BTreeSet<T>,
    flag: Option<BTreeSet<T>>,
) -> Result<Option<BTreeSet<T>>, String> {
    match flag {
        Some(flag) if position.is_empty() || position == flag => Ok(Some(flag)),
        Some(_) => Err(format!("the {what} is given twice, by position and by flag, and not the same")),
        None if position.is_empty() => Ok(None),
        None => Ok(Some(position)),
    }
}

/// Reads an address. An IPv4 address that is mapped into IPv6 is the IPv4 address it means.
fn parse_address(word: &str) -> Option<IpAddr> {
    word.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn parse_ipv4(word: &str) -> Result<BTreeSet<Ipv4Addr>, String> {
    match parse_address(word) {
        Some(IpAddr::V4(address)) => Ok([address].into()),
        _ if word.is_empty() => Ok(BTreeSet::new()),
        _ => Err(format!("`--ipv4 {word}`: this is not an IPv4 address")),
    }
}

fn parse_ipv6(word: &str) -> Result<BTreeSet<Ipv6Addr>, String> {
    match parse_address(word) {
        Some(IpAddr::V6(address)) => Ok([address].into()),
        _ if word.is_empty() => Ok(BTreeSet::new()),
        _ => Err(format!("`--ipv6 {word}`: this is not an IPv6 address")),
    }
}

/// Reads a list of ports.
fn parse_ports(word: &str) -> Result<BTreeSet<u16>, String> {
    word.split(',')
        .map(|port| match port.parse() {
            Ok(port) if port != 0 => Ok(port),
            _ => Err(format!("`{port}` is not a port: ports are numbers from 1 to 65535")),
        })
        .collect()
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
        let addresses: Vec<_> = request.addresses.iter().map(ToString::to_string).collect();
        let ports: Vec<_> = request.ports.iter().map(ToString::to_string).collect();
        format!("{} {}", addresses.join(" "), ports.join(","))
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
        ] {
            assert_eq!(said(&echo(line)), meaning, "{line}");
        }
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
            ("-q -v", "--quiet and --verbose contradict each other"),
            ("--nonsense", "Unrecognized argument: --nonsense"),
            ("--port", "No value provided for option '--port'."),
        ] {
            assert_eq!(error(line), reason, "{line}");
        }
    }
}
