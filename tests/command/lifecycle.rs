//! From the start to the end: readiness, signals, what is said, ports that are held meanwhile.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use socket2::{Domain, Socket, Type};

use super::exchange;
use super::support::bpfecho::{Bpfecho, Running, command};
use super::support::namespace::sh;
use super::support::{stream, sys, tc};

pub(crate) fn signals() {
    let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
    for (hook, signal) in tc::HOOKS.into_iter().flat_map(|hook| signals.map(|signal| (hook, signal))) {
        let bpfecho = Bpfecho::start(&format!("127.0.0.1 ::1 1122 --hook {hook}"));
        assert_eq!(
            bpfecho.ready,
            format!("bpfecho: echoing TCP and UDP on 127.0.0.1 and ::1 port 1122 (lo, {hook} egress)")
        );
        assert_eq!((tc::ours().len(), tc::has_clsact()), (1, hook == "clsact"));
        exchange("127.0.0.1:1122");
        let end = bpfecho.end_by(signal);
        assert_eq!(end.status.code(), Some(0), "signal {signal}");
        assert_eq!(end.stderr, "bpfecho: echoed UDP/IPv4 1 packet, 6 bytes\n", "signal {signal}");
        assert_eq!(end.stdout, "");
        assert_eq!((tc::ours(), tc::has_clsact()), (vec![], false), "{hook}");
    }
    let end = Bpfecho::start("1122").end();
    assert_eq!(end.stderr, "bpfecho: echoed nothing\n");
}

/// What was said at the end names each kind of traffic.
pub(crate) fn summary() {
    let bpfecho = Bpfecho::start("127.0.0.1 ::1 1122");
    exchange("127.0.0.1:1122");
    exchange("[::1]:1122");
    exchange("[::1]:1122");
    // A reset takes the place of the rest of a connection, so the count does not depend on delays: SYN,
    // acknowledgment, RST.
    let (socket, address) = stream::socket("127.0.0.1:1122");
    socket.connect(&address).unwrap();
    socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(socket);
    assert_eq!(
        bpfecho.end().stderr,
        "bpfecho: echoed TCP/IPv4 2 packets, 0 bytes; UDP/IPv4 1 packet, 6 bytes; UDP/IPv6 2 packets, \
         12 bytes; 1 handshake; 1 reset\n"
    );
}

pub(crate) fn nohup() {
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$0\" 1122", env!("CARGO_BIN_EXE_bpfecho")]);
    let bpfecho = Bpfecho::spawn(&mut nohup);
    sys::kill(bpfecho.pid(), libc::SIGHUP);
    // Long enough for it to end, if it did.
    for _ in 0..5000 {
        exchange("127.0.0.1:1122");
    }
    let end = bpfecho.end();
    assert_eq!(end.stderr, "bpfecho: echoed UDP/IPv4 5000 packets, 30000 bytes\n");
    assert_eq!(end.status.code(), Some(0));
}

/// A socket to which a service reports that it is ready.
struct Manager {
    socket: UnixDatagram,
    name: String,
    path: Option<PathBuf>,
}

impl Manager {
    fn at_path() -> Self {
        let path = std::env::temp_dir().join(format!("bpfecho-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(stream::STALL)).unwrap();
        Self { socket, name: path.to_str().unwrap().into(), path: Some(path) }
    }

    fn abstract_name() -> Self {
        let name = format!("bpfecho-notify-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(stream::STALL)).unwrap();
        Self { socket, name: format!("@{name}"), path: None }
    }

    /// Starts `command` and waits until it reports that it is ready.
    fn start(&self, command: &mut Command) -> Running {
        let child = Running::start(command.env("NOTIFY_SOCKET", &self.name));
        let mut message = [0; 64];
        let length = self.socket.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1");
        child
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Ends `running` as a user does.
fn end(running: Running) -> (Option<i32>, String) {
    running.end_by(libc::SIGTERM)
}

pub(crate) fn readiness() {
    for manager in [Manager::at_path(), Manager::abstract_name()] {
        // Again and again, as it has to be true at once.
        for _ in 0..4 {
            let child = manager.start(command("1122").stderr(Stdio::piped()));
            exchange("127.0.0.1:1122");
            assert_eq!(tc::ours().len(), 1);
            let said = "bpfecho: echoing TCP and UDP on 127.0.0.1 port 1122 (lo, tcx egress)\n\
                        bpfecho: echoed UDP/IPv4 1 packet, 6 bytes\n";
            assert_eq!(end(child), (Some(0), said.into()));
        }
        // A failed start reports nothing.
        let _holder = UdpSocket::bind("127.0.0.1:1122").unwrap();
        let output = command("1122").env("NOTIFY_SOCKET", &manager.name).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        manager.socket.set_nonblocking(true).unwrap();
        assert_eq!(manager.socket.recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    // Nobody there: that is said, and the echo goes on.
    let bpfecho = Bpfecho::spawn(command("1122").env("NOTIFY_SOCKET", "@bpfecho-nobody"));
    exchange("127.0.0.1:1122");
    assert_eq!(
        bpfecho.end().stderr,
        "bpfecho: telling NOTIFY_SOCKET that all is ready: Connection refused (os error 111)\n\
         bpfecho: echoed UDP/IPv4 1 packet, 6 bytes\n"
    );
}

pub(crate) fn quiet() {
    let manager = Manager::abstract_name();
    let mut command = command("127.0.0.1 1122 -q");
    let child = manager.start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    exchange("127.0.0.1:1122");
    assert_eq!(end(child), (Some(0), String::new()));
    assert!(tc::ours().is_empty());
}

pub(crate) fn nobody_reads_stderr() {
    let manager = Manager::abstract_name();
    let mut closed = Command::new("sh");
    closed.args(["-c", "exec \"$0\" -v 1122 2>&-", env!("CARGO_BIN_EXE_bpfecho")]).stdin(Stdio::null());
    let mut all_closed = Command::new("sh");
    all_closed.args(["-c", "exec \"$0\" -v 1122 <&- >&- 2>&-", env!("CARGO_BIN_EXE_bpfecho")]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut broken_pipe = command("-v 1122");
    broken_pipe.stderr(writer);
    let mut full = command("-v 1122");
    full.stderr(std::fs::File::options().write(true).open("/dev/full").unwrap());
    for command in [&mut closed, &mut all_closed, &mut broken_pipe, &mut full] {
        let child = manager.start(command);
        exchange("127.0.0.1:1122");
        assert_eq!(end(child), (Some(0), String::new()), "{command:?}");
        assert!(tc::ours().is_empty(), "{command:?}");
    }
    // An error that cannot be said has its exit status all the same.
    let _holder = UdpSocket::bind("127.0.0.1:1122").unwrap();
    for (command, status) in [(&mut closed, 1), (&mut broken_pipe, 1), (&mut full, 1)] {
        assert_eq!(command.status().unwrap().code(), Some(status), "{command:?}");
    }
}

/// A TCP socket with SO_REUSEADDR, which is how servers bind.
fn tcp_socket(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket
}

/// Why nobody can serve TCP at `address`.
fn tcp_refusal(address: &str) -> Option<ErrorKind> {
    let address = address.parse().unwrap();
    let socket = tcp_socket(address);
    socket.bind(&address.into()).and_then(|()| socket.listen(1)).err().map(|error| error.kind())
}

/// Why nobody can serve UDP at `address`.
fn udp_refusal(address: &str) -> Option<ErrorKind> {
    let address: SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).err().map(|error| error.kind())
}

pub(crate) fn ports_are_held() {
    // Whoever was bound before, but does not listen yet, comes too late.
    let late = tcp_socket("127.0.0.1:1122".parse().unwrap());
    late.bind(&"127.0.0.1:1122".parse::<SocketAddr>().unwrap().into()).unwrap();
    let bpfecho = Bpfecho::start("127.0.0.1 ::1 1122,1123");
    assert_eq!(late.listen(1).unwrap_err().kind(), ErrorKind::AddrInUse);
    let addresses =
        ["127.0.0.1:1122", "0.0.0.0:1122", "[::1]:1122", "[::]:1122", "127.0.0.1:1123", "[::1]:1123"];
    for address in addresses {
        assert_eq!(tcp_refusal(address), Some(ErrorKind::AddrInUse), "{address}");
        assert_eq!(udp_refusal(address), Some(ErrorKind::AddrInUse), "{address}");
    }
    // What is not echoed is free.
    for address in ["127.0.0.2:1122", "127.0.0.1:1124", "[::1]:1121"] {
        assert_eq!(tcp_refusal(address), None, "{address}");
        assert_eq!(udp_refusal(address), None, "{address}");
    }
    exchange("127.0.0.1:1122");
    drop(late);
    assert!(bpfecho.end().status.success());
    for address in addresses {
        assert_eq!(tcp_refusal(address), None, "{address}");
        assert_eq!(udp_refusal(address), None, "{address}");
    }
}

pub(crate) fn time_wait() {
    let listener = TcpListener::bind("127.0.0.1:1122").unwrap();
    for _ in 0..10 {
        let mut client = TcpStream::connect("127.0.0.1:1122").unwrap();
        let (server, _) = listener.accept().unwrap();
        // Who ends first is the one that waits.
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
    }
    drop(listener);
    assert!(sh("ss -Htan state time-wait src 127.0.0.1:1122").lines().count() == 10);
    let _bpfecho = Bpfecho::start("127.0.0.1 1122");
    stream::exchange(&stream::connect("127.0.0.1:1122"), 6, 6);
}

pub(crate) fn address_of_another_host() {
    sh("ip route add 10.81.0.0/16 dev lo");
    let bpfecho = Bpfecho::start("10.81.0.1 127.0.0.1 1122");
    assert_eq!(
        bpfecho.ready,
        "bpfecho: echoing TCP and UDP on 10.81.0.1 and 127.0.0.1 port 1122 (lo, tcx egress)"
    );
    exchange("10.81.0.1:1122");
    exchange("127.0.0.1:1122");
    assert_eq!(bpfecho.end().status.code(), Some(0));
    assert!(tc::ours().is_empty());
}

pub(crate) fn interface_down() {
    sh("ip link set lo down");
    let mut command = command("127.0.0.1 1122");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let manager = Manager::abstract_name();
    let child = manager.start(command.stderr(writer));
    drop(command);
    sh("ip link set lo up");
    exchange("127.0.0.1:1122");
    assert_eq!(end(child).0, Some(0));
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(
        said,
        "bpfecho: `lo` is down, nothing can be sent on it: ip link set lo up\n\
         bpfecho: echoing TCP and UDP on 127.0.0.1 port 1122 (lo, tcx egress)\n\
         bpfecho: echoed UDP/IPv4 1 packet, 6 bytes\n"
    );
}
