//! How static programs are built, for this machine and others: the product, and tests that run where nothing but a kernel
//! is.

pub mod architecture;
pub mod toolchain;

use std::process::Command;

/// Runs `command`, which must succeed. Returns what it prints; what it says on standard error is in the error.
///
/// # Errors
///
/// If it cannot be started, or fails.
pub fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("starting {program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{program} failed ({}): {}", output.status, said.trim_end()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("reading what {program} prints: {error}"))
}
