//! By which hooks of the kernel packets are taken.

use std::fmt;
use std::str::FromStr;

use loader::{Position, XdpMode};

use crate::text::list;

/// What `--hook` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hook {
    /// tcx where the kernel has it, else clsact.
    #[default]
    Auto,
    /// A tcx link.
    Tcx,
    /// A filter of the clsact qdisc.
    Clsact,
    /// XDP in the driver, in front of [`Hook::Auto`].
    Xdp,
    /// XDP in the kernel, in front of [`Hook::Auto`].
    XdpGeneric,
}

impl Hook {
    const ALL: [(Self, &str); 5] = [
        (Self::Auto, "auto"),
        (Self::Tcx, "tcx"),
        (Self::Clsact, "clsact"),
        (Self::Xdp, "xdp"),
        (Self::XdpGeneric, "xdp-generic"),
    ];

    /// What they are called.
    pub fn names() -> [&'static str; 5] {
        Self::ALL.map(|(_, name)| name)
    }

    /// In which mode an XDP program is wanted.
    pub fn xdp(self) -> Option<XdpMode> {
        match self {
            Self::Xdp => Some(XdpMode::Native),
            Self::XdpGeneric => Some(XdpMode::Generic),
            Self::Auto | Self::Tcx | Self::Clsact => None,
        }
    }
}

impl FromStr for Hook {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(_, name)| *name == text);
        found
            .map(|(hook, _)| hook)
            .ok_or_else(|| format!("`{text}` is not a hook: there are {}", list(Self::names())))
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::ALL.into_iter().find(|(hook, _)| hook == self);
        formatter.write_str(found.map_or("", |(_, name)| name))
    }
}

/// What `--before` or `--after` names: the id of a program, or `all` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// Whatever is there.
    All,
    /// One program.
    Program(u32),
}

impl FromStr for Neighbour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("all", _) => Ok(Self::All),
            (_, Ok(id)) if id != 0 => Ok(Self::Program(id)),
            _ => Err(format!(
                "`{text}` is neither the id of a program, as `bpftool net` and `bpfecho --status` show it, nor `all`"
            )),
        }
    }
}

impl Neighbour {
    /// The place before it.
    pub fn before(self) -> Position {
        match self {
            Self::All => Position::First,
            Self::Program(id) => Position::Before(id),
        }
    }

    /// The place behind it.
    pub fn after(self) -> Position {
        match self {
            Self::All => Position::Last,
            Self::Program(id) => Position::After(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_what_they_are_called() {
        for (hook, name) in Hook::ALL {
            assert_eq!((name.parse(), hook.to_string().as_str()), (Ok(hook), name));
        }
        let error = "`XDP` is not a hook: there are auto, tcx, clsact, xdp and xdp-generic";
        assert_eq!("XDP".parse::<Hook>(), Err(error.into()));
    }

    #[test]
    fn neighbours_are_programs() {
        let place = |text: &str| text.parse::<Neighbour>().map(|it| (it.before(), it.after()));
        assert_eq!(place("all"), Ok((Position::First, Position::Last)));
        assert_eq!(place("17"), Ok((Position::Before(17), Position::After(17))));
        for text in ["", "0", "-1", "cil_from_netdev", "4294967296"] {
            assert!(place(text).is_err_and(|error| error.starts_with(&format!("`{text}` is neither "))));
        }
    }
}
