//! The program as the first process of a machine, in which there is nothing else at all: a test of the root package, as the
//! other end of the machine's network is on this side.

use std::path::Path;
use std::process::Command;

use crate::binaries::Binaries;
use crate::console::{Check, Outcome};
use crate::kernel::Kernel;

/// The kind of processor that the test has emulated.
pub(crate) const ARCHITECTURE: &str = "x86_64";

/// What it is called.
const NAME: &str = "first_process";

/// Runs the test with this kernel.
pub(crate) fn check(root: &Path, binaries: &Binaries, kernel: &Kernel) -> Result<Check, String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["test", "--quiet", "--locked", "--test", NAME])
        .env("BPFECHO", &binaries.product)
        .env("KERNEL", &kernel.image)
        .env("MODULES", &kernel.all_modules)
        // A test that is left out has failed.
        .env("CI", "true")
        .output()
        .map_err(|error| format!("starting cargo: {error}"))?;
    let outcome = if output.status.success() { Outcome::Ok } else { Outcome::Failed };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok(Check { name: NAME.into(), outcome, said })
}
