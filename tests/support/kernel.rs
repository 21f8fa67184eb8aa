//! What this kernel has, by its version: tests do not learn it from what fails.

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

/// Notes that the kernel cannot do what is under test, and that bpfecho said so, in words that were compared.
pub(crate) fn not_here(said: &str) {
    println!("not here: {}", said.trim_end());
}
