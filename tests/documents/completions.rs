//! Completions, by the shells themselves.

use std::fs;
use std::process::Command;

use bpfecho::arguments::description::options;

use super::path;

fn output(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect();
    lines.sort();
    lines
}

/// `complete` tells what may take the place of the last of the words.
fn assert_completes(complete: impl Fn(&[&str]) -> Vec<String>) {
    for (words, expected) in [
        (&["--ho"][..], &["--hook"][..]),
        (&["--hook", "xd"], &["xdp", "xdp-generic"]),
        (&["--hook", ""], &["auto", "clsact", "tcx", "xdp", "xdp-generic"]),
        (&["7", "--protocol", "i"], &["icmp"]),
        (&["--protocol", "tcp,u"], &["tcp,udp"]),
        (&["--ifname", "l"], &["lo"]),
        (&["--force", "--virt"], &["--virtual-hosts"]),
        (&["--stats", "--js"], &["--json"]),
        // What only the user knows is not guessed.
        (&["--port", ""], &[]),
    ] {
        assert_eq!(complete(words), expected, "{words:?}");
    }
    let mut names: Vec<_> = options().iter().map(|option| option.name).collect();
    names.sort_unstable();
    assert_eq!(complete(&["--"]), names);
}

pub(crate) fn bash() {
    assert_completes(|words| {
        let script = "source \"$0\"; COMP_WORDS=(bpfecho \"$@\") COMP_CWORD=$#; _bpfecho; \
                      ((${#COMPREPLY[@]} == 0)) || printf '%s\\n' \"${COMPREPLY[@]}\"";
        let file = path("tools/completions/bpfecho.bash");
        output(Command::new("bash").args(["--norc", "-c", script, &file]).args(words))
    });
}

pub(crate) fn fish() {
    assert_completes(|words| {
        let file = path("tools/completions/bpfecho.fish");
        let script = format!("source {file}; complete -C 'bpfecho {}'", words.join(" "));
        // Behind a tab there is what the completion means.
        let lines = output(Command::new("fish").args(["--no-config", "-c", &script]));
        lines.iter().map(|line| line.split('\t').next().unwrap().into()).collect()
    });
}

/// In a terminal, the only place where zsh completes.
pub(crate) fn zsh() {
    let script = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "source $0"
        zpty -r -m shell said '*READY*'
        zpty -w -n shell "bpfecho $1"$'\t'
        zpty -w -n shell $'\C-uprint DO""NE\n'
        zpty -r -m shell said '*DONE*'
        sort -u $FOUND"#;
    assert_completes(|words| {
        let found = format!("{}/found-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        fs::write(&found, "").unwrap();
        let mut command = Command::new("zsh");
        command.args(["-f", "-c", script, &path("tests/documents/complete.zsh"), &words.join(" ")]);
        let lines = output(command.env("FOUND", &found).env("COMPLETIONS", path("tools/completions")));
        fs::remove_file(&found).unwrap();
        // Of a list, what is being typed is completed by itself.
        let list =
            words.last().unwrap().rsplit_once(',').map_or(String::new(), |(list, _)| format!("{list},"));
        lines.into_iter().map(|line| list.clone() + &line).collect()
    });
}
