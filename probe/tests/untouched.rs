//! Packets that do not come back on loopback: every byte stays, and the outcome says why.

mod support;

use probe::abi::Counter;
use support::*;

/// A segment that is reflected, on `route`.
fn good(route: &Route) -> Tcp {
    Tcp { sequence: 5000, acknowledgment: 5000, payload: b"payload".to_vec(), ..Tcp::new(route, ACK | PSH) }
}

#[test]
fn other_ports_are_not_ours() {
    for route in routes() {
        // Below and above the range, inside it but not served, and ours as the source.
        for port in [0, 7, 6999, 7001, 7006, 7008, 7011, 65535, CLIENT_PORT] {
            let mut route = route.clone();
            route.to.set_port(port);
            route.from.set_port(PORT);
            assert_untouched(&Loopback::usual(), &good(&route).frame(), NOT_OURS);
            assert_untouched(&Loopback::usual(), &Tcp::new(&route, RST).frame(), NOT_OURS);
            assert_untouched(&Loopback::usual(), &udp(&route, b"x"), NOT_OURS);
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
        assert_untouched(&Loopback::usual(), &good(&route).frame(), NOT_OURS);
        assert_untouched(&Loopback::usual(), &Tcp::new(&route, SYN).frame(), NOT_OURS);
        assert_untouched(&Loopback::usual(), &Tcp::new(&route, RST).frame(), NOT_OURS);
        assert_untouched(&Loopback::usual(), &udp(&route, b"x"), NOT_OURS);
    }
}

#[test]
fn other_ethertypes_are_not_ours() {
    // ARP, 802.3 length, and the neighbours of IP's.
    for route in routes() {
        for ethertype in [0x0806, 0x0040, 0x0801, 0x86dc, 0x0008, 0xdd86_u16] {
            let mut frame = good(&route).frame();
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            assert_untouched(&Loopback::usual(), &frame, NOT_OURS);
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
            assert_untouched(&Loopback::usual(), &frame, NOT_OURS);
        }
    }
}

#[test]
fn own_source_is_passed() {
    for (from, to) in [(SERVER_4, SERVER_4), (SERVER_6, SERVER_6)] {
        let mut route = Route::new(from, to);
        route.from.set_port(PORT);
        let outcome = passed(Counter::PassedOwnSource);
        assert_untouched(&Loopback::usual(), &good(&route).frame(), outcome);
        assert_untouched(&Loopback::usual(), &udp(&route, b"x"), outcome);

        // Only the address, or only the port, is the same: an ordinary client.
        route.from.set_port(CLIENT_PORT);
        echo(&Loopback::usual(), &udp(&route, b"x"));
        let mut route = Route::new(if route.from.is_ipv4() { CLIENT_4 } else { CLIENT_6 }, to);
        route.from.set_port(PORT);
        echo(&Loopback::usual(), &udp(&route, b"x"));
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
        let (_, answer) = echo(&Loopback::usual(), &set(udp(&route, b"whole")));
        assert_eq!(answer, set(udp(&route.back(), b"whole")));
    }
}

#[test]
fn mapped_addresses_are_not_ours() {
    // RFC 4291 section 2.5.5.2: they are never on any network, and ours would be taken for the IPv4 address.
    for (from, to) in [(CLIENT_6, "::ffff:192.0.2.7"), ("::ffff:198.51.100.9", SERVER_6)] {
        let route = Route::new(from, to);
        assert_untouched(&Loopback::usual(), &good(&route).frame(), NOT_OURS);
        assert_untouched(&Loopback::usual(), &Tcp::new(&route, SYN).frame(), NOT_OURS);
        assert_untouched(&Loopback::usual(), &udp(&route, b"x"), NOT_OURS);
    }
}

#[test]
fn other_versions_of_ip_are_not_ours() {
    for route in routes() {
        for version in [0, 4, 5, 6, 7, 15] {
            let mut frame = udp(&route, b"x");
            if frame[ETHERNET] >> 4 != version {
                frame[ETHERNET] = version << 4 | frame[ETHERNET] & 15;
                assert_untouched(&Loopback::usual(), &frame, NOT_OURS);
            }
        }
    }
}

#[test]
fn resets_are_consumed() {
    for route in routes() {
        for flags in [RST, RST | ACK, RST | SYN, RST | FIN, RST | ACK | PSH, 0xff] {
            let frame = Tcp { flags, ..good(&route) }.frame();
            assert_untouched(&Loopback::usual(), &frame, consumed(Counter::Resets));
        }
    }
}

#[test]
fn flags_of_no_connection_are_consumed() {
    // Null, no ACK, Xmas, SYN with FIN, SYN with ACK.
    for flags in [0, PSH, URG, FIN, FIN | PSH | URG, SYN | FIN, SYN | FIN | ACK, SYN | ACK, SYN | ACK | ECE] {
        for route in routes() {
            let frame = Tcp { flags, ..good(&route) }.frame();
            assert_untouched(&Loopback::usual(), &frame, consumed(Counter::DroppedFlags));
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
            assert_untouched(&Loopback::usual(), &frame, consumed(Counter::DroppedStray));
        }
    }
}

#[test]
fn contradictory_lengths_are_passed() {
    let malformed = passed(Counter::PassedMalformed);
    for route in routes() {
        let fixed = if route.from.is_ipv4() { 20 } else { 0 };
        // Longer than the packet; and too short for the transport header. Zero would mean an aggregate, if it were one.
        for (transport, too_short) in [(TCP, 20), (UDP, 8)] {
            let make = |said: usize| {
                let route = Route { said: Some(said as u16), ..route.clone() };
                if transport == TCP { good(&route).frame() } else { udp(&route, b"payload") }
            };
            let whole = make(0).len() - route.headers() + fixed;
            echo(&Loopback::usual(), &make(whole));
            for said in [0, whole + 1, 0xffff, 1, fixed + 1, fixed + too_short - 1] {
                assert_untouched(&Loopback::usual(), &make(said), malformed);
            }
        }
        // A TCP header of less than 20 bytes, and one that does not fit.
        for offset in [0, 1, 4, 7, 15] {
            let mut frame = good(&route).frame();
            frame[route.headers() + 12] = offset << 4;
            assert_untouched(&Loopback::usual(), &frame, malformed);
        }
    }
    // An IPv4 header of less than 20 bytes.
    for length in 0..5 {
        let mut frame = udp(&Route::new(CLIENT_4, SERVER_4), b"payload");
        frame[ETHERNET] = 0x40 | length;
        assert_untouched(&Loopback::usual(), &frame, NOT_OURS);
    }
}
