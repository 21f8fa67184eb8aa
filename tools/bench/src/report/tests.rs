//! Reports of made-up results.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::targets::Bound;
use super::*;
use crate::results::{Measure, Row, Unit};
use crate::subject::*;

const ROUND_TRIP: &str = "p50, 64 B, TCP_NODELAY";

fn settings() -> Settings {
    let machine = Machine {
        processor: "Made <up> & fast".to_owned(),
        cpus: 2,
        bytes: 8 << 30,
        kernel: "6.18.0".to_owned(),
        is_virtual: Some(true),
        governor: None,
        mitigations: vec!["meltdown: PTI".to_owned()],
        jit: Some(1),
        jit_harden: Some(0),
        load: Some([0.25, 1.0, 2.0]),
        commit: "0123456789ab".to_owned(),
        version: "0.1.0".to_owned(),
        date: "2026-01-01 00:00".to_owned(),
    };
    Settings { rounds: 3, short: false, machine }
}

fn measure(group: &'static str, name: &str, unit: Unit, rows: &[(&'static str, Outcome)]) -> Measure {
    let rows = rows.iter().map(|(subject, outcome)| Row { subject, outcome: outcome.clone() }).collect();
    Measure { group, name: name.to_owned(), unit, rows }
}

fn values(values: &[f64]) -> Outcome {
    Outcome::Values(values.to_vec())
}

fn void() -> Outcome {
    Outcome::Void("byte 17 was wrong".to_owned())
}

fn absent() -> Outcome {
    Outcome::Absent("not installed".to_owned())
}

fn round_trip(ours: Outcome, limit: Outcome) -> Results {
    let rows = [(BPFECHO, ours), (SELF_CONNECTED, limit)];
    Results { measures: vec![measure("ping-pong", ROUND_TRIP, Unit::Nanoseconds, &rows)] }
}

/// All measures that the picture shows, with all kinds of outcomes.
fn all() -> Results {
    let around = |value: f64| values(&[value * 0.9, value, value * 1.2]);
    let measures = [
        ("requests", "1 connection", Unit::PerSecond, 177e3, 10.7e3),
        ("requests", "50 connections", Unit::PerSecond, 329e3, 80e3),
        ("requests", "500 connections", Unit::PerSecond, 345e3, 62e3),
        ("requests", "1000 connections", Unit::PerSecond, 345e3, 60e3),
        ("ping-pong", ROUND_TRIP, Unit::Nanoseconds, 6000.0, 77e3),
        ("udp", "p50, 64 B", Unit::Nanoseconds, 4300.0, 75e3),
        ("connections", "orderly close", Unit::PerSecond, 29e3, 5.9e3),
        ("streaming", "1 connection, 64 KiB", Unit::GigabytesPerSecond, 1.52, 1.25),
    ];
    let measure = |(group, name, unit, ours, peer)| {
        let rows = [
            (BPFECHO, around(ours)),
            (BPFECHO_CLSACT, around(ours * 1.01)),
            (SELF_CONNECTED, around(ours * 1.1)),
            (EPOLL, around(peer)),
            (IO_URING, around(peer * 1.05)),
            (TOKIO, void()),
            (INETD, absent()),
        ];
        measure(group, name, unit, &rows)
    };
    Results { measures: measures.map(measure).to_vec() }
}

/// The three reports.
fn reports(results: &Results) -> (String, String, String) {
    let targets = targets(results);
    let table = table::text(results, &settings(), &targets);
    (table, json::document(results, &settings(), &targets), picture::svg(results, &settings()))
}

fn only(results: &Results) -> Target {
    let targets = targets(results);
    assert_eq!(targets.len(), 1, "{targets:?}");
    targets[0].clone()
}

#[test]
fn numbers_are_written_with_the_unit_that_suits_them() {
    let spread =
        |values: &[f64], unit| quantity::with_spread(crate::results::Summary::of(values).unwrap(), unit);
    assert_eq!(spread(&[6400.0, 5900.0, 6000.0], Unit::Nanoseconds), "6.0 us (5.9–6.4)");
    assert_eq!(spread(&[995.0, 1004.0], Unit::Nanoseconds), "1000 ns (995–1004)");
    assert_eq!(spread(&[8.25], Unit::Milliseconds), "8.2 ms");
    assert_eq!(spread(&[340e3, 345e3, 351e3], Unit::PerSecond), "345 k/s (340–351)");
    assert_eq!(spread(&[5910.0], Unit::PerSecond), "5.91 k/s");
    assert_eq!(spread(&[45.0], Unit::PerSecond), "45.0/s");
    assert_eq!(spread(&[1.5, 1.52, 1.6], Unit::GigabytesPerSecond), "1.52 GB/s (1.50–1.60)");
    assert_eq!(spread(&[12.0, 12.0], Unit::Instructions), "12");
    assert_eq!(spread(&[0.0], Unit::PerSecond), "0.00/s");
}

#[test]
fn the_table_is_readable_on_a_terminal() {
    let mut results = all();
    let long = "a reason of many words that goes on and on ".repeat(5);
    results.measures[0].rows.push(Row { subject: NCAT, outcome: Outcome::Absent(long) });
    let (table, ..) = reports(&results);
    for line in table.lines() {
        assert!(line.chars().count() <= 120, "{line}");
        assert_eq!(line, line.trim_end());
    }
    // Six subjects do not fit side by side, four measures do.
    assert!(table.contains("\nrequests               1 connection          50 connections  "), "{table}");
    assert!(
        table.contains("\nepoll                  10.7 k/s (9.6–12.8)   80.0 k/s (72.0–96.0)  "),
        "{table}"
    );
    // For the same reason in all measures of a group, so said once and without their names.
    assert_eq!(table.matches("\n-  busybox inetd: not installed\n").count(), 5, "{table}");
    assert!(table.contains("\n-  ncat, 1 connection: a reason"), "{table}");
}

#[test]
fn a_table_that_is_too_wide_goes_on_below() {
    let names =
        ["p50", "p99", "p99.9"].map(|share| [1, 64, 1024, 16384].map(|size| format!("{share}, {size} B")));
    let subjects = [BPFECHO, BPFECHO_CLSACT, SELF_CONNECTED, EPOLL, IO_URING, TOKIO, SOCAT];
    let rows = subjects.map(|subject| (subject, values(&[5900.0, 6000.0, 6400.0])));
    let measure = |name: &String| measure("ping-pong", name, Unit::Nanoseconds, &rows);
    let (table, ..) = reports(&Results { measures: names.as_flattened().iter().map(measure).collect() });
    assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
    for subject in subjects {
        assert!(
            table.lines().any(|line| line.starts_with("ping-pong ") && line.contains(subject)),
            "{table}"
        );
    }
    assert_eq!(table.matches("6.0 us (5.9–6.4)").count(), 12 * subjects.len(), "{table}");
}

#[test]
fn a_void_subject_has_no_number_anywhere() {
    let (table, json, picture) = reports(&round_trip(void(), values(&[7000.0, 7000.0, 7000.0])));
    assert!(table.contains(&format!("{ROUND_TRIP}  void     7.0 us\n")), "{table}");
    assert!(table.contains("void  bpfecho: byte 17 was wrong\n"), "{table}");
    assert!(table.contains("NO, by far"), "{table}");
    let json: Value = serde_json::from_str(&json).unwrap();
    let row = &json["measures"][0]["subjects"][0];
    assert_eq!(*row, serde_json::json!({ "subject": "bpfecho", "void": "byte 17 was wrong" }));
    assert_eq!((&json["targets"][0]["ours"], &json["targets"][0]["ratio"]), (&Value::Null, &Value::Null));
    let document = roxmltree::Document::parse(&picture).unwrap();
    let bars = document.descendants().filter(|node| node.attribute("fill") == Some("#0969da"));
    assert_eq!(bars.count(), 1, "there is more than the legend");
    assert_eq!(
        document.descendants().filter(|node| node.is_text() && node.text() == Some("void")).count(),
        1
    );
}

#[test]
fn a_target_is_about_the_ratios_of_rounds() {
    // The machine became slower and slower, and the medians are of different rounds.
    let target = only(&round_trip(values(&[100.0, 220.0, 400.0]), values(&[100.0, 200.0, 500.0])));
    assert_eq!((target.ours, target.other), (Some(220.0), Some((SELF_CONNECTED, 200.0))));
    assert_eq!(target.ratio, Some(1.0));
    assert!(target.is_met() && !target.is_missed_grossly());
}

#[test]
fn targets_end_at_their_bounds() {
    let round_trip = |ours| only(&round_trip(values(&[ours]), values(&[1000.0])));
    assert!(round_trip(1000.0).is_met());
    assert!(!round_trip(1001.0).is_met());
    assert!(!round_trip(1500.0).is_missed_grossly());
    assert!(round_trip(1501.0).is_missed_grossly());
    let requests = |ours| {
        let rows = [
            (BPFECHO, values(&[ours])),
            (EPOLL, values(&[90.0])),
            (IO_URING, values(&[100.0])),
            (TOKIO, void()),
        ];
        only(&Results { measures: vec![measure("requests", "1 connection", Unit::PerSecond, &rows)] })
    };
    assert_eq!(requests(1200.0).other, Some((IO_URING, 100.0)));
    assert!(requests(1200.0).is_met());
    assert!(!requests(1199.0).is_met());
    assert!(!requests(600.0).is_missed_grossly());
    assert!(requests(599.0).is_missed_grossly());
    let start = |ours| {
        let rows = [(BPFECHO, ours)];
        only(&Results { measures: vec![measure("start", "exec to first echo", Unit::Milliseconds, &rows)] })
    };
    assert!(start(values(&[10.0])).is_met());
    assert!(!start(values(&[10.1])).is_met());
    assert!(!start(values(&[1000.0])).is_missed_grossly());
    assert!(start(void()).is_missed_grossly());
}

#[test]
fn only_what_was_measured_has_targets() {
    assert!(targets(&round_trip(absent(), values(&[1.0]))).is_empty());
    assert!(targets(&round_trip(values(&[1.0]), void())).is_empty());
    assert!(targets(&round_trip(values(&[1.0]), absent())).is_empty());
    assert!(only(&round_trip(void(), void())).is_missed_grossly());
}

#[test]
fn what_is_not_ours_costs_few_instructions_or_little_time() {
    let not_ours = |instructions: f64, nanoseconds: f64| {
        let measures = vec![
            measure("program", "lo: not ours", Unit::Nanoseconds, &[(BPFECHO, values(&[nanoseconds]))]),
            measure(
                "program",
                "instructions, lo: not ours",
                Unit::Instructions,
                &[(BPFECHO, values(&[instructions]))],
            ),
        ];
        only(&Results { measures })
    };
    assert_eq!((not_ours(15.0, 11.0).is_met(), not_ours(15.0, 11.0).unit), (true, Unit::Instructions));
    assert_eq!((not_ours(16.0, 10.0).is_met(), not_ours(16.0, 10.0).unit), (true, Unit::Nanoseconds));
    let missed = not_ours(16.0, 11.0);
    assert_eq!(
        (missed.is_met(), missed.unit, missed.wanted),
        (false, Unit::Instructions, Bound::AtMost(15.0))
    );
    assert!(!missed.is_missed_grossly());
    assert!(not_ours(31.0, 11.0).is_missed_grossly());
}

#[test]
fn the_numbers_of_all_rounds_are_in_the_json() {
    let (_, json, _) = reports(&round_trip(values(&[6000.0, 6200.5, 5900.0]), absent()));
    assert!(json.contains("6000,"), "an integer is one: {json}");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["machine"]["load_average_before"], serde_json::json!([0.25, 1, 2]));
    let measure = &json["measures"][0];
    assert_eq!(
        (&measure["group"], &measure["name"], &measure["unit"]),
        (&"ping-pong".into(), &ROUND_TRIP.into(), &"ns".into())
    );
    let [ours, limit] = [&measure["subjects"][0], &measure["subjects"][1]];
    assert_eq!(ours["values"], serde_json::json!([6000, 6200.5, 5900]));
    assert_eq!((&ours["median"], &ours["low"], &ours["high"]), (&6000.into(), &5900.into(), &6200.5.into()));
    assert_eq!(*limit, serde_json::json!({ "subject": SELF_CONNECTED, "absent": "not installed" }));
}

#[test]
fn the_picture_is_well_formed_and_within_its_frame() {
    let (.., picture) = reports(&all());
    let document = roxmltree::Document::parse(&picture).unwrap();
    let number =
        |node: roxmltree::Node, name| node.attribute(name).map_or(0.0, |text| text.parse::<f64>().unwrap());
    let (width, height) =
        (number(document.root_element(), "width"), number(document.root_element(), "height"));
    for node in document.root_element().descendants() {
        let (x, y) = (number(node, "x"), number(node, "y"));
        assert!(x >= 0.0 && x + number(node, "width") <= width, "{node:?}");
        assert!(y >= 0.0 && y + number(node, "height") <= height, "{node:?}");
        // Characters of this size are narrower than 7 on average.
        let reach = 7.0 * node.text().filter(|_| node.has_tag_name("text")).map_or(0, str::len) as f64;
        let is_right_aligned = node.attribute("class").is_some_and(|class| class.contains("name"));
        assert!(if is_right_aligned { x >= reach } else { x + reach <= width }, "{node:?}");
        // Whiskers are no higher than their bars.
        let numbers = node.attribute("d").unwrap_or("0").split(|c: char| !c.is_ascii_digit() && c != '.');
        assert!(
            numbers
                .filter(|text| !text.is_empty())
                .all(|text| (0.0..=width).contains(&text.parse().unwrap()))
        );
    }
    let texts: Vec<&str> =
        document.descendants().filter(roxmltree::Node::is_text).filter_map(|node| node.text()).collect();
    assert!(
        texts.iter().any(|text| text.starts_with("Made <up> & fast, 2 CPUs, 8.0 GiB, virtual, Linux 6.18.0"))
    );
    assert_eq!(texts.iter().filter(|text| **text == "345 k/s").count(), 2);
}

#[test]
fn bars_are_as_long_as_their_numbers_are_large() {
    let (.., picture) = reports(&all());
    let document = roxmltree::Document::parse(&picture).unwrap();
    let bars = |colour: &str| -> Vec<f64> {
        let bars = document.descendants().filter(|node| node.attribute("fill") == Some(colour));
        bars.skip(1).map(|bar| bar.attribute("width").unwrap().parse().unwrap()).collect()
    };
    let (ours, limits, peers) = (bars("#0969da"), bars("#f0a040"), bars("#afb8c1"));
    assert_eq!((ours.len(), limits.len(), peers.len()), (8, 8, 16), "there is one in the legend besides");
    assert!((limits[0] / ours[0] - 1.1).abs() < 0.01, "{ours:?} {limits:?}");
    assert!((peers[0] / ours[0] - 10.7 / 177.0).abs() < 0.01, "{ours:?} {peers:?}");
    assert_eq!(
        document.descendants().filter(|node| node.attribute("class") == Some("whisker")).count(),
        5 * 8
    );
}

#[test]
fn what_cannot_have_been_measured_is_refused() {
    let directory = std::env::temp_dir();
    for wrong in [&[f64::NAN][..], &[1.0, f64::INFINITY], &[-1.0], &[]] {
        let error = write(&round_trip(values(wrong), absent()), &settings(), &directory).unwrap_err();
        assert!(error.starts_with("reporting ping-pong, p50, 64 B, TCP_NODELAY of bpfecho: "), "{error}");
    }
}

#[test]
fn the_files_are_written() {
    let directory = std::env::temp_dir().join(format!("bench-report-{}", std::process::id()));
    let text = write(&all(), &settings(), &directory);
    let files = ["results.json", "picture.svg"].map(|name| fs::read_to_string(directory.join(name)));
    fs::remove_dir_all(&directory).unwrap();
    let (table, json, picture) = reports(&all());
    assert_eq!((text.unwrap(), files.map(Result::unwrap)), (table, [json, picture]));
    let nowhere = PathBuf::from("/proc/nowhere");
    assert!(write(&all(), &settings(), &nowhere).unwrap_err().starts_with("creating /proc/nowhere: "));
}

#[test]
fn a_machine_is_described_without_a_program() {
    let machine = Machine::describe(&PathBuf::from("/proc/nowhere"));
    assert_eq!(machine.version, "unknown");
    assert!(machine.cpus > 0 && machine.bytes > 1 << 20 && !machine.kernel.is_empty(), "{machine:?}");
}
