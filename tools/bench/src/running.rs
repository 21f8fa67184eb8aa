//! Subjects that run, each in a network namespace of its own.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::Endpoint;
use crate::client::connection::{Connection, Options};
use crate::namespace::{Namespace, PORT};
use crate::rounds::Entry;
use crate::server::Peer;
use crate::{subject, sys};

/// How long a server may take until it echoes.
const READY: Duration = Duration::from_secs(20);

/// Where servers serve.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);

/// A subject that can be measured.
pub(crate) struct Subject {
    /// One of [`crate::subject`].
    pub(crate) name: &'static str,
    /// Where it is.
    pub(crate) namespace: Namespace,
    /// How clients that are there reach it.
    pub(crate) endpoint: Endpoint,
    /// Its process, if it has one.
    #[expect(dead_code, reason = "it is there to be ended with the subject")]
    pub(crate) process: Option<Process>,
}

/// A subject that cannot be measured.
pub(crate) struct Absent {
    /// One of [`crate::subject`].
    pub(crate) name: &'static str,
    /// Why that is so.
    pub(crate) why: String,
}

/// What came of starting a subject.
pub(crate) type Started = Result<Subject, Absent>;

/// A process that is ended with the value.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Starts `command` in the caller's namespace.
    pub(crate) fn start(command: &mut Command) -> Result<Self, String> {
        let child = command.spawn().map_err(|error| format!("starting {}: {error}", name(command)))?;
        Ok(Self(child))
    }

    /// Ends it as a user does, so that it can take away what it attached.
    pub(crate) fn end(mut self) -> Result<(), String> {
        let failed = |error| format!("ending a process: {error}");
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::TERM).map_err(|error| failed(error.into()))?;
        self.0.wait().map(drop).map_err(failed)
    }
}

impl Subject {
    /// bpfecho on a hook, for these addresses, the last of which clients use. They are in a namespace of its own, so that it
    /// need not hold the port on each of them.
    pub(crate) fn bpfecho(
        name: &'static str,
        program: &Path,
        hook: &str,
        addresses: &[Ipv4Addr],
    ) -> Result<Self, String> {
        let address = addresses.last().copied().unwrap_or(Ipv4Addr::LOCALHOST);
        let mut command = Command::new(program);
        command.args(["--quiet", "--force", "--hook", hook]).args(addresses.iter().map(ToString::to_string));
        command.arg(PORT.to_string()).stdin(Stdio::null()).stderr(Stdio::piped());
        Self::serve(name, command, SocketAddr::from((address, PORT)))
    }

    /// A socket that is connected to itself.
    pub(crate) fn self_connected() -> Result<Self, String> {
        let namespace = Namespace::new()?;
        Ok(Self { name: subject::SELF_CONNECTED, namespace, endpoint: Endpoint::Itself, process: None })
    }

    /// A server in user space.
    pub(crate) fn peer(peer: &Peer) -> Result<Self, String> {
        peer.obstacle().map_or(Ok(()), Err)?;
        let mut command = peer.command(ADDRESS);
        // What they say of each connection that is reset is of no interest.
        command.stderr(Stdio::null());
        Self::serve(peer.name, command, ADDRESS)
    }

    /// A turn of a client that speaks to this subject.
    pub(crate) fn entry<'a>(&'a self, take: impl Fn(Endpoint) -> Result<Vec<f64>, String> + 'a) -> Entry<'a> {
        let turn = move || self.namespace.run(|| take(self.endpoint))?;
        Entry { subject: self.name, turn: Ok(Box::new(turn)) }
    }

    /// Starts a server in a namespace of its own, and waits until it echoes.
    fn serve(name: &'static str, mut command: Command, address: SocketAddr) -> Result<Self, String> {
        sys::end_with_parent(&mut command);
        let namespace = Namespace::new()?;
        let endpoint = Endpoint::Server(address);
        let process = namespace.run(|| {
            let mut process = Process::start(&mut command)?;
            process.await_echo(endpoint).map(|()| process)
        })?;
        Ok(Self { name, namespace, endpoint, process: Some(process?) })
    }
}

impl Process {
    /// Waits until there is an echo, or the process has ended.
    fn await_echo(&mut self, endpoint: Endpoint) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            let tried = Connection::open(endpoint, Options::Default, 1, READY);
            let failed = match tried.and_then(|mut connection| connection.request()) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if let Ok(Some(status)) = self.0.try_wait() {
                return Err(format!("it ended with {status}{}", self.said()));
            }
            if begin.elapsed() > READY {
                return Err(format!("it does not echo: {failed}"));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What it has said on standard error.
    fn said(&mut self) -> String {
        let mut said = String::new();
        let read = self.0.stderr.as_mut().map(|stderr| stderr.read_to_string(&mut said));
        if read.is_some() { format!(": {}", said.trim_end()) } else { String::new() }
    }
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
