//! Golden packets that go back over the wire: the answer, built from scratch, must match in every byte.
//! Stations and addresses exchange their places, a hop is taken off, and of TCP nothing else changes but what
//! must.

mod support;

use probe::abi::Counter;
use probe::reflect::Reflected;
use support::golden::*;
use support::*;

/// A segment `ahead` bytes behind what the client has confirmed.
fn data(route: &Route, ahead: u32, payload: &[u8]) -> Tcp {
    Tcp {
        sequence: SEQUENCE.wrapping_add(ahead),
        acknowledgment: SEQUENCE,
        payload: payload.to_vec(),
        ..Tcp::new(route, ACK | PSH)
    }
}

#[track_caller]
fn assert_syn_ack(options: &[u8], answered: &[u8]) {
    for route in routes() {
        let syn = syn(&route, options);
        let answer = Tcp { route: route.bounced(), ..syn_ack(&syn, 0, answered) };
        assert_answer(&Wire::usual(), &syn, &answer, Some(Counter::Handshakes));
    }
}

#[test]
fn frame_goes_back_to_its_station_one_hop_shorter() {
    // The answer of the builders, byte by byte.
    for route in routes() {
        let frame = udp(&route, b"far");
        let (_, answer) = echo(&Wire::usual(), &frame);
        let (ttl, addresses, middle) = if route.from.is_ipv4() { (22, 26, 30) } else { (21, 22, 38) };
        let end = 2 * middle - addresses;
        let mut expected = frame.clone();
        expected[..6].copy_from_slice(&CLIENT_MAC);
        expected[6..12].copy_from_slice(&SERVER_MAC);
        expected[ttl] -= 1;
        expected[addresses..middle].copy_from_slice(&frame[middle..end]);
        expected[middle..end].copy_from_slice(&frame[addresses..middle]);
        expected[end..end + 2].copy_from_slice(&PORT.to_be_bytes());
        expected[end + 2..end + 4].copy_from_slice(&CLIENT_PORT.to_be_bytes());
        if route.from.is_ipv4() {
            // One less in a high byte of the sum is one more in that of the checksum.
            expected[24] += 1;
        }
        assert_eq!(answer, expected);
        assert_eq!(answer, udp(&route.bounced(), b"far"));
    }
}

#[test]
fn udp_payload_of_any_length_comes_back() {
    for route in routes() {
        for length in [0, 1, 2, 3, 511, 1472, 65507 - 40] {
            let payload: Vec<u8> = (0..length).map(|n| (n * 7 + 1) as u8).collect();
            let (reflected, answer) = echo(&Wire::usual(), &udp(&route, &payload));
            assert_eq!(answer, udp(&route.bounced(), &payload));
            let packets = if route.from.is_ipv4() { Counter::Udp4Packets } else { Counter::Udp6Packets };
            let Reflected { unbalanced, .. } = reflected;
            assert_eq!(
                reflected,
                Reflected { packets, bytes: length as u32, unbalanced, ..Reflected::default() }
            );
        }
    }
}

#[test]
fn udp_without_a_checksum_stays_without() {
    let route = Route::new(CLIENT_4, SERVER_4);
    let clear = |mut frame: Vec<u8>| {
        frame[ETHERNET + 26..ETHERNET + 28].fill(0);
        frame
    };
    let (_, answer) = echo(&Wire::usual(), &clear(udp(&route, b"plain")));
    assert_eq!(answer, clear(udp(&route.bounced(), b"plain")));
}

#[test]
fn pings_are_answered_when_asked_for() {
    use probe::abi::protocols;
    let server = Wire { protocols: protocols::ICMP, ..Wire::usual() };
    for (route, packets) in routes().into_iter().zip([Counter::Icmp4Packets, Counter::Icmp6Packets]) {
        for length in [0, 1, 2, 56, 1000] {
            let payload: Vec<u8> = (0..length).map(|n| (n * 5 + 3) as u8).collect();
            let (reflected, answer) = echo(&server, &ping(&route, &payload));
            assert_eq!(answer, pong(&route.bounced(), &payload));
            assert_eq!(checksum_is_right(&answer), Some(true));
            assert_eq!((reflected.packets, reflected.bytes), (packets, length));
        }
        assert_untouched(&server, &udp(&route, b"x"), NOT_OURS);
        assert_untouched(&server, &data(&route, 0, b"x").frame(), NOT_OURS);
    }
}

#[test]
fn syn_is_answered_with_the_clients_own_number_and_options() {
    let options = [&[2, 4, 0x05, 0x78, 4, 2, 8, 10][..], &TSVAL, &[0; 4], &[1, 3, 3, 7]].concat();
    let answered = [&[2, 4, 0x05, 0x78, 1, 3, 3, 7, 4, 2, 8, 10][..], &TSVAL, &TSVAL].concat();
    assert_syn_ack(&options, &answered);
    // In another order, at odd places, and with a stale TSecr.
    let options = [&[3, 3, 14, 8, 10][..], &TSVAL, &TSECR, &[4, 2, 2, 4, 5, 0, 1]].concat();
    let answered = [&[2, 4, 5, 0, 1, 3, 3, 14, 4, 2, 8, 10][..], &TSVAL, &TSVAL].concat();
    assert_syn_ack(&options, &answered);
}

#[test]
fn syn_is_offered_nothing_that_the_client_does_not_offer() {
    assert_syn_ack(&[], &[]);
    assert_syn_ack(&[2, 4, 5, 0], &[2, 4, 5, 0]);
    assert_syn_ack(&[4, 2, 0, 0], &[1, 1, 4, 2]);
    assert_syn_ack(&[3, 3, 9, 0], &[1, 3, 3, 9]);
    assert_syn_ack(&[3, 3, 15, 0], &[1, 3, 3, 14]);
    assert_syn_ack(&[2, 4, 5, 0, 4, 2, 3, 3, 1, 1, 1, 1], &[2, 4, 5, 0, 1, 3, 3, 1, 1, 1, 4, 2]);
    let timestamps = aligned_timestamps(TSVAL, TSVAL);
    assert_syn_ack(&timestamps, &timestamps);
    assert_syn_ack(
        &[&[4, 2, 8, 10][..], &TSVAL, &[0; 4]].concat(),
        &[&[4, 2, 8, 10][..], &TSVAL, &TSVAL].concat(),
    );
    // Fast open, multipath, MD5.
    assert_syn_ack(&[34, 2, 4, 2], &[1, 1, 4, 2]);
    assert_syn_ack(&[30, 12, 0, 0x81, 1, 2, 3, 4, 5, 6, 7, 8], &[1; 12]);
    assert_syn_ack(&[&[1, 1, 19, 18][..], &[0x5a; 16]].concat(), &[1; 20]);
}

#[test]
fn mss_fits_the_interface() {
    let mss = |bytes: u16| [&[2, 4][..], &bytes.to_be_bytes()].concat();
    let [v4, v6] = routes();
    for (route, mtu, offered, answered) in [
        (&v4, 1500, 1459, 1459),
        (&v4, 1500, 1461, 1460),
        (&v4, 1280, 1460, 1240),
        (&v4, 9000, 8960, 8960),
        (&v6, 1500, 1440, 1440),
        (&v6, 1500, 1441, 1440),
        (&v6, 1280, 65535, 1220),
    ] {
        let syn = syn(route, &mss(offered));
        let answer = Tcp { route: route.bounced(), ..syn_ack(&syn, 0, &mss(answered)) };
        assert_answer(&Wire { mtu, ..Wire::usual() }, &syn, &answer, Some(Counter::Handshakes));
    }
}

#[test]
fn flags_of_a_handshake_are_exactly_syn_and_ack() {
    for route in routes() {
        for flags in [SYN | ECE | CWR, SYN | PSH | URG] {
            let syn = Tcp {
                flags,
                accurate_ecn: true,
                urgent: 77,
                acknowledgment: 0xdead_beef,
                ..syn(&route, &[2, 4, 5, 0])
            };
            let answer = Tcp { route: route.bounced(), ..syn_ack(&syn, 0, &[2, 4, 5, 0]) };
            assert_answer(&Wire::usual(), &syn, &answer, Some(Counter::Handshakes));
        }
    }
}

#[test]
fn data_in_a_syn_is_cut_off() {
    let options = [&[2, 4, 5, 0, 34, 2, 8, 10][..], &TSVAL, &[0; 4], &[1, 3, 3, 7]].concat();
    let answered = [&[2, 4, 5, 0, 1, 3, 3, 7][..], &aligned_timestamps(TSVAL, TSVAL)].concat();
    for route in routes() {
        for length in [1, 2, 3, 999, 1400] {
            let payload = (0..length).map(|n| (n * 3 + 5) as u8).collect();
            let syn = Tcp { payload, ..syn(&route, &options) };
            let answer = Tcp { route: route.bounced(), ..syn_ack(&syn, 0, &answered) };
            assert_answer(&Wire::usual(), &syn, &answer, Some(Counter::Handshakes));
        }
    }
}

#[test]
fn syn_with_data_that_was_damaged_on_the_way_has_no_right_answer() {
    // What is damaged may be an option that both sides would keep to.
    for route in routes() {
        let syn = Tcp { payload: b"early".to_vec(), ..syn(&route, &[2, 4, 5, 0, 1, 3, 3, 7]) };
        for damaged in [4, 14, 23, 27, 28] {
            let mut frame = syn.frame();
            frame[route.headers() + damaged] ^= 4;
            let (_, answer) = echo(&Wire::usual(), &frame);
            assert_eq!(checksum_is_right(&answer), Some(false), "damaged at {damaged}");
        }
    }
}

#[test]
fn segments_are_mirrored() {
    for route in routes() {
        for (flags, ahead, payload) in [
            (ACK, 0, &b""[..]),
            (ACK, 77, b""),
            (ACK | PSH, 0, b"alone"),
            (ACK, 1, b"behind"),
            (ACK | PSH | URG | ECE | CWR, 1460, b"urgent"),
        ] {
            for window in [0, 1, 502, 65_535] {
                let segment = Tcp { flags, window, urgent: 3, ..data(&route, ahead, payload) };
                assert_answer(&Wire::usual(), &segment, &segment.bounced(), None);
            }
        }
        for payload in [&b""[..], b"last"] {
            let segment = Tcp { flags: FIN | ACK, ..data(&route, 0, payload) };
            assert_answer(&Wire::usual(), &segment, &segment.bounced(), Some(Counter::Closes));
        }
    }
}

#[test]
fn numbers_up_to_a_window_apart_are_of_our_connections() {
    const WINDOW: u32 = 1 << 30;
    for route in routes() {
        for (ahead, ours) in [
            (WINDOW, true),
            (WINDOW + 1, false),
            (1 << 31, false),
            (WINDOW.wrapping_neg(), false),
            (WINDOW.wrapping_neg() + 1, true),
        ] {
            for (flags, payload) in [(ACK, &b""[..]), (ACK | PSH, b"data"), (FIN | ACK, b"")] {
                let segment = Tcp { flags, ..data(&route, ahead, payload) };
                if ours {
                    let event = (flags & FIN != 0).then_some(Counter::Closes);
                    let mut answer = segment.bounced();
                    // An acknowledgment from behind comes back from where the server is.
                    if flags == ACK && payload.is_empty() && ahead > WINDOW {
                        answer.sequence = segment.acknowledgment;
                    }
                    assert_answer(&Wire::usual(), &segment, &answer, event);
                } else {
                    let outcome = consumed(Counter::DroppedStray);
                    assert_untouched(&Wire::usual(), &segment.frame(), outcome);
                }
            }
        }
    }
}

#[test]
fn keepalive_is_answered_with_where_the_server_is() {
    for route in routes() {
        let below = 0_u32.wrapping_sub(1);
        let probe = Tcp { flags: ACK, ..data(&route, below, b"") };
        let answer = Tcp { sequence: probe.acknowledgment, ..probe.bounced() };
        assert_answer(&Wire::usual(), &probe, &answer, None);
        // With a byte of garbage, or a FIN, it is an old segment.
        let garbage = data(&route, below, b"g");
        assert_answer(&Wire::usual(), &garbage, &garbage.bounced(), None);
        let fin = Tcp { flags: FIN | ACK, ..probe };
        assert_answer(&Wire::usual(), &fin, &fin.bounced(), Some(Counter::Closes));
    }
}

#[test]
fn tsecr_becomes_tsval_at_any_place() {
    let options = |first: &[u8], echo: &[u8], last: &[u8]| [first, &TSVAL, echo, last].concat();
    // Linux's layout, even, behind another option, odd, and odd behind an odd one.
    let layouts: [(&[u8], &[u8]); 5] = [
        (&[1, 1, 8, 10], &[]),
        (&[8, 10], &[0, 0]),
        (&[1, 1, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 8, 10], &[]),
        (&[1, 8, 10], &[1]),
        (&[253, 3, 9, 8, 10], &[1, 1, 1]),
    ];
    for route in routes() {
        for (first, last) in layouts {
            for payload in [&b""[..], b"timed"] {
                let segment = Tcp { options: options(first, &TSECR, last), ..data(&route, 3, payload) };
                let answer = Tcp { options: options(first, &TSVAL, last), ..segment.bounced() };
                assert_answer(&Wire::usual(), &segment, &answer, None);
            }
        }
    }
}

#[test]
fn blocks_of_selective_acknowledgments_stay_as_they_are() {
    // They name places in the one sequence space that both sides have.
    for route in routes() {
        let options = vec![1, 1, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        let segment = Tcp { options, ..data(&route, 3, b"selective") };
        assert_answer(&Wire::usual(), &segment, &segment.bounced(), None);
    }
}
