//! The command without being root.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{bpfecho, sys};

/// The user who owns nothing.
const NOBODY: u32 = 65534;

/// The program as an ordinary user with some capabilities; the copy of it is removed with the value.
pub(crate) struct Ordinary(PathBuf);

impl Ordinary {
    pub(crate) fn new() -> Self {
        // The user may not be allowed to go where the program was built.
        let copy = std::env::temp_dir().join(format!("bpfecho-copy-{}", std::process::id()));
        std::fs::copy(bpfecho::program(), &copy).unwrap();
        Self(copy)
    }

    /// The command, with these capabilities.
    pub(crate) fn command(&self, capabilities: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command.stdin(Stdio::null());
        sys::run_as(&mut command, NOBODY, capabilities.iter().copied().map(number).collect());
        command
    }
}

/// The number of a capability (linux/capability.h).
fn number(name: &str) -> u32 {
    match name {
        "net_admin" => 12,
        "perfmon" => 38,
        "bpf" => 39,
        _ => panic!("no test needs {name}"),
    }
}

impl Drop for Ordinary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
