//! What is said to programs: one JSON object a line, each with the version of this schema and the name of an event.

use std::io::{self, Write};

use probe::abi::{Counter, Counters};
use serde_json::{Map, Value, json};

use crate::attach::AttachedProgram;

/// Is raised when a field is given up or changes its meaning.
const SCHEMA: u32 = 1;

/// The names of the counters, in their order.
pub const COUNTERS: [&str; probe::abi::COUNTERS] = [
    "tcp4_packets",
    "tcp4_bytes",
    "tcp6_packets",
    "tcp6_bytes",
    "udp4_packets",
    "udp4_bytes",
    "udp6_packets",
    "udp6_bytes",
    "icmp4_packets",
    "icmp4_bytes",
    "icmp6_packets",
    "icmp6_bytes",
    "handshakes",
    "closes",
    "resets",
    "nudges",
    "neighbours",
    "dropped_flags",
    "dropped_data",
    "dropped_stray",
    "dropped_source",
    "dropped_loop",
    "dropped_ttl",
    "dropped_memory",
    "passed_fragment",
    "passed_extension",
    "passed_own_source",
    "passed_malformed",
    "passed_partial",
    "passed_frame",
];

const _: () = assert!(Counter::PassedFrame as usize + 1 == COUNTERS.len());

/// Says that `event` has happened. If nobody reads that any more, it is lost: a run must not end for it.
pub fn say(event: &str, fields: Value) {
    let mut object = Map::new();
    object.insert("schema".into(), SCHEMA.into());
    object.insert("event".into(), event.into());
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    // In one piece, as others may write to the same file.
    let _ = io::stdout().write_all(format!("{}\n", Value::Object(object)).as_bytes());
}

/// Counters by their names.
pub fn counters(counters: &Counters) -> Value {
    COUNTERS.into_iter().zip(counters).map(|(name, count)| (name, json!(count))).collect()
}

/// A program on an interface.
pub fn program(interface: &str, index: u32, program: &AttachedProgram) -> Value {
    json!({
        "ifname": interface,
        "ifindex": index,
        "hook": program.hook,
        "program_id": program.program_id,
        "link_id": program.link_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes follow their packets, and the rest are called as in the probe.
    #[test]
    fn counters_have_the_names_of_the_probe() {
        let mut counts = [0; probe::abi::COUNTERS];
        counts[Counter::Udp6Bytes as usize] = 7;
        counts[Counter::Handshakes as usize] = u64::MAX;
        counts[Counter::DroppedTtl as usize] = 9;
        let Value::Object(named) = counters(&counts) else { panic!() };
        assert_eq!(named.len(), probe::abi::COUNTERS);
        let some =
            ["udp6_bytes", "handshakes", "dropped_ttl", "passed_frame"].map(|name| named[name].as_u64());
        assert_eq!(some, [Some(7), Some(u64::MAX), Some(9), Some(0)]);
    }
}
