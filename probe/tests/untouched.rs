//! Packets that do not come back: every byte stays, and the outcome says why.

mod support;

use probe::abi::Counter;
use probe::packet::Packet;
use probe::reflect::{Outcome, reflect};
use support::*;

/// A segment that is reflected, on `route`.
fn good(route: &Route) -> Tcp {
    Tcp { sequence: 5000, acknowledgment: 5000, payload: b"payload".to_vec(), ..Tcp::new(route, ACK | PSH) }
}

fn consumed(reason: Counter) -> Outcome {
    Outcome::Consumed(reason)
}

#[test]
fn other_ports_are_not_ours() {
    for route in routes() {
        // Below and above the range, inside it but not served, and ours as the source.
        for port in [0, 7, 6999, 7001, 7006, 7008, 7011, 65535, CLIENT_PORT] {
            let mut route = route.clone();
            route.to.set_port(port);
            route.from.set_port(PORT);
            assert_untouched(&Server::usual(), &good(&route).frame(), Outcome::NotOurs);
            assert_untouched(&Server::usual(), &Tcp::new(&route, RST).frame(), Outcome::NotOurs);
            assert_untouched(&Server::usual(), &udp(&route, b"x"), Outcome::NotOurs);
        }
    }
}

#[test]
fn other_addresses_are_not_ours() {
    for (from, to) in [
        (CLIENT_4, "192.0.2.8"),
        (CLIENT_4, "193.0.2.7"),
        (SERVER_4, CLIENT_4),
        (CLIENT_6, "2001:db8::8"),
        (CLIENT_6, "2001:db9::7"),
        (SERVER_6, CLIENT_6),
    ] {
        let route = Route::new(from, to);
        assert_untouched(&Server::usual(), &good(&route).frame(), Outcome::NotOurs);
        assert_untouched(&Server::usual(), &Tcp::new(&route, SYN).frame(), Outcome::NotOurs);
        assert_untouched(&Server::usual(), &Tcp::new(&route, RST).frame(), Outcome::NotOurs);
        assert_untouched(&Server::usual(), &udp(&route, b"x"), Outcome::NotOurs);
    }
}

#[test]
fn other_ethertypes_are_not_ours() {
    // ARP, VLAN, 802.3 length, and the neighbours of IP's.
    for route in routes() {
        for ethertype in [0x0806, 0x8100, 0x88a8, 0x0040, 0x0801, 0x86dc, 0x0008, 0xdd86_u16] {
            let mut frame = good(&route).frame();
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            assert_untouched(&Server::usual(), &frame, Outcome::NotOurs);
        }
    }
}

#[test]
fn other_protocols_are_not_ours() {
    // ICMP, IGMP, IP in IP, DCCP, GRE, ESP, ICMPv6, no next header, SCTP, UDP-Lite.
    for route in routes() {
        let frame = good(&route).frame();
        for protocol in [1, 2, 4, 33, 41, 47, 50, 58, 59, 132, 136] {
            let frame = route.frame(protocol, &frame[route.headers()..]);
            assert_untouched(&Server::usual(), &frame, Outcome::NotOurs);
        }
    }
}

#[test]
fn own_source_is_passed() {
    for (from, to) in [(SERVER_4, SERVER_4), (SERVER_6, SERVER_6)] {
        let mut route = Route::new(from, to);
        route.from.set_port(PORT);
        let outcome = Outcome::Passed(Counter::PassedOwnSource);
        assert_untouched(&Server::usual(), &good(&route).frame(), outcome);
        assert_untouched(&Server::usual(), &udp(&route, b"x"), outcome);

        // Only the address, or only the port, is the same: an ordinary client.
        route.from.set_port(CLIENT_PORT);
        echo(&Server::usual(), &udp(&route, b"x"));
        let mut route = Route::new(if route.from.is_ipv4() { CLIENT_4 } else { CLIENT_6 }, to);
        route.from.set_port(PORT);
        echo(&Server::usual(), &udp(&route, b"x"));
    }
}

#[test]
fn ipv4_fragments_are_passed() {
    let to_other = Route::new(CLIENT_4, "192.0.2.8");
    // The first, one in the middle, the last, and all bits of the offset.
    for fragment in [0x2000, 0x2001, 0x0001, 0x1fff_u16] {
        let cut = |mut frame: Vec<u8>| {
            frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&fragment.to_be_bytes());
            frame
        };
        let route = Route::new(CLIENT_4, SERVER_4);
        let outcome = Outcome::Passed(Counter::PassedFragment);
        assert_untouched(&Server::usual(), &cut(udp(&route, b"piece")), outcome);
        assert_untouched(&Server::usual(), &cut(good(&route).frame()), outcome);
        assert_untouched(&Server::usual(), &cut(udp(&to_other, b"piece")), Outcome::NotOurs);
    }
}

#[test]
fn dont_fragment_is_no_fragment() {
    for flags in [0x4000, 0x8000_u16] {
        let set = |mut frame: Vec<u8>| {
            frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&flags.to_be_bytes());
            frame
        };
        let route = Route::new(CLIENT_4, SERVER_4);
        let (_, answer) = echo(&Server::usual(), &set(udp(&route, b"whole")));
        assert_eq!(answer, set(udp(&route.back(), b"whole")));
    }
}

#[test]
fn ipv6_extension_headers_are_passed() {
    // Hop-by-hop, routing, fragment, authentication, destination options: next is UDP.
    for (next, counter) in [
        (0, Counter::PassedExtension),
        (43, Counter::PassedExtension),
        (44, Counter::PassedFragment),
        (51, Counter::PassedExtension),
        (60, Counter::PassedExtension),
    ] {
        let extension = Some((next, vec![UDP, 0, 0, 1, 0, 0, 0, 7]));
        let route = Route { extension: extension.clone(), ..Route::new(CLIENT_6, SERVER_6) };
        assert_untouched(&Server::usual(), &udp(&route, b"behind"), Outcome::Passed(counter));
        let route = Route { extension, ..Route::new(CLIENT_6, "2001:db8::8") };
        assert_untouched(&Server::usual(), &udp(&route, b"behind"), Outcome::NotOurs);
    }
}

#[test]
fn hop_by_hop_header_is_jumbo_only_without_a_length() {
    let passed = Outcome::Passed(Counter::PassedExtension);
    for (header, said, outcome) in [
        // With a length the jumbo option is an error (RFC 2675 section 3).
        ([UDP, 0, 0xc2, 4, 0, 0, 0, 13], None, passed),
        // No jumbo option, a longer header, another length of the option.
        ([UDP, 0, 1, 4, 0, 0, 0, 0], Some(0), passed),
        ([UDP, 1, 0xc2, 4, 0, 0, 0, 13], Some(0), passed),
        ([UDP, 0, 0xc2, 5, 0, 0, 0, 13], Some(0), passed),
        // Something else behind it.
        ([60, 0, 0xc2, 4, 0, 0, 0, 13], Some(0), passed),
        ([44, 0, 0xc2, 4, 0, 0, 0, 13], Some(0), Outcome::Passed(Counter::PassedFragment)),
        ([58, 0, 0xc2, 4, 0, 0, 0, 13], Some(0), Outcome::NotOurs),
    ] {
        let route = Route { extension: Some((0, header.to_vec())), said, ..Route::new(CLIENT_6, SERVER_6) };
        assert_untouched(&Server::usual(), &udp(&route, b"jumbo"), outcome);
    }
}

#[test]
fn resets_are_consumed() {
    for route in routes() {
        for flags in [RST, RST | ACK, RST | SYN, RST | FIN, RST | ACK | PSH, 0xff] {
            let frame = Tcp { flags, ..good(&route) }.frame();
            assert_untouched(&Server::usual(), &frame, consumed(Counter::Resets));
        }
    }
}

#[test]
fn flags_of_no_connection_are_consumed() {
    // Null, no ACK, Xmas, SYN with FIN, SYN with ACK.
    for flags in [0, PSH, URG, FIN, FIN | PSH | URG, SYN | FIN, SYN | FIN | ACK, SYN | ACK, SYN | ACK | ECE] {
        for route in routes() {
            let frame = Tcp { flags, ..good(&route) }.frame();
            assert_untouched(&Server::usual(), &frame, consumed(Counter::DroppedFlags));
        }
    }
}

#[test]
fn segments_of_a_strangers_connection_are_consumed() {
    for route in routes() {
        for (flags, payload) in [(ACK, &b""[..]), (ACK | PSH, b"data"), (FIN | ACK, b"")] {
            let options = vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
            let payload = payload.to_vec();
            let frame =
                Tcp { flags, acknowledgment: 5000 + 0xf000_0000, options, payload, ..good(&route) }.frame();
            assert_untouched(&Server::usual(), &frame, consumed(Counter::DroppedStray));
        }
    }
}

#[test]
fn contradictory_lengths_are_passed() {
    let malformed = Outcome::Passed(Counter::PassedMalformed);
    for route in routes() {
        let fixed = if route.from.is_ipv4() { 20 } else { 0 };
        // Longer than the packet; and too short for the transport header. (Zero means an aggregate.)
        for (transport, too_short) in [(TCP, 20), (UDP, 8)] {
            let make = |said: usize| {
                let route = Route { said: Some(said as u16), ..route.clone() };
                if transport == TCP { good(&route).frame() } else { udp(&route, b"payload") }
            };
            let whole = make(0).len() - route.headers() + fixed;
            echo(&Server::usual(), &make(whole));
            for said in [whole + 1, 0xffff, 1, fixed + 1, fixed + too_short - 1] {
                assert_untouched(&Server::usual(), &make(said), malformed);
            }
        }
        // A TCP header of less than 20 bytes, and one that does not fit.
        for offset in [0, 1, 4, 7, 15] {
            let mut frame = good(&route).frame();
            frame[route.headers() + 12] = offset << 4;
            assert_untouched(&Server::usual(), &frame, malformed);
        }
    }
    // An IPv4 header of less than 20 bytes.
    for length in 0..5 {
        let mut frame = udp(&Route::new(CLIENT_4, SERVER_4), b"payload");
        frame[ETHERNET] = 0x40 | length;
        assert_untouched(&Server::usual(), &frame, Outcome::NotOurs);
    }
}

/// Frames of every kind that is reflected, and how many bytes of headers without options each needs.
fn reflected_frames() -> Vec<(Vec<u8>, usize)> {
    let mut frames = Vec::new();
    let options = Route { options: vec![1; 8], ..Route::new(CLIENT_4, SERVER_4) };
    for route in routes().into_iter().chain([options]) {
        let ports = route.headers() + 4;
        frames.push((udp(&route, b"datagram"), ports));
        let tcp = route.headers() + 20;
        let options = vec![2, 4, 5, 0, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];
        for payload in [&b""[..], b"early"] {
            let payload = payload.to_vec();
            frames.push((Tcp { options: options.clone(), payload, ..Tcp::new(&route, SYN) }.frame(), tcp));
        }
        let options = vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        frames.push((Tcp { options, ..good(&route) }.frame(), tcp));
        frames.push((good(&route).frame(), tcp));
    }
    frames
}

#[test]
fn packet_cut_short_stays_as_it_is() {
    for (frame, headers) in reflected_frames() {
        for cut in 0..frame.len() {
            let mut bytes = frame[..cut].to_vec();
            // The kernel knows no more than these bytes, and the header says more.
            let outcome = run(&Server::usual(), &mut bytes);
            assert!(matches!(outcome, Outcome::NotOurs | Outcome::Passed(_)), "{outcome:?} with {cut} bytes");
            assert_eq!(bytes, frame[..cut]);
            // The rest is there, but not in the linear part.
            let outcome = reflect(&Server::usual(), Packet::new(&mut bytes), frame.len() as u32);
            if cut < headers {
                assert!(
                    matches!(outcome, Outcome::NotOurs | Outcome::Passed(_)),
                    "{outcome:?} with {cut} bytes"
                );
                assert_eq!(bytes, frame[..cut]);
            }
        }
    }
}

#[test]
fn payload_need_not_be_in_the_linear_part() {
    for (frame, headers) in reflected_frames() {
        let options = if frame[23] == TCP || frame[20] == TCP {
            usize::from(frame[headers - 8] >> 4) * 4 - 20
        } else {
            4
        };
        let mut whole = frame.clone();
        let expected = run(&Server::usual(), &mut whole);
        for cut in headers + options..frame.len() {
            let mut bytes = frame[..cut].to_vec();
            let outcome = reflect(&Server::usual(), Packet::new(&mut bytes), frame.len() as u32);
            assert_eq!(outcome, expected);
            assert_eq!(bytes, whole[..cut]);
        }
    }
}
