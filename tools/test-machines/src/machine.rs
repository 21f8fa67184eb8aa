//! The machines: which kernel, and what emulates the hardware.

/// A kind of processor, and the machine around it.
#[derive(Debug)]
pub(crate) struct Architecture {
    /// What Debian calls it.
    pub(crate) debian: &'static str,
    /// What Rust calls it.
    pub(crate) target: &'static str,
    /// The emulator.
    pub(crate) qemu: &'static str,
    /// What it is to emulate.
    pub(crate) hardware: &'static [&'static str],
    /// The device that the kernel writes its console to.
    pub(crate) console: &'static str,
}

const AMD64: Architecture = Architecture {
    debian: "amd64",
    target: "x86_64-unknown-linux-musl",
    qemu: "qemu-system-x86_64",
    hardware: &[],
    console: "ttyS0",
};

/// A machine to test on.
#[derive(Debug)]
pub(crate) struct Machine {
    /// What it is called here.
    pub(crate) name: &'static str,
    pub(crate) architecture: &'static Architecture,
    /// The suite of Debian that has the kernel.
    pub(crate) suite: &'static str,
    /// The package of the kernel, or one that depends on it.
    pub(crate) package: &'static str,
}

/// All of them. Those without a version in the package follow the suite.
pub(crate) const MACHINES: &[Machine] = &[
    amd64("5.10", "bullseye", "linux-image-cloud-amd64"),
    amd64("6.1", "bookworm", "linux-image-cloud-amd64"),
    amd64("6.12", "trixie", "linux-image-cloud-amd64"),
    amd64("6.16", "trixie-backports", "linux-image-6.16.12+deb13-cloud-amd64"),
    amd64("7.2", "sid", "linux-image-cloud-amd64"),
];

const fn amd64(name: &'static str, suite: &'static str, package: &'static str) -> Machine {
    Machine { name, architecture: &AMD64, suite, package }
}
