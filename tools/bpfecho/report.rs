//! What is said of a run: the ready line and the summary.

use std::fmt::Display;
use std::io::{self, Write};

use probe::abi::{Counter, Counters};

use crate::arguments::Request;

/// Says `text` on standard error. If nobody reads that any more, it is lost: a run must not end for it.
pub fn say(text: &dyn Display) {
    let _ = writeln!(io::stderr(), "bpfecho: {text}");
}

/// The line that says what is echoed, where, and by which hook.
pub fn ready_line(request: &Request) -> String {
    let plural = if request.ports.len() == 1 { "port" } else { "ports" };
    format!(
        "echoing TCP and UDP on {} {plural} {} ({}, clsact egress)",
        list(&request.addresses),
        list(&request.ports),
        request.interface
    )
}

/// What was counted, in one line: what came back, and all else that happened.
pub fn summary(counters: &Counters) -> String {
    let count = |counter: Counter| counters[counter as usize];
    let traffic = [
        ("TCP/IPv4", Counter::Tcp4Packets, Counter::Tcp4Bytes),
        ("TCP/IPv6", Counter::Tcp6Packets, Counter::Tcp6Bytes),
        ("UDP/IPv4", Counter::Udp4Packets, Counter::Udp4Bytes),
        ("UDP/IPv6", Counter::Udp6Packets, Counter::Udp6Bytes),
    ];
    let mut parts: Vec<String> = traffic
        .into_iter()
        .filter(|(_, packets, _)| count(*packets) != 0)
        .map(|(name, packets, bytes)| {
            format!("{name} {}, {}", counted(count(packets), "packet"), counted(count(bytes), "byte"))
        })
        .collect();
    if parts.is_empty() {
        parts.push("nothing".into());
    }
    let events = [("handshake", Counter::Handshakes), ("close", Counter::Closes), ("reset", Counter::Resets)];
    for (what, counter) in events {
        if count(counter) != 0 {
            parts.push(counted(count(counter), what));
        }
    }
    let exceptions = [
        ("dropped for their TCP flags", Counter::DroppedFlags),
        ("dropped as segments of unknown connections", Counter::DroppedStray),
        ("passed as fragments", Counter::PassedFragment),
        ("passed for their extension headers", Counter::PassedExtension),
        ("passed as sent by the echoed port itself", Counter::PassedOwnSource),
        ("passed as malformed", Counter::PassedMalformed),
    ];
    for (what, counter) in exceptions {
        if count(counter) != 0 {
            parts.push(format!("{} {what}", count(counter)));
        }
    }
    format!("echoed {}", parts.join("; "))
}

/// A number of things: `1 packet`, `2 packets`.
fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// `a`, `a and b`, `a, b and c`.
fn list<T: Display>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [only] => only.to_string(),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(ToString::to_string).collect();
            format!("{} and {last}", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Verbosity;

    #[test]
    fn the_ready_line_lists_everything() {
        let mut request = Request {
            addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            ports: vec![1122],
            interface: "lo".into(),
            force: false,
            verbosity: Verbosity::Normal,
        };
        assert_eq!(
            ready_line(&request),
            "echoing TCP and UDP on 127.0.0.1 and ::1 port 1122 (lo, clsact egress)"
        );
        request.ports = vec![7, 9, 1122];
        assert_eq!(
            ready_line(&request),
            "echoing TCP and UDP on 127.0.0.1 and ::1 ports 7, 9 and 1122 (lo, clsact egress)"
        );
    }

    #[test]
    fn the_summary_names_what_happened_and_nothing_else() {
        let mut counters = [0; probe::abi::COUNTERS];
        assert_eq!(summary(&counters), "echoed nothing");
        counters[Counter::Tcp4Packets as usize] = 7;
        counters[Counter::Tcp4Bytes as usize] = 12;
        counters[Counter::Udp6Packets as usize] = 1;
        counters[Counter::Handshakes as usize] = 2;
        counters[Counter::PassedMalformed as usize] = 3;
        assert_eq!(
            summary(&counters),
            "echoed TCP/IPv4 7 packets, 12 bytes; UDP/IPv6 1 packet, 0 bytes; 2 handshakes; 3 passed as malformed"
        );
    }
}
