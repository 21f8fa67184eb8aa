//! A second TCP stack that no one here wrote talks to bpfecho: smoltcp, over a tap interface, good and bad.

#[path = "smoltcp/client.rs"]
mod client;
#[path = "smoltcp/line.rs"]
mod line;
mod support;

use std::net::IpAddr;
use std::process::ExitCode;

use client::{BOTH, Client, Manner, V4, V6};
use line::Faults;
use support::test;

fn main() -> ExitCode {
    support::main([
        test("sixteen_mebibytes_over_a_good_line", good).needs(&["ip"]),
        test("sixteen_mebibytes_over_a_line_that_drops_corrupts_and_reorders", bad).needs(&["ip"]),
        test("small_streams_over_worse_lines", worse).needs(&["ip"]),
        test("messages_over_a_bad_line", bad_messages).needs(&["ip"]),
        test("messages_with_and_without_nagle_and_delayed_acknowledgments", messages).needs(&["ip"]),
        test("two_connections_at_once", two_at_once).needs(&["ip"]),
        test("datagrams_whole_and_in_fragments", datagrams).needs(&["ip"]),
    ])
}

const LENGTH: u64 = 16 << 20;

fn good() {
    let mut client = Client::new(1);
    for remote in BOTH {
        let stream = client.connect(remote, LENGTH, Manner::DEFAULT);
        client.exchange(&mut [stream]);
    }
    // Nothing was in want of repair: each segment is full, and the acknowledgments go with the data.
    let (counts, _) = client.counts();
    assert!(counts.sent < 2 * LENGTH / 1400 * 11 / 10, "{counts:?}");
}

/// Sends `length` bytes over a line with `faults`, and checks that it had them.
fn over_a_bad_line(remote: IpAddr, seed: u32, faults: Faults, length: u64, manner: Manner) {
    let mut client = Client::new(seed);
    client.set_faults(faults);
    let stream = client.connect(remote, length, manner);
    client.exchange(&mut [stream]);
    let (counts, dropped) = client.counts();
    let all = counts.sent + counts.received;
    let seen = [(faults.drop, dropped, counts.received), (faults.reorder, counts.delayed, all)];
    for (percent, number, of) in [(faults.corrupt_sent, counts.corrupted, counts.sent)].iter().chain(&seen) {
        // Far fewer than chance allows.
        assert!(number * 400 >= of * u64::from(*percent), "hardly a fault: {counts:?}, {dropped} dropped");
    }
}

fn bad() {
    let faults = Faults { drop: 2, reorder: 5, ..Faults::default() };
    over_a_bad_line(V4, 2, Faults { corrupt_sent: 2, ..faults }, LENGTH, Manner::DEFAULT);
    over_a_bad_line(V6, 2, Faults { corrupt_received: 2, ..faults }, LENGTH, Manner::DEFAULT);
}

fn worse() {
    for (seed, drop) in [(3, 5), (4, 10), (5, 15)] {
        let faults = Faults { drop, reorder: 5, ..Faults::default() };
        over_a_bad_line(V4, seed, Faults { corrupt_received: 5, ..faults }, 1 << 18, Manner::DEFAULT);
        over_a_bad_line(V6, seed, Faults { corrupt_sent: 5, ..faults }, 1 << 18, Manner::DEFAULT);
    }
}

/// Each message is alone on the line, and nothing that follows makes up for its loss.
fn bad_messages() {
    for (remote, nagle) in [(V4, false), (V6, true)] {
        let faults = Faults { drop: 5, corrupt_sent: 5, reorder: 5, ..Faults::default() };
        over_a_bad_line(remote, 9, faults, 30_000, Manner { nagle, message: 100, ..Manner::DEFAULT });
    }
}

fn messages() {
    let mut client = Client::new(6);
    for remote in BOTH {
        for nagle in [false, true] {
            for ack_delay in [None, Manner::DEFAULT.ack_delay] {
                for message in [1, 100, 1460, 5000] {
                    let manner = Manner { nagle, ack_delay, message };
                    let stream = client.connect(remote, 30 * message, manner);
                    client.exchange(&mut [stream]);
                }
                let stream = client.connect(remote, 1 << 20, Manner { nagle, ack_delay, ..Manner::DEFAULT });
                client.exchange(&mut [stream]);
            }
        }
    }
}

fn two_at_once() {
    let mut client = Client::new(7);
    let mut streams = BOTH.map(|remote| client.connect(remote, 1 << 20, Manner::DEFAULT));
    client.exchange(&mut streams);
}

fn datagrams() {
    let mut client = Client::new(8);
    for (remote, longest) in [(V4, 1472), (V6, 1452)] {
        for length in [0, 1, 2, 3, 64, 1000, longest - 1, longest] {
            client.ping(remote, length);
        }
    }
    // smoltcp cannot send fragments over IPv6.
    for length in [1473, 2960, 4000] {
        client.ping(V4, length);
    }
}
