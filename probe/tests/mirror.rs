//! The arithmetic of the mirror: sequence numbers, acknowledgments and windows, on loopback and on the wire.

use probe::mirror::{Segment, SequenceNumber, answer, initial_sequence, mirrored};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// How many bytes may be in flight, less one: 2^27.
const LIMIT: u32 = 1 << 27;

fn segment(sequence: u32, acknowledgment: u32, window: u16) -> Segment {
    Segment { sequence: SequenceNumber(sequence), acknowledgment: SequenceNumber(acknowledgment), window }
}

#[track_caller]
fn assert_answer(client: Segment, payload: u32, fin: bool, expected: Segment) {
    assert_eq!(answer(client, payload, fin), Some(expected));
}

#[test]
fn initial_sequence_carries_the_scale_in_its_four_highest_bits() {
    for (client, scale, server) in [
        (0x0000_0000, 0, 0x0000_0000),
        (0x1234_5678, 0, 0x1234_5678),
        (0x1234_5678, 7, 0x8234_5678),
        (0x1234_5678, 14, 0xf234_5678),
        (0xffff_ffff, 1, 0x0fff_ffff),
        (0xffff_ffff, 14, 0xdfff_ffff),
    ] {
        assert_eq!(initial_sequence(SequenceNumber(client), scale), SequenceNumber(server));
    }
}

#[test]
fn segment_alone_is_acknowledged_in_its_echo_and_the_window_shrinks_by_as_much() {
    assert_answer(segment(1000, 1000, 65535), 100, false, segment(1000, 1100, 65435));
    // 512 << 7 is 65536; 65436 >> 7 is 511, rounded down.
    assert_answer(segment(1000, 0x7000_03e8, 512), 100, false, segment(0x7000_03e8, 1100, 511));
    assert_answer(segment(1000, 0x7000_03e8, 512), 128, false, segment(0x7000_03e8, 1128, 511));
    assert_answer(segment(1000, 0x7000_03e8, 512), 129, false, segment(0x7000_03e8, 1129, 510));
    assert_answer(segment(1000, 0xe000_03e8, 4096), 1 << 14, false, segment(0xe000_03e8, 17384, 4095));
}

#[test]
fn segment_that_leaves_less_than_32_kib_of_window_is_not_acknowledged_in_advance() {
    assert_answer(segment(1000, 1000, 32868), 100, false, segment(1000, 1100, 32768));
    assert_answer(segment(1000, 1000, 32868), 101, false, segment(1000, 1000, 32868));
    assert_answer(segment(1000, 1000, 32767), 1, false, segment(1000, 1000, 32767));
    assert_answer(segment(1000, 0x7000_03e8, 257), 128, false, segment(0x7000_03e8, 1128, 256));
    assert_answer(segment(1000, 0x7000_03e8, 257), 129, false, segment(0x7000_03e8, 1000, 257));
}

#[test]
fn segment_behind_unconfirmed_bytes_is_mirrored() {
    assert_answer(segment(1001, 1000, 500), 10, false, segment(1001, 1000, 500));
    assert_answer(segment(5000, 0x7000_03e8, 512), 10, false, segment(0x7000_1388, 1000, 512));
    // A FIN behind data, and one with data.
    assert_answer(segment(1001, 1000, 500), 0, true, segment(1001, 1000, 500));
    assert_answer(segment(1001, 1000, 500), 10, true, segment(1001, 1000, 500));
}

#[test]
fn pure_acknowledgment_is_mirrored() {
    assert_answer(segment(1000, 1000, 500), 0, false, segment(1000, 1000, 500));
    assert_answer(segment(1000, 0x7000_03e8, 501), 0, false, segment(0x7000_03e8, 1000, 501));
    assert_answer(segment(3000, 0x7000_03e8, 501), 0, false, segment(0x7000_0bb8, 1000, 501));
}

#[test]
fn sequence_numbers_wrap() {
    assert_answer(segment(0xffff_fff0, 0xffff_fff0, 50000), 0x20, false, segment(0xffff_fff0, 0x10, 49968));
    assert_answer(segment(0xffff_fff0, 0x6fff_fff0, 500), 0x20, false, segment(0x6fff_fff0, 0x10, 499));
    // Confirmed up to before the wrap, sent behind it.
    assert_answer(segment(0x10, 0x6fff_fff0, 500), 5, false, segment(0x7000_0010, 0xffff_fff0, 500));
    // The answer's own space wraps.
    assert_answer(segment(0x3000_0000, 0x0ff0_0000, 500), 5, false, segment(0x1000_0000, 0x2ff0_0000, 500));
}

#[test]
fn scale_is_read_back_with_anything_below_2_to_27_in_flight() {
    for scale in 0..=14_u32 {
        let delta = scale << 28;
        for in_flight in [1, 2, 65536, LIMIT - 1] {
            let client = segment(5000_u32.wrapping_add(in_flight), delta.wrapping_add(5000), 10);
            let expected = segment(delta.wrapping_add(5000 + in_flight), 5000, 10);
            assert_answer(client, 100, false, expected);
            // A retransmission of what is confirmed lies as far on the other side.
            let client = segment(5000, delta.wrapping_add(5000 + in_flight), 10);
            let expected = segment(delta.wrapping_add(5000), 5000 + in_flight, 10);
            assert_answer(client, 100, false, expected);
        }
    }
}

#[test]
fn keepalive_is_answered_with_where_the_server_is() {
    // RFC 9293 section 3.8.4: the probe is one byte below, its answer must not be another probe.
    assert_answer(segment(999, 1000, 500), 0, false, segment(1000, 1000, 500));
    assert_answer(segment(999, 0x7000_03e8, 500), 0, false, segment(0x7000_03e8, 1000, 500));
    assert_answer(segment(0xffff_ffff, 0xe000_0000, 500), 0, false, segment(0xe000_0000, 0, 500));
}

#[test]
fn keepalive_with_a_byte_of_garbage_comes_back_as_an_old_byte() {
    // RFC 9293 section 3.8.4 allows it. It is below the receiver's window, who answers with where it is.
    assert_answer(segment(999, 0x7000_03e8, 500), 1, false, segment(0x7000_03e7, 1000, 500));
}

#[test]
fn fin_alone_is_acknowledged_in_its_echo() {
    assert_answer(segment(1000, 1000, 500), 0, true, segment(1000, 1001, 499));
    assert_answer(segment(1000, 0x7000_03e8, 500), 0, true, segment(0x7000_03e8, 1001, 499));
    assert_answer(segment(1000, 1000, 50000), 10, true, segment(1000, 1011, 49989));
    assert_answer(segment(0xffff_ffff, 0xffff_ffff, 500), 0, true, segment(0xffff_ffff, 0, 499));
    // A FIN takes no memory, only its place in the window: behind a closed one it would be refused.
    assert_answer(segment(1000, 1000, 1), 0, true, segment(1000, 1001, 0));
    assert_answer(segment(1000, 1000, 0), 0, true, segment(1000, 1000, 0));
}

#[test]
fn closed_window_stays_closed() {
    // A probe with a byte (RFC 9293 section 3.8.6.1) must not be acknowledged: its echo will be refused.
    assert_answer(segment(1000, 0x7000_03e8, 0), 1, false, segment(0x7000_03e8, 1000, 0));
    assert_answer(segment(1000, 0x7000_03e8, 0), 0, false, segment(0x7000_03e8, 1000, 0));
    assert_answer(segment(999, 0x7000_03e8, 0), 0, false, segment(0x7000_03e8, 1000, 0));
}

#[test]
fn no_window_promises_2_to_27_bytes() {
    // (2^27 - 1) >> 14 is 8191, and so for every field that says more.
    for window in [8192, 8193, 65535] {
        assert_answer(segment(1000, 0xe000_03e8, window), 0, false, segment(0xe000_03e8, 1000, 8191));
    }
    assert_answer(segment(1000, 0xe000_03e8, 8191), 0, false, segment(0xe000_03e8, 1000, 8191));
    assert_answer(segment(1000, 0xc000_03e8, 65535), 0, false, segment(0xc000_03e8, 1000, 32767));
    assert_answer(segment(1000, 0xb000_03e8, 65535), 0, false, segment(0xb000_03e8, 1000, 65535));
    // A segment alone shrinks the cut window, not the whole one.
    assert_answer(segment(1000, 0xe000_03e8, 65535), 1, false, segment(0xe000_03e8, 1001, 8191));
    assert_answer(segment(1000, 0xe000_03e8, 65535), 16385, false, segment(0xe000_03e8, 17385, 8190));
}

#[test]
fn difference_of_no_scale_is_stray() {
    for difference in [0xe800_0000, 0xf000_0000, 0xf000_0001, 0xf7ff_ffff] {
        for sequence in [0, 1000, 0xffff_fff0_u32] {
            let client = segment(sequence, sequence.wrapping_add(difference), 500);
            assert_eq!(answer(client, 10, false), None);
            assert_eq!(answer(client, 0, true), None);
        }
    }
    assert!(answer(segment(0, 0xe7ff_ffff, 500), 0, false).is_some());
    assert!(answer(segment(0, 0xf800_0000, 500), 0, false).is_some());
}

#[test]
fn nothing_changes_on_the_wire_but_the_place_of_what_is_empty_and_behind() {
    for (sequence, acknowledgment, length) in [
        (1000, 1000, 0),
        (1000, 1000, 100),
        (1001, 1000, 0),
        (999, 1000, 1),
        (998, 1000, 2),
        (0xffff_fff0, 0x10, 5),
        (0x10, 0xffff_fff0, 5),
    ] {
        let segment = segment(sequence, acknowledgment, 65535);
        assert_eq!(mirrored(segment, length), Some(segment));
    }
    for sequence in [999, 998, 0, 1000_u32.wrapping_sub((1 << 30) - 1)] {
        assert_eq!(mirrored(segment(sequence, 1000, 0), 0), Some(segment(1000, 1000, 0)));
    }
    assert_eq!(mirrored(segment(0xffff_ffff, 0, 7), 0), Some(segment(0, 0, 7)));
}

#[test]
fn numbers_on_the_wire_are_at_most_the_largest_window_apart() {
    // RFC 7323 section 2.3.
    for sequence in [0, 1000, 0xffff_fff0_u32] {
        for (difference, ours) in
            [(0x3fff_ffff, true), (0x4000_0000, false), (0xbfff_ffff, false), (0xc000_0000, true)]
        {
            let client = segment(sequence, sequence.wrapping_add(difference), 500);
            assert_eq!(mirrored(client, 10).is_some(), ours, "{difference:#x}");
        }
    }
}

/// A client in the middle of its conversation, and the segment it sends.
#[derive(Clone, Copy, Debug)]
struct Model {
    isn: u32,
    scale: u8,
    /// How much of the stream the client has received back.
    confirmed: u32,
    /// Where in the stream the segment begins, from there: negative for a retransmission of old bytes.
    ahead: i32,
    window: u16,
    payload: u32,
    fin: bool,
}

impl Model {
    fn delta(self) -> u32 {
        initial_sequence(SequenceNumber(self.isn), self.scale).0.wrapping_sub(self.isn)
    }

    /// Byte `offset` of the client's stream as a sequence number.
    fn place(self, offset: u32) -> SequenceNumber {
        SequenceNumber(self.isn.wrapping_add(1).wrapping_add(offset))
    }

    fn segment(self) -> Segment {
        let sequence = self.place(self.confirmed.wrapping_add_signed(self.ahead));
        let acknowledgment = SequenceNumber(self.place(self.confirmed).0.wrapping_add(self.delta()));
        Segment { sequence, acknowledgment, window: self.window }
    }

    fn answer(self) -> Segment {
        answer(self.segment(), self.payload, self.fin).expect("a segment of this conversation")
    }

    fn length(self) -> u32 {
        self.payload + u32::from(self.fin)
    }

    /// The bytes the client's window allows, as far as they may be promised.
    fn room(self) -> u32 {
        (u32::from(self.window) << self.scale).min(LIMIT - 1)
    }
}

/// How far `place` lies behind `start`, as a signed number: what TCP compares by.
fn behind(place: SequenceNumber, start: SequenceNumber) -> i64 {
    i64::from(place.0.wrapping_sub(start.0).cast_signed())
}

fn models() -> impl Strategy<Value = Model> {
    let ahead = prop_oneof![4 => Just(0), 1 => Just(-1), 3 => 1 - LIMIT.cast_signed()..LIMIT.cast_signed()];
    let window = prop_oneof![1 => 0..4_u16, 3 => any::<u16>()];
    let payload = prop_oneof![2 => Just(0), 1 => 1..4_u32, 3 => 1..70_000_u32, 1 => 1..600_000_u32];
    let place = prop_oneof![3 => any::<u32>(), 1 => u32::MAX - 100_000..=u32::MAX];
    (place.clone(), 0..=14_u8, place, ahead, window, payload, any::<bool>()).prop_map(
        |(isn, scale, confirmed, ahead, window, payload, fin)| Model {
            isn,
            scale,
            confirmed,
            ahead,
            window,
            payload,
            fin,
        },
    )
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 20_000,
        rng_seed: RngSeed::Fixed(0x6563_686f),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn answer_is_at_the_same_place_of_the_servers_stream(model in models()) {
        let sequence = model.answer().sequence.0.wrapping_sub(model.segment().sequence.0);
        let empty_and_behind = model.length() == 0 && model.ahead < 0;
        let ahead = if empty_and_behind { model.ahead.unsigned_abs() } else { 0 };
        prop_assert_eq!(sequence, model.delta().wrapping_add(ahead));
    }

    #[test]
    fn answer_acknowledges_what_is_confirmed_or_just_arrived(model in models()) {
        let acknowledgment = model.answer().acknowledgment;
        let confirmed = model.place(model.confirmed);
        prop_assert!(behind(acknowledgment, confirmed) >= 0);
        let end = model.segment().sequence.after(model.length());
        let most = behind(end, confirmed).max(0);
        prop_assert!(behind(acknowledgment, confirmed) <= most);
    }

    #[test]
    fn answer_acknowledges_in_advance_only_a_small_segment_alone(model in models()) {
        let confirmed = model.place(model.confirmed);
        let in_advance = model.answer().acknowledgment != confirmed;
        let roomy = match model.payload {
            0 => model.room() != 0,
            payload => payload + 32_768 <= model.room(),
        };
        prop_assert_eq!(in_advance, model.ahead == 0 && model.length() != 0 && roomy);
    }

    #[test]
    fn right_edge_of_the_window_stays_where_the_client_put_it(model in models()) {
        let answer = model.answer();
        let confirmed = model.place(model.confirmed);
        let window = u32::from(answer.window) << model.scale;
        let edge = behind(answer.acknowledgment, confirmed) + i64::from(window);
        prop_assert!(edge <= i64::from(model.room()));
        // It is as near as the scale's unit lets it be.
        prop_assert!(edge > i64::from(model.room()) - (1 << model.scale));
    }

    #[test]
    fn window_never_promises_2_to_27_bytes(model in models()) {
        prop_assert!(u32::from(model.answer().window) << model.scale < LIMIT);
    }

    #[test]
    fn nothing_is_answered_for_a_server_that_chose_its_number_otherwise(
        sequence in any::<u32>(), difference in 0xe800_0000..0xf800_0000_u32, window in any::<u16>(),
        payload in 0..100_000_u32, fin in any::<bool>(),
    ) {
        prop_assert_eq!(answer(segment(sequence, sequence.wrapping_add(difference), window), payload, fin), None);
    }
}
