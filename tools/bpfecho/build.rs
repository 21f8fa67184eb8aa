//! Compresses the probe's object for the machine that is built for.

use std::env::var;
use std::fs;
use std::path::Path;

/// The processors for which the kernel takes loads and stores of any alignment, as Rust calls them: those that select
/// HAVE_EFFICIENT_UNALIGNED_ACCESS in arch/*/Kconfig. Of ARM, it is version 6 and later.
const ANY_ALIGNMENT: [&str; 8] =
    ["aarch64", "arm", "loongarch64", "powerpc", "powerpc64", "s390x", "x86", "x86_64"];

fn main() {
    let order = match var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "bpfeb",
        _ => "bpfel",
    };
    let processor = var("CARGO_CFG_TARGET_ARCH").unwrap();
    let target = var("TARGET").unwrap();
    let is_old_arm = ["armv4", "armv5"].iter().any(|old| target.starts_with(old));
    let any = ANY_ALIGNMENT.contains(&processor.as_str()) && !is_old_arm;
    let aligned = if any { "" } else { ".aligned" };
    let name = format!("bpfecho.{order}{aligned}.o");
    let object = Path::new(&var("CARGO_MANIFEST_DIR").unwrap()).join("probe").join(name);
    println!("cargo::rerun-if-changed={}", object.display());
    let compressed = lz4_flex::block::compress_prepend_size(&fs::read(object).unwrap());
    fs::write(Path::new(&var("OUT_DIR").unwrap()).join("probe.lz4"), compressed).unwrap();
}
