//! What a run waits for while the kernel does the work.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use loader::Errno;
use loader::rtnetlink::{Monitor, NetlinkError};

use crate::attach::keeper::Keeper;
use crate::sys::{self, EndSignals};

/// Something has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A signal wants the end.
    End,
    /// An interface has come, changed or gone.
    Interfaces,
    /// The interval is over.
    Tick,
}

/// Why it could not be waited for.
#[derive(Debug)]
pub enum WaitError {
    /// poll(2).
    Poll(Errno),
    /// Changes of interfaces could not be read.
    Netlink(NetlinkError),
}

/// All that can happen.
pub struct Events<'a> {
    signals: &'a EndSignals,
    monitor: &'a mut Monitor,
    keeper: &'a Keeper,
    /// How long an interval is, and when the current one is over.
    interval: Option<(Duration, Instant)>,
}

impl<'a> Events<'a> {
    /// From now on, with a [`Event::Tick`] behind each `interval`, if there is one.
    pub fn new(
        signals: &'a EndSignals,
        monitor: &'a mut Monitor,
        keeper: &'a Keeper,
        interval: Option<Duration>,
    ) -> Self {
        let interval = interval.map(|interval| (interval, Instant::now() + interval));
        Self { signals, monitor, keeper, interval }
    }

    /// Waits for the next.
    ///
    /// # Errors
    ///
    /// [`WaitError`].
    pub fn wait(&mut self) -> Result<Event, WaitError> {
        loop {
            let limit = self.interval.map(|(_, end)| end.saturating_duration_since(Instant::now()));
            let descriptors: Vec<BorrowedFd<'_>> = [self.signals.as_fd(), self.monitor.as_fd()]
                .into_iter()
                .chain(self.keeper.descriptors())
                .collect();
            let readable = sys::poll(&descriptors, limit).map_err(WaitError::Poll)?;
            match readable.as_slice() {
                [true, ..] => return Ok(Event::End),
                [_, true, ..] => {
                    self.monitor.clear().map_err(WaitError::Netlink)?;
                    return Ok(Event::Interfaces);
                }
                [_, _, visitors @ ..] if visitors.contains(&true) => self.keeper.clear(),
                _ => {}
            }
            if let Some((interval, end)) = &mut self.interval {
                let now = Instant::now();
                if now >= *end {
                    // One that comes late does not make the next ones come early.
                    *end = (*end + *interval).max(now);
                    return Ok(Event::Tick);
                }
            }
        }
    }
}
