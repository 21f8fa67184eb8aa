//! Ends what of ours is attached.

use std::fmt;
use std::os::fd::AsFd;
use std::time::Duration;

use loader::Errno;
use loader::rtnetlink::{Netlink, NetlinkError};
use serde_json::json;

use crate::arguments::Selection;
use crate::attach::inventory::{self, Found, RemoveError};
use crate::attach::keeper::process_of;
use crate::attach::pins;
use crate::run::{RunError, select_interfaces};
use crate::sys::{self, Process};

/// How long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why something has not ended.
#[derive(Debug)]
pub enum StopError {
    /// The interfaces could not be found, or what is attached not be listed.
    Run(RunError),
    /// A program could not be taken away.
    Remove(RemoveError),
    /// The process that keeps a program could not be asked to end.
    Process {
        /// Its number.
        process: u32,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A process did not end.
    Stubborn {
        /// Its number.
        process: u32,
    },
    /// Programs could not be looked into, so some may be left.
    Blind(String),
}

impl fmt::Display for StopError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(error) => error.fmt(formatter),
            Self::Remove(error) => error.fmt(formatter),
            Self::Process { process: 0, .. } => formatter
                .write_str("a process keeps it that is not seen from here: end it where it was started"),
            Self::Process { process, errno } => {
                write!(formatter, "asking process {process} to end: {errno}")?;
                if *errno == Errno::ENOSYS {
                    write!(formatter, ": before Linux 5.3 only `kill {process}` can")?;
                }
                Ok(())
            }
            Self::Stubborn { process } => {
                write!(
                    formatter,
                    "process {process} was asked to end, and has not after {} seconds",
                    PATIENCE.as_secs()
                )
            }
            Self::Blind(error) => write!(formatter, "there may be more, on tcx or XDP: {error}"),
        }
    }
}

impl std::error::Error for StopError {}

impl From<RunError> for StopError {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl From<NetlinkError> for StopError {
    fn from(error: NetlinkError) -> Self {
        Self::Run(error.into())
    }
}

impl From<RemoveError> for StopError {
    fn from(error: RemoveError) -> Self {
        Self::Remove(error)
    }
}

/// Ends all that is ours on the selected interfaces: asks the processes that keep programs to end, waits for that, and
/// takes away what no process keeps.
///
/// # Errors
///
/// [`StopError`]: the first, after all has been tried.
pub fn stop(selection: &Selection) -> Result<(), StopError> {
    let voice = selection.voice;
    let mut netlink = Netlink::open()?;
    let interfaces = select_interfaces(&mut netlink, selection)?;
    let inventory = inventory::take(&mut netlink, &interfaces)?;
    let mut failure = inventory.blind.map(StopError::Blind);
    if inventory.found.is_empty() && failure.is_none() {
        voice.say(&"nothing is attached");
    }
    for found in &inventory.found {
        match end(&mut netlink, found) {
            Ok(()) => {
                let hook = found.place.hook();
                let text = format!(
                    "stopped {} ({}, {hook})",
                    found.endpoints.as_deref().unwrap_or("what cannot be read"),
                    found.interface.name
                );
                let fields = json!({
                    "ifname": found.interface.name,
                    "ifindex": found.interface.index.0,
                    "hook": hook,
                    "program_id": found.program_id,
                    "echoes": found.endpoints,
                });
                voice.event("stopped", &text, fields);
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    pins::remove_stale();
    failure.map_or(Ok(()), Err)
}

/// Ends one program.
fn end(netlink: &mut Netlink, found: &Found) -> Result<(), StopError> {
    let Some(process) = found.process else { return Ok(inventory::remove(netlink, found)?) };
    let failed = |errno| StopError::Process { process, errno };
    let handle = match Process::open(process) {
        // It has ended meanwhile.
        Err(Errno::ESRCH) => return Ok(()),
        result => result.map_err(failed)?,
    };
    // Its number may be another's by now, unless it still keeps the program; one that has ended with another interface
    // does not.
    if process_of(found.program_id) != Some(process) {
        return Ok(());
    }
    handle.terminate().map_err(failed)?;
    let ended = sys::poll(&[handle.as_fd()], Some(PATIENCE)).map_err(failed)?;
    if ended == [true] { Ok(()) } else { Err(StopError::Stubborn { process }) }
}
