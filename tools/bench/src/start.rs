//! How long bpfecho takes from exec(2) to the first echo.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::namespace::{Namespace, PORT};
use crate::results::{Measure, Summary, Unit};
use crate::rounds::{self, Entry, Task};
use crate::running::Process;
use crate::subject::{BPFECHO, BPFECHO_CLSACT};

/// The group of measures.
pub(crate) const GROUP: &str = "start";

/// What is between a datagram that did not come back and the next: what the result may be wrong by.
const INTERVAL: Duration = Duration::from_micros(50);

/// How many starts have their median taken in a turn.
const STARTS: usize = 5;

/// Measures the start by each hook, while nothing else is attached: with a program on tcx anywhere on the host the kernel
/// has switched that hook on already, and it is faster (sch_handle_egress() in net/core/dev.c).
pub(crate) fn measure(program: &Path, patience: Duration, rounds: u32) -> Result<Vec<Measure>, String> {
    eprintln!("bench: {GROUP}");
    let namespace = Namespace::new()?;
    let entry = |subject, hook| {
        let namespace = &namespace;
        let turn = move || {
            let starts = (0..STARTS).map(|_| namespace.run(|| first_echo(program, hook, patience))?);
            let starts = starts.collect::<Result<Vec<f64>, String>>()?;
            Ok(Summary::of(&starts).map(|summary| summary.median).into_iter().collect())
        };
        Entry { subject, turn: Ok(Box::new(turn)) }
    };
    let task = Task {
        group: GROUP,
        measures: vec![("exec to first echo".into(), Unit::Milliseconds)],
        entries: vec![entry(BPFECHO, "auto"), entry(BPFECHO_CLSACT, "clsact")],
    };
    Ok(rounds::measure(&[task], rounds))
}

/// Milliseconds until the first echo.
fn first_echo(program: &Path, hook: &str, patience: Duration) -> Result<f64, String> {
    let failed = |error: std::io::Error| format!("a socket for datagrams: {error}");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    socket.connect((Ipv4Addr::LOCALHOST, PORT)).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let mut command = Command::new(program);
    command.args(["--quiet", "--hook", hook, "127.0.0.1", &PORT.to_string()]).stdin(Stdio::null());
    let begin = Instant::now();
    let process = Process::start(&mut command)?;
    while !echoes(&socket)? {
        if begin.elapsed() > patience {
            return Err("no datagram came back".into());
        }
        thread::sleep(INTERVAL);
    }
    let taken = begin.elapsed();
    process.end()?;
    while echoes(&socket)? {
        if begin.elapsed() > patience {
            return Err("it echoes when it has ended".into());
        }
        thread::sleep(INTERVAL);
    }
    Ok(taken.as_secs_f64() * 1e3)
}

/// Whether a datagram comes back. An echo on loopback is there as soon as it is sent.
fn echoes(socket: &UdpSocket) -> Result<bool, String> {
    const MESSAGE: &[u8] = b"bpfecho";
    let mut echo = [0; MESSAGE.len() + 1];
    match socket.send(MESSAGE).and_then(|_| socket.recv(&mut echo)) {
        Ok(length) if echo[..length] == *MESSAGE => Ok(true),
        Ok(length) => Err(format!("a wrong byte: {:?} came back", &echo[..length])),
        // Until the port is held the host says that nobody is there (udp(7)), and then nobody answers.
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::WouldBlock) => {
            Ok(false)
        }
        Err(error) => Err(format!("sending a datagram: {error}")),
    }
}
