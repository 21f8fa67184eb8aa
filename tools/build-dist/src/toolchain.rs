//! What builds static programs, for this machine and others.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use debian_packages::Suite;

use crate::architecture::Architecture;
use crate::output;

/// Debian's compiler: it has the standard library as source, too, which is built without what nobody needs.
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const LINKER: &str = "ld.lld-22";
const PACKAGES: &str = "rustc-web cargo-web rust-web-src lld-22";

/// The suite with the C library, musl: the oldest for all of [`crate::architecture::ALL`].
const LIBC_SUITE: &str = "trixie";

/// How a program ends that panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panic {
    /// At once, without a word.
    Silent,
    /// With a message, as a test has to.
    Told,
}

/// What builds static programs for one architecture.
#[derive(Debug)]
pub struct Toolchain {
    root: PathBuf,
    architecture: &'static Architecture,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Debian's compiler, with the C library in this folder.
    Debian { libc: PathBuf },
    /// That of rustup, with a standard library and a C library for this target.
    Rustup,
}

impl Toolchain {
    /// What this machine has to build with: Debian's compiler, whose programs are less than half as large, or rustup's
    /// with the target. `root` is the workspace. The C library for Debian's is fetched.
    ///
    /// # Errors
    ///
    /// If there is neither, with what to do; if the C library cannot be fetched.
    pub fn find(root: &Path, architecture: &'static Architecture) -> Result<Self, String> {
        let kind = if has_debian() {
            let cache = root.join("target/debian-packages");
            let musl = Suite::open(&cache, LIBC_SUITE, architecture.debian)?.unpack("musl-dev")?;
            let folders = musl.join("usr/lib");
            let libc = fs::read_dir(&folders).ok().and_then(|mut folders| folders.next()?.ok());
            let libc = libc.ok_or_else(|| format!("no folder in {}", folders.display()))?.path();
            // The standard library asks for it even where nothing unwinds: an archive without members.
            let empty = libc.join("libunwind.a");
            fs::write(&empty, "!<arch>\n")
                .map_err(|error| format!("writing {}: {error}", empty.display()))?;
            Kind::Debian { libc }
        } else if has_rustup(architecture.target) {
            Kind::Rustup
        } else {
            return Err(format!(
                "nothing builds static programs for {} here: apt-get install {PACKAGES} on Debian, or rustup target \
                 add {}",
                architecture.name, architecture.target
            ));
        };
        Ok(Self { root: root.into(), architecture, kind })
    }

    /// `cargo SUBCOMMAND` that builds for the architecture, in a target folder of its own. The workspace's path is in
    /// nothing that it makes.
    pub fn cargo(&self, subcommand: &str, panic: Panic) -> Command {
        let mut flags = vec!["-Crelocation-model=static".into(), "-Ctarget-feature=+crt-static".into()];
        let mut link_args: Vec<OsString> = self.architecture.link_args().iter().map(Into::into).collect();
        let mut command = match &self.kind {
            Kind::Debian { libc } => {
                let mut command = Command::new(CARGO);
                // The flags below are not stable yet.
                command.envs([("RUSTC", RUSTC), ("RUSTC_BOOTSTRAP", "1")]);
                flags.push("-Zunstable-options".into());
                flags.push(format!("-Clinker={LINKER}").into());
                flags.push("-Clinker-flavor=gnu-lld".into());
                // It has no objects and libraries of its own for musl.
                flags.push("-Clink-self-contained=no".into());
                // Nothing unwinds.
                flags.push("-Cforce-unwind-tables=no".into());
                link_args.push("--no-eh-frame-hdr".into());
                // Functions that compile to the same are one.
                link_args.push("--icf=all".into());
                flags.push(join("=", &["-Lnative".into(), libc.into()]));
                link_args.extend(["crt1.o", "crti.o", "crtn.o"].map(|object| libc.join(object).into()));
                match panic {
                    Panic::Silent => flags.push("-Cpanic=immediate-abort".into()),
                    Panic::Told => {
                        flags.push("-Cpanic=abort".into());
                        // For backtraces, which nobody asks for.
                        let missing = ["_Unwind_Backtrace", "_Unwind_GetIP", "_Unwind_VRS_Get"];
                        link_args.extend(missing.map(|name| format!("--defsym={name}=0").into()));
                    }
                }
                command
            }
            Kind::Rustup => {
                flags.push("-Clinker=rust-lld".into());
                Command::new("cargo")
            }
        };
        flags.extend(link_args.into_iter().map(|argument| join("=", &["-Clink-arg".into(), argument])));
        command
            .current_dir(&self.root)
            // Unlike RUSTFLAGS, for paths with spaces.
            .env("CARGO_ENCODED_RUSTFLAGS", join("\x1f", &flags))
            .args([subcommand, "--quiet", "--locked", "--target", self.architecture.target])
            .args(["--target-dir", "target/static"]);
        if let Kind::Debian { .. } = self.kind {
            command.args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"]);
            if panic == Panic::Told {
                command.arg("-Zpanic-abort-tests");
            }
        }
        command
    }

    /// Builds the product. Returns its path.
    ///
    /// # Errors
    ///
    /// What cargo says.
    pub fn product(&self) -> Result<PathBuf, String> {
        output(self.cargo("build", Panic::Silent).args(["--release", "--bin", "bpfecho"]))?;
        Ok(self.root.join("target/static").join(self.architecture.target).join("release/bpfecho"))
    }
}

/// What it is, in words.
impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Debian { .. } => {
                formatter.write_str("Debian's compiler, with a standard library built for size")
            }
            Kind::Rustup => formatter.write_str("rustup's compiler and standard library"),
        }
    }
}

fn has_debian() -> bool {
    let sysroot = output(Command::new(RUSTC).args(["--print", "sysroot"]));
    let has_source =
        |sysroot: &String| Path::new(sysroot.trim_end()).join("lib/rustlib/src/rust/library/std").exists();
    sysroot.is_ok_and(|sysroot| has_source(&sysroot))
        && Path::new(CARGO).exists()
        && output(Command::new(LINKER).arg("--version")).is_ok()
}

fn has_rustup(target: &str) -> bool {
    let folder = output(Command::new("rustc").args(["--print", "target-libdir", "--target", target]));
    folder.is_ok_and(|folder| Path::new(folder.trim_end()).exists())
}

/// Words with `separator` between them.
fn join(separator: &str, words: &[OsString]) -> OsString {
    words.join(separator.as_ref())
}
