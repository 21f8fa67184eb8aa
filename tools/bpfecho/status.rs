//! What of ours is attached.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loader::rtnetlink::Netlink;
use serde_json::{Value, json};

use crate::arguments::Selection;
use crate::attach::inventory::{self, Found};
use crate::json;
use crate::report::summary;
use crate::run::{RunError, select_interfaces};
use crate::sys;
use crate::voice::print;

/// Lists the programs of ours on the selected interfaces, on standard output.
///
/// # Errors
///
/// [`RunError`].
pub fn status(selection: &Selection) -> Result<(), RunError> {
    let mut netlink = Netlink::open()?;
    let interfaces = select_interfaces(&mut netlink, selection)?;
    let inventory = inventory::take(&mut netlink, &interfaces)?;
    if let Some(error) = &inventory.blind {
        selection.voice.warn(&format!("there may be more, on tcx or XDP: {error}"));
    }
    let (now, boot) = (SystemTime::now(), sys::boot_time_ns());
    let since = |found: &Found| Some(now - Duration::from_nanos(boot.saturating_sub(found.loaded_ns?)));
    if selection.voice.json {
        for found in &inventory.found {
            json::say("program", fields(found, since(found)));
        }
        return Ok(());
    }
    if inventory.found.is_empty() {
        selection.voice.say(&"nothing is attached");
        return Ok(());
    }
    print(&table(&inventory.found, since));
    Ok(())
}

fn fields(found: &Found, since: Option<SystemTime>) -> Value {
    let counters = found.counters.as_ref();
    json!({
        "ifname": found.interface.name,
        "ifindex": found.interface.index.0,
        "hook": found.place.hook(),
        "program_id": found.program_id,
        "link_id": found.place.link(),
        "echoes": found.endpoints,
        "process": found.process,
        "since": since.map(seconds),
        "counters_id": counters.map(|(id, _)| id),
        "counters": counters.map(|(_, counts)| json::counters(counts)),
    })
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A line for each program, and behind those that count together one with what they have counted.
fn table(found: &[Found], since: impl Fn(&Found) -> Option<SystemTime>) -> String {
    let mut rows = vec![["INTERFACE", "HOOK", "PROGRAM", "PROCESS", "SINCE", "ECHOES"].map(String::from)];
    rows.extend(found.iter().map(|found| {
        [
            found.interface.name.clone(),
            found.place.hook(),
            found.program_id.to_string(),
            found.process.map_or_else(|| "none".into(), |process| process.to_string()),
            since(found).map_or_else(|| "?".into(), |time| sys::utc(seconds(time))),
            found.endpoints.clone().unwrap_or_else(|| "?".into()),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text += "\n";
        let counters = |index: usize| found.get(index)?.counters.as_ref();
        let Some((id, counts)) = index.checked_sub(1).and_then(counters) else { continue };
        // The programs of one run on one interface follow each other.
        if counters(index).is_none_or(|(next, _)| next != id) {
            text += &format!("  {}\n", summary(counts));
        }
    }
    text
}
