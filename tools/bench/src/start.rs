//! How long bpfecho takes from exec(2) to the first echo.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Limits;
use crate::namespace::{Namespace, PORT};
use crate::results::Unit;
use crate::rounds::{Entry, Task};
use crate::running::Process;
use crate::subject;

/// What is between a datagram that did not come back and the next: what the result may be wrong by.
const INTERVAL: Duration = Duration::from_micros(50);

/// The task, for which nothing has to run.
pub(crate) fn task<'a>(program: &'a Path, namespace: &'a Namespace, limits: Limits) -> Task<'a> {
    let turn = Box::new(move || namespace.run(|| first_echo(program, limits.patience))?);
    Task {
        group: "start",
        measures: vec![("exec to first echo".into(), Unit::Milliseconds)],
        entries: vec![Entry { subject: subject::BPFECHO, turn: Ok(turn) }],
    }
}

/// Milliseconds until the first echo.
fn first_echo(program: &Path, patience: Duration) -> Result<Vec<f64>, String> {
    let failed = |error: std::io::Error| format!("a socket for datagrams: {error}");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    socket.connect((Ipv4Addr::LOCALHOST, PORT)).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let mut command = Command::new(program);
    command.args(["--quiet", "127.0.0.1", &PORT.to_string()]).stdin(Stdio::null());
    let begin = Instant::now();
    let _process = Process::start(&mut command)?;
    while !echoes(&socket)? {
        if begin.elapsed() > patience {
            return Err("no datagram came back".into());
        }
        thread::sleep(INTERVAL);
    }
    Ok(vec![begin.elapsed().as_secs_f64() * 1e3])
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
