//! Each way in which a start fails: what is said, the exit status, and that nothing is left behind.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use socket2::{Domain, Socket, Type};

use super::exchange;
use super::shim::{Lacks, Shim};
use super::support::bpfecho::{Bpfecho, command};
use super::support::namespace::sh;
use super::support::network;
use super::support::ordinary::Ordinary;
use super::support::tc;

/// What `--help` prints, and what follows each usage error.
const HELP: &str = include_str!("help.txt");

/// Runs `command`, which must fail with `status`, say exactly `bpfecho: ` and `text` on standard error and
/// nothing on standard output, and leave everything as it was.
#[track_caller]
pub(crate) fn assert_fails(command: &mut Command, status: i32, text: &str) {
    assert_eq!(failure(command, status), format!("bpfecho: {text}\n"), "{command:?}");
}

/// What is said by `command`, which must fail with `status`, say nothing on standard output and leave everything
/// as it was.
#[track_caller]
fn failure(command: &mut Command, status: i32) -> String {
    let before = tc::state();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while stderr.read_line(&mut said).unwrap() != 0 {
        // It would never end.
        if said.contains(": echoing ") {
            child.kill().unwrap();
        }
    }
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!((code, stdout.as_str()), (Some(status), ""), "{command:?}: {said}");
    assert_eq!(tc::state(), before, "{command:?}: {said}");
    said
}

#[track_caller]
fn assert_usage_error(command: &mut Command, reason: &str) {
    assert_fails(command, 2, &format!("{reason}\n\n{}", HELP.trim_end()));
}

/// A command with these arguments, each as it is.
fn command_with(arguments: &[&str]) -> Command {
    let mut command = command("");
    command.args(arguments);
    command
}

pub(crate) fn usage() {
    let not_a_port = |word: &str| format!("`{word}` is not a port: ports are numbers from 1 to 65535");
    let twice = |what: &str| format!("the {what} is given twice, by position and by flag, and not the same");
    let not_one_host =
        |address: &str| format!("{address} is not the address of one host: name each address to echo on");
    let cases: &[(&[&str], String)] = &[
        (&["--nonsense"], "Unrecognized argument: --nonsense".into()),
        (&["-x"], "Unrecognized argument: -x".into()),
        (&["--port"], "No value provided for option '--port'.".into()),
        (&["127.0.0.256", "1122"], "`127.0.0.256` is not an IP address".into()),
        (&["127.0.0.256/8", "1122"], "`127.0.0.256` is not an IP address".into()),
        (&["7/8"], "`7` is not an IP address".into()),
        (
            &["10.9.0.1/16", "1122"],
            "`10.9.0.1/16` has bits behind its length set: did you mean 10.9.0.0/16?".into(),
        ),
        (
            &["--ipv4", "10.0.0.0/33"],
            "`10.0.0.0/33`: the length of an IPv4 prefix is a number from 0 to 32".into(),
        ),
        (&["224.0.0.0/4"], "224.0.0.0/4 holds no address of a host".into()),
        (&["--virtual-hosts", "ff02::/64"], "ff02::/64 holds no address of a host".into()),
        (
            &["--virtual-hosts", "127.0.0.0/8"],
            "`--virtual-hosts 127.0.0.0/8`: this is the host itself, no other".into(),
        ),
        (&["--allow", "10.0.0.1,"], "`` is not an IP address".into()),
        (&["--allow", "::1"], "`--allow ::1`: this is the host itself, no other".into()),
        (
            &["10.9.0.1", "--virtual-hosts", "10.9.0.1"],
            "10.9.0.1 is given twice: as this host's, and with --virtual-hosts".into(),
        ),
        (&["9-7"], "`9-7` holds no port: did you mean 7-9?".into()),
        (
            &["--protocol", "tcp,sctp"],
            "Error parsing option '--protocol' with value 'tcp,sctp': `sctp` is not a protocol: there are \
             tcp, udp and icmp"
                .into(),
        ),
        (&["::g"], "`::g` is not an IP address".into()),
        (&["[::1]:1122"], "`[::1]:1122` is not an IP address".into()),
        (&["--ipv4", "::1"], "`--ipv4 ::1`: this is not an IPv4 address".into()),
        (&["--ipv6", "127.0.0.1"], "`--ipv6 127.0.0.1`: this is not an IPv6 address".into()),
        (&["0.0.0.0"], not_one_host("0.0.0.0")),
        (&["::"], not_one_host("::")),
        (&["224.0.0.1"], not_one_host("224.0.0.1")),
        (&["255.255.255.255"], not_one_host("255.255.255.255")),
        (&["ff02::1"], not_one_host("ff02::1")),
        (&["0"], not_a_port("0")),
        (&["65536"], not_a_port("65536")),
        (&["7,,8"], not_a_port("")),
        (&["localhost"], not_a_port("localhost")),
        (&[""], not_a_port("")),
        (&["--port", "1x"], not_a_port("1x")),
        (&["1122", "--port", "7"], twice("port")),
        (&["127.0.0.1", "--ipv4", "127.0.0.2"], twice("IPv4 address")),
        (&["::1", "--ipv6", "::2"], twice("IPv6 address")),
        (&["-q", "-v"], "--quiet and --verbose contradict each other".into()),
        (&["--ipv4", ""], "at least one of --ipv4 and --ipv6 has to be given".into()),
    ];
    for (arguments, reason) in cases {
        assert_usage_error(&mut command_with(arguments), reason);
    }
}

pub(crate) fn not_utf8() {
    let mut command = command("127.0.0.1");
    command.arg(OsStr::from_bytes(b"11\xff22"));
    assert_usage_error(&mut command, r#"the argument "11\xFF22" is not UTF-8"#);
}

pub(crate) fn help_and_version() {
    let version = concat!("bpfecho ", env!("CARGO_PKG_VERSION"), "\n");
    for (arguments, text) in [
        ("--help", HELP),
        ("127.0.0.1 1122 --help", HELP),
        ("--version", version),
        ("127.0.0.1 1122 -q --version", version),
    ] {
        let output = command(arguments).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{arguments}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments}");
        assert_eq!(output.status.code(), Some(0), "{arguments}");
    }
    // A reader that has gone is no reason for an error.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command("--help").stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

/// All that is needed.
const TWO_CAPABILITIES: [&str; 2] = ["bpf", "net_admin"];

pub(crate) fn capabilities() {
    let ordinary = Ordinary::new();
    // The address, and five prefixes that are never echoed.
    let map = "map \"bpfecho_to\": creating it (type 11, key 20 bytes, value 4 bytes, 6 entries, flags 0x1)";
    let program = "program \"bpfecho_lo\": loading it";
    for (capabilities, what, missing) in [
        (&[][..], map, "CAP_BPF and CAP_NET_ADMIN"),
        (&["net_admin"], map, "CAP_BPF"),
        (&["bpf"], program, "CAP_NET_ADMIN"),
        (&["bpf", "perfmon"], program, "CAP_NET_ADMIN"),
    ] {
        let text = format!("{what}: EPERM: needs CAP_BPF and CAP_NET_ADMIN, this process lacks {missing}");
        assert_fails(ordinary.command(capabilities).arg("1122"), 1, &text);
    }
    let port = "holding UDP port 7 on 127.0.0.1: EACCES: needs CAP_NET_BIND_SERVICE, or --force, which holds no ports";
    assert_fails(ordinary.command(&TWO_CAPABILITIES).arg("7"), 1, port);
    assert!(!tc::has_clsact());
}

/// Every program is one that the verifier takes from whom it trusts with nothing else: speculation reaches no memory
/// that is not the program's own.
pub(crate) fn two_capabilities() {
    let ordinary = Ordinary::new();
    let start = |arguments: &str| {
        Bpfecho::spawn(ordinary.command(&TWO_CAPABILITIES).args(arguments.split_whitespace()))
    };
    let server = network::server();
    server.sh("ip link set lo up && ip tuntap add tun7 mode tun && ip link set tun7 up");
    for protocols in ["tcp", "udp", "icmp", "tcp,udp", "tcp,udp,icmp"] {
        for place in ["10.9.0.2 --ifname vb", "10.7.0.5 --ifname tun7", "127.0.0.1"] {
            server.run(|| start(&format!("{place} 1122 --protocol {protocols}")).end());
        }
        let bpfecho = server.run(|| {
            let hosts = "--virtual-hosts 10.9.1.0/24,fd00:9:0:0:1::/80 --ifname vb --ifname lo";
            start(&format!("{hosts} 127.0.0.1 1122 --protocol {protocols}"))
        });
        if protocols.contains("udp") {
            super::exchange("10.9.1.7:1122");
            super::exchange("[fd00:9::1:0:0:7]:1122");
            server.run(|| super::exchange("127.0.0.1:1122"));
        }
        assert!(bpfecho.end().status.success());
    }
}

pub(crate) fn interfaces() {
    assert_fails(&mut command("1122 --ifname eth7"), 1, "no interface is called `eth7`: there are lo");
    sh("ip tuntap add tun7 mode tun");
    assert_fails(&mut command("1122 --ifname eth7"), 1, "no interface is called `eth7`: there are lo, tun7");
    sh("ip link add v0 type veth peer name v1; ip address add 10.7.0.5/24 dev v0");
    let nothing = "nothing to echo on `tun7`: name an address";
    let nothing_yet =
        "nothing to echo on `v0`: name an address, such as its own 10.7.0.5, or --virtual-hosts";
    let virtual_hosts = |name: &str| {
        format!(
            "`{name}` is not Ethernet, where alone --virtual-hosts can be found: choose another with --ifname"
        )
    };
    for (arguments, text) in [
        ("1122 --ifname tun7", nothing),
        // Errors are no matter of verbosity.
        ("1122 -q --ifname tun7", nothing),
        ("1122 --ifname v0", nothing_yet),
        ("127.0.0.1 ::1 1122 --ifname lo --ifname v0", nothing_yet),
        ("--virtual-hosts 10.9.0.0/16", &virtual_hosts("lo")),
        ("--virtual-hosts 10.9.0.0/16 --ifname v0 --ifname tun7", &virtual_hosts("tun7")),
        (
            "--virtual-hosts 10.7.0.5 --ifname v0",
            "10.7.0.5 exists already, as an address of this host, of a router or of a whole network: leave \
             it out of --virtual-hosts",
        ),
        ("1122 --allow 10.0.0.0/8", "--allow is about other hosts, and on loopback there are none"),
    ] {
        assert_fails(&mut command(arguments), 1, text);
    }
    assert!(tc::ours_on("v0").is_empty() && tc::ours().is_empty());

    sh("tc qdisc add dev lo ingress");
    let other = "interface 1: adding a clsact qdisc: a qdisc of kind \"ingress\" is in its place";
    assert_fails(&mut command("1122 --hook clsact"), 1, other);
    // What was attached before is detached.
    assert_fails(&mut command("127.0.0.1 10.7.0.5 1122 --ifname v0 --ifname lo --hook clsact"), 1, other);
    assert!(!sh("tc qdisc show dev v0").contains("clsact"));
    // For tcx there is room beside it.
    let bpfecho = Bpfecho::start("1122");
    exchange("127.0.0.1:1122");
    drop(bpfecho);
}

/// Each port that is held takes a descriptor.
pub(crate) fn descriptors() {
    let limited = |limit: &str| {
        let mut command = Command::new("sh");
        let script = format!("ulimit {limit} && exec \"$0\" 127.0.0.1 2000-2999");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_bpfecho")]).stdin(Stdio::null());
        command
    };
    // Which port is the first too many depends on what the tests were started with.
    let said = failure(&mut limited("-n 20"), 1);
    assert!(said.starts_with("bpfecho: holding ") && said.contains(" port 200"), "{said}");
    let remedy = " on 127.0.0.1: EMFILE: each port needs a descriptor: allow more (ulimit -n), echo fewer \
                  ports, or use --force, which holds no ports\n";
    assert!(said.ends_with(remedy), "{said}");
    // A limit that may be raised is.
    let bpfecho = Bpfecho::spawn(&mut limited("-S -n 20"));
    assert_eq!(bpfecho.ready, "bpfecho: echoing TCP and UDP on 127.0.0.1 ports 2000-2999 (lo, tcx egress)");
    exchange("127.0.0.1:2000");
    exchange("127.0.0.1:2999");
    assert!(bpfecho.end().status.success());
}

/// This process as an error names it.
fn this_process() -> String {
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    format!("`{}` (process {})", name.trim_end(), std::process::id())
}

#[track_caller]
fn assert_in_use(arguments: &str, protocol: &str, address: &str, owner: &str) {
    let text = format!(
        "{protocol} port 1122 on {address} is in use by {owner}: stop that, choose another port, or echo in \
         front of it with --force"
    );
    assert_fails(&mut command(arguments), 1, &text);
}

pub(crate) fn port_in_use() {
    for (local, served) in [
        ("127.0.0.1:1122", "127.0.0.1"),
        ("0.0.0.0:1122", "127.0.0.1"),
        ("[::]:1122", "127.0.0.1"),
        ("[::1]:1122", "::1"),
        ("[::]:1122", "::1"),
        ("[::ffff:127.0.0.1]:1122", "127.0.0.1"),
    ] {
        let arguments = format!("{served} 7001,1122");
        let listener = TcpListener::bind(local).unwrap();
        assert_in_use(&arguments, "TCP", served, &this_process());
        drop(listener);
        let socket = UdpSocket::bind(local).unwrap();
        assert_in_use(&arguments, "UDP", served, &this_process());
        drop(socket);
        assert!(Bpfecho::start(&arguments).end().status.success());
    }
    // On another address, or for another version of IP, the port is free.
    let _others = [
        TcpListener::bind("127.0.0.2:1122").unwrap(),
        TcpListener::bind("127.0.0.1:1123").unwrap(),
        TcpListener::bind("[::1]:1122").unwrap(),
    ];
    Bpfecho::start("127.0.0.1 1122");
    // The last of several addresses.
    assert_in_use("127.0.0.1 ::1 1122", "TCP", "::1", &this_process());
    // In no table of the kernel's is a socket that is bound and does nothing.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 1122)).into()).unwrap();
    assert_in_use("127.0.0.1 1122", "TCP", "127.0.0.1", "another process");
}

pub(crate) fn port_in_use_by_another_bpfecho() {
    let first = Bpfecho::start("127.0.0.1 1122,1123");
    assert_in_use("127.0.0.1 1122", "UDP", "127.0.0.1", &format!("`bpfecho` (process {})", first.pid()));
    exchange("127.0.0.1:1122");
    assert_eq!(tc::ours().len(), 1);
}

pub(crate) fn force() {
    let listener = TcpListener::bind("127.0.0.1:1122").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:1122").unwrap();
    let bpfecho = Bpfecho::start("127.0.0.1 1122 --force");
    exchange("127.0.0.1:1122");
    let client = super::support::stream::connect("127.0.0.1:1122");
    super::support::stream::ping(&client, b"hello");
    // Those behind see nothing of it.
    listener.set_nonblocking(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert!(bpfecho.end().status.success());
}

pub(crate) fn kernel_without() {
    let shim = Shim::new();
    let clsact = "this kernel has no clsact qdisc: CONFIG_NET_SCH_INGRESS (module sch_ingress)";
    let bpf = "this kernel has no BPF classifier: CONFIG_NET_CLS_BPF (module cls_bpf)";
    for (lacks, old, text) in [
        (
            Lacks::Clsact,
            false,
            format!(
                "interface 1: adding a clsact qdisc: ENOENT \"Specified qdisc kind is unknown\": {clsact}"
            ),
        ),
        (Lacks::Clsact, true, format!("interface 1: adding a clsact qdisc: ENOENT: {clsact}")),
        (
            Lacks::Bpf,
            false,
            format!("interface 1 egress: attaching a BPF filter: ENOENT \"TC classifier not found\": {bpf}"),
        ),
        (Lacks::Bpf, true, format!("interface 1 egress: attaching a BPF filter: ENOENT: {bpf}")),
    ] {
        assert_fails(shim.apply(&mut command("1122 --hook clsact"), lacks, old), 1, &text);
        assert!(!tc::has_clsact(), "{lacks:?}");
    }
    // The port is free again, and without the shim all is well.
    Bpfecho::start("1122");
}
