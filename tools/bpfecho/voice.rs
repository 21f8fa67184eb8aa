//! How a run says what it has to say: to people in words on standard error, to programs in JSON on standard output.

use std::fmt::Display;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::arguments::Verbosity;
use crate::json;

/// Says as much as the user wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voice {
    /// How much.
    pub verbosity: Verbosity,
    /// Whether in JSON.
    pub json: bool,
}

impl Voice {
    /// Says what happens.
    pub fn say(self, text: &dyn Display) {
        self.event("note", text, json!({}));
    }

    /// Says what may not be as it was meant.
    pub fn warn(self, text: &dyn Display) {
        // In JSON the event says so.
        let mark = if self.json { "" } else { "warning: " };
        self.event("warning", &format!("{mark}{text}"), json!({}));
    }

    /// Says what only matters to who wants to know more.
    pub fn say_more(self, text: &dyn Display) {
        if self.verbosity == Verbosity::Verbose {
            self.say(text);
        }
    }

    /// Says that `event` has happened: in words, or with `fields`.
    pub fn event(self, event: &str, text: &dyn Display, mut fields: Value) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        if self.json {
            fields["text"] = text.to_string().into();
            json::say(event, fields);
        } else {
            say_to_people(text);
        }
    }

    /// Says why all ends with the exit status `status`.
    pub fn error(self, error: &dyn Display, status: u8) {
        if self.json {
            json::say("error", json!({ "text": error.to_string(), "status": status }));
        } else {
            say_to_people(error);
        }
    }
}

/// Says `text` on standard error. If nobody reads that any more, it is lost: a run must not end for it.
fn say_to_people(text: &dyn Display) {
    let _ = writeln!(io::stderr(), "bpfecho: {text}");
}

/// Prints `text`, which was asked for, on standard output. Whoever asked has gone if this fails.
pub fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
