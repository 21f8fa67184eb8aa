//! The programs that go into the machines: static, as there is nothing else.

use std::path::{Path, PathBuf};

use build_dist::architecture::Architecture;
use build_dist::output;
use build_dist::toolchain::{Panic, Toolchain};
use serde_json::Value;

/// The suites that are run, targets of the root package, as init.sh has them.
const SUITES: [&str; 2] = ["acceptance", "modules"];

/// Where the programs for a machine are.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) product: PathBuf,
    /// With their names.
    pub(crate) suites: Vec<(String, PathBuf)>,
}

/// Builds them in the workspace at `root`.
pub(crate) fn build(root: &Path, architecture: &'static Architecture) -> Result<Binaries, String> {
    let toolchain = Toolchain::find(root, architecture)?;
    let product = toolchain.product()?;
    // A test that fails says so before it ends.
    let mut suites = toolchain.cargo("test", Panic::Told);
    suites.args(["--no-run", "--message-format=json-render-diagnostics"]).env("CARGO_PROFILE_DEV_DEBUG", "0");
    suites.args(SUITES.map(|suite| format!("--test={suite}")));
    let mut suites = executables(&output(&mut suites)?);
    suites.retain(|(name, _)| SUITES.contains(&name.as_str()));
    if suites.len() != SUITES.len() {
        return Err(format!("cargo test made {suites:?} instead of {SUITES:?}"));
    }
    Ok(Binaries { product, suites })
}

/// The programs that cargo says it has built, with the names of their targets.
fn executables(said: &str) -> Vec<(String, PathBuf)> {
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executables = messages.filter_map(|message| {
        Some((message["target"]["name"].as_str()?.to_string(), message["executable"].as_str()?.into()))
    });
    executables.collect()
}
