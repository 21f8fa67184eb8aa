//! XDP in front of the wire's hook: it answers what is plain, passes on all else as it is, and makes no difference to
//! anybody but by its speed.

mod support;

use probe::abi::Counter;
use probe::host::Audience;
use probe::packet::Packet;
use probe::reflect::{Outcome, reflect_usual};
use support::golden::*;
use support::random::{Random, damage, datagram, from_nobody, question, segment, turn};
use support::*;

const PARTIAL: Outcome = passed(Counter::PassedPartial);

/// An interface with both hooks, which share what they remember.
struct Both {
    xdp: Xdp,
    wire: Wire,
}

impl Both {
    fn usual() -> Self {
        Self { xdp: Xdp::usual(), wire: Wire::usual() }
    }

    /// Runs `frame`. Returns what became of it, whose last steps are done, and whether XDP answered it.
    #[track_caller]
    fn run(&mut self, frame: &mut Vec<u8>) -> (Outcome, bool) {
        let linear = frame.len();
        let outcome = run_in_xdp(&self.xdp, frame, linear);
        if matches!(outcome, Outcome::Reflected(_)) {
            return (outcome, true);
        }
        std::mem::swap(&mut self.xdp.memory, &mut self.wire.memory);
        let outcome = run_on_wire(&self.wire, frame);
        std::mem::swap(&mut self.xdp.memory, &mut self.wire.memory);
        (outcome, false)
    }
}

fn run_on_wire(server: &Wire, frame: &mut Vec<u8>) -> Outcome {
    let audience = if frame.starts_with(&SERVER_MAC) { Audience::Us } else { Audience::Other };
    let outcome = run_for(server, frame, audience);
    if let Outcome::Reflected(reflected) = &outcome {
        finish(frame, reflected);
    }
    outcome
}

/// What is counted, and whether the echo is sent twice.
fn result(outcome: Outcome) -> Result<(Counter, u32, Option<Counter>, bool), Option<Counter>> {
    match outcome {
        Outcome::Reflected(it) => Ok((it.packets, it.bytes, it.event, it.twice)),
        Outcome::Refused(refusal) => Err(refusal.reason),
    }
}

/// A segment of an established connection with all before it confirmed.
fn alone(route: &Route, payload: &[u8]) -> Tcp {
    Tcp {
        sequence: SEQUENCE,
        acknowledgment: SEQUENCE,
        payload: payload.to_vec(),
        ..Tcp::new(route, if payload.is_empty() { ACK } else { ACK | PSH })
    }
}

#[test]
fn nobody_notices_it() {
    let mut random = Random(0x0078_6470);
    let (mut both, wire) = (Both::usual(), Wire::usual());
    let mut answered = 0;
    for _ in 0..100_000 {
        let mut frame = match random.below(16) {
            0 => question(&mut random),
            1..=3 => turn(&mut random),
            4 => from_nobody(&mut random),
            5..8 => datagram(&mut random),
            _ => segment(&mut random).frame(),
        };
        if random.chance(40) {
            damage(&mut random, &mut frame, 120);
        }
        let (mut without, sent) = (frame.clone(), frame.clone());
        let (outcome, in_xdp) = both.run(&mut frame);
        let expected = run_on_wire(&wire, &mut without);
        assert_eq!(result(outcome), result(expected), "{sent:02x?}");
        assert_eq!(frame, without, "{sent:02x?}");
        answered += u32::from(in_xdp);
    }
    assert!(answered > 15_000, "XDP answered only {answered}");
}

#[test]
fn plain_packets_are_answered() {
    for route in routes() {
        let server = Xdp::usual();
        let back = route.bounced();
        let datagrams = [0, 1, 2, 1400].map(|length| {
            let payload = payload(length);
            (udp(&route, &payload), udp(&back, &payload))
        });
        let block = [&[1, 1, 5, 10][..], &[7; 8]].concat();
        let with_block = |echoed| [aligned_timestamps(TSVAL, echoed), block.clone()].concat();
        let segments = [0, 1, 2, 1400].into_iter().flat_map(|length| {
            let plain = alone(&route, &payload(length));
            let answer = plain.bounced();
            let timed = Tcp { options: aligned_timestamps(TSVAL, TSECR), ..plain.clone() };
            let timed_answer = Tcp { options: aligned_timestamps(TSVAL, TSVAL), ..answer.clone() };
            let more = Tcp { options: with_block(TSECR), flags: FIN | ACK, ..plain.clone() };
            let more_answer = Tcp { options: with_block(TSVAL), flags: FIN | ACK, ..answer.clone() };
            [(plain, answer), (timed, timed_answer), (more, more_answer)]
                .map(|(segment, answer)| (segment.frame(), answer.frame()))
        });
        for (mut frame, answer) in datagrams.into_iter().chain(segments) {
            // What is in fragments, or behind the packet, does not matter.
            for padding in [0, 9] {
                frame.resize(answer.len() + padding, 0);
                for linear in [frame.len(), route.headers() + 52] {
                    let mut bytes = frame.clone();
                    let linear = linear.min(bytes.len());
                    let outcome = run_in_xdp(&server, &mut bytes, linear);
                    assert!(matches!(outcome, Outcome::Reflected(_)), "{outcome:?} for {frame:02x?}");
                    assert_eq!(bytes[..answer.len()], answer, "{frame:02x?}");
                }
            }
        }
    }
}

fn payload(length: usize) -> Vec<u8> {
    Random(length as u64).bytes(length)
}

#[test]
fn whatever_else_is_passed_on_as_it_is() {
    let server = Xdp::usual();
    for route in routes() {
        let data = alone(&route, b"message");
        let on =
            |route: Route| [Tcp { route: route.clone(), ..data.clone() }.frame(), udp(&route, b"message")];
        let with_flags = |flags| Tcp { flags, ..data.clone() }.frame();
        let mut frames = vec![
            with_flags(SYN),
            with_flags(RST),
            with_flags(RST | ACK),
            with_flags(0),
            Tcp { options: vec![1, 1, 1, 0], ..data.clone() }.frame(),
            Tcp { options: [&[8, 10][..], &TSVAL, &TSECR, &[1, 1]].concat(), ..data.clone() }.frame(),
            Tcp { acknowledgment: SEQUENCE.wrapping_add(1 << 30), ..data.clone() }.frame(),
            ping(&route, b"ping"),
            [&SERVER_MAC[..], &CLIENT_MAC, &[8, 6], &[0; 28]].concat(),
        ];
        let other_port = |mut route: Route| {
            route.to.set_port(PORT + 1);
            route
        };
        let from_served_port = |mut route: Route| {
            route.from.set_port(PORT);
            route
        };
        let to_itself = |mut route: Route| {
            route.from.set_ip(route.to.ip());
            route
        };
        for changed in [
            Route { tags: vec![0x81, 0, 0, 5], ..route.clone() },
            Route { hops: 1, ..route.clone() },
            // For another station, for many, and from many.
            Route { macs: [[2, 0, 0, 0, 0, 3], CLIENT_MAC], ..route.clone() },
            Route { macs: [[0xff; 6], CLIENT_MAC], ..route.clone() },
            Route { macs: [SERVER_MAC, [3, 0, 0, 0, 0, 2]], ..route.clone() },
            other_port(route.clone()),
            from_served_port(route.clone()),
            to_itself(route.clone()),
            route.back(),
            // Longer than the frame, and without a length.
            Route { said: Some(2000), ..route.clone() },
            Route { said: Some(0), ..route.clone() },
        ] {
            frames.extend(on(changed));
        }
        if route.from.is_ipv4() {
            frames.extend(on(Route { options: vec![1; 4], ..route.clone() }));
            frames.extend(on(Route { fragment: 0x2000, ..route.clone() }));
        } else {
            frames.extend(fragments(&route, UDP, &udp(&route, &[7; 64]), 32));
        }
        for frame in frames {
            let linear = frame.len();
            assert_eq!(run_in_xdp(&server, &mut frame.clone(), linear), NOT_OURS, "{frame:02x?}");
        }
        // Half a header in reach.
        for length in 0..route.headers() + 4 {
            assert_eq!(run_in_xdp(&server, &mut udp(&route, b"message"), length), NOT_OURS, "{length}");
        }
    }
}

#[test]
fn checksums_that_are_left_to_the_device_are_passed_on() {
    let server = Xdp::usual();
    for route in routes() {
        for length in [0, 1, 2, 3, 700, 1400] {
            let segment = alone(&route, &payload(length));
            let timed = Tcp { options: aligned_timestamps(TSVAL, TSECR), ..segment.clone() };
            for mut frame in [segment.partial(), timed.partial(), udp_partial(&route, &payload(length))] {
                frame.extend([0x5a; 6]);
                let linear = frame.len();
                assert_eq!(run_in_xdp(&server, &mut frame, linear), PARTIAL, "{length}: {frame:02x?}");
            }
        }
    }
    // No checksum is none to be completed.
    let [route, _] = routes();
    let mut frame = udp(&route, b"message");
    frame[route.headers() + 6..][..2].fill(0);
    let linear = frame.len();
    assert!(matches!(run_in_xdp(&server, &mut frame, linear), Outcome::Reflected(_)));
}

/// Where the length is not known, a packet is as long as it says.
#[test]
fn frames_of_unknown_length() {
    for route in routes() {
        for (said, answered) in [(None, true), (Some(2000), true), (Some(0), false), (Some(7), false)] {
            let mut frame = udp(&Route { said, ..route.clone() }, b"message");
            let packet = Packet::new(&mut frame);
            let outcome = reflect_usual(&Xdp::usual(), packet, &u32::MAX, Audience::Us);
            assert_eq!(matches!(outcome, Some(Outcome::Reflected(_))), answered, "{said:?}: {outcome:?}");
        }
    }
}

/// Who waits for acknowledgments is nudged as without XDP, which sends nothing twice.
#[test]
fn nudges_go_by_the_next_hook_and_nothing_else_does() {
    for route in routes() {
        let mut both = Both::usual();
        let mut nudged = Vec::new();
        for number in 1..=70 {
            let (_, in_xdp) = both.run(&mut alone(&route, b"").frame());
            assert!(in_xdp, "acknowledgment {number}");
            let (outcome, in_xdp) = both.run(&mut alone(&route, b"message").frame());
            let (_, _, _, twice) = result(outcome).unwrap();
            assert_eq!(in_xdp, !twice, "message {number}");
            nudged.extend(twice.then_some(number));
        }
        let expected: Vec<_> = (3..=70).filter(|number| ![16, 32, 64].contains(number)).collect();
        assert_eq!(nudged, expected);
        // One that does not wait.
        both.run(&mut alone(&route, b"message").frame());
        assert!((0..70).all(|_| both.run(&mut alone(&route, b"message").frame()).1));
    }
}

#[test]
fn what_is_passed_on_is_learned_from_once() {
    for route in routes() {
        let mut both = Both::usual();
        let nudged = [1, 2, 3, 4].map(|number| {
            let (_, in_xdp) = both.run(&mut alone(&route, b"").partial());
            assert!(!in_xdp, "acknowledgment {number}");
            let (outcome, _) = both.run(&mut alone(&route, b"message").partial());
            result(outcome).unwrap().3
        });
        assert_eq!(nudged, [false, false, true, true]);
    }
}
