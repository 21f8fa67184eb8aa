//! The kinds of processors that are built for.

/// A kind of processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture {
    /// What uname(1) calls it, and so what its binary is called.
    pub name: &'static str,
    /// What Debian calls it.
    pub debian: &'static str,
    /// What Rust calls it.
    pub target: &'static str,
    /// What the linker has to be told.
    link_args: &'static [&'static str],
}

impl Architecture {
    /// What the linker has to be told for it.
    pub(crate) fn link_args(&self) -> &'static [&'static str] {
        self.link_args
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|architecture| architecture.name == name)
    }
}

/// All of them.
pub const ALL: &[Architecture] = &[
    new("x86_64", "amd64", "x86_64-unknown-linux-musl", &[]),
    new("aarch64", "arm64", "aarch64-unknown-linux-musl", &[]),
    // There are no larger pages, for which the linker would leave space in the file.
    new("armv7l", "armhf", "armv7-unknown-linux-musleabihf", &["-zmax-page-size=4096"]),
    new("i686", "i386", "i686-unknown-linux-musl", &[]),
    new("riscv64", "riscv64", "riscv64gc-unknown-linux-musl", &[]),
    new("s390x", "s390x", "s390x-unknown-linux-musl", &[]),
];

const fn new(
    name: &'static str,
    debian: &'static str,
    target: &'static str,
    link_args: &'static [&'static str],
) -> Architecture {
    Architecture { name, debian, target, link_args }
}
