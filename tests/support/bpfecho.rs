//! The command as a child process.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use super::network::await_that;
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

/// A child process, killed with the value at the latest.
pub(crate) struct Running(Option<Child>);

impl Running {
    /// Starts `command`.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    /// The process.
    pub(crate) fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    /// Sends `signal` and waits for the end. Returns the exit status and what is said on both outputs from now on.
    pub(crate) fn end_by(mut self, signal: i32) -> (Option<i32>, String) {
        sys::kill(self.child().id(), signal);
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where the program is: where it was built, or where the environment says, as tests may run on another machine than that.
pub(crate) fn program() -> OsString {
    std::env::var_os("BPFECHO_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_bpfecho").into())
}

/// The command, not yet started, in the caller's network namespace.
pub(crate) fn command(arguments: &str) -> Command {
    let mut command = Command::new(program());
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

/// Runs the command, which must succeed and say nothing but what it says on standard output, or on standard error.
#[track_caller]
pub(crate) fn run(arguments: &str) -> String {
    let output = command(arguments).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments}: {said}");
    said
}

impl Bpfecho {
    /// Starts the command and waits until it is ready.
    pub(crate) fn start(arguments: &str) -> Self {
        Self::spawn(&mut command(arguments))
    }

    /// Starts `command` and waits until it is ready.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::spawn_until(command, "echoing")
    }

    /// Starts `command` and waits until it says `what`.
    pub(crate) fn spawn_until(command: &mut Command, what: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut bpfecho = Self { child, stderr, ready: String::new() };
        bpfecho.await_line(what);
        bpfecho
    }

    /// Waits until it says `what`.
    pub(crate) fn await_line(&mut self, what: &str) {
        let mut said = String::new();
        let mut line = String::new();
        while !line.contains(what) {
            said.push_str(&line);
            line.clear();
            if self.stderr.read_line(&mut line).unwrap() == 0 {
                panic!("bpfecho did not start: {:?}: {said}", self.child.wait());
            }
        }
        self.ready = line.trim_end().into();
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal` and waits for the end.
    pub(crate) fn end_by(self, signal: i32) -> End {
        sys::kill(self.pid(), signal);
        self.collect()
    }

    /// Waits for the end, which something else brings about.
    pub(crate) fn await_end(mut self) -> End {
        await_that("bpfecho ends", || self.child.try_wait().unwrap().is_some());
        self.collect()
    }

    fn collect(mut self) -> End {
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
