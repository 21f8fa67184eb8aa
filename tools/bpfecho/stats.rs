//! What happens in each interval of a run.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use probe::abi::{COUNTERS, Counter, Counters};
use serde_json::json;

use crate::json;
use crate::report::{TRAFFIC, exceptions};
use crate::text::rate;

/// Says on standard output what has happened since it was last asked.
pub struct Stats {
    json: bool,
    last: Counters,
    since: Instant,
    begun: bool,
}

impl Stats {
    /// From now on, when nothing has been counted.
    pub fn new(json: bool) -> Self {
        Self { json, last: [0; COUNTERS], since: Instant::now(), begun: false }
    }

    /// Says what has happened, now that `counters` have been reached.
    pub fn say(&mut self, counters: &Counters) {
        let now = Instant::now();
        let passed = now - std::mem::replace(&mut self.since, now);
        let last = std::mem::replace(&mut self.last, *counters);
        let interval: Counters = std::array::from_fn(|index| counters[index].saturating_sub(last[index]));
        if self.json {
            let milliseconds = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
            json::say(
                "stats",
                json!({
                    "interval_ms": milliseconds,
                    "interval": json::counters(&interval),
                    "total": json::counters(counters),
                }),
            );
            return;
        }
        let terminal = io::stdout().is_terminal();
        let head = if self.begun { "" } else { HEAD };
        self.begun = true;
        // On a terminal each line takes the place of the one before.
        let line = line(&interval, passed);
        let said = if terminal { format!("{head}\r{line}\x1b[K") } else { format!("{head}{line}\n") };
        let mut output = io::stdout();
        // If nobody reads that any more, it is lost.
        let _ = output.write_all(said.as_bytes()).and_then(|()| output.flush());
    }

    /// Ends the line on a terminal.
    pub fn end(&self) {
        if self.begun && !self.json && io::stdout().is_terminal() {
            let _ = io::stdout().write_all(b"\n");
        }
    }
}

const HEAD: &str = " packets/s     bits/s  connections/s  not echoed\n";

/// One line: how much comes back and how often connections begin, each in a second, and how many packets did not come
/// back in the interval, and why.
fn line(interval: &Counters, passed: Duration) -> String {
    let sum = |counter: fn(&(&str, Counter, Counter)) -> Counter| -> u64 {
        TRAFFIC.iter().map(|entry| interval[counter(entry) as usize]).sum()
    };
    let packets = rate(sum(|entry| entry.1), passed);
    let bits = rate(sum(|entry| entry.2).saturating_mul(8), passed);
    let connections = rate(interval[Counter::Handshakes as usize], passed);
    format!("{packets:>10} {bits:>10}  {connections:>13}  {}", exceptions(interval).join("; "))
        .trim_end()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_with_their_head() {
        let mut interval = [0; COUNTERS];
        assert_eq!(line(&interval, Duration::from_secs(1)), "         0          0              0");
        interval[Counter::Tcp4Packets as usize] = 2_000_000;
        interval[Counter::Udp6Packets as usize] = 468_000;
        interval[Counter::Tcp4Bytes as usize] = 1_000_000_000;
        interval[Counter::Handshakes as usize] = 14;
        interval[Counter::DroppedTtl as usize] = 3;
        interval[Counter::PassedFrame as usize] = 1;
        let expected = "    1.23 M     4.00 G              7  3 dropped at the end of their time to live; 1 passed as \
                        frames for others";
        assert_eq!(line(&interval, Duration::from_secs(2)), expected);
        assert_eq!(HEAD.find("not echoed"), expected.find("3 dropped"));
    }
}
