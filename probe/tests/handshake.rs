//! Golden packets of the handshake: the answer to a SYN, built from scratch, must match in every byte.

mod support;

use probe::abi::Counter;
use support::golden::*;
use support::*;

#[track_caller]
fn assert_syn_ack(options: &[u8], scale: u32, answered: &[u8]) {
    for route in routes() {
        let syn = syn(&route, options);
        let answer = syn_ack(&syn, scale, answered);
        assert_answer(&Loopback::usual(), &syn, &answer, Some(Counter::Handshakes));
    }
}

#[test]
fn syn_of_linux_with_timestamps_is_answered() {
    let options = [&[2, 4, 0x05, 0x78, 4, 2, 8, 10][..], &TSVAL, &[0; 4], &[1, 3, 3, 7]].concat();
    let answered = [&[2, 4, 0x05, 0x78, 1, 3, 3, 7][..], &aligned_timestamps(TSVAL, TSVAL)].concat();
    assert_syn_ack(&options, 7, &answered);
}

#[test]
fn syn_of_linux_without_timestamps_is_answered() {
    assert_syn_ack(
        &[2, 4, 0x05, 0x78, 1, 1, 4, 2, 1, 3, 3, 10],
        10,
        &[2, 4, 0x05, 0x78, 1, 3, 3, 10, 1, 1, 1, 1],
    );
}

#[test]
fn nonzero_tsecr_of_a_syn_becomes_tsval() {
    // Linux sends one when it reuses a port in TIME-WAIT; mirrored, it fails the client's check.
    let options = [&[2, 4, 0x05, 0x78, 4, 2, 8, 10][..], &TSVAL, &TSECR, &[1, 3, 3, 7]].concat();
    let answered = [&[2, 4, 0x05, 0x78, 1, 3, 3, 7][..], &aligned_timestamps(TSVAL, TSVAL)].concat();
    assert_syn_ack(&options, 7, &answered);
}

#[test]
fn options_of_a_syn_are_found_in_any_order_and_place() {
    let mss_scale = [2, 4, 0x05, 0x00, 1, 3, 3, 2];
    let all = [&mss_scale[..], &aligned_timestamps(TSVAL, TSVAL)].concat();
    // Timestamps at an odd place, at a place that is even but not a multiple of four, and last.
    assert_syn_ack(&[&[3, 3, 2, 8, 10][..], &TSVAL, &TSECR, &[2, 4, 5, 0, 1, 1, 1]].concat(), 2, &all);
    assert_syn_ack(&[&[8, 10][..], &TSVAL, &TSECR, &[1, 1, 2, 4, 5, 0, 3, 3, 2, 0]].concat(), 2, &all);
    assert_syn_ack(&[&[1, 2, 4, 5, 0, 3, 3, 2, 1, 1, 8, 10][..], &TSVAL, &TSECR].concat(), 2, &all);
    // The tightest: 17 bytes of options in the 20 that the answer needs too.
    assert_syn_ack(&[&[8, 10][..], &TSVAL, &TSECR, &[3, 3, 2, 2, 4, 5, 0, 0, 0, 0]].concat(), 2, &all);
    assert_syn_ack(&aligned_timestamps(TSVAL, TSECR), 0, &aligned_timestamps(TSVAL, TSVAL));
    assert_syn_ack(&[0, 3, 3, 7], 0, &[1, 1, 1, 1]);
}

#[test]
fn options_that_are_not_ours_are_refused() {
    // RFC 7413 cookie request, RFC 8684 MP_CAPABLE, SACK permitted: each comes back as NOP.
    assert_syn_ack(&[34, 2, 1, 1], 0, &[1; 4]);
    assert_syn_ack(&[34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1], 0, &[1; 12]);
    assert_syn_ack(&[30, 12, 0, 0x81, 1, 2, 3, 4, 5, 6, 7, 8], 0, &[1; 12]);
    assert_syn_ack(&[4, 2, 1, 1], 0, &[1; 4]);
    // RFC 2385 MD5 and RFC 5925 AO.
    assert_syn_ack(&[&[1, 1, 19, 18][..], &[0x5a; 16]].concat(), 0, &[1; 20]);
    assert_syn_ack(&[29, 8, 1, 2, 3, 4, 5, 6], 0, &[1; 8]);
    // Among those we know.
    assert_syn_ack(
        &[2, 4, 5, 0, 34, 2, 3, 3, 4, 30, 4, 0, 0x81, 4, 2, 0],
        4,
        &[2, 4, 5, 0, 1, 3, 3, 4, 1, 1, 1, 1, 1, 1, 1, 1],
    );
}

#[test]
fn malformed_options_of_a_syn_end_the_search() {
    // Length 0, 1, beyond the header, and lengths that are not the option's.
    assert_syn_ack(&[2, 4, 5, 0, 3, 0, 3, 3, 7, 1, 1, 1], 0, &[2, 4, 5, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
    assert_syn_ack(&[2, 4, 5, 0, 3, 1, 3, 3, 7, 1, 1, 1], 0, &[2, 4, 5, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
    assert_syn_ack(&[2, 4, 5, 0, 1, 1, 3, 3], 0, &[2, 4, 5, 0, 1, 1, 1, 1]);
    assert_syn_ack(&[3, 4, 7, 0, 2, 3, 5, 1, 8, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 0, &[1; 20]);
    assert_syn_ack(&[1, 1, 1, 2], 0, &[1; 4]);
}

#[test]
fn window_scale_above_14_counts_as_14() {
    // RFC 7323 section 2.3.
    assert_syn_ack(&[1, 3, 3, 14], 14, &[1, 3, 3, 14]);
    assert_syn_ack(&[1, 3, 3, 15], 14, &[1, 3, 3, 14]);
    assert_syn_ack(&[1, 3, 3, 255], 14, &[1, 3, 3, 14]);
}

#[test]
fn forty_bytes_of_syn_options_are_written_anew() {
    let options = [&[4, 2, 34, 18][..], &[7; 16], &[2, 4, 5, 0, 8, 10], &TSVAL, &TSECR, &[3, 3, 8, 0, 0, 0]];
    let answered = [&[2, 4, 5, 0, 1, 3, 3, 8][..], &aligned_timestamps(TSVAL, TSVAL), &[1; 20]].concat();
    assert_syn_ack(&options.concat(), 8, &answered);
}

#[test]
fn flags_of_a_handshake_are_exactly_syn_and_ack() {
    // ECE and CWR sent back are the broken answer of RFC 3168 section 6.1.1, AE is AccECN.
    for route in routes() {
        for flags in [SYN | ECE | CWR, SYN | PSH, SYN | URG, SYN | PSH | URG | ECE | CWR] {
            for accurate_ecn in [false, true] {
                let syn = Tcp { flags, accurate_ecn, urgent: 77, ..syn(&route, &[2, 4, 5, 0]) };
                let answer = syn_ack(&syn, 0, &[2, 4, 5, 0]);
                assert_answer(&Loopback::usual(), &syn, &answer, Some(Counter::Handshakes));
            }
        }
    }
}

#[test]
fn acknowledgment_number_of_a_syn_means_nothing() {
    for route in routes() {
        let syn = Tcp { acknowledgment: 0xdead_beef, sequence: u32::MAX, ..syn(&route, &[]) };
        assert_answer(&Loopback::usual(), &syn, &syn_ack(&syn, 0, &[]), Some(Counter::Handshakes));
    }
}

#[test]
fn mss_fits_the_way_back() {
    let mss = |bytes: u16| [&[2, 4][..], &bytes.to_be_bytes()].concat();
    let [v4, v6] = routes();
    let options = Route { options: vec![1; 8], ..v4.clone() };
    for (route, mtu, offered, answered) in [
        (&v4, 1500, 1459, 1459),
        (&v4, 1500, 1460, 1460),
        (&v4, 1500, 1461, 1460),
        (&v4, 1500, 65495, 1460),
        (&v4, 65536, 65495, 65495),
        (&v6, 1500, 1440, 1440),
        (&v6, 1500, 1441, 1440),
        (&v6, 65536, 65535, 65476),
        (&options, 1500, 1452, 1452),
        (&options, 1500, 1453, 1452),
    ] {
        let syn = syn(route, &mss(offered));
        let server = Server { mtu, ..Loopback::usual() };
        assert_answer(&server, &syn, &syn_ack(&syn, 0, &mss(answered)), Some(Counter::Handshakes));
    }
}

#[test]
fn syn_with_more_data_than_a_packet_mostly_has_is_dropped() {
    for route in routes() {
        let syn = |length| Tcp { payload: vec![7; length], ..syn(&route, &[]) };
        let server = Server { mtu: 65536, ..Loopback::usual() };
        assert_answer(&server, &syn(1536), &syn_ack(&syn(1536), 0, &[]), Some(Counter::Handshakes));
        assert_untouched(&server, &syn(1537).frame(), consumed(Counter::DroppedData));
    }
}

#[test]
fn syn_with_data_is_answered_without() {
    // RFC 9293 section 3.4: what is not acknowledged comes again.
    let options = [&[2, 4, 5, 0, 34, 2, 8, 10][..], &TSVAL, &[0; 4], &[1, 3, 3, 7]].concat();
    let answered = [&[2, 4, 5, 0, 1, 3, 3, 7][..], &aligned_timestamps(TSVAL, TSVAL)].concat();
    for route in routes() {
        for (options, scale, answered) in [(&options[..], 7, &answered[..]), (&[], 0, &[])] {
            for length in [1, 2, 3, 999, 1400] {
                let payload = (0..length).map(|n| (n * 3 + 5) as u8).collect();
                let syn = Tcp { payload, ..syn(&route, options) };
                let answer = syn_ack(&syn, scale, answered);
                assert_answer(&Loopback::usual(), &syn, &answer, Some(Counter::Handshakes));
            }
        }
    }
    let route = Route { options: vec![1; 40], ..Route::new(CLIENT_4, SERVER_4) };
    let syn = Tcp { payload: b"data".to_vec(), ..syn(&route, &options) };
    assert_answer(&Loopback::usual(), &syn, &syn_ack(&syn, 7, &answered), Some(Counter::Handshakes));
}
