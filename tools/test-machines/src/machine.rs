//! The machines: which kernel, and what emulates the hardware.

/// A kind of machine.
#[derive(Debug)]
pub(crate) struct Hardware {
    /// The kind of its processor, see [`build_dist::architecture`].
    pub(crate) architecture: &'static str,
    /// The emulator.
    pub(crate) qemu: &'static str,
    /// What it is to emulate, with its console on standard output.
    pub(crate) options: &'static [&'static str],
    /// The device that the kernel writes its console to.
    pub(crate) console: &'static str,
}

const X86_64: Hardware = Hardware {
    architecture: "x86_64",
    qemu: "qemu-system-x86_64",
    options: &["-serial", "stdio"],
    console: "ttyS0",
};

const AARCH64: Hardware = Hardware {
    architecture: "aarch64",
    qemu: "qemu-system-aarch64",
    options: &["-machine", "virt", "-serial", "stdio"],
    console: "ttyAMA0",
};

const ARMV7L: Hardware = Hardware {
    architecture: "armv7l",
    qemu: "qemu-system-arm",
    options: &["-machine", "virt", "-serial", "stdio"],
    console: "ttyAMA0",
};

const RISCV64: Hardware = Hardware {
    architecture: "riscv64",
    qemu: "qemu-system-riscv64",
    options: &["-machine", "virt", "-serial", "stdio"],
    console: "ttyS0",
};

const S390X: Hardware = Hardware {
    architecture: "s390x",
    qemu: "qemu-system-s390x",
    options: &["-chardev", "stdio,id=console", "-device", "sclpconsole,chardev=console"],
    console: "ttysclp0",
};

/// A machine to test on.
#[derive(Debug)]
pub(crate) struct Machine {
    /// What it is called here.
    pub(crate) name: &'static str,
    pub(crate) hardware: &'static Hardware,
    /// The suite of Debian that has the kernel.
    pub(crate) suite: &'static str,
    /// The package of the kernel, or one that depends on it.
    pub(crate) package: &'static str,
}

/// All of them. Those without a version in the package follow the suite.
pub(crate) const MACHINES: &[Machine] = &[
    new("5.10", &X86_64, "bullseye", "linux-image-cloud-amd64"),
    new("6.1", &X86_64, "bookworm", "linux-image-cloud-amd64"),
    new("6.12", &X86_64, "trixie", "linux-image-cloud-amd64"),
    new("6.16", &X86_64, "trixie-backports", "linux-image-6.16.12+deb13-cloud-amd64"),
    new("7.2", &X86_64, "sid", "linux-image-cloud-amd64"),
    new("aarch64", &AARCH64, "trixie", "linux-image-cloud-arm64"),
    new("armv7l", &ARMV7L, "trixie", "linux-image-armmp-lpae"),
    new("riscv64", &RISCV64, "trixie", "linux-image-riscv64"),
    // The bytes of a number are the other way round.
    new("s390x", &S390X, "sid", "linux-image-s390x"),
];

const fn new(
    name: &'static str,
    hardware: &'static Hardware,
    suite: &'static str,
    package: &'static str,
) -> Machine {
    Machine { name, hardware, suite, package }
}
