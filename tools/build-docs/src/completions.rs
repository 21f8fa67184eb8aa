//! Completions: what may come next on the command line, for the shells that ask.

use std::fmt::Write as _;

use bpfecho::arguments::description::{Description, Kind};

const ABOUT: &str = "Completes bpfecho(8). Made by `cargo build-docs`.";

/// For bash, with or without the package bash-completion.
pub(crate) fn bash(options: &[Description]) -> String {
    let mut follows = String::new();
    for option in options {
        let what = option.value.as_ref().map_or_else(String::new, |value| match &value.kind {
            _ if value.optional => String::new(),
            Kind::Free => "value".into(),
            Kind::Interface => "interface".into(),
            Kind::Word(words) => format!("word {}", words.join(" ")),
            Kind::List(words) => format!("list {}", words.join(" ")),
        });
        let short = option.short.map_or_else(String::new, |letter| format!(" [-{letter}]=''"));
        let _ = writeln!(follows, "        [{}]='{what}'{short}", option.name);
    }
    format!(
        r#"# {ABOUT}
_bpfecho() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    # The options, and what follows each: nothing, any value, an interface, a word, or a list of words.
    local -A follows=(
{follows}    )
    local what words prefix=
    read -r what words <<<"${{follows[$before]-}}"
    case $what in
        '') words=${{!follows[*]}} ;;
        list) [[ $word == *,* ]] && prefix=${{word%,*}}, ;;
        # As files: whoever names an interface could have words expanded.
        interface) mapfile -t COMPREPLY < <(cd /sys/class/net && compgen -f -- "$word") && return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "$words" -- "${{word#"$prefix"}}")
}}
complete -F _bpfecho bpfecho
"#
    )
}

/// For zsh.
pub(crate) fn zsh(options: &[Description]) -> String {
    let mut specifications = String::new();
    for option in options {
        let name = option.name;
        let names = match option.short {
            Some(letter) => format!("'(-{letter} {name})'{{-{letter},{name}}}'"),
            None if option.repeats => format!("'*{name}"),
            None => format!("'{name}"),
        };
        let value = option.value.as_ref().map_or_else(String::new, |value| {
            let action = match &value.kind {
                Kind::Free => " ".into(),
                Kind::Interface => "_net_interfaces".into(),
                Kind::Word(words) => format!("({})", words.join(" ")),
                Kind::List(words) => format!("_values -s , {} {}", value.placeholder, words.join(" ")),
            };
            let colons = if value.optional { "::" } else { ":" };
            format!("{colons}{}:{action}", value.placeholder)
        });
        let text = quoted(&option.text, |letter| matches!(letter, '[' | ']' | ':' | '\\'), "'\\''");
        let _ = writeln!(specifications, "    {names}[{text}]{value}' \\");
    }
    format!("#compdef bpfecho\n# {ABOUT}\n_arguments \\\n{specifications}    '*:address or port: '\n")
}

/// For fish.
pub(crate) fn fish(options: &[Description]) -> String {
    let mut lines = format!("# {ABOUT}\ncomplete -c bpfecho -f\n");
    for option in options {
        let short = option.short.map_or_else(String::new, |letter| format!(" -s {letter}"));
        let name = option.name.trim_start_matches('-');
        let value = option.value.as_ref().map_or_else(String::new, |value| match &value.kind {
            _ if value.optional => String::new(),
            Kind::Free => " -x".into(),
            Kind::Interface => " -x -a '(command ls /sys/class/net)'".into(),
            Kind::Word(words) => format!(" -x -a '{}'", words.join(" ")),
            Kind::List(words) => {
                format!(" -x -a '(__fish_complete_list , \"string split , {}\")'", words.join(","))
            }
        });
        let text = quoted(&option.text, |letter| letter == '\\', "\\'");
        let _ = writeln!(lines, "complete -c bpfecho{short} -l {name}{value} -d '{text}'");
    }
    lines
}

/// `text` for single quotes: with a backslash before each `special` letter, and `apostrophe` for each of those.
fn quoted(text: &str, special: impl Fn(char) -> bool, apostrophe: &str) -> String {
    let mut quoted = String::new();
    for letter in text.chars() {
        match letter {
            '\'' => quoted.push_str(apostrophe),
            letter if special(letter) => quoted.extend(['\\', letter]),
            letter => quoted.push(letter),
        }
    }
    quoted
}
