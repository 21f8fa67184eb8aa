//! Whether the servers of this package are echo servers.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use bpfecho::sys::{allow_more_descriptors, bring_up, enter_new_network};
use socket2::SockRef;

use super::{io_uring, peers, start};
use crate::subject;

/// Runs `test` with the address of each server of this package that can run here, in a network of its own if who tests
/// may make one; else on ports that are free.
fn on_each(test: fn(SocketAddr)) {
    let own_network = enter_new_network().and_then(|()| bring_up("lo")).is_ok();
    allow_more_descriptors();
    let no_io_uring = io_uring::obstacle();
    for kind in [subject::EPOLL, subject::IO_URING, subject::TOKIO] {
        if let (subject::IO_URING, Some(obstacle)) = (kind, &no_io_uring) {
            eprintln!("{kind}: {obstacle}");
            continue;
        }
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let (address, end) = start(kind, SocketAddr::new(ip, 0)).unwrap();
            let before = sockets_in_use();
            test(address);
            if own_network {
                await_that(|| sockets_in_use() == before, "a socket is left open");
            }
            assert!(end.try_recv().is_err(), "{kind} has ended");
        }
    }
}

/// How many sockets there are in this network.
fn sockets_in_use() -> u64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/net/sockstat").unwrap();
    let count = statistics.lines().next().and_then(|line| line.strip_prefix("sockets: used "));
    count.unwrap().parse().unwrap()
}

fn await_that(condition: impl Fn() -> bool, otherwise: &str) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "{otherwise}");
        thread::yield_now();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Bytes that differ from their neighbours, and after any power of two.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u64).map(|place| (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Sends `message` while it reads, ends its side, and compares what comes until the other ends.
fn exchange(stream: &TcpStream, message: &[u8]) {
    let (mut reader, mut writer) = (stream, stream);
    let mut echo = Vec::new();
    thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(message).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        reader.read_to_end(&mut echo).unwrap();
    });
    assert!(echo == message, "{} bytes came back of {}, or wrong ones", echo.len(), message.len());
}

#[test]
fn all_is_echoed_then_the_end() {
    on_each(|address| exchange(&connect(address), &bytes(1 << 20)));
}

/// Who does not read blocks nobody else, and gets all of it when it does.
#[test]
fn a_client_that_does_not_read() {
    on_each(|address| {
        let mut stream = connect(address);
        let message = bytes(64 << 20);
        stream.set_nonblocking(true).unwrap();
        let mut sent = 0;
        // Until nothing moves any more, which another's whole exchange shows.
        loop {
            let before = sent;
            while let Ok(length) = stream.write(&message[sent..]) {
                sent += length;
            }
            exchange(&connect(address), &bytes(1 << 20));
            if sent == before {
                break;
            }
        }
        assert!(sent < message.len(), "it was never blocked");
        stream.set_nonblocking(false).unwrap();
        thread::scope(|scope| {
            let rest = &message[sent..];
            let mut writer = stream.try_clone().unwrap();
            scope.spawn(move || {
                writer.write_all(rest).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let mut echo = Vec::new();
            stream.read_to_end(&mut echo).unwrap();
            assert!(echo == message);
        });
    });
}

#[test]
fn thousand_connections_at_a_time() {
    on_each(|address| {
        let streams: Vec<TcpStream> = (0..1000).map(|_| connect(address)).collect();
        let message = |place: usize| bytes(place + 128).split_off(place);
        for (place, mut stream) in streams.iter().enumerate() {
            stream.write_all(&message(place)).unwrap();
        }
        for (place, stream) in streams.iter().enumerate() {
            let mut echo = [0; 128];
            let mut reader = stream;
            reader.read_exact(&mut echo).unwrap();
            assert!(echo[..] == message(place)[..]);
            exchange(stream, b"the last");
        }
    });
}

/// A reset in the middle ends the connection that has it, whether the server reads or writes.
#[test]
fn resets() {
    on_each(|address| {
        for length in [1, 1 << 20] {
            for _ in 0..100 {
                let mut stream = connect(address);
                stream.set_nonblocking(true).unwrap();
                let _ = stream.write(&bytes(length)).unwrap();
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
        exchange(&connect(address), &bytes(1 << 20));
    });
}

#[test]
fn datagrams() {
    on_each(|address| {
        let socket = UdpSocket::bind((address.ip(), 0)).unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut echo = vec![0; 1 << 16];
        for length in [1, 128, 1472, 65_507, 0] {
            let message = bytes(length);
            socket.send(&message).unwrap();
            let length = socket.recv(&mut echo).unwrap();
            assert!(echo[..length] == message);
        }
    });
}

/// The programs that are installed, and that all they started ends with them.
#[test]
fn installed_programs() {
    let own_network = enter_new_network().and_then(|()| bring_up("lo")).is_ok();
    let others = peers()
        .into_iter()
        .filter(|peer| ![subject::EPOLL, subject::IO_URING, subject::TOKIO].contains(&peer.name));
    for (peer, port) in others.zip(2000..) {
        let obstacle = peer.obstacle().or_else(|| (!own_network).then(|| "needs root".into()));
        if let Some(obstacle) = obstacle {
            eprintln!("{}: {obstacle}", peer.name);
            continue;
        }
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let address = SocketAddr::new(ip, port);
            let before = sockets_in_use();
            let running = Running(peer.command(address).spawn().unwrap());
            await_that(|| TcpStream::connect(address).is_ok(), peer.name);
            let mut open = connect(address);
            let (message, mut echo) = (bytes(128), [0; 128]);
            open.write_all(&message).unwrap();
            open.read_exact(&mut echo).unwrap();
            assert!(echo[..] == message);
            drop(running);
            drop(open);
            await_that(|| sockets_in_use() == before, "a process is left");
        }
    }
}

/// A process that ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}
