//! What a program echoes, in the words of the command line: by that it is known again in the kernel.

use loader::rtnetlink::FILTER_NAME_LENGTH;
use probe::abi::destination::VIRTUAL;

use crate::configuration::Configuration;
use crate::protocols::Protocols;

/// Stands in the name of a filter whose clsact qdisc was made for it.
const OWN_CLSACT: &str = "+clsact";

/// What is echoed. Who echoes the same on the same interface takes the place of another.
pub fn endpoints(configuration: &Configuration) -> String {
    let mut words = Vec::new();
    for (prefix, value) in &configuration.destinations {
        match value {
            0 => {}
            value if value & VIRTUAL != 0 => words.push(format!("virtual {prefix}")),
            _ => words.push(prefix.to_string()),
        }
    }
    if configuration.protocols.has_ports() {
        words.push(configuration.ports.compact());
    }
    if configuration.protocols != Protocols::default() {
        words.push(configuration.protocols.compact());
    }
    words.join(" ")
}

/// The name of a filter as `tc filter show` prints it; cut off if it is too long.
pub fn filter_name(program: &str, own_clsact: bool, endpoints: &str) -> String {
    let mark = if own_clsact { format!("{OWN_CLSACT} ") } else { String::new() };
    let mut name = format!("{program} {mark}{endpoints}");
    // All of it is ASCII.
    name.truncate(FILTER_NAME_LENGTH);
    name
}

/// What the name of a filter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterName {
    /// Whether the clsact qdisc was made for it.
    pub own_clsact: bool,
    /// What it echoes; `None` if that was cut off.
    pub endpoints: Option<String>,
}

/// Reads what [`filter_name`] has made for `program`.
pub fn read_filter_name(name: &str, program: &str) -> Option<FilterName> {
    let rest = name.strip_prefix(program)?.strip_prefix(' ')?;
    let marked = rest.strip_prefix(OWN_CLSACT).and_then(|rest| rest.strip_prefix(' '));
    let endpoints = (name.len() < FILTER_NAME_LENGTH).then(|| marked.unwrap_or(rest).into());
    Some(FilterName { own_clsact: marked.is_some(), endpoints })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Place;
    use crate::configuration::tests::configuration;

    #[test]
    fn endpoints_say_what_is_echoed() {
        let mut wire = configuration(
            Place::Tunnel,
            &[("0.0.0.0/0", 0), ("10.0.0.5", 1), ("fd00::/64", 1), ("10.9.0.0/16", 3), ("10.9.0.1", 0)],
            "7,2000-2999",
        );
        assert_eq!(endpoints(&wire), "10.0.0.5 fd00::/64 virtual 10.9.0.0/16 7,2000-2999");
        wire.protocols = "tcp,icmp".parse().unwrap();
        assert_eq!(endpoints(&wire), "10.0.0.5 fd00::/64 virtual 10.9.0.0/16 7,2000-2999 tcp,icmp");
        wire.protocols = "icmp".parse().unwrap();
        assert_eq!(endpoints(&wire), "10.0.0.5 fd00::/64 virtual 10.9.0.0/16 icmp");
    }

    #[test]
    fn names_of_filters_are_read_again() {
        for own_clsact in [true, false] {
            let name = filter_name("bpfecho_lo", own_clsact, "127.0.0.1 7");
            let said = FilterName { own_clsact, endpoints: Some("127.0.0.1 7".into()) };
            assert_eq!(read_filter_name(&name, "bpfecho_lo"), Some(said));
            assert_eq!(read_filter_name(&name, "bpfecho_l"), None);
        }
        assert_eq!(filter_name("bpfecho_lo", false, "127.0.0.1 7"), "bpfecho_lo 127.0.0.1 7");
        assert_eq!(filter_name("bpfecho_lo", true, "127.0.0.1 7"), "bpfecho_lo +clsact 127.0.0.1 7");
        let long = configuration(Place::Loopback, &[("fd00:1111:2222::/64", 1); 20], "7");
        let name = filter_name("bpfecho_lo", true, &endpoints(&long));
        assert_eq!(name.len(), FILTER_NAME_LENGTH);
        let cut = FilterName { own_clsact: true, endpoints: None };
        assert_eq!(read_filter_name(&name, "bpfecho_lo"), Some(cut));
    }
}
