//! Builds what is given to users, in `target/dist`: for each architecture a static binary and a Debian package, and the
//! man page, the completions, the units and checksums of all of it.
//!
//! `cargo build-dist` does so for all architectures, `cargo build-dist x86_64 aarch64` for these. The sizes have to be
//! those in the README. With `--check` each binary is built twice, the second time from a copy of the sources in another
//! folder, and has to be the same byte for byte.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use build_dist::architecture::{ALL, Architecture};
use build_dist::output;
use build_dist::toolchain::Toolchain;

mod deb;
mod elf;
mod files;
mod sizes;

fn main() -> ExitCode {
    let (options, names): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|argument| argument.starts_with('-'));
    let architectures: Option<Vec<_>> = match names.as_slice() {
        [] => Some(ALL.iter().collect()),
        names => names.iter().map(|name| Architecture::named(name)).collect(),
    };
    let check = options.iter().any(|option| option == "--check");
    let (Some(architectures), true) = (architectures, options.iter().all(|option| option == "--check"))
    else {
        let names: Vec<&str> = ALL.iter().map(|architecture| architecture.name).collect();
        eprintln!("usage: cargo build-dist [--check] [ARCHITECTURE...], of {}", names.join(", "));
        return ExitCode::from(2);
    };
    match build(&architectures, check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("build-dist: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build(architectures: &[&'static Architecture], check: bool) -> Result<(), String> {
    let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .map_err(|error| format!("the root of the sources: {error}"))?;
    let folder = root.join("target/dist");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| format!("removing {}: {error}", folder.display()))?;
    }
    let scratch = root.join("target/build-dist");
    let readme = files::read(&root.join("README.md"))?;
    let mut failures = Vec::new();
    for architecture in architectures {
        let toolchain = Toolchain::find(&root, architecture)?;
        let binary = folder.join(format!("bpfecho-{}", architecture.name));
        files::copy(&toolchain.product()?, &binary, 0o755)?;
        let bytes = fs::read(&binary).map_err(|error| format!("reading {}: {error}", binary.display()))?;
        elf::check_static(&bytes).map_err(|error| format!("{}: {error}", binary.display()))?;
        println!("{}: {} bytes, by {toolchain}", binary.display(), bytes.len());
        failures.extend(sizes::check(&readme, architecture, bytes.len() as u64).err());
        if check {
            compare(&root, &scratch, architecture, &bytes)?;
        }
        let package = deb::build(&root, &scratch, &folder, architecture, &binary)?;
        println!("{}: {} bytes", package.display(), files::size(&package)?);
    }
    for document in &files::DOCUMENTS {
        let name = Path::new(document.source).strip_prefix("tools").unwrap_or(Path::new(document.source));
        files::copy(&root.join(document.source), &folder.join(name), 0o644)?;
    }
    let sums = output(
        Command::new("sh")
            .current_dir(&folder)
            .args(["-c", "find * -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum"]),
    )?;
    files::write(&folder.join("SHA256SUMS"), sums.as_bytes(), 0o644)?;
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\nbuild-dist: ")) }
}

/// Builds what is committed once more in another folder, and compares.
fn compare(
    root: &Path,
    scratch: &Path,
    architecture: &'static Architecture,
    first: &[u8],
) -> Result<(), String> {
    let copy = scratch.join("a copy");
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(|error| format!("removing {}: {error}", copy.display()))?;
    }
    // What git knows of, as it is in the folder.
    let listed = output(Command::new("git").current_dir(root).args(["ls-files", "-z"]))?;
    for name in listed.split_terminator('\0') {
        let source = root.join(name);
        let mode = if name == "tools/as-root" { 0o755 } else { 0o644 };
        if source.exists() {
            files::copy(&source, &copy.join(name), mode)?;
        }
    }
    let second: PathBuf = Toolchain::find(&copy, architecture)?.product()?;
    let second = fs::read(&second).map_err(|error| format!("reading {}: {error}", second.display()))?;
    if first == second {
        return Ok(());
    }
    Err(format!("the binary for {} is another one when it is built in {}", architecture.name, copy.display()))
}
