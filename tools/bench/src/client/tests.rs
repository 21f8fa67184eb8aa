//! Servers that make mistakes get no numbers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::connection::{Connection, Options};
use super::connections::{self, End};
use super::datagrams::{self, Datagrams};
use super::ping_pong::latency;
use super::{Endpoint, Limits, many, requests, streaming};
use crate::namespace::Namespace;
use crate::results::{Outcome, Results, Unit};
use crate::rounds::{self, Task};
use crate::running::Subject;

/// What a server does wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// A bit of a byte is wrong.
    WrongByte,
    /// What was read at once is lost.
    Lost,
    /// A byte comes back twice, of datagrams a whole one.
    Twice,
    /// The stream ends instead of an echo.
    EarlyEnd,
    /// A byte follows where the stream should end.
    LateEnd,
}

/// Behind how many bytes of all connections that is: in the middle of a message, when fifty or a hundred have come back.
const PLACE: u64 = 6410;

/// What a mistake makes of the bytes that were read behind `offset`; nothing if the connection is to end.
fn echo(mistake: Mistake, mut bytes: Vec<u8>, offset: u64) -> Option<Vec<u8>> {
    let Some(place) =
        PLACE.checked_sub(offset).map(|place| place as usize).filter(|place| *place < bytes.len())
    else {
        return Some(bytes);
    };
    match mistake {
        Mistake::None | Mistake::LateEnd => {}
        Mistake::WrongByte => bytes[place] ^= 0x10,
        Mistake::Lost => bytes.clear(),
        Mistake::Twice => bytes.insert(place, bytes[place]),
        Mistake::EarlyEnd => return None,
    }
    Some(bytes)
}

fn echo_stream(mut stream: TcpStream, mistake: Mistake, total: &AtomicU64) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read) = stream.read(&mut buffer) {
        if read == 0 {
            if mistake == Mistake::LateEnd {
                let _ = stream.write_all(b"!");
            }
            return;
        }
        let offset = total.fetch_add(read as u64, Ordering::Relaxed);
        let Some(echo) = echo(mistake, buffer[..read].to_vec(), offset) else { return };
        if stream.write_all(&echo).is_err() {
            return;
        }
    }
}

/// A server of connections that ends with the tests.
fn tcp_server(mistake: Mistake) -> Endpoint {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = Endpoint::Server(listener.local_addr().unwrap());
    let total = Arc::new(AtomicU64::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let total = Arc::clone(&total);
            thread::spawn(move || echo_stream(stream, mistake, &total));
        }
    });
    endpoint
}

/// A server of datagrams that ends with the tests.
fn udp_server(mistake: Mistake) -> Endpoint {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = Endpoint::Server(socket.local_addr().unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 1 << 16];
        let mut total = 0;
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let sent = &buffer[..length];
            let bytes = if mistake == Mistake::Twice {
                Some(sent.to_vec())
            } else {
                echo(mistake, sent.to_vec(), total)
            };
            let is_here = (total..total + length as u64).contains(&PLACE);
            let times = if mistake == Mistake::Twice && is_here { 2 } else { 1 };
            total += length as u64;
            for bytes in bytes.into_iter().filter(|bytes| !bytes.is_empty()) {
                (0..times).for_each(|_| drop(socket.send_to(&bytes, client)));
            }
        }
    });
    endpoint
}

type Client = fn(Endpoint, Limits) -> Result<Vec<f64>, String>;

fn ping_pong(endpoint: Endpoint, limits: Limits) -> Result<Vec<f64>, String> {
    let mut connection = Connection::open(endpoint, Options::NoDelay, 64, limits.patience)?;
    let latency = latency(&mut connection, limits)?;
    connection.finish().map(|()| latency)
}

fn datagram_ping_pong(endpoint: Endpoint, limits: Limits) -> Result<Vec<f64>, String> {
    let mut datagrams = Datagrams::open(endpoint, 64, limits.patience)?;
    let latency = latency(&mut datagrams, limits)?;
    datagrams.finish().map(|()| latency)
}

const PING_PONG: Client = ping_pong;
const REQUESTS: Client = |endpoint, limits| requests::rate(endpoint, 4, limits);
const MANY: Client = |endpoint, limits| many::rate(endpoint, 4, limits);
const ORDERLY: Client = |endpoint, limits| connections::rate(endpoint, End::Orderly, limits);
const RESET: Client = |endpoint, limits| connections::rate(endpoint, End::Reset, limits);
const STREAMING: Client = |endpoint, limits| streaming::rate(endpoint, 2, 1 << 16, limits);

/// Clients that wait for one message before they send the next.
const SERIAL: [Client; 5] = [PING_PONG, REQUESTS, MANY, ORDERLY, RESET];

const DATAGRAMS: [Client; 2] = [datagram_ping_pong, datagrams::rate];

/// What comes of a client that meets the server which `start` starts in a network of its own, and whether a run in which
/// that was measured is good.
fn outcome(client: Client, start: impl FnOnce() -> Endpoint, limits: Limits) -> (Outcome, bool) {
    // Without privileges it is that of the host: free ports of its loopback are nobody's.
    let namespace = Namespace::new().or_else(|_| Namespace::here()).unwrap();
    let endpoint = namespace.run(start).unwrap();
    let subject = Subject { name: "server", namespace, endpoint, process: None };
    let entries = vec![subject.entry(|endpoint| client(endpoint, limits))];
    let task = Task { group: "test", measures: vec![("rate".into(), Unit::PerSecond)], entries };
    let mut results = Results { measures: rounds::measure(&[task], 2) };
    let is_good = crate::is_good(&results, false);
    (results.measures.remove(0).rows.remove(0).outcome, is_good)
}

#[track_caller]
fn assert_void(client: Client, start: impl FnOnce() -> Endpoint, wanted: &str) {
    // It is over with the mistake, or when the client has waited for what was lost.
    let limits = Limits { duration: Duration::from_secs(1), patience: Duration::from_secs(1) };
    let (outcome, is_good) = outcome(client, start, limits);
    assert!(
        matches!(&outcome, Outcome::Void(how) if how.contains(wanted)),
        "{outcome:?}, not void with `{wanted}`"
    );
    assert!(!is_good);
}

#[track_caller]
fn assert_valid(client: Client, start: impl FnOnce() -> Endpoint) {
    let limits = Limits { duration: Duration::from_millis(50), patience: Duration::from_secs(30) };
    let (outcome, is_good) = outcome(client, start, limits);
    let Outcome::Values(values) = outcome else { panic!("{outcome:?}") };
    assert!(values.len() == 2 && values.iter().all(|value| *value > 0.0), "{values:?}");
    assert!(is_good);
}

#[test]
fn honest_servers_get_numbers() {
    SERIAL
        .into_iter()
        .chain([STREAMING])
        .for_each(|client| assert_valid(client, || tcp_server(Mistake::None)));
    DATAGRAMS.into_iter().for_each(|client| assert_valid(client, || udp_server(Mistake::None)));
}

#[test]
fn sockets_connected_to_themselves_get_numbers() {
    for client in [PING_PONG, REQUESTS, MANY, STREAMING].into_iter().chain(DATAGRAMS) {
        assert_valid(client, || Endpoint::Itself);
    }
}

#[test]
fn a_wrong_byte_is_void() {
    for client in SERIAL.into_iter().chain([STREAMING]) {
        assert_void(client, || tcp_server(Mistake::WrongByte), "a wrong byte behind");
    }
}

#[test]
fn a_lost_request_is_void() {
    SERIAL.into_iter().for_each(|client| assert_void(client, || tcp_server(Mistake::Lost), "a lost request"));
    // What comes behind is in the wrong place.
    assert_void(STREAMING, || tcp_server(Mistake::Lost), "a wrong byte behind");
}

#[test]
fn a_byte_too_many_is_void() {
    for client in SERIAL.into_iter().chain([STREAMING]) {
        assert_void(client, || tcp_server(Mistake::Twice), "a wrong byte behind");
    }
    assert_void(ORDERLY, || tcp_server(Mistake::LateEnd), "more came back");
}

#[test]
fn an_early_end_is_void() {
    SERIAL
        .into_iter()
        .for_each(|client| assert_void(client, || tcp_server(Mistake::EarlyEnd), "ended early"));
    // The end, or a reset as there is more to read; seen by who reads or who writes.
    assert_void(STREAMING, || tcp_server(Mistake::EarlyEnd), "behind");
}

#[test]
fn wrong_and_lost_and_repeated_datagrams_are_void() {
    for client in DATAGRAMS {
        assert_void(client, || udp_server(Mistake::WrongByte), "a wrong byte");
        assert_void(client, || udp_server(Mistake::Lost), "a lost request");
        assert_void(client, || udp_server(Mistake::Twice), "was on its way");
    }
}
