//! What the command line takes, for whoever describes it: the man page and the completions of shells.

use argh::{ArgsInfo, FlagInfoKind, Optionality};

use super::{Arguments, STATS};
use crate::attach::hook::Hook;
use crate::protocols::Protocols;

/// An option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name, with the dashes.
    pub name: &'static str,
    /// Its letter, if it has one.
    pub short: Option<char>,
    /// What follows it, if anything does.
    pub value: Option<Value>,
    /// What it is for, as `--help` has it.
    pub text: String,
    /// Whether it may be given more than once.
    pub repeats: bool,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What stands for it in `--help`.
    pub placeholder: &'static str,
    /// Whether it may be left out.
    pub optional: bool,
    /// What it may be.
    pub kind: Kind,
}

/// What a value may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only the user knows.
    Free,
    /// The name of a network interface.
    Interface,
    /// One of these words.
    Word(Vec<&'static str>),
    /// Some of these words, with commas.
    List(Vec<&'static str>),
}

/// The options, in the order of `--help`.
pub fn options() -> Vec<Description> {
    let mut flags: Vec<_> = Arguments::get_args_info().flags.iter().collect();
    // It is the first here, and the last there.
    flags.rotate_left(1);
    let describe = |flag: &'static argh::FlagInfo<'static>| Description {
        name: flag.long,
        short: flag.short,
        value: match flag.kind {
            FlagInfoKind::Switch => None,
            FlagInfoKind::Option { arg_name } => {
                Some(Value { placeholder: arg_name, optional: flag.long == STATS, kind: kind(flag.long) })
            }
        },
        text: flag.description.split_whitespace().collect::<Vec<_>>().join(" "),
        repeats: flag.optionality == Optionality::Repeating,
    };
    flags.into_iter().map(describe).collect()
}

fn kind(name: &str) -> Kind {
    match name {
        "--ifname" => Kind::Interface,
        "--hook" => Kind::Word(Hook::names().into()),
        "--protocol" => Kind::List(Protocols::NAMES.into()),
        _ => Kind::Free,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::help;

    /// Whatever `--help` lists is described, in its order.
    #[test]
    fn options_are_those_of_the_help() {
        let help = help();
        let (_, list) = help.split_once("\nOptions:\n").unwrap();
        let listed: Vec<&str> = list
            .lines()
            .filter(|line| line.starts_with("  -"))
            .filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--")))
            .collect();
        assert_eq!(listed, options().iter().map(|option| option.name).collect::<Vec<_>>());
    }

    #[test]
    fn values_are_those_of_the_code() {
        let of = |name: &str| options().into_iter().find(|option| option.name == name).unwrap();
        assert_eq!(of("--ifname").value.unwrap().kind, Kind::Interface);
        assert!(of("--ifname").repeats && !of("--port").repeats);
        for name in Hook::names() {
            assert!(name.parse::<Hook>().is_ok(), "{name}");
        }
        assert_eq!(Protocols::NAMES.join(",").parse::<Protocols>().map(Protocols::bits), Ok(7));
        assert_eq!((of("--quiet").short, of("--quiet").value), (Some('q'), None));
        let optional =
            options().into_iter().filter(|option| option.value.as_ref().is_some_and(|value| value.optional));
        assert_eq!(optional.map(|option| option.name).collect::<Vec<_>>(), ["--stats"]);
    }
}
