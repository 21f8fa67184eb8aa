//! The program `bpfecho`: see the library of the same name.

use std::fmt::Display;
use std::process::ExitCode;

use bpfecho::arguments::{self, Command, Verbosity};
use bpfecho::check::check;
use bpfecho::run::run;
use bpfecho::status::status;
use bpfecho::stop::stop;
use bpfecho::voice::{Voice, print};

fn main() -> ExitCode {
    let command = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            // What it should have been cannot be asked of a command line that is not understood.
            let json = std::env::args_os().any(|argument| argument == "--json");
            let text: &dyn Display = if json { &error.reason() } else { &error };
            Voice { verbosity: Verbosity::Normal, json }.error(text, 2);
            return ExitCode::from(2);
        }
    };
    match command {
        Command::Print(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Command::Echo(request) => end(request.voice, run(&request)),
        Command::Check(request) => end(request.voice, check(&request)),
        Command::Status(selection) => end(selection.voice, status(&selection)),
        Command::Stop(selection) => end(selection.voice, stop(&selection)),
    }
}

fn end(voice: Voice, result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            voice.error(&error, 1);
            ExitCode::from(1)
        }
    }
}
