//! The program `bpfecho`: see the library of the same name.

use std::io::Write;
use std::process::ExitCode;

use bpfecho::arguments::{self, Command};
use bpfecho::report;
use bpfecho::run::run;

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Command::Print(text)) => {
            // Whoever asked has gone if this fails.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Command::Echo(request)) => match run(&request) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                report::say(&error);
                ExitCode::from(1)
            }
        },
        Err(error) => {
            report::say(&error);
            ExitCode::from(2)
        }
    }
}
