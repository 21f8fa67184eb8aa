//! Whole conversations of a small TCP client with the rules, over a channel that loses, delays, repeats and
//! reorders packets.
//!
//! On loopback the channel drops whole packets only. A segment alone is acknowledged in its own echo, which
//! is safe as long as a client that takes the acknowledgment takes the payload too; so the client here may
//! refuse only what lies outside the window it announced, and to do even that it takes the acknowledgment
//! first, as RFC 9293 section 3.10.7.4 has it for a closed window.
//!
//! On the wire nothing is acknowledged in advance, so there the channel changes bits, too, and the client may
//! forget any payload whose acknowledgment it took.

mod support;

use std::collections::BTreeMap;

use etherparse::{TcpOptionElement, TcpSlice};
use probe::reflect::Outcome;
use support::random::Random;
use support::*;

const MSS: u64 = 1400;
const RETRANSMISSION: u64 = 60;
const DELAYED_ACK: u64 = 40;

/// What a client is like. Times are ticks, of which a round trip takes at least one.
#[derive(Clone, Debug)]
struct Habits {
    bytes: u64,
    isn: u32,
    scale: u8,
    buffer: u64,
    /// How much it reads back in a tick, from which tick on.
    read: u64,
    read_from: u64,
    /// Writes this much at a time, the next only when all before is read back. Else all at once.
    message: Option<u64>,
    nagle: bool,
}

const BULK: Habits = Habits {
    bytes: 200_000,
    isn: 0xffff_f000,
    scale: 7,
    buffer: 65_536,
    read: 10_000,
    read_from: 0,
    message: None,
    nagle: false,
};

/// In percent, and ticks.
#[derive(Clone, Copy, Debug)]
struct Channel {
    loss: usize,
    repeats: usize,
    jitter: usize,
    /// How often a bit changes.
    noise: usize,
    /// How often the client has no memory for a payload.
    dropped: usize,
}

const PERFECT: Channel = Channel { loss: 0, repeats: 0, jitter: 1, noise: 0, dropped: 0 };

/// The client. Places in both streams are counted from their first byte, and a FIN counts as one byte.
struct Client {
    habits: Habits,
    route: Route,
    on_wire: bool,
    stream: Vec<u8>,
    written: u64,
    server_isn: Option<u32>,
    /// Sending: acknowledged, sent, and allowed; and the segment that allowed it.
    acknowledged: u64,
    sent: u64,
    allowed: u64,
    allowed_by: (u64, u64),
    timer: u64,
    /// Receiving: the bytes in order, how many are read, those ahead, and where the window ends.
    received: Vec<u8>,
    fin_received: bool,
    read: u64,
    ahead: BTreeMap<u64, Vec<u8>>,
    fin_at: Option<u64>,
    edge: u64,
    acknowledge_at: Option<u64>,
}

impl Client {
    fn new(habits: Habits, route: &Route, on_wire: bool) -> Self {
        let mut random = Random(u64::from(habits.isn) + habits.bytes);
        Self {
            stream: (0..habits.bytes).map(|_| random.byte()).collect(),
            habits,
            route: route.clone(),
            on_wire,
            written: 0,
            server_isn: None,
            acknowledged: 0,
            sent: 0,
            allowed: 0,
            allowed_by: (0, 0),
            timer: 0,
            received: Vec::new(),
            fin_received: false,
            read: 0,
            ahead: BTreeMap::new(),
            fin_at: None,
            edge: 0,
            acknowledge_at: None,
        }
    }

    fn end(&self) -> u64 {
        self.stream.len() as u64
    }

    /// The next place it expects.
    fn expected(&self) -> u64 {
        self.received.len() as u64 + u64::from(self.fin_received)
    }

    fn is_done(&self) -> bool {
        self.read == self.end() && self.fin_received && self.acknowledged == self.end() + 1
    }

    /// The application: reads, writes, and closes its half behind the last byte.
    fn work(&mut self, now: u64) {
        if now >= self.habits.read_from {
            self.read = (self.read + self.habits.read).min(self.received.len() as u64);
        }
        match self.habits.message {
            None => self.written = self.end(),
            Some(message) if self.read == self.written => {
                self.written = self.end().min(self.written + message)
            }
            Some(_) => {}
        }
        let free = self.habits.buffer.saturating_sub(self.received.len() as u64 - self.read);
        // RFC 9293 section 3.8.6.2.2: announce no small steps.
        if self.expected() + free >= self.edge + MSS.min(self.habits.buffer / 2) && !self.fin_received {
            self.edge = self.expected() + free;
            self.acknowledge_at = Some(now);
        }
    }

    fn segment(&mut self, from: u64, to: u64, now: u64) -> Vec<u8> {
        let Some(server_isn) = self.server_isn else { unreachable!("not connected") };
        let data = &self.stream[from.min(self.end()) as usize..to.min(self.end()) as usize];
        let fin = if to > self.end() && to > from { FIN } else { 0 };
        // Rounded up, as a window is never taken back (RFC 9293 section 3.8.6).
        let unit = 1 << self.habits.scale;
        let window = self.edge.saturating_sub(self.expected()).div_ceil(unit);
        self.edge = self.edge.max(self.expected() + window * unit);
        self.acknowledge_at = None;
        Tcp {
            sequence: self.habits.isn.wrapping_add(1).wrapping_add(from as u32),
            acknowledgment: server_isn.wrapping_add(1).wrapping_add(self.expected() as u32),
            window: u16::try_from(window).unwrap(),
            payload: data.to_vec(),
            // TSecr is stale on purpose: the answer must not carry it.
            options: [&[1, 1, 8, 10][..], &(now as u32).to_be_bytes(), &[0, 0, 0, 9]].concat(),
            ..Tcp::new(&self.route, ACK | fin)
        }
        .frame()
    }

    /// What it sends in this tick.
    fn send(&mut self, now: u64) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let expired = now >= self.timer;
        if self.server_isn.is_none() {
            if expired {
                self.timer = now + RETRANSMISSION;
                frames.push(self.syn(now));
            }
            return frames;
        }
        let all = self.written + u64::from(self.written == self.end());
        if expired && self.acknowledged < self.sent {
            self.timer = now + RETRANSMISSION;
            let to = self.sent.min(self.acknowledged + MSS);
            frames.push(self.segment(self.acknowledged, to, now));
        } else if expired && self.sent < all && self.sent >= self.allowed {
            // Linux probes a closed window from below (RFC 9293 section 3.8.6.1).
            self.timer = now + RETRANSMISSION;
            let probe = self.segment(self.acknowledged, self.acknowledged, now);
            frames.push(probe_below(probe));
        }
        while self.sent < all.min(self.allowed) {
            let to = all.min(self.allowed).min(self.sent + MSS);
            let waits = self.habits.nagle && to - self.sent < MSS && self.acknowledged < self.sent;
            if waits && to <= self.end() {
                break;
            }
            if self.acknowledged == self.sent {
                self.timer = now + RETRANSMISSION;
            }
            frames.push(self.segment(self.sent, to, now));
            self.sent = to;
        }
        if self.acknowledge_at.is_some_and(|at| at <= now) {
            frames.push(self.segment(self.sent, self.sent, now));
        }
        frames
    }

    fn syn(&self, now: u64) -> Vec<u8> {
        let time = (now as u32).to_be_bytes();
        let options =
            [&[2, 4, 5, 0x78, 4, 2, 8, 10][..], &time, &[0; 4], &[1, 3, 3, self.habits.scale]].concat();
        let window = self.habits.buffer.min(65_535) as u16;
        Tcp { sequence: self.habits.isn, window, options, ..Tcp::new(&self.route, SYN) }.frame()
    }

    /// Takes a frame, of its payload perhaps only the acknowledgment.
    fn receive(&mut self, frame: &[u8], takes_payload: bool, now: u64) {
        assert_eq!(checksum_is_right(frame), Some(true));
        let tcp = TcpSlice::from_slice(&frame[self.route.headers()..]).unwrap();
        assert!(!tcp.rst());
        let options: Vec<_> = tcp.options_iterator().map(Result::unwrap).collect();
        for option in &options {
            if let TcpOptionElement::Timestamp(value, echo) = option {
                assert_eq!(value, echo);
            }
        }
        if tcp.syn() {
            assert!(tcp.ack() && tcp.acknowledgment_number() == self.habits.isn.wrapping_add(1));
            assert!(options.contains(&TcpOptionElement::WindowScale(self.habits.scale)));
            // On loopback the blocks would name places in the other sequence space.
            let sack = options.contains(&TcpOptionElement::SelectiveAcknowledgementPermitted);
            assert_eq!(sack, self.on_wire);
            if self.server_isn.is_none() {
                self.server_isn = Some(tcp.sequence_number());
                self.allowed = u64::from(tcp.window_size());
                self.edge = self.habits.buffer.min(65_535);
            }
            // Also in answer to a repeated one (RFC 9293 section 3.10.7.4).
            self.acknowledge_at = Some(now);
            return;
        }
        let server_isn = self.server_isn.expect("nothing but a SYN was sent");
        let place = |number: u32, isn: u32, near: u64| {
            let here = isn.wrapping_add(1).wrapping_add(near as u32);
            near.checked_add_signed(i64::from(number.wrapping_sub(here).cast_signed()))
        };
        let expected = self.expected();
        let Some(start) = place(tcp.sequence_number(), server_isn, expected) else {
            self.acknowledge_at = Some(now);
            return;
        };
        let end = start + tcp.payload().len() as u64 + u64::from(tcp.fin());
        if end < expected || start > self.edge.max(expected) {
            self.acknowledge_at = Some(now);
            return;
        }
        let acknowledgment = place(tcp.acknowledgment_number(), self.habits.isn, self.acknowledged).unwrap();
        assert!(acknowledgment <= self.sent, "acknowledges what was never sent");
        if acknowledgment > self.acknowledged {
            self.acknowledged = acknowledgment;
            self.timer = now + RETRANSMISSION;
        }
        if self.allowed_by <= (start, acknowledgment) {
            self.allowed_by = (start, acknowledgment);
            self.allowed = acknowledgment + (u64::from(tcp.window_size()) << self.habits.scale);
        }
        if end > start && takes_payload {
            self.take(start, tcp.payload(), tcp.fin());
            let delay = if start == expected { DELAYED_ACK } else { 0 };
            self.acknowledge_at = Some(self.acknowledge_at.unwrap_or(now + delay).min(now + delay));
        }
        // The heart of the matter: a byte leaves the queue only when its echo is here.
        assert!(self.acknowledged <= self.expected(), "lost a byte that nobody will send again");
    }

    /// Takes what of a segment lies inside the window.
    fn take(&mut self, start: u64, payload: &[u8], fin: bool) {
        let end = start + payload.len() as u64;
        let inside = payload.len().min(self.edge.saturating_sub(start) as usize);
        let known = self.ahead.entry(start).or_default();
        if known.len() < inside {
            *known = payload[..inside].to_vec();
        }
        if fin && end < self.edge {
            assert_eq!(end, self.end(), "a FIN in the middle of the stream");
            self.fin_at = Some(end);
        }
        while let Some((start, bytes)) = self.ahead.pop_first() {
            let have = self.received.len() as u64;
            if start > have {
                self.ahead.insert(start, bytes);
                break;
            }
            self.received.extend(bytes.get((have - start) as usize..).unwrap_or_default());
        }
        self.fin_received |= self.fin_at == Some(self.received.len() as u64);
    }
}

/// A frame without payload, one byte further down in sequence space.
fn probe_below(mut frame: Vec<u8>) -> Vec<u8> {
    let tcp = if frame[12] == 8 { ETHERNET + 20 } else { ETHERNET + 40 };
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let sequence = number(&frame[tcp + 4..tcp + 8]);
    let below = sequence.wrapping_sub(1);
    frame[tcp + 4..tcp + 8].copy_from_slice(&below.to_be_bytes());
    // RFC 1624: the sum of the words fell by as much as the checksum rises.
    let words = |number: u32| (number >> 16) + (number & 0xffff);
    let mut sum =
        u32::from(!u16::from_be_bytes([frame[tcp + 16], frame[tcp + 17]])) + words(!sequence) + words(below);
    while sum > 0xffff {
        sum = words(sum);
    }
    frame[tcp + 16..tcp + 18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    assert_eq!(checksum_is_right(&frame), Some(true));
    frame
}

/// Changes a bit behind the Ethernet header.
fn disturb(random: &mut Random, frame: &mut [u8]) {
    let place = ETHERNET + random.below(frame.len() - ETHERNET);
    frame[place] ^= 1 << random.below(8);
}

/// Whether a client would look at what is in `frame`.
fn is_sound(frame: &[u8]) -> bool {
    checksum_is_right(frame) == Some(true) && header_checksum_is_right(&frame[ETHERNET..]) != Some(false)
}

/// Runs a conversation to its end, and until no packet is under way. Returns how many ticks the first took.
#[track_caller]
fn converse<const WIRE: bool>(habits: &Habits, channel: Channel, seed: u64) -> u64 {
    let server = Server::<WIRE>::usual();
    let mut random = Random(seed);
    let mut client = Client::new(habits.clone(), &routes()[(seed % 2) as usize], WIRE);
    let mut under_way: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
    let (mut number, mut done) = (0_u64, None);
    for now in 0..400_000 {
        while let Some(entry) = under_way.first_entry()
            && entry.key().0 <= now
        {
            let frame = entry.remove();
            if channel.noise == 0 || is_sound(&frame) {
                client.receive(&frame, !random.chance(channel.dropped), now);
            }
        }
        client.work(now);
        for mut frame in client.send(now) {
            if random.chance(channel.loss) {
                continue;
            }
            let noisy = random.chance(channel.noise);
            if noisy {
                disturb(&mut random, &mut frame);
            }
            let Outcome::Reflected(reflected) = run(&server, &mut frame) else {
                assert!(noisy, "not reflected");
                continue;
            };
            finish(&mut frame, &reflected);
            for _ in 0..1 + usize::from(reflected.twice) {
                let mut answer = frame.clone();
                // Not in both directions: no checksum finds each pair of bits.
                if !noisy && random.chance(channel.noise) {
                    disturb(&mut random, &mut answer);
                }
                for _ in 0..1 + usize::from(random.chance(channel.repeats)) {
                    if !random.chance(channel.loss) {
                        number += 1;
                        let arrival = now + 1 + random.below(channel.jitter) as u64;
                        under_way.insert((arrival, number), answer.clone());
                    }
                }
            }
        }
        if done.is_none() && client.is_done() {
            done = Some(now);
        }
        if let Some(ticks) = done
            && under_way.is_empty()
            && client.acknowledge_at.is_none()
        {
            assert_eq!(client.received, client.stream);
            return ticks;
        }
    }
    panic!("{habits:?} {channel:?}: {} of {} came back, {done:?}", client.received.len(), client.end());
}

/// On loopback and on the wire. Returns how many ticks the longer one took.
#[track_caller]
fn converse_everywhere(habits: &Habits, channel: Channel, seed: u64) -> u64 {
    converse::<false>(habits, channel, seed).max(converse::<true>(habits, channel, seed))
}

#[test]
fn stream_comes_back_over_a_perfect_channel() {
    for scale in [0, 1, 7, 14] {
        for bytes in [0, 1, 1399, 1400, 1401, 200_000] {
            for seed in 0..2 {
                let ticks = converse_everywhere(&Habits { bytes, scale, ..BULK }, PERFECT, seed);
                // It never waits for a retransmission.
                assert!(ticks < 30 + bytes / 5_000 + 2 * DELAYED_ACK, "{ticks} ticks for {bytes} bytes");
            }
        }
    }
}

#[test]
fn stream_comes_back_in_spite_of_loss() {
    for loss in [1, 5, 20] {
        for seed in 0..6 {
            converse_everywhere(&BULK, Channel { loss, ..PERFECT }, seed);
        }
    }
}

#[test]
fn stream_comes_back_in_spite_of_reordering_and_repetition() {
    for seed in 0..6 {
        converse_everywhere(&BULK, Channel { repeats: 10, jitter: 12, ..PERFECT }, seed);
        converse_everywhere(&BULK, Channel { loss: 5, repeats: 5, jitter: 30, ..PERFECT }, seed);
    }
}

#[test]
fn slow_reader_with_a_small_buffer_is_never_sent_too_much() {
    for (scale, buffer) in [(0, 3_000), (0, 700), (2, 10_000), (7, 5_000)] {
        for seed in 0..4 {
            let habits = Habits { bytes: 40_000, scale, buffer, read: 150, ..BULK };
            converse_everywhere(&habits, PERFECT, seed);
            converse_everywhere(&habits, Channel { loss: 5, repeats: 2, jitter: 5, ..PERFECT }, seed);
        }
    }
}

#[test]
fn closed_window_opens_again() {
    for seed in 0..4 {
        let habits = Habits { bytes: 100_000, buffer: 20_000, read_from: 1_000, ..BULK };
        converse_everywhere(&habits, PERFECT, seed);
        // The announcement of the open window may be what gets lost.
        converse_everywhere(&habits, Channel { loss: 20, ..PERFECT }, seed);
    }
}

#[test]
fn small_messages_come_back_in_spite_of_loss() {
    for (nagle, seed) in [(false, 1), (true, 2), (false, 3), (true, 4)] {
        let habits = Habits { bytes: 6_400, message: Some(64), nagle, ..BULK };
        converse_everywhere(&habits, Channel { loss: 10, repeats: 5, jitter: 4, ..PERFECT }, seed);
    }
}

#[test]
fn message_of_a_client_with_nagle_waits_for_no_timer() {
    let habits = Habits { bytes: 12_800, message: Some(128), nagle: true, ..BULK };
    let ticks = converse::<false>(&habits, PERFECT, 0);
    assert!(ticks < 100 * 4, "{ticks} ticks for 100 messages");
    // On the wire those wait that are not nudged: the first two, and three that test whether the client
    // waits.
    for seed in 0..2 {
        let ticks = converse::<true>(&habits, PERFECT, seed);
        assert!(ticks < 100 * 4 + 5 * DELAYED_ACK, "{ticks} ticks for 100 messages");
    }
}

#[test]
fn stream_comes_back_over_the_wire_in_spite_of_noise_and_want_of_memory() {
    for seed in 0..6 {
        for channel in [
            Channel { noise: 5, ..PERFECT },
            Channel { dropped: 20, ..PERFECT },
            Channel { loss: 5, repeats: 5, jitter: 30, noise: 3, dropped: 5 },
        ] {
            converse::<true>(&BULK, channel, seed);
            let slow = Habits { bytes: 40_000, scale: 2, buffer: 10_000, read: 150, ..BULK };
            converse::<true>(&slow, channel, seed);
        }
    }
}

#[test]
fn small_messages_come_back_over_the_wire_in_spite_of_noise_and_want_of_memory() {
    for seed in 0..12 {
        for (message, nagle) in [(1, true), (2, true), (64, true), (64, false)] {
            let habits = Habits { bytes: 200 * message, message: Some(message), nagle, ..BULK };
            converse::<true>(&habits, Channel { dropped: 10, ..PERFECT }, seed);
            converse::<true>(&habits, Channel { noise: 5, ..PERFECT }, seed);
            let channel = Channel { loss: 5, repeats: 5, jitter: 4, noise: 3, dropped: 5 };
            converse::<true>(&habits, channel, seed);
        }
    }
}
