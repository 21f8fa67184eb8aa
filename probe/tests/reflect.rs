//! Golden packets that come back on loopback: the answer, built from scratch, must match in every byte.

mod support;

use probe::abi::Counter;
use probe::reflect::{Outcome, Reflected};
use support::golden::*;
use support::*;

/// A segment with window scale 7, `ahead` bytes behind what the client has confirmed.
fn data(route: &Route, ahead: u32, payload: &[u8]) -> Tcp {
    Tcp {
        sequence: SEQUENCE.wrapping_add(ahead),
        acknowledgment: SEQUENCE.wrapping_add(0x7000_0000),
        payload: payload.to_vec(),
        ..Tcp::new(route, ACK | PSH)
    }
}

/// The answer to such a segment: `eager` bytes acknowledged in advance.
fn mirrored(segment: &Tcp, eager: u32) -> Tcp {
    let room = u32::from(segment.window) << 7;
    Tcp {
        sequence: segment.sequence.wrapping_add(0x7000_0000),
        acknowledgment: segment.acknowledgment.wrapping_sub(0x7000_0000).wrapping_add(eager),
        window: ((room - eager) >> 7) as u16,
        ..segment.back()
    }
}

#[test]
fn udp_payload_of_any_length_comes_back() {
    for route in routes() {
        for length in [0, 1, 2, 3, 7, 8, 9, 511, 1472, 65507 - 40] {
            let payload: Vec<u8> = (0..length).map(|n| (n * 7 + 1) as u8).collect();
            let (reflected, answer) = echo(&Loopback::usual(), &udp(&route, &payload));
            assert_eq!(answer, udp(&route.back(), &payload));
            assert_eq!(checksum_is_right(&answer), Some(true));
            let packets = if route.from.is_ipv4() { Counter::Udp4Packets } else { Counter::Udp6Packets };
            let bytes = length as u32;
            assert_eq!(reflected, Reflected { packets, bytes, ..Reflected::default() });
        }
    }
}

#[test]
fn udp_without_a_checksum_stays_without() {
    // RFC 768: zero means that the sender made none.
    let route = Route::new(CLIENT_4, SERVER_4);
    let clear = |mut frame: Vec<u8>| {
        frame[ETHERNET + 26..ETHERNET + 28].fill(0);
        frame
    };
    let (_, answer) = echo(&Loopback::usual(), &clear(udp(&route, b"plain")));
    assert_eq!(answer, clear(udp(&route.back(), b"plain")));
}

#[test]
fn udp_behind_ipv4_options_comes_back() {
    let route = Route { options: vec![1, 1, 1, 7, 7, 4, 0, 0, 0, 0, 0, 0], ..Route::new(CLIENT_4, SERVER_4) };
    let (reflected, answer) = echo(&Loopback::usual(), &udp(&route, b"odd"));
    assert_eq!(answer, udp(&route.back(), b"odd"));
    assert_eq!((reflected.packets, reflected.bytes), (Counter::Udp4Packets, 3));
}

#[test]
fn padding_of_a_short_frame_is_no_payload() {
    for route in routes() {
        let padding = [0xaa; 6];
        // An acknowledgment taken for data would be acknowledged in advance.
        let segment = Tcp { flags: ACK, ..data(&route, 0, b"") };
        let (reflected, answer) = echo(&Loopback::usual(), &[&segment.frame()[..], &padding].concat());
        assert_eq!(answer, [&mirrored(&segment, 0).frame()[..], &padding].concat());
        assert_eq!(reflected.bytes, 0);

        let (reflected, answer) = echo(&Loopback::usual(), &[&udp(&route, b"abc")[..], &padding].concat());
        assert_eq!(answer, [&udp(&route.back(), b"abc")[..], &padding].concat());
        assert_eq!(reflected.bytes, 3);

        let syn = Tcp { payload: b"early".to_vec(), ..syn(&route, &[]) };
        let (_, answer) = echo(&Loopback::usual(), &[&syn.frame()[..], &padding].concat());
        assert_eq!(answer, syn_ack(&syn, 0, &[]).frame());
    }
}

#[test]
fn data_alone_comes_back_acknowledged() {
    for route in routes() {
        for length in [1, 2, 3, 999, 1460] {
            let segment = data(&route, 0, &vec![0xc3; length as usize]);
            assert_answer(&Loopback::usual(), &segment, &mirrored(&segment, length), None);
        }
    }
}

#[test]
fn data_behind_unconfirmed_data_comes_back() {
    for route in routes() {
        for ahead in [1, 1460, (1 << 27) - 1] {
            let segment =
                Tcp { flags: ACK | PSH | URG | ECE | CWR, urgent: 3, ..data(&route, ahead, b"behind") };
            assert_answer(&Loopback::usual(), &segment, &mirrored(&segment, 0), None);
        }
    }
}

#[test]
fn tsecr_of_data_becomes_tsval() {
    let options = |first: &[u8], echo: &[u8], last: &[u8]| [first, &TSVAL, echo, last].concat();
    // Linux's layout; one that is even only; behind another option; none before; 40 bytes in all.
    let layouts: [(&[u8], &[u8]); 5] = [
        (&[1, 1, 8, 10], &[]),
        (&[8, 10], &[0, 0]),
        (&[253, 4, 9, 9, 1, 1, 8, 10], &[]),
        (&[253, 4, 9, 9, 8, 10], &[1, 0]),
        (
            &[254, 28, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 8, 10],
            &[0, 0],
        ),
    ];
    for route in routes() {
        for (first, last) in layouts {
            let segment = Tcp { options: options(first, &TSECR, last), ..data(&route, 0, b"timed") };
            let answer = Tcp { options: options(first, &TSVAL, last), ..mirrored(&segment, 5) };
            assert_answer(&Loopback::usual(), &segment, &answer, None);
        }
    }
}

#[test]
fn options_of_data_without_timestamps_stay_as_they_are() {
    let layouts: [&[u8]; 6] = [
        &[1; 4],
        &[1, 1, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        &[
            253, 40, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
            0, 1, 2, 3, 4, 5, 6, 7, 8,
        ],
        &[0, 0, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        &[8, 10, 0, 0],
        &[8, 0, 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1],
    ];
    for route in routes() {
        for options in layouts {
            let segment = Tcp { options: options.to_vec(), ..data(&route, 0, b"as is") };
            assert_answer(&Loopback::usual(), &segment, &mirrored(&segment, 5), None);
        }
    }
}

#[test]
fn tcp_behind_ipv4_options_comes_back() {
    for length in [4, 8, 40] {
        let route = Route { options: vec![1; length], ..Route::new(CLIENT_4, SERVER_4) };
        let options = aligned_timestamps(TSVAL, TSECR);
        let segment = Tcp { options, ..data(&route, 0, b"options") };
        let answer = Tcp { options: aligned_timestamps(TSVAL, TSVAL), ..mirrored(&segment, 7) };
        assert_answer(&Loopback::usual(), &segment, &answer, None);
    }
}

#[test]
fn pure_acknowledgment_comes_back() {
    for route in routes() {
        let segment = Tcp { flags: ACK, ..data(&route, 0, b"") };
        assert_answer(&Loopback::usual(), &segment, &mirrored(&segment, 0), None);
    }
}

#[test]
fn keepalive_is_answered() {
    for route in routes() {
        let segment = Tcp { flags: ACK, ..data(&route, 0_u32.wrapping_sub(1), b"") };
        let answer = Tcp { sequence: segment.acknowledgment, ..mirrored(&segment, 0) };
        assert_answer(&Loopback::usual(), &segment, &answer, None);
    }
}

#[test]
fn fin_comes_back_and_is_counted() {
    for route in routes() {
        for (ahead, payload, eager) in [(0, &b""[..], 1), (0, b"last", 5), (1, b"", 0), (9, b"last", 0)] {
            let segment = Tcp { flags: FIN | ACK, ..data(&route, ahead, payload) };
            assert_answer(&Loopback::usual(), &segment, &mirrored(&segment, eager), Some(Counter::Closes));
        }
    }
}

/// An aggregate of `length` bytes, of which the segment has the first.
#[track_caller]
fn assert_aggregate(segment: &Tcp, length: usize, eager: u32) {
    let mut bytes = segment.partial();
    bytes.resize(length, 0x42);
    let mut answer = mirrored(segment, eager).balanced(segment).partial();
    answer.resize(length, 0x42);
    let Outcome::Reflected(reflected) = run(&Loopback::usual(), &mut bytes) else { panic!("not reflected") };
    assert_eq!(bytes, answer);
    let payload = (length - segment.headers()) as u32;
    assert_eq!((reflected.packets, reflected.bytes), (packets(segment.route.from.is_ipv4()), payload));
    assert_eq!((reflected.checksum, reflected.cut), (0, 0));
}

#[test]
fn aggregate_without_a_length_is_as_long_as_the_kernel_says() {
    let jumbo = |length: usize| {
        let payload = (length - ETHERNET - 40) as u32;
        (0, [&[TCP, 0, 0xc2, 4][..], &payload.to_be_bytes()].concat())
    };
    let [v4, v6] = routes();
    for length in [65_600, 100_001, 500_000] {
        for extension in [None, Some(jumbo(length))] {
            for route in [&v4, &v6] {
                if route.from.is_ipv4() && extension.is_some() {
                    continue;
                }
                let route = Route { said: Some(0), extension: extension.clone(), ..route.clone() };
                let segment = Tcp { window: 65535, ..data(&route, 0, &[0x42; 100]) };
                assert_aggregate(&segment, length, (length - segment.headers()) as u32);
                let segment = data(&route, 0, &[0x42; 100]);
                assert_aggregate(&segment, length, 0);
            }
        }
    }
}

#[test]
fn aggregate_with_a_length_is_that_long() {
    for route in routes() {
        let headers = route.headers() + 20;
        let said = (headers + 60_000 - ETHERNET - if route.from.is_ipv4() { 0 } else { 40 }) as u16;
        let route = Route { said: Some(said), ..route };
        let segment = Tcp { window: 65535, ..data(&route, 0, &[0x42; 100]) };
        assert_aggregate(&segment, headers + 60_000, 60_000);
    }
}
