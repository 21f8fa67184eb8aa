//! The command as a child process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use super::sys;

/// A running `bpfecho`. It is ended and waited for with the value.
pub(crate) struct Bpfecho {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// The line by which it said that it is ready.
    pub(crate) ready: String,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct End {
    /// The exit status.
    pub(crate) status: ExitStatus,
    /// What was said on standard output.
    pub(crate) stdout: String,
    /// What was said on standard error, less the ready line.
    pub(crate) stderr: String,
}

impl End {
    /// How often the summary says that something happened: the number before `what`, zero without it.
    pub(crate) fn count(&self, what: &str) -> u64 {
        let mut parts = self.summary().filter_map(|part| part.split_once(' '));
        parts.find(|(_, said)| said.starts_with(what)).map_or(0, |(number, _)| number.parse().unwrap())
    }

    /// How many packets of a kind the summary says came back, such as "UDP/IPv4".
    pub(crate) fn packets(&self, kind: &str) -> u64 {
        let said = self.summary().find_map(|part| part.strip_prefix(kind)?.strip_prefix(' '));
        said.map_or(0, |said| said.split(' ').next().unwrap().parse().unwrap())
    }

    fn summary(&self) -> impl Iterator<Item = &str> {
        let summary = self.stderr.lines().find_map(|line| line.strip_prefix("bpfecho: echoed "));
        summary.unwrap_or_else(|| panic!("no summary: {self:?}")).split("; ")
    }
}

/// The command, not yet started, in the caller's network namespace.
pub(crate) fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpfecho"));
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

impl Bpfecho {
    /// Starts the command and waits until it is ready.
    pub(crate) fn start(arguments: &str) -> Self {
        Self::spawn(&mut command(arguments))
    }

    /// Starts `command` and waits until it is ready.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut ready = String::new();
        let mut said = String::new();
        while !ready.contains("echoing") {
            said.push_str(&ready);
            ready.clear();
            if stderr.read_line(&mut ready).unwrap() == 0 {
                panic!("bpfecho did not start: {:?}: {said}", child.wait());
            }
        }
        Self { child, stderr, ready: ready.trim_end().into() }
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal` and waits for the end.
    pub(crate) fn end_by(mut self, signal: i32) -> End {
        sys::kill(self.pid(), signal);
        let status = self.child.wait().unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        End { status, stdout, stderr }
    }

    /// Ends it as a user does.
    pub(crate) fn end(self) -> End {
        self.end_by(libc::SIGTERM)
    }
}

impl Drop for Bpfecho {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            sys::kill(self.pid(), libc::SIGTERM);
            let _ = self.child.wait();
        }
    }
}
