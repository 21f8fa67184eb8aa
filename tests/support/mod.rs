//! What the tests of the product share: a network of their own, the command as a child process, clients.
//!
//! Every test runs in a network namespace that its thread makes and that vanishes with it, so that no packet
//! leaves the test and nothing has to be cleaned up.

#![allow(dead_code)] // each test program uses its own part

pub(crate) mod bpfecho;
pub(crate) mod datagram;
pub(crate) mod foreign;
pub(crate) mod kernel;
pub(crate) mod mounts;
pub(crate) mod namespace;
pub(crate) mod network;
pub(crate) mod ordinary;
pub(crate) mod preload;
pub(crate) mod random;
pub(crate) mod rtnetlink;
pub(crate) mod stream;
pub(crate) mod sys;
pub(crate) mod tc;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

/// A test: its name, what it needs, and its body.
pub(crate) struct Test {
    name: &'static str,
    tools: &'static [&'static str],
    body: fn(),
}

/// A test that needs root.
pub(crate) const fn test(name: &'static str, body: fn()) -> Test {
    Test { name, tools: &[], body }
}

impl Test {
    /// The programs that must be installed for the test.
    pub(crate) const fn needs(self, tools: &'static [&'static str]) -> Self {
        Self { tools, ..self }
    }

    /// Why the test cannot run here.
    fn obstacle(&self) -> Option<String> {
        if !sys::is_privileged() {
            return Some("needs root".into());
        }
        let missing = self.tools.iter().find(|tool| {
            !Command::new("sh")
                .args(["-c", "command -v \"$1\"", "sh", tool])
                .output()
                .unwrap()
                .status
                .success()
        });
        missing.map(|tool| format!("needs {tool}"))
    }

    fn trial(self) -> Trial {
        let obstacle = self.obstacle();
        let body = self.body;
        let trial = Trial::test(self.name, move || namespace::run(body).map_err(Failed::from));
        match obstacle {
            None => trial,
            // In CI a test that is left out is a failure.
            Some(obstacle) if std::env::var_os("CI").is_some() => {
                Trial::test(self.name, move || Err(Failed::from(obstacle)))
            }
            Some(obstacle) => trial.with_kind(obstacle).with_ignored_flag(true),
        }
    }
}

/// Runs `tests`, as the command line wants. One at a time unless it says otherwise: they share the kernel's
/// loopback queues, and most load both CPUs.
pub(crate) fn main(tests: impl IntoIterator<Item = Test>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, tests.into_iter().map(Test::trial).collect()).exit_code()
}
