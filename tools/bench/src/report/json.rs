//! All numbers, for programs. The fields are never renamed while `schema` is 1.

use serde_json::{Value, json};

use super::{Machine, Settings, Target, targets::Bound};
use crate::results::{Measure, Outcome, Results, Row, Summary, Unit};

/// The whole document.
pub(super) fn document(results: &Results, settings: &Settings, targets: &[Target]) -> String {
    let document = json!({
        "schema": 1,
        "settings": { "rounds": settings.rounds, "short": settings.short },
        "machine": machine(&settings.machine),
        "measures": results.measures.iter().map(measure).collect::<Vec<_>>(),
        "targets": targets.iter().map(target).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn machine(machine: &Machine) -> Value {
    json!({
        "processor": machine.processor,
        "cpus": machine.cpus,
        "memory_bytes": machine.bytes,
        "kernel": machine.kernel,
        "virtual": machine.is_virtual,
        "governor": machine.governor,
        "mitigations": machine.mitigations,
        "bpf_jit_enable": machine.jit,
        "bpf_jit_harden": machine.jit_harden,
        "load_average_before": machine.load.map(|load| load.map(number)),
        "commit": machine.commit,
        "version": machine.version,
        "date_utc": machine.date,
    })
}

fn measure(measure: &Measure) -> Value {
    json!({
        "group": measure.group,
        "name": measure.name,
        "unit": unit(measure.unit),
        "subjects": measure.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Nanoseconds => "ns",
        Unit::Milliseconds => "ms",
        Unit::PerSecond => "1/s",
        Unit::GigabytesPerSecond => "GB/s",
        Unit::Instructions => "instructions",
    }
}

fn row(row: &Row) -> Value {
    let mut fields = match &row.outcome {
        Outcome::Values(values) => {
            let summary = Summary::of(values);
            json!({
                "values": values.iter().copied().map(number).collect::<Vec<_>>(),
                "median": summary.map(|summary| number(summary.median)),
                "low": summary.map(|summary| number(summary.low)),
                "high": summary.map(|summary| number(summary.high)),
            })
        }
        Outcome::Void(how) => json!({ "void": how }),
        Outcome::Absent(why) => json!({ "absent": why }),
    };
    fields["subject"] = row.subject.into();
    fields
}

fn target(target: &Target) -> Value {
    let wanted = match target.wanted {
        Bound::AtMost(bound) => json!({ "at_most": number(bound) }),
        Bound::AtLeast(bound) => json!({ "at_least": number(bound) }),
    };
    json!({
        "text": target.text,
        "unit": unit(target.unit),
        "ours": target.ours.map(number),
        "other": target.other.map(|(subject, value)| json!({ "subject": subject, "value": number(value) })),
        "ratio": target.ratio.map(number),
        "wanted": wanted,
        "met": target.is_met(),
        "missed_grossly": target.is_missed_grossly(),
    })
}

/// An integer where it is one, as `12` and not `12.0`.
fn number(value: f64) -> Value {
    let integer = value as i64;
    if integer as f64 == value { integer.into() } else { value.into() }
}
