//! Compiles the probe for BPF, little- and big-endian, and links the objects of which the product embeds one.
//!
//! `cargo build-probe` writes them to `probe/`; `cargo build-probe --check` changes nothing and fails if they
//! are not what the source compiles to.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

mod graph;
mod inspect;
mod kernel;
mod lines;

/// Debian's rustc, whose package has the precompiled `core` for BPF.
const RUSTC: &str = "/usr/bin/rustc";
const LLC: &str = "llc-22";
const LD: &str = "bpf-ld";
const OBJCOPY: &str = "bpf-objcopy";
const PACKAGES: &str = "rustc-web libstd-rust-web-dev-bpf llvm-22 binutils-bpf";

/// What an object is compiled for.
#[derive(Clone, Copy)]
struct Target {
    /// Its name in that of the object.
    name: &'static str,
    /// What LLVM calls the byte order.
    order: &'static str,
    /// Whether the kernel insists on the alignment of what is loaded and stored, as it does for machines that are slow
    /// otherwise (CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS).
    aligned: bool,
}

const TARGETS: [Target; 4] = [
    Target { name: "bpfel", order: "bpfel", aligned: false },
    Target { name: "bpfeb", order: "bpfeb", aligned: false },
    Target { name: "bpfel.aligned", order: "bpfel", aligned: true },
    Target { name: "bpfeb.aligned", order: "bpfeb", aligned: true },
];

fn main() -> ExitCode {
    let check = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [option] if option == "--check" => true,
        _ => {
            eprintln!("usage: cargo build-probe [--check]");
            return ExitCode::from(2);
        }
    };
    match TARGETS.into_iter().try_for_each(|target| build(target, check)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("build-probe: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the object for `target`, and writes it or compares it with the committed one.
fn build(target: Target, check: bool) -> Result<(), String> {
    let Target { name: target, order, aligned } = target;
    // As the compiler sees it, which makes it a dot for us: no path ties the bytes to a machine.
    let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .map_err(|error| format!("the root of the sources: {error}"))?;
    let mut from_root = with_path("--remap-path-prefix=", &root);
    from_root.push("=.");
    let scratch = root.join("target/build-probe");
    fs::create_dir_all(&scratch).map_err(|error| format!("creating {}: {error}", scratch.display()))?;
    let file = |suffix: &str| scratch.join(format!("{target}{suffix}"));
    let (bitcode, compiled, linked) = (file(".bc"), file(".compiled.o"), file(".linked.o"));
    let (btf, btf_ext, complete) = (file(".btf"), file(".btf.ext"), file(".o"));

    // LLVM makes one of two pieces of code that differ in a constant, with the constant in a variable. As an offset into
    // a packet that is what the verifier takes from nobody without CAP_PERFMON, so that pass is left out.
    //
    // The target has LLVM's own object format only, so code generation is llc's, which knows two things that
    // rustc has no option for: the oldest instruction set, which every kernel takes, and that wider loads than
    // the alignment of a packet's bytes promises are fine, where they are.
    run(Command::new(RUSTC)
        .current_dir(&root)
        .args(["--crate-name=probe", "--crate-type=lib", "--edition=2024"])
        .arg(format!("--target={order}-unknown-none"))
        .args(["-Copt-level=3", "-Cpanic=abort", "-Ccodegen-units=1", "-Dwarnings"])
        .arg("-Cllvm-args=-simplifycfg-sink-common=false")
        .arg("-Cdebuginfo=1")
        .arg(from_root)
        .arg(with_path("--emit=obj=", &bitcode))
        .arg("probe/src/lib.rs"))?;
    run(Command::new(LLC)
        // The text of the lines is read from the sources.
        .current_dir(&root)
        .arg(format!("-march={order}"))
        .args(["-mcpu=v1", "-function-sections"])
        .arg(format!("-mattr={}allows-misaligned-mem-access", if aligned { '-' } else { '+' }))
        .args(["-filetype=obj", "-o"])
        .args([&compiled, &bitcode]))?;
    let byte_order = if order == "bpfel" { "-EL" } else { "-EB" };
    run(Command::new(LD)
        .args([byte_order, "-r", "--discard-all", "-T"])
        .arg(root.join("probe/linker.ld"))
        .arg("-o")
        .args([&linked, &compiled]))?;

    let (compiled, before) = (read(&compiled)?, read(&linked)?);
    let (btf_bytes, btf_ext_bytes) =
        line_sections(&compiled, &before).map_err(|error| format!("{target}: {error}"))?;
    write(&btf, &btf_bytes)?;
    write(&btf_ext, &btf_ext_bytes)?;
    run(Command::new(OBJCOPY)
        .arg(with_path("--add-section=.BTF=", &btf))
        .arg(with_path("--add-section=.BTF.ext=", &btf_ext))
        .args([&linked, &complete]))?;

    let bytes = read(&complete)?;
    let summary = inspect::inspect(&bytes, aligned).map_err(|error| format!("{target}: {error}"))?;
    let name = format!("bpfecho.{target}.o");
    let committed = root.join("probe").join(&name);
    if !check {
        write(&committed, &bytes)?;
        println!("probe/{name}: {} bytes, {summary}", bytes.len());
    } else if fs::read(&committed).ok().as_deref() != Some(&bytes) {
        return Err(format!(
            "probe/{name} is not what the source compiles to: run `cargo build-probe` and commit it ({})",
            versions()
        ));
    } else {
        println!("probe/{name}: up to date, {summary}");
    }
    Ok(())
}

/// The sections with the lines of the code in `linked`, from what the compiler says of them.
fn line_sections(compiled: &[u8], linked: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let (compiled, linked) = (inspect::parse(compiled)?, inspect::parse(linked)?);
    Ok(lines::write(&lines::of_linked(&compiled, &linked)?, linked.endian()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("reading {}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("writing {}: {error}", path.display()))
}

/// `option` with a path as its value, in one argument.
fn with_path(option: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push(path);
    argument
}

/// Runs `command` and waits; what it says on stderr is in the error.
fn run(command: &mut Command) -> Result<(), String> {
    let program = PathBuf::from(command.get_program());
    let program = program.display();
    let output = command
        .output()
        .map_err(|error| format!("starting {program}: {error}; on Debian: apt-get install {PACKAGES}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{program} failed ({}):\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    ))
}

/// The first lines of what the tools say of themselves: other versions may well compile to other bytes.
fn versions() -> String {
    let mut versions = String::new();
    for tool in [RUSTC, LLC, LD] {
        let output =
            Command::new(tool).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&output);
        let version = text.lines().find(|line| line.contains(|letter: char| letter.is_ascii_digit()));
        let separator = if versions.is_empty() { "" } else { "; " };
        let _ = write!(versions, "{separator}{}", version.unwrap_or(tool).trim());
    }
    versions
}
