//! Which protocols are echoed.

use std::fmt;
use std::str::FromStr;

use probe::abi::protocols;

use crate::text::list;

/// What is echoed; at least one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// TCP on the ports.
    pub tcp: bool,
    /// UDP on the ports.
    pub udp: bool,
    /// Echo requests of ICMP and ICMPv6.
    pub icmp: bool,
}

impl Default for Protocols {
    fn default() -> Self {
        Self { tcp: true, udp: true, icmp: false }
    }
}

impl Protocols {
    /// What they are called on the command line.
    pub const NAMES: [&str; 3] = ["tcp", "udp", "icmp"];

    fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [(self.tcp, "TCP"), (self.udp, "UDP"), (self.icmp, "ICMP")];
        all.into_iter().filter_map(|(echoed, name)| echoed.then_some(name))
    }

    /// The sum of [`probe::abi::protocols`].
    pub fn bits(self) -> u32 {
        let all = [(self.tcp, protocols::TCP), (self.udp, protocols::UDP), (self.icmp, protocols::ICMP)];
        all.into_iter().map(|(echoed, bit)| if echoed { bit } else { 0 }).sum()
    }

    /// Whether ports matter.
    pub fn has_ports(self) -> bool {
        self.tcp || self.udp
    }

    /// As on the command line: `tcp,udp`.
    pub fn compact(self) -> String {
        self.names().collect::<Vec<_>>().join(",").to_lowercase()
    }
}

impl FromStr for Protocols {
    type Err = String;

    /// Reads a list such as `tcp,icmp`. The error names the word that is none.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut found = Self { tcp: false, udp: false, icmp: false };
        for word in text.split(',') {
            match word {
                "tcp" => found.tcp = true,
                "udp" => found.udp = true,
                "icmp" => found.icmp = true,
                _ => return Err(format!("`{word}` is not a protocol: there are {}", list(Self::NAMES))),
            }
        }
        Ok(found)
    }
}

impl fmt::Display for Protocols {
    /// `TCP, UDP and ICMP`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&list(self.names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_protocols() {
        for (text, shown, compact, bits) in [
            ("tcp,udp", "TCP and UDP", "tcp,udp", 3),
            ("udp,tcp,udp", "TCP and UDP", "tcp,udp", 3),
            ("icmp", "ICMP", "icmp", 4),
            ("icmp,udp,tcp", "TCP, UDP and ICMP", "tcp,udp,icmp", 7),
        ] {
            let protocols: Protocols = text.parse().unwrap();
            assert_eq!((protocols.to_string().as_str(), protocols.compact().as_str()), (shown, compact));
            assert_eq!(protocols.bits(), bits);
        }
        for (text, word) in
            [("", ""), ("tcp,", ""), ("tcp,sctp", "sctp"), ("TCP", "TCP"), ("tcp, udp", " udp")]
        {
            let reason = format!("`{word}` is not a protocol: there are tcp, udp and icmp");
            assert_eq!(text.parse::<Protocols>(), Err(reason));
        }
    }
}
