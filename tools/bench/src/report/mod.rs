//! What is said of a run: a text for the terminal, all numbers as JSON, and a picture of what people come for.

mod json;
mod machine;
mod picture;
mod quantity;
mod table;
mod targets;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

pub(crate) use machine::Machine;
pub(crate) use targets::{Target, targets};

use crate::results::{Outcome, Results};

/// How a run was made.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How often each measure was taken of each subject.
    pub(crate) rounds: u32,
    /// Whether it was the short run.
    pub(crate) short: bool,
    /// What it ran on, described before anything was measured: later the load is the benchmark's own.
    pub(crate) machine: Machine,
}

/// Writes `results.json` and `picture.svg` into `directory`, which is made if need be. Returns the text for people.
pub(crate) fn write(results: &Results, settings: &Settings, directory: &Path) -> Result<String, String> {
    check(results)?;
    let targets = targets(results);
    fs::create_dir_all(directory).map_err(|error| format!("creating {}: {error}", directory.display()))?;
    store(&directory.join("results.json"), &json::document(results, settings, &targets))?;
    store(&directory.join("picture.svg"), &picture::svg(results, settings))?;
    Ok(table::text(results, settings, &targets))
}

/// Refuses what no clock and no counter can have said: it would be a mistake of the benchmark, not of a subject.
fn check(results: &Results) -> Result<(), String> {
    for measure in &results.measures {
        for row in &measure.rows {
            let Outcome::Values(values) = &row.outcome else { continue };
            if values.is_empty() || values.iter().any(|value| !value.is_finite() || *value < 0.0) {
                let (group, name) = (measure.group, &measure.name);
                return Err(format!(
                    "reporting {group}, {name} of {}: {values:?} were not measured",
                    row.subject
                ));
            }
        }
    }
    Ok(())
}

fn store(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("writing {}: {error}", path.display()))
}
