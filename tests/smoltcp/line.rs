//! A bad line: a tap interface on which frames overtake each other in both directions, and those that smoltcp sends
//! arrive with a wrong bit. The rest of what is wrong with it is done by smoltcp's own fault injector above.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TunTapInterface, TxToken};
use smoltcp::time::Instant;

/// How many of a hundred frames fare badly, in each direction if nothing else is said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) drop: u8,
    /// Frames that smoltcp sends. Its injector leaves them as they are: it flips a bit of the buffer before the frame
    /// is written to it.
    pub(crate) corrupt_sent: u8,
    /// Frames that smoltcp receives. Not together with the others: nobody verifies a checksum on the way back, and
    /// every 32nd pair of wrong bits leaves the sum as it was.
    pub(crate) corrupt_received: u8,
    pub(crate) reorder: u8,
}

/// What became of the frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Frames that smoltcp sent, less those its injector dropped.
    pub(crate) sent: u64,
    /// Frames for smoltcp, and those its injector dropped.
    pub(crate) received: u64,
    /// Frames sent with a wrong bit.
    pub(crate) corrupted: u64,
    /// Frames of both directions that others overtook.
    pub(crate) delayed: u64,
}

/// How far a frame falls back at most.
const PLACES: u64 = 8;

/// The line. Clones are handles of the same line.
#[derive(Clone)]
pub(crate) struct Line(Rc<RefCell<Ends>>);

struct Ends {
    tap: TunTapInterface,
    random: Random,
    faults: Faults,
    counts: Counts,
    sent: Queue,
    received: Queue,
}

impl Line {
    /// Opens the tap interface called `name`.
    pub(crate) fn open(name: &str, seed: u64) -> Self {
        Self(Rc::new(RefCell::new(Ends {
            tap: TunTapInterface::new(name, Medium::Ethernet).unwrap(),
            random: Random(seed),
            faults: Faults::default(),
            counts: Counts::default(),
            sent: Queue::default(),
            received: Queue::default(),
        })))
    }

    /// Makes the line as bad as `faults` say from now on.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.borrow().counts
    }

    /// Whether a frame waits to be overtaken. It does not wait any longer if none follows.
    pub(crate) fn holds_frames(&self) -> bool {
        !self.0.borrow().sent.held.is_empty()
    }
}

impl AsRawFd for Line {
    fn as_raw_fd(&self) -> RawFd {
        self.0.borrow().tap.as_raw_fd()
    }
}

impl Ends {
    fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        loop {
            if let Some(frame) = self.received.ready.pop_front() {
                self.counts.received += 1;
                return Some(frame);
            }
            if let Some((arrived, _)) = self.tap.receive(now) {
                let frame = arrived.consume(<[u8]>::to_vec);
                let places = self.places();
                self.received.push(frame, places);
            } else if !self.sent.held.is_empty() {
                // All is quiet: nothing will overtake what is held.
                self.sent.flush();
                self.write(now);
            } else if !self.received.held.is_empty() {
                self.received.flush();
            } else {
                return None;
            }
        }
    }

    fn send(&mut self, mut frame: Vec<u8>, now: Instant) {
        self.counts.sent += 1;
        if self.random.chance(self.faults.corrupt_sent) {
            self.counts.corrupted += 1;
            let bit = self.random.below(8 * frame.len() as u64) as usize;
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        let places = self.places();
        self.sent.push(frame, places);
        self.write(now);
    }

    /// By how many others the next frame is overtaken.
    fn places(&mut self) -> u64 {
        if !self.random.chance(self.faults.reorder) {
            return 0;
        }
        self.counts.delayed += 1;
        1 + self.random.below(PLACES)
    }

    fn write(&mut self, now: Instant) {
        while let Some(frame) = self.sent.ready.pop_front() {
            let token = self.tap.transmit(now).unwrap();
            token.consume(frame.len(), |buffer| buffer.copy_from_slice(&frame));
        }
    }
}

/// One direction of the line.
#[derive(Default)]
struct Queue {
    /// Frames that are to be overtaken, each with the number of those that are still to do it.
    held: Vec<(u64, Vec<u8>)>,
    ready: VecDeque<Vec<u8>>,
}

impl Queue {
    fn push(&mut self, frame: Vec<u8>, places: u64) {
        for (places, _) in &mut self.held {
            *places -= 1;
        }
        self.held.push((places, frame));
        // From the back: the latest goes first, and overtakes.
        while let Some(index) = self.held.iter().rposition(|(places, _)| *places == 0) {
            self.ready.push_back(self.held.remove(index).1);
        }
    }

    fn flush(&mut self) {
        self.ready.extend(self.held.drain(..).map(|(_, frame)| frame));
    }
}

impl Device for Line {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sender;

    fn capabilities(&self) -> DeviceCapabilities {
        self.0.borrow().tap.capabilities()
    }

    fn receive(&mut self, now: Instant) -> Option<(Received, Sender)> {
        let frame = self.0.borrow_mut().receive(now)?;
        Some((Received(frame), Sender(self.clone(), now)))
    }

    fn transmit(&mut self, now: Instant) -> Option<Sender> {
        Some(Sender(self.clone(), now))
    }
}

pub(crate) struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub(crate) struct Sender(Line, Instant);

impl TxToken for Sender {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        let Self(line, now) = self;
        line.0.borrow_mut().send(frame, now);
        result
    }
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.below(100) < u64::from(percent)
    }
}
