//! What is not answered on the wire, so that nobody is harmed: every byte stays, and the outcome says why.

mod support;

use probe::abi::{Counter, link, protocols};
use probe::host::Audience;
use probe::reflect::Outcome;
use support::*;

/// A host that echoes all it can.
fn server() -> Wire {
    Wire { protocols: protocols::TCP | protocols::UDP | protocols::ICMP, ..Wire::usual() }
}

/// A segment that is reflected.
fn good(route: &Route) -> Tcp {
    Tcp { sequence: 5000, acknowledgment: 5000, payload: b"payload".to_vec(), ..Tcp::new(route, ACK | PSH) }
}

/// A frame of every kind that is reflected.
fn frames(route: &Route) -> [Vec<u8>; 4] {
    [good(route).frame(), Tcp::new(route, SYN).frame(), udp(route, b"datagram"), ping(route, b"ping")]
}

/// Asserts that whatever is sent on `route` has this outcome.
#[track_caller]
fn assert_none(server: &Wire, route: &Route, outcome: Outcome) {
    for frame in frames(route) {
        assert_untouched(server, &frame, outcome);
    }
}

#[track_caller]
fn assert_all(server: &Wire, route: &Route) {
    for frame in frames(route) {
        echo(server, &frame);
    }
}

#[test]
fn frames_for_others_are_passed() {
    for route in routes() {
        for mut frame in frames(&route) {
            for audience in [Audience::Many, Audience::Other] {
                let outcome = run_for(&server(), &mut frame, audience);
                assert_eq!(outcome, passed(Counter::PassedFrame));
            }
        }
    }
}

#[test]
fn sources_that_are_refused_get_no_answer() {
    for route in routes() {
        assert_all(&server(), &route);
        let server = Wire { refused: vec![route.from.ip()], ..server() };
        assert_none(&server, &route, consumed(Counter::DroppedSource));
    }
}

#[test]
fn sources_that_are_their_destination_get_no_answer() {
    for address in [SERVER_4, SERVER_6] {
        for port in [PORT, CLIENT_PORT] {
            let mut route = Route::new(address, address);
            route.from.set_port(port);
            assert_none(&server(), &route, consumed(Counter::DroppedSource));
        }
    }
}

#[test]
fn stations_that_cannot_be_answered_are_not() {
    for route in routes() {
        for station in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1], SERVER_MAC] {
            let route = Route { macs: [SERVER_MAC, station], ..route.clone() };
            assert_none(&server(), &route, consumed(Counter::DroppedSource));
        }
        // Without a link-layer header there are no stations: what is before is not looked at.
        let server = Wire { link: link::NONE, ..server() };
        for frame in frames(&route) {
            echo(&server, &frame[ETHERNET..]);
        }
    }
}

#[test]
fn echoes_do_not_talk_to_each_other() {
    for (from, to) in [("192.0.2.8", SERVER_4), ("2001:db8::8", SERVER_6)] {
        let mut route = Route::new(from, to);
        let server = Wire { addresses: vec![route.from.ip(), route.to.ip()], ..server() };
        // Ours by the address, but not by the port.
        assert_all(&server, &route);
        for port in [7000, PORT, 7010] {
            route.from.set_port(port);
            let [segment, syn, datagram, ping] = frames(&route);
            for frame in [segment, syn, datagram] {
                assert_untouched(&server, &frame, consumed(Counter::DroppedLoop));
            }
            echo(&server, &ping);
        }
    }
}

#[test]
fn client_with_a_served_port_is_answered() {
    for mut route in routes() {
        route.from.set_port(PORT);
        assert_all(&server(), &route);
    }
}

#[test]
fn services_that_answer_everything_get_no_datagram() {
    for mut route in routes() {
        for port in [7, 11, 13, 17, 19, 37, 53, 69, 123] {
            route.from.set_port(port);
            assert_untouched(&server(), &udp(&route, b"x"), consumed(Counter::DroppedLoop));
            echo(&server(), &good(&route).frame());
            echo(&server(), &Tcp::new(&route, SYN).frame());
        }
        for port in [6, 8, 12, 18, 20, 36, 38, 52, 54, 68, 70, 122, 124, 0, 65_535] {
            route.from.set_port(port);
            echo(&server(), &udp(&route, b"x"));
        }
    }
}

#[test]
fn packets_at_their_last_hop_are_dropped() {
    for route in routes() {
        for hops in [0, 1] {
            let route = Route { hops, ..route.clone() };
            assert_none(&server(), &route, consumed(Counter::DroppedTtl));
        }
        for hops in [2, 255] {
            assert_all(&server(), &Route { hops, ..route.clone() });
        }
    }
}

#[test]
fn other_addresses_and_ports_are_not_ours() {
    for (from, to) in [(CLIENT_4, "192.0.2.8"), (CLIENT_6, "2001:db8::8"), (SERVER_4, CLIENT_4)] {
        assert_none(&server(), &Route::new(from, to), NOT_OURS);
    }
    for mut route in routes() {
        for port in [0, 6999, 7001, 7011] {
            route.to.set_port(port);
            assert_untouched(&server(), &good(&route).frame(), NOT_OURS);
            assert_untouched(&server(), &udp(&route, b"x"), NOT_OURS);
            // What is wrong with it does not matter then.
            let route = Route { hops: 1, macs: [SERVER_MAC; 2], ..route.clone() };
            assert_untouched(&server(), &udp(&route, b"x"), NOT_OURS);
        }
    }
}

#[test]
fn mapped_addresses_are_not_ours() {
    for (from, to) in [(CLIENT_6, "::ffff:192.0.2.7"), ("::ffff:198.51.100.9", SERVER_6)] {
        assert_none(&server(), &Route::new(from, to), NOT_OURS);
    }
    // Neither mapped (RFC 4291 section 2.5.5.1), nor that of the IPv4 address.
    let server = Wire { addresses: vec!["::192.0.2.7".parse().unwrap()], ..server() };
    assert_all(&server, &Route::new(CLIENT_6, "::192.0.2.7"));
}

#[test]
fn what_is_not_asked_for_is_not_ours() {
    let [tcp, udp, icmp] = [protocols::TCP, protocols::UDP, protocols::ICMP];
    for route in routes() {
        for asked in [tcp, udp, icmp, tcp | udp, tcp | icmp, udp | icmp] {
            let server = Wire { protocols: asked, ..server() };
            for (frame, protocol) in frames(&route).iter().zip([tcp, tcp, udp, icmp]) {
                if asked & protocol == 0 {
                    assert_untouched(&server, frame, NOT_OURS);
                } else {
                    echo(&server, frame);
                }
            }
        }
    }
}

#[test]
fn messages_that_are_no_pings_are_not_ours() {
    for route in routes() {
        let start = route.headers();
        let request = ping(&route, &[0x45; 64]);
        // A reply, unreachable, time exceeded, a request with a code, a timestamp request, a redirect; then
        // those of ICMPv6, with the request of the other version.
        let v4 = [(0, 0), (3, 3), (11, 0), (8, 1), (13, 0), (5, 1), (128, 0), (135, 0)];
        let v6 = [(129, 0), (1, 4), (2, 0), (3, 0), (4, 1), (128, 1), (8, 0), (135, 0), (136, 0), (133, 0)];
        for &(kind, code) in if route.from.is_ipv4() { &v4[..] } else { &v6 } {
            let mut frame = request.clone();
            frame[start..start + 2].copy_from_slice(&[kind, code]);
            assert_untouched(&server(), &frame, NOT_OURS);
        }
        // The protocol of the other version.
        let other = if route.from.is_ipv4() { ICMPV6 } else { ICMP };
        assert_untouched(&server(), &route.frame(other, &request[start..]), NOT_OURS);
    }
}

#[test]
fn resets_are_consumed() {
    for route in routes() {
        for flags in [RST, RST | ACK, RST | SYN, RST | FIN, 0xff] {
            let frame = Tcp { flags, ..good(&route) }.frame();
            assert_untouched(&server(), &frame, consumed(Counter::Resets));
        }
    }
}

#[test]
fn flags_of_no_connection_are_consumed() {
    // Null, no ACK, Xmas, SYN with FIN, SYN with ACK.
    for flags in [0, PSH, URG, FIN, FIN | PSH | URG, SYN | FIN, SYN | FIN | ACK, SYN | ACK] {
        for route in routes() {
            let frame = Tcp { flags, ..good(&route) }.frame();
            assert_untouched(&server(), &frame, consumed(Counter::DroppedFlags));
        }
    }
}

#[test]
fn contradictory_lengths_are_passed() {
    for route in routes() {
        let fixed = if route.from.is_ipv4() { 20 } else { 0 };
        for (frame, shortest) in frames(&route).iter().zip([20, 20, 8, 8]) {
            let whole = frame.len() - route.headers() + fixed;
            for said in [whole + 1, 0xffff, 1, fixed + 1, fixed + shortest - 1] {
                let at = ETHERNET + if route.from.is_ipv4() { 2 } else { 4 };
                let mut frame = frame.clone();
                frame[at..at + 2].copy_from_slice(&(said as u16).to_be_bytes());
                assert_untouched(&server(), &frame, passed(Counter::PassedMalformed));
            }
        }
        for offset in [0, 1, 4, 7, 15] {
            let mut frame = good(&route).frame();
            frame[route.headers() + 12] = offset << 4;
            assert_untouched(&server(), &frame, passed(Counter::PassedMalformed));
        }
    }
}
