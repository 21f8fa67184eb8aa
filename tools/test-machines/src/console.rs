//! What a machine says on its console.

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    /// The kernel cannot do it, and bpfecho said so, as promised.
    NotHere,
    Failed,
}

/// A check that was begun.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    /// All that was said meanwhile.
    pub(crate) said: String,
}

/// A whole run.
#[derive(Debug, Default)]
pub(crate) struct Console {
    /// The kernel, as it calls itself.
    pub(crate) kernel: Option<String>,
    pub(crate) checks: Vec<Check>,
    /// Whether it came to its end.
    pub(crate) complete: bool,
    /// What was said outside of checks.
    pub(crate) rest: String,
}

impl Console {
    /// Reads what init.sh writes.
    pub(crate) fn parse(text: &str) -> Self {
        let mut console = Self::default();
        let mut open: Option<Check> = None;
        for line in text.lines() {
            let line = line.trim_end();
            let words: Vec<&str> = line.split(' ').collect();
            match (words.as_slice(), &mut open) {
                (["@", "kernel", release], _) => console.kernel = Some((*release).into()),
                (["@", "begin", name], _) => {
                    console.checks.extend(open.take());
                    // Until it is said that it ended well.
                    let check = Check { name: (*name).into(), outcome: Outcome::Failed, said: String::new() };
                    open = Some(check);
                }
                (["@", "end", status], Some(check)) => {
                    let not_here = check.said.lines().any(|line| line.starts_with("not here: "));
                    check.outcome = match *status {
                        "0" if not_here => Outcome::NotHere,
                        "0" => Outcome::Ok,
                        _ => Outcome::Failed,
                    };
                    console.checks.extend(open.take());
                }
                (["@", "done"], _) => console.complete = true,
                (_, Some(check)) => check.said += &format!("{line}\n"),
                (_, None) => console.rest += &format!("{line}\n"),
            }
        }
        console.checks.extend(open);
        console
    }

    /// Whether all went well.
    pub(crate) fn is_good(&self) -> bool {
        self.complete
            && !self.checks.is_empty()
            && self.checks.iter().all(|check| check.outcome != Outcome::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_its_outcome() {
        let text = "early\r\n@ kernel 5.10.0\r\n@ begin one\r\ntest one ... ok\r\n@ end 0\r\n@ begin two\r\nnot here: why\r\n\
                    @ end 0\r\n@ begin three\r\nnot here: why\r\n@ end 101\r\n@ done\r\n";
        let console = Console::parse(text);
        let checks: Vec<_> =
            console.checks.iter().map(|check| (check.name.as_str(), check.outcome)).collect();
        assert_eq!(checks, [("one", Outcome::Ok), ("two", Outcome::NotHere), ("three", Outcome::Failed)]);
        assert_eq!((console.kernel.as_deref(), console.complete), (Some("5.10.0"), true));
        assert_eq!((console.rest.as_str(), console.checks[2].said.as_str()), ("early\n", "not here: why\n"));
        assert!(!console.is_good());
    }

    #[test]
    fn a_run_that_stops_is_not_good() {
        let stopped = Console::parse("@ begin one\ntest\n");
        assert_eq!(stopped.checks[0].outcome, Outcome::Failed);
        assert!(!stopped.is_good() && !Console::parse("@ done\n").is_good());
        assert!(!Console::parse("@ begin one\n@ end 0\n").is_good());
        assert!(Console::parse("@ begin one\n@ end 0\n@ done\n").is_good());
    }
}
