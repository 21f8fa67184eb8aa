//! The program `bpfecho`: see the library of the same name.

use std::fmt::Display;
use std::process::ExitCode;

use bpfecho::arguments::{self, Command, Verbosity};
use bpfecho::check::check;
use bpfecho::run::run;
use bpfecho::status::status;
use bpfecho::stop::stop;
use bpfecho::sys;
use bpfecho::voice::{Voice, print};

fn main() -> ExitCode {
    let is_init = sys::become_init();
    let status = obey(is_init);
    if is_init {
        // If that is refused, the kernel ends the machine in its own way.
        let _ = sys::power_off();
    }
    ExitCode::from(status)
}

/// Does what the command line asks for. Returns the exit status.
fn obey(is_init: bool) -> u8 {
    let command = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            // What it should have been cannot be asked of a command line that is not understood.
            let json = std::env::args_os().any(|argument| argument == "--json");
            let text: &dyn Display = if json { &error.reason() } else { &error };
            Voice { verbosity: Verbosity::Normal, json }.error(text, 2);
            return 2;
        }
    };
    match command {
        Command::Print(text) => {
            print(&text);
            0
        }
        Command::Echo(request) => end(request.voice, run(&request, is_init)),
        Command::Check(request) => end(request.voice, check(&request)),
        Command::Status(selection) => end(selection.voice, status(&selection)),
        Command::Stop(selection) => end(selection.voice, stop(&selection)),
    }
}

fn end(voice: Voice, result: Result<(), impl Display>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            voice.error(&error, 1);
            1
        }
    }
}
