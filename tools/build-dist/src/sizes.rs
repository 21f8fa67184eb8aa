//! The table of sizes in the README.

use build_dist::architecture::Architecture;

/// The largest binary for x86-64 in KiB.
const LIMIT: u64 = 400;

/// Sizes are rounded up to as many KiB, so that not every change is one of the README.
const STEP: u64 = 10;

/// The row of the table for a binary of `size` bytes.
fn row(architecture: &Architecture, size: u64) -> String {
    format!("| `{}` | {} KiB |", architecture.name, size.div_ceil(STEP * 1024) * STEP)
}

/// Compares the size of a binary in bytes with what `readme` says of it.
///
/// # Errors
///
/// If it says something else, with what it should say, or if the binary is too large.
pub(crate) fn check(readme: &str, architecture: &Architecture, size: u64) -> Result<(), String> {
    if architecture.name == "x86_64" && size > LIMIT * 1024 {
        return Err(format!("the binary for x86_64 has {size} bytes, of at most {LIMIT} KiB"));
    }
    let row = row(architecture, size);
    if readme.lines().any(|line| line == row) {
        return Ok(());
    }
    Err(format!("the table of sizes in README.md should say: {row}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_compared() {
        let [x86, arm] = ["x86_64", "aarch64"].map(|name| Architecture::named(name).unwrap());
        let readme = "| `x86_64` | 400 KiB |\n| `aarch64` | 410 KiB |\n";
        assert_eq!(check(readme, x86, 409_600), Ok(()));
        assert_eq!(check(readme, x86, 399_361), Ok(()));
        assert_eq!(check(readme, arm, 409_601), Ok(()));
        let error = "the table of sizes in README.md should say: | `x86_64` | 390 KiB |";
        assert_eq!(check(readme, x86, 399_360), Err(error.into()));
        let error = "the binary for x86_64 has 409601 bytes, of at most 400 KiB";
        assert_eq!(check(readme, x86, 409_601), Err(error.into()));
    }
}
