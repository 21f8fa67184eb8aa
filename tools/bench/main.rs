//! `cargo bench`: see the package `bench`, which gets the program that is measured from here, as cargo builds it for
//! targets of its own package only.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    bench::main(Path::new(env!("CARGO_BIN_EXE_bpfecho")))
}
