//! The command without being root.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The program as an ordinary user with some capabilities; the copy of it is removed with the value.
pub(crate) struct Ordinary(PathBuf);

impl Ordinary {
    pub(crate) fn new() -> Self {
        // The user may not be allowed to go where the program was built.
        let copy = std::env::temp_dir().join(format!("bpfecho-copy-{}", std::process::id()));
        std::fs::copy(env!("CARGO_BIN_EXE_bpfecho"), &copy).unwrap();
        Self(copy)
    }

    /// The command, with these capabilities.
    pub(crate) fn command(&self, capabilities: &[&str]) -> Command {
        let list: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.args([format!("--inh-caps=-all{list}"), format!("--ambient-caps=-all{list}")]);
        command.arg(&self.0).stdin(Stdio::null());
        command
    }
}

impl Drop for Ordinary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
