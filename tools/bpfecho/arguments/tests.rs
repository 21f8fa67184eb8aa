use loader::Position;

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
    assert_eq!((request.allow.as_slice(), request.interfaces.as_slice()), (&[][..], &["eth0".into()][..]));
    let request = echo("7 --allow 10.0.0.0/8,::/0 --allow 10.0.0.0/8 --ifname lo --ifname eth0 --ifname lo");
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
        ("--allow 224.0.0.1", "224.0.0.1 is not the address of one host: name each address of another host"),
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
        (
            "--hook XDP",
            "Error parsing option '--hook' with value 'XDP': `XDP` is not a hook: there are auto, tcx, clsact, xdp \
             and xdp-generic",
        ),
        (
            "--before 0",
            "Error parsing option '--before' with value '0': `0` is neither the id of a program, as `bpftool net` and \
             `bpfecho --status` show it, nor `all`",
        ),
        ("--before 7 --after all", "--before and --after contradict each other"),
        ("--hook clsact --after 7", "--before and --after are for tcx, not for clsact"),
        ("--background --stats", "--stats needs a process, of which --background leaves none: see --status"),
        (
            "--stats=0",
            "Error parsing option '--stats' with value '0': `0` is no number of seconds from 0.1 to 86400",
        ),
        ("--check --stop", "--check, --status and --stop contradict each other"),
        ("--status --stop", "--check, --status and --stop contradict each other"),
        ("--all", "--all is for --stop"),
        ("--status --all", "--all is for --stop"),
        ("--stop --all --ifname lo", "--all and --ifname contradict each other"),
        ("--status 7", "--status takes interfaces only: it is for all that echoes there"),
        ("--status --hook tcx", "--status takes interfaces only: it is for all that echoes there"),
        ("--stop --background", "--stop takes interfaces only: it is for all that echoes there"),
        ("--stop --stats", "--stop takes interfaces only: it is for all that echoes there"),
        ("--stop --protocol icmp", "--stop takes interfaces only: it is for all that echoes there"),
        ("--stop --port 7", "--stop takes interfaces only: it is for all that echoes there"),
        ("--stop --virtual-hosts 10.9.0.1", "--stop takes interfaces only: it is for all that echoes there"),
        ("--stop -q -v", "--quiet and --verbose contradict each other"),
        ("-q -v", "--quiet and --verbose contradict each other"),
        ("--nonsense", "Unrecognized argument: --nonsense"),
        ("--port", "No value provided for option '--port'."),
    ] {
        assert_eq!(error(line), reason, "{line}");
    }
}

#[test]
fn hooks_and_places() {
    let plan = |hook, position| Plan { hook, position, background: false };
    for (line, expected) in [
        ("", plan(Hook::Auto, None)),
        ("--hook tcx --after all", plan(Hook::Tcx, Some(Position::Last))),
        ("--before all", plan(Hook::Auto, Some(Position::First))),
        ("--before 17", plan(Hook::Auto, Some(Position::Before(17)))),
        ("--hook xdp --after 17", plan(Hook::Xdp, Some(Position::After(17)))),
        ("--hook clsact", plan(Hook::Clsact, None)),
        ("--hook xdp-generic --background", Plan { background: true, ..plan(Hook::XdpGeneric, None) }),
    ] {
        assert_eq!(echo(line).plan, expected, "{line}");
    }
}

/// A number behind `--stats` is its own, even if it could be a port.
#[test]
fn intervals_may_be_left_out() {
    for (line, milliseconds, meaning) in [
        ("7", None, "127.0.0.1 7"),
        ("7 --stats", Some(1000), "127.0.0.1 7"),
        ("--stats 7", Some(7000), "127.0.0.1 12345"),
        ("--stats=0.5 7", Some(500), "127.0.0.1 7"),
        ("--stats 127.0.0.2 7", Some(1000), "127.0.0.2 7"),
        ("--stats --json 7", Some(1000), "127.0.0.1 7"),
        ("7 --stats 8 9", Some(8000), "127.0.0.1 7,9"),
    ] {
        let request = echo(line);
        assert_eq!(request.stats, milliseconds.map(Duration::from_millis), "{line}");
        assert_eq!(said(&request), meaning, "{line}");
    }
}

#[test]
fn commands_look_at_the_interfaces_that_are_named() {
    let command = |line: &str| parse(line.split_whitespace().map(Into::into)).unwrap();
    let voice = |verbosity, json| Voice { verbosity, json };
    let normal = voice(Verbosity::Normal, false);
    let selection = |interfaces: &[&str], voice| Selection {
        interfaces: interfaces.iter().map(ToString::to_string).collect(),
        voice,
    };
    for (line, expected) in [
        ("--status", Command::Status(selection(&[], normal))),
        (
            "--status --ifname lo --ifname eth0 --ifname lo",
            Command::Status(selection(&["lo", "eth0"], normal)),
        ),
        ("--status --json", Command::Status(selection(&[], voice(Verbosity::Normal, true)))),
        ("--stop", Command::Stop(selection(&["lo"], normal))),
        ("--stop --ifname eth0 -q", Command::Stop(selection(&["eth0"], voice(Verbosity::Quiet, false)))),
        ("--stop --all -v", Command::Stop(selection(&[], voice(Verbosity::Verbose, false)))),
        ("--check 7", Command::Check(echo("7"))),
        ("--version", Command::Print(concat!("bpfecho ", env!("CARGO_PKG_VERSION"), "\n").into())),
    ] {
        assert_eq!(command(line), expected, "{line}");
    }
}
