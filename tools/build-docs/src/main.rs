//! Makes of the options, as `--help` lists them, the man page and the completions of shells.
//!
//! `cargo build-docs` writes them to `tools/man` and `tools/completions`; `cargo build-docs --check` changes nothing and
//! fails if they are not what the options and the template say.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use bpfecho::arguments::description::options;
use bpfecho::json::COUNTERS;

mod completions;
mod man;

fn main() -> ExitCode {
    let check = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [option] if option == "--check" => true,
        _ => {
            eprintln!("usage: cargo build-docs [--check]");
            return ExitCode::from(2);
        }
    };
    let act = if check { compare } else { write };
    match documents().iter().try_for_each(|(name, text)| act(name, text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("build-docs: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The files, by their paths in the repository.
fn documents() -> [(&'static str, String); 4] {
    let options = options();
    [
        ("tools/man/bpfecho.8", man::page(&options, &COUNTERS)),
        ("tools/completions/bpfecho.bash", completions::bash(&options)),
        ("tools/completions/_bpfecho", completions::zsh(&options)),
        ("tools/completions/bpfecho.fish", completions::fish(&options)),
    ]
}

fn write(name: &str, text: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    fs::write(path, text).map_err(|error| format!("writing {name}: {error}"))
}

fn compare(name: &str, text: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    let committed = fs::read_to_string(path).map_err(|error| format!("reading {name}: {error}"))?;
    if committed == text {
        return Ok(());
    }
    Err(format!("{name} is not what the options and the template say: run `cargo build-docs` and commit it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_files_are_up_to_date() {
        assert_eq!(documents().iter().try_for_each(|(name, text)| compare(name, text)), Ok(()));
        let error = "tools/man/bpfecho.8 is not what the options and the template say: run `cargo build-docs` and \
                     commit it";
        assert_eq!(compare("tools/man/bpfecho.8", "another"), Err(error.into()));
    }

    /// Each option is where it belongs in each file, once.
    #[test]
    fn each_option_is_in_each_file() {
        let documents = documents();
        for option in options() {
            let (name, bare) = (option.name, option.name.trim_start_matches('-'));
            let letter = option.short.map(|letter| format!("-{letter}"));
            let beginnings = match &letter {
                None => [
                    format!(".It Fl Fl {bare}"),
                    format!("[{name}]="),
                    format!("'{}{name}[", if option.repeats { "*" } else { "" }),
                    format!("complete -c bpfecho -l {bare} "),
                ],
                Some(letter) => [
                    format!(".It Fl {} , Fl Fl {bare}", &letter[1..]),
                    format!("[{name}]="),
                    format!("'({letter} {name})'{{{letter},{name}}}'["),
                    format!("complete -c bpfecho -s {} -l {bare} ", &letter[1..]),
                ],
            };
            for ((file, text), beginning) in documents.iter().zip(beginnings) {
                let lines = text.lines().filter(|line| {
                    let rest = line.trim_start().strip_prefix(&beginning);
                    rest.is_some_and(|rest| {
                        beginning.ends_with(['[', '=', ' '])
                            || matches!(rest.chars().next(), None | Some(' '))
                    })
                });
                assert_eq!(lines.count(), 1, "{name} in {file}");
            }
        }
    }
}
