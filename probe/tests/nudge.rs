//! Clients with Nagle's algorithm, who wait for their own delayed acknowledgments: their messages come back
//! twice.

mod support;

use probe::abi::{Counter, link};
use probe::reflect::Outcome;
use support::golden::*;
use support::*;

const LENGTH: usize = 12;

/// A segment with all of `sent` bytes confirmed.
fn segment(route: &Route, sent: usize, payload: &[u8]) -> Tcp {
    Tcp {
        sequence: SEQUENCE.wrapping_add(sent as u32),
        acknowledgment: SEQUENCE.wrapping_add(sent as u32),
        payload: payload.to_vec(),
        ..Tcp::new(route, if payload.is_empty() { ACK } else { ACK | PSH })
    }
}

/// Whether the answer to `frame` is sent twice.
#[track_caller]
fn is_nudged<const WIRE: bool>(server: &Server<WIRE>, frame: &[u8]) -> bool {
    match run(server, &mut frame.to_vec()) {
        Outcome::Reflected(reflected) => {
            assert_eq!(reflected.cut, 0);
            reflected.twice
        }
        other => panic!("{other:?}"),
    }
}

/// Sends `count` messages as such a client does: each behind an acknowledgment of everything, the first
/// behind that of the handshake. Returns the numbers, from 1, of those that come back twice.
fn nudged<const WIRE: bool>(server: &Server<WIRE>, route: &Route, count: usize) -> Vec<usize> {
    let mut nudged = Vec::new();
    for index in 0..count {
        let sent = index * LENGTH;
        assert!(!is_nudged(server, &segment(route, sent, b"").frame()), "an acknowledgment has no echo");
        if is_nudged(server, &segment(route, sent, &[0x61; LENGTH]).frame()) {
            nudged.push(index + 1);
        }
    }
    nudged
}

#[test]
fn client_that_waits_is_nudged_from_its_third_message_on() {
    for route in routes() {
        let expected: Vec<_> = (3..=70).filter(|number| ![16, 32, 64].contains(number)).collect();
        assert_eq!(nudged(&Wire::usual(), &route, 70), expected);
    }
}

#[test]
fn unusual_packets_make_no_difference() {
    // What is received twice is acknowledged with SACK blocks (RFC 2883), here without timestamps in front.
    let blocks =
        [&[1, 1, 5, 10][..], &SEQUENCE.to_be_bytes(), &SEQUENCE.wrapping_add(1).to_be_bytes()].concat();
    for route in routes() {
        for tags in [vec![], vec![0x81, 0, 0, 5]] {
            let (server, route) = (Wire::usual(), Route { tags, ..route.clone() });
            let mut twice = Vec::new();
            for index in 0..6 {
                let acknowledgment = Tcp { options: blocks.clone(), ..segment(&route, index * LENGTH, b"") };
                assert!(!is_nudged(&server, &acknowledgment.frame()));
                twice.push(is_nudged(&server, &segment(&route, index * LENGTH, b"message").frame()));
            }
            assert_eq!(twice, [false, false, true, true, true, true]);
        }
    }
}

#[test]
fn client_on_a_tunnel_is_nudged() {
    for route in routes() {
        let server = Wire { link: link::NONE, ..Wire::usual() };
        let mut twice = Vec::new();
        for index in 0..4 {
            assert!(!is_nudged(&server, &segment(&route, index * LENGTH, b"").frame()[ETHERNET..]));
            let message = segment(&route, index * LENGTH, b"message").frame();
            twice.push(is_nudged(&server, &message[ETHERNET..]));
        }
        assert_eq!(twice, [false, false, true, true]);
    }
}

#[test]
fn client_is_tested_ever_less_often_but_forever() {
    let tested = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 12_288, 16_384, 20_480];
    let expected: Vec<_> = (3..=21_000).filter(|number| !tested.contains(number)).collect();
    let [route, _] = routes();
    assert_eq!(nudged(&Wire::usual(), &route, 21_000), expected);
}

#[test]
fn what_is_sent_twice_is_the_echo() {
    for route in routes() {
        for options in [Vec::new(), aligned_timestamps(TSVAL, TSVAL)] {
            for length in [1, 2, 3, 700, 1400] {
                let server = Wire::usual();
                nudged(&server, &route, 2);
                let payload: Vec<_> = (0..length).map(|n| (n + 0x80) as u8).collect();
                let message = Tcp { options: options.clone(), ..segment(&route, 2 * LENGTH, &payload) };

                echo(&server, &segment(&route, 2 * LENGTH, b"").frame());
                let mut frame = message.frame();
                let Outcome::Reflected(reflected) = run(&server, &mut frame) else { panic!("no echo") };
                assert!(reflected.twice);
                finish(&mut frame, &reflected);
                assert_eq!(frame, message.bounced().frame());
                // It is counted once.
                let packets = packets(route.from.is_ipv4());
                assert_eq!((reflected.packets, reflected.bytes), (packets, length));
            }
        }
    }
}

#[test]
fn client_that_acknowledges_with_its_next_message_is_not_nudged() {
    for route in routes() {
        let server = Wire::usual();
        echo(&server, &segment(&route, 0, b"").frame());
        for index in 0..100 {
            echo(&server, &segment(&route, index * LENGTH, &[0x61; LENGTH]).frame());
        }
    }
}

#[test]
fn one_message_without_the_symptom_begins_the_count_anew() {
    for route in routes() {
        let server = Wire::usual();
        assert_eq!(nudged(&server, &route, 5), [3, 4, 5]);
        echo(&server, &segment(&route, 5 * LENGTH, &[0x61; LENGTH]).frame());
        assert_eq!(nudged(&server, &route, 5), [3, 4, 5]);
    }
}

#[test]
fn acknowledgment_of_less_than_everything_is_no_symptom() {
    for route in routes() {
        let server = Wire::usual();
        for index in 0..20 {
            let behind = segment(&route, index * LENGTH, b"");
            echo(&server, &Tcp { sequence: behind.sequence.wrapping_add(3), ..behind }.frame());
            echo(&server, &segment(&route, index * LENGTH, &[0x61; LENGTH]).frame());
        }
    }
}

#[test]
fn only_a_packet_that_fits_the_interface_is_sent_twice() {
    for route in routes() {
        let server = Wire::usual();
        nudged(&server, &route, 2);
        let headers = segment(&route, 0, b"").headers() - ETHERNET;
        for (length, twice) in [(1500, true), (1501, false), (20_000, false), (1500, true)] {
            echo(&server, &segment(&route, 0, b"").frame());
            let message = segment(&route, 0, &vec![0x62; length - headers]);
            assert_eq!(is_nudged(&server, &message.frame()), twice, "{length}");
        }
    }
}

#[test]
fn only_messages_alone_are_sent_twice() {
    for route in routes() {
        let server = Wire::usual();
        nudged(&server, &route, 3);
        echo(&server, &segment(&route, 0, b"").frame());
        let message = segment(&route, 0, b"message");
        // Behind unconfirmed bytes, and with the end of the stream.
        let behind = Tcp { sequence: message.sequence.wrapping_add(1), ..message.clone() };
        echo(&server, &behind.frame());
        let fin = Tcp { flags: FIN | ACK | PSH, ..message.clone() };
        assert_eq!(echo(&server, &fin.frame()).0.event, Some(Counter::Closes));
        assert!(is_nudged(&server, &message.frame()));
    }
}

#[test]
fn connections_are_told_apart() {
    for route in routes() {
        let server = Wire::usual();
        nudged(&server, &route, 10);
        let mut others = [route.clone(), route.clone(), route.clone()];
        others[0].from.set_port(CLIENT_PORT + 1);
        others[1].to.set_port(7000);
        others[2]
            .from
            .set_ip(if route.from.is_ipv4() { "198.51.100.10" } else { "2001:db8:9::d" }.parse().unwrap());
        for other in others {
            assert_eq!(nudged(&server, &other, 4), [3, 4]);
        }
    }
}

#[test]
fn nobody_is_nudged_on_loopback() {
    for route in routes() {
        assert!(nudged(&Loopback::usual(), &route, 100).is_empty());
    }
}
