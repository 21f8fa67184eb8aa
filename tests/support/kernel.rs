//! What this kernel has, by its version: tests do not learn it from what fails.

use std::path::Path;

use super::network::Host;

/// Major and minor version.
fn version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|number| number.trim().parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Whether programs can be attached by tcx (kernel commit e420bed02507).
pub(crate) fn has_tcx() -> bool {
    version() >= (6, 6)
}

/// Whether the memory of maps and programs counts as locked memory (until kernel commit 3ac1f01b43b6).
pub(crate) fn charges_memlock() -> bool {
    version() < (5, 11)
}

/// Whether the verifier takes the programs from nobody without CAP_PERFMON: seen on 5.10, and not on 6.1.
pub(crate) fn needs_perfmon() -> bool {
    version() < (6, 1)
}

/// Whether the kernel may interpret programs, as they call functions, which the compilers of some machines do not know
/// (build_insn() in arch/arm/net/bpf_jit_32.c, do_jit() in arch/x86/net/bpf_jit_comp32.c), or as it has no compiler.
pub(crate) fn interprets() -> bool {
    // Other networks do not have it.
    let has_compiler = || Path::new("/proc/sys/net/core/bpf_jit_enable").exists();
    cfg!(any(target_arch = "arm", target_arch = "x86")) || !Host::outermost().run(has_compiler)
}

/// Notes that the kernel cannot do what is under test, and that bpfecho said so, in words that were compared.
pub(crate) fn not_here(said: &str) {
    // The line of the test itself is still open.
    println!("\nnot here: {}", said.trim_end());
}
