//! smoltcp at one end of a tap interface, bpfecho at the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time;

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, SocketHandle, SocketSet};
use smoltcp::phy::{self, FaultInjector};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpCidr};

use super::line::{Counts, Faults, Line};
use super::support::bpfecho::Bpfecho;
use super::support::namespace::sh;
use super::support::stream::piece;

/// How long nothing may happen before the test fails. Most of it is for smoltcp's retransmissions, which wait twice
/// as long each time one is lost.
const STALL: time::Duration = time::Duration::from_secs(120);

/// What smoltcp buffers for each direction of a connection. It acknowledges old segments only once a second, so the
/// fewer times it waits for the end of a window the better.
const BUFFER: usize = 1 << 20;

pub(crate) const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
pub(crate) const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 2));
pub(crate) const BOTH: [IpAddr; 2] = [V4, V6];
const PORT: u16 = 1122;

/// smoltcp as a host of its own.
pub(crate) struct Client {
    line: Line,
    device: FaultInjector<Line>,
    interface: Interface,
    sockets: SocketSet<'static>,
    start: time::Instant,
    next_port: u16,
    /// Frames for smoltcp that its injector dropped.
    dropped: u64,
    _bpfecho: Bpfecho,
}

/// How a connection behaves.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) nagle: bool,
    pub(crate) ack_delay: Option<Duration>,
    /// How much is sent before its echo is waited for.
    pub(crate) message: u64,
}

impl Manner {
    /// As smoltcp does it, and without a pause.
    pub(crate) const DEFAULT: Self =
        Self { nagle: true, ack_delay: Some(Duration::from_millis(10)), message: u64::MAX };
}

impl Client {
    /// Makes the interface, starts bpfecho on it, and connects smoltcp by a line that is good so far.
    pub(crate) fn new(seed: u32) -> Self {
        sh("ip tuntap add tap0 mode tap
            ip address add 10.9.0.2/24 dev tap0
            ip address add fd00:9::2/64 dev tap0 nodad
            ip link set tap0 up");
        let bpfecho = Bpfecho::start("10.9.0.2 fd00:9::2 1122 --ifname tap0");
        // Only now, as no child may inherit it.
        let line = Line::open("tap0", u64::from(seed) << 32 | 1);
        let mut device = FaultInjector::new(line.clone(), seed);
        let mut config = Config::new(EthernetAddress([2, 0, 0, 0, 0, 1]).into());
        config.random_seed = seed.into();
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            for (address, length) in
                [([10, 9, 0, 1].into(), 24), ([0xfd00, 9, 0, 0, 0, 0, 0, 1].into(), 64)] as [(IpAddr, u8); 2]
            {
                addresses.push(IpCidr::new(address.into(), length)).unwrap();
            }
        });
        let mut client = Self {
            line,
            device,
            interface,
            sockets: SocketSet::new(Vec::new()),
            start: time::Instant::now(),
            next_port: 50_000,
            dropped: 0,
            _bpfecho: bpfecho,
        };
        // Nothing protects an ARP reply from a wrong bit, so the neighbours meet while the line is good.
        for remote in BOTH {
            client.ping(remote, 1);
        }
        client
    }

    /// Makes the line bad.
    pub(crate) fn set_faults(&mut self, faults: Faults) {
        self.device.set_drop_chance(faults.drop);
        self.device.set_corrupt_chance(faults.corrupt_received);
        self.line.set_faults(faults);
    }

    /// What became of the frames, and how many of those received were dropped.
    pub(crate) fn counts(&self) -> (Counts, u64) {
        (self.line.counts(), self.dropped)
    }

    /// Lets smoltcp work until `application` says that it has finished, by `None`; else it returns a number that
    /// changes as long as it gets on.
    pub(crate) fn run(&mut self, mut application: impl FnMut(&mut SocketSet<'static>) -> Option<u64>) {
        let mut progress = (0, time::Instant::now());
        loop {
            self.work();
            let Some(number) = application(&mut self.sockets) else { return };
            if number != progress.0 {
                progress = (number, time::Instant::now());
            }
            assert!(progress.1.elapsed() < STALL, "nothing happens any more after {number}");
            // What the application has just written is due at once.
            let delay = self.interface.poll_delay(self.now(), &self.sockets).unwrap_or(Duration::MAX);
            let delay = if self.line.holds_frames() { Duration::ZERO } else { delay.min(STALL.into()) };
            phy::wait(self.line.as_raw_fd(), Some(delay)).unwrap();
        }
    }

    /// Takes in what has arrived and sends what is to be sent.
    fn work(&mut self) {
        let now = self.now();
        loop {
            let before = self.line.counts().received;
            let result = self.interface.poll_ingress_single(now, &mut self.device, &mut self.sockets);
            if let PollIngressSingleResult::None = result {
                let dropped = self.line.counts().received - before;
                if dropped == 0 {
                    break;
                }
                self.dropped += dropped;
            }
        }
        self.interface.poll_egress(now, &mut self.device, &mut self.sockets);
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as i64)
    }

    /// Begins a connection to `remote` over which `length` bytes are to go.
    pub(crate) fn connect(&mut self, remote: IpAddr, length: u64, manner: Manner) -> Stream {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(manner.nagle);
        socket.set_ack_delay(manner.ack_delay);
        // In CLOSING smoltcp does not send its FIN again: if the last acknowledgment is lost, only this goes on.
        socket.set_keep_alive(Some(Duration::from_secs(1)));
        let local = self.port();
        socket.connect(self.interface.context(), (remote, PORT), local).unwrap();
        let socket = self.sockets.add(socket);
        Stream { socket, length, message: manner.message, goal: 0, sent: 0, received: 0, ended: false }
    }

    /// Sends `streams` and reads them back, all at once, up to the end of the last.
    pub(crate) fn exchange(&mut self, streams: &mut [Stream]) {
        self.run(|sockets| {
            for stream in &mut *streams {
                stream.pump(sockets);
            }
            let moved = streams.iter().map(|stream| stream.sent + stream.received + u64::from(stream.ended));
            (!streams.iter().all(|stream| stream.ended)).then_some(moved.sum())
        });
    }

    /// A socket for datagrams.
    pub(crate) fn udp(&mut self) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; BUFFER]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(self.port()).unwrap();
        self.sockets.add(socket)
    }

    /// Sends a datagram of `length` bytes to `remote` and waits for its echo.
    pub(crate) fn ping(&mut self, remote: IpAddr, length: usize) {
        let handle = self.udp();
        let sent = piece(length as u64, length);
        let socket = self.sockets.get_mut::<udp::Socket>(handle);
        socket.send_slice(sent, (remote, PORT)).unwrap();
        self.run(|sockets| {
            let socket = sockets.get_mut::<udp::Socket>(handle);
            let Ok((received, _)) = socket.recv() else { return Some(0) };
            assert!(received == sent, "{length} bytes over {remote}: {} came back", received.len());
            None
        });
        self.sockets.remove(handle);
    }

    fn port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }
}

impl Drop for Client {
    /// The next client has an interface of its own.
    fn drop(&mut self) {
        sh("ip link del tap0");
    }
}

/// A connection of smoltcp, and how far it is.
pub(crate) struct Stream {
    socket: SocketHandle,
    length: u64,
    message: u64,
    /// The end of the message that is being sent.
    goal: u64,
    sent: u64,
    received: u64,
    /// Whether both ends have closed, and each knows of the other.
    ended: bool,
}

impl Stream {
    /// Moves what can be moved between the socket and the application.
    fn pump(&mut self, sockets: &mut SocketSet) {
        if self.ended {
            return;
        }
        let socket = sockets.get_mut::<tcp::Socket>(self.socket);
        assert_ne!(socket.state(), tcp::State::Closed, "reset after {} bytes", self.received);
        while socket.can_recv() {
            self.received += socket
                .recv(|received| {
                    let wanted = piece(self.received, received.len());
                    assert!(received == wanted, "a wrong byte behind {}", self.received);
                    (received.len(), received.len() as u64)
                })
                .unwrap();
        }
        if self.received == self.goal {
            self.goal = self.goal.saturating_add(self.message).min(self.length);
        }
        while socket.can_send() && self.sent < self.goal {
            let length = (self.goal - self.sent).min(BUFFER as u64) as usize;
            self.sent += socket.send_slice(piece(self.sent, length)).unwrap() as u64;
        }
        if socket.may_send() && self.sent == self.length {
            socket.close();
        }
        if socket.state() == tcp::State::TimeWait {
            assert_eq!(self.received, self.length, "the stream ended early or late");
            self.ended = true;
        }
    }
}
