//! What is made of the command's options, and what comes along with it: the man page, completions, systemd's units.

#[path = "documents/completions.rs"]
mod completions;
#[path = "documents/man.rs"]
mod man;
mod support;
#[path = "documents/systemd.rs"]
mod systemd;

use std::process::ExitCode;

use support::test;

fn main() -> ExitCode {
    support::main([
        test("the_man_page_is_clean", man::clean).needs(&["mandoc"]),
        test("the_man_page_has_every_field_of_json", man::json).needs(&["ip", "mount"]),
        test("the_man_page_has_every_hook", man::hooks),
        test("bash_completes", completions::bash).needs(&["bash"]),
        test("fish_completes", completions::fish).needs(&["fish"]),
        test("zsh_completes", completions::zsh).needs(&["zsh"]),
        test("systemd_takes_the_units", systemd::verify).needs(&["systemd-analyze"]),
        test("the_units_are_confined", systemd::security).needs(&["systemd-analyze"]),
        test("it_runs_as_confined_as_the_unit", systemd::confined).needs(&["setpriv", "unshare"]),
        test("it_waits_as_the_unit_of_an_interface", systemd::waits).needs(&["setpriv", "unshare", "ip"]),
    ])
}

/// A file of this repository.
fn path(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}
