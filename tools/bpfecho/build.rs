//! Compresses the probe's object, of the byte order of the machine that is built for.

use std::env::var;
use std::fs;
use std::path::Path;

fn main() {
    let name = match var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "bpfecho.bpfeb.o",
        _ => "bpfecho.bpfel.o",
    };
    let object = Path::new(&var("CARGO_MANIFEST_DIR").unwrap()).join("probe").join(name);
    println!("cargo::rerun-if-changed={}", object.display());
    let compressed = lz4_flex::block::compress_prepend_size(&fs::read(object).unwrap());
    fs::write(Path::new(&var("OUT_DIR").unwrap()).join("probe.lz4"), compressed).unwrap();
}
