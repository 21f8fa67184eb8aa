//! Boots kernels of Debian in virtual machines, in which there is nothing but busybox, the static program and the suites,
//! and runs the suites there: `cargo test-machines` on all kernels, `cargo test-machines 5.10 7.2` on these.
//!
//! What it needs: qemu-system-*, cpio, xz, and Debian's compiler with the sources of its standard library. Kernels are
//! fetched from Debian's suites into `target/`. Processors are emulated, whatever the machine could do itself.

mod binaries;
mod boot;
mod console;
mod first_process;
mod initramfs;
mod kernel;
mod machine;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

use build_dist::architecture::Architecture;
use debian_packages::Suite;

use binaries::Binaries;
use console::{Console, Outcome};
use kernel::Kernel;
use machine::{MACHINES, Machine};

fn main() -> ExitCode {
    let names: Vec<String> = env::args().skip(1).collect();
    let known: Vec<&str> = MACHINES.iter().map(|machine| machine.name).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("test-machines: `{name}` is no machine: there are {}", known.join(", "));
        return ExitCode::from(2);
    }
    let is_wanted = |machine: &&Machine| names.is_empty() || names.iter().any(|name| name == machine.name);
    let wanted: Vec<&Machine> = MACHINES.iter().filter(is_wanted).collect();
    match test(&wanted) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("test-machines: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the machines one after another, and says what came of it. Whether all went well.
fn test(machines: &[&Machine]) -> Result<bool, String> {
    let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .map_err(|error| format!("the root of the sources: {error}"))?;
    let mut built: BTreeMap<&str, Binaries> = BTreeMap::new();
    let mut consoles = Vec::new();
    for machine in machines {
        let name = machine.hardware.architecture;
        let architecture =
            Architecture::named(name).ok_or_else(|| format!("nothing is built for `{name}`"))?;
        if !built.contains_key(name) {
            built.insert(name, binaries::build(&root, architecture)?);
        }
        let console = run_machine(&root, machine, architecture, &built[name]);
        consoles.push(console.map_err(|error| format!("{}: {error}", machine.name))?);
    }
    let columns: Vec<(&str, &Console)> = machines.iter().map(|machine| machine.name).zip(&consoles).collect();
    for (name, console) in &columns {
        for check in console.checks.iter().filter(|check| check.outcome == Outcome::Failed) {
            println!("\n== {name}: {}\n{}", check.name, check.said.trim_end());
        }
        if !console.complete {
            println!("\n== {name} did not come to its end\n{}", console.rest.trim_end());
        }
    }
    print!("\n{}", table::table(&columns));
    Ok(consoles.iter().all(Console::is_good))
}

/// Runs one machine.
fn run_machine(
    root: &Path,
    machine: &Machine,
    architecture: &Architecture,
    binaries: &Binaries,
) -> Result<Console, String> {
    let Machine { name, hardware, suite, package } = machine;
    let cache = root.join("target/debian-packages");
    let kernel = Kernel::fetch(&Suite::open(&cache, suite, architecture.debian)?, package)?;
    let folder = root.join("target/test-machines").join(name);
    fs::create_dir_all(&folder).map_err(|error| format!("creating {}: {error}", folder.display()))?;
    let busybox = Suite::open(&cache, BUSYBOX_SUITE, architecture.debian)?;
    let initramfs = initramfs::write(&folder, &busybox, binaries, &kernel)?;
    let start = Instant::now();
    let said = boot::boot(hardware, &kernel.image, &initramfs)?;
    let log = folder.join("console");
    fs::write(&log, &said).map_err(|error| format!("writing {}: {error}", log.display()))?;
    let mut console = Console::parse(&said);
    if hardware.architecture == first_process::ARCHITECTURE {
        console.checks.push(first_process::check(root, binaries, &kernel)?);
    }
    let release = console.kernel.as_deref().unwrap_or("unknown");
    println!("{name}: kernel {release}, {} checks in {} s", console.checks.len(), start.elapsed().as_secs());
    Ok(console)
}

/// The suite whose busybox is used, whatever the kernel.
const BUSYBOX_SUITE: &str = "trixie";
