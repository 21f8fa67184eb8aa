//! The programs that go into the machines: static, as there is nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::machine::Architecture;
use crate::run;

/// The suites that are run, targets of the root package, as init.sh has them.
const SUITES: [&str; 2] = ["acceptance", "modules"];

/// Debian's compiler: its package has the sources of the standard library.
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";

/// Where the programs for a machine are.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) product: PathBuf,
    /// With their names.
    pub(crate) suites: Vec<(String, PathBuf)>,
}

/// Builds them in the workspace at `root`.
pub(crate) fn build(root: &Path, architecture: &Architecture) -> Result<Binaries, String> {
    // The standard library asks for this library even where nothing unwinds.
    let empty = root.join("target/test-machines/empty");
    fs::create_dir_all(&empty).map_err(|error| format!("creating {}: {error}", empty.display()))?;
    run(Command::new("ar").arg("crs").arg(empty.join("libunwind.a")))?;
    let cargo = |subcommand: &str, flags: &str| {
        let mut command = Command::new(CARGO);
        let linker = format!("CARGO_TARGET_{}_LINKER", architecture.target.replace('-', "_").to_uppercase());
        let flags =
            format!("-Clink-self-contained=no -Crelocation-model=static {flags} -L {}", empty.display());
        command
            .current_dir(root)
            .envs([("RUSTC", RUSTC), ("RUSTC_BOOTSTRAP", "1"), (&linker, "musl-gcc"), ("RUSTFLAGS", &flags)])
            .args([subcommand, "--quiet", "--locked", "--target", architecture.target])
            .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=", "--message-format=json"]);
        command
    };
    let mut product = cargo("build", "-Zunstable-options -Cpanic=immediate-abort");
    let product = executables(&run(product.args(["--release", "--bin", "bpfecho"]))?);
    // A test that fails says so before it aborts. Nobody asks it for a backtrace.
    let mut suites =
        cargo("test", "-Cpanic=abort -Clink-arg=-Wl,--defsym=_Unwind_Backtrace=0,--defsym=_Unwind_GetIP=0");
    suites.args(["--no-run", "-Zpanic-abort-tests"]).env("CARGO_PROFILE_DEV_DEBUG", "0");
    suites.args(SUITES.map(|suite| format!("--test={suite}")));
    let mut suites = executables(&run(&mut suites)?);
    suites.retain(|(name, _)| SUITES.contains(&name.as_str()));
    let product = product.into_iter().find(|(name, _)| name == "bpfecho");
    let (_, product) = product.ok_or("cargo build made no bpfecho")?;
    if suites.len() != SUITES.len() {
        return Err(format!("cargo test made {suites:?} instead of {SUITES:?}"));
    }
    Ok(Binaries { product, suites })
}

/// The programs that cargo says it has built, with the names of their targets.
fn executables(said: &[u8]) -> Vec<(String, PathBuf)> {
    let said = String::from_utf8_lossy(said);
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executables = messages.filter_map(|message| {
        Some((message["target"]["name"].as_str()?.to_string(), message["executable"].as_str()?.into()))
    });
    executables.collect()
}
