//! What people come for, at one glance: bars of a few measures, as an SVG on a light ground of its own.

use std::fmt::Write as _;

use super::Settings;
use super::quantity::{is_rate, quantity};
use crate::results::{Measure, Outcome, Results, Row, Summary};
use crate::subject::{BPFECHO, BPFECHO_CLSACT, BPFECHO_XDP, EPOLL, SELF_CONNECTED};

/// What is shown, two side by side: the group and the name of a measure, and what it is called here.
const PANELS: [(&str, &str, &str); 8] = [
    ("requests", "1 connection", "Requests, 1 connection"),
    ("requests", "50 connections", "Requests, 50 connections"),
    ("requests", "500 connections", "Requests, 500 connections"),
    ("requests", "1000 connections", "Requests, 1000 connections"),
    ("ping-pong", "p50, 64 B, TCP_NODELAY", "TCP round trip, 64 B, p50"),
    ("udp", "p50, 64 B", "UDP round trip, 64 B, p50"),
    ("connections", "orderly close", "Connections, opened and closed"),
    ("streaming", "1 connection, 64 KiB", "Streaming, 1 connection, 64 KiB writes"),
];

// Lengths are in pixels, unless the picture is scaled.
const WIDTH: usize = 900;
const MARGIN: usize = 24;
const PANEL_WIDTH: usize = 412;
const TITLE_HEIGHT: usize = 26;
const BETWEEN_PANELS: usize = 22;
/// A panel has three columns: names, bars, and the numbers behind them.
const NAMES_WIDTH: usize = 152;
const NUMBERS_WIDTH: usize = 72;
const GAP: usize = 8;
const LONGEST_BAR: usize = PANEL_WIDTH - NAMES_WIDTH - GAP - NUMBERS_WIDTH;
const BAR_HEIGHT: usize = 14;
/// From bar to bar.
const PITCH: usize = 20;
/// Characters of small text in a line: on average, they are narrower than that in any usual font.
const LINE: usize = (WIDTH - 2 * MARGIN) / 7;

const STYLE: &str = "\
text { font: 12px sans-serif; fill: #1f2328 } \
.title { font-size: 18px; font-weight: bold } \
.panel { font-size: 13px; font-weight: bold } \
.small { font-size: 11px; fill: #59636e } \
.name { text-anchor: end } \
.strong { font-weight: bold } \
.void { fill: #cf222e } \
.whisker { stroke: #1f2328; stroke-opacity: 0.6; fill: none }";

/// The whole picture.
pub(super) fn svg(results: &Results, settings: &Settings) -> String {
    let mut body = String::new();
    let mut y = header(&mut body, settings);
    let panels: Vec<_> = PANELS.iter().filter_map(|panel| Some((find(results, panel)?, panel.2))).collect();
    for pair in panels.chunks(2) {
        for (index, (measure, title)) in pair.iter().enumerate() {
            let x = if index == 0 { MARGIN } else { WIDTH - MARGIN - PANEL_WIDTH };
            draw_panel(&mut body, measure, title, (x, y));
        }
        let rows = pair.iter().map(|(measure, _)| shown(measure).count()).max().unwrap_or(0);
        y += TITLE_HEIGHT + rows * PITCH + BETWEEN_PANELS;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" viewBox=\"0 0 {WIDTH} {y}\" role=\"img\">\n\
         <title>bpfecho side by side with its limit and its peers</title>\n<style>{STYLE}</style>\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\" fill=\"#ffffff\" stroke=\"#d1d9e0\"/>\n{body}</svg>\n",
        WIDTH - 1,
        y - 1,
    )
}

fn find<'a>(results: &'a Results, (group, name, _): &(&str, &str, &str)) -> Option<&'a Measure> {
    let mut measures = results.measures.iter();
    measures
        .find(|measure| measure.group == *group && measure.name == *name && shown(measure).next().is_some())
}

/// Title, what it was measured on, and what the colours are. Returns where it ends.
fn header(body: &mut String, settings: &Settings) -> usize {
    text(body, "title", (MARGIN, 38), "How fast bpfecho is");
    let rounds = match settings.rounds {
        1 => "one round".to_owned(),
        rounds => format!("medians of {rounds} rounds, smallest and largest as whiskers"),
    };
    let machine = &settings.machine;
    let mut y = 42;
    for line in [machine.hardware(), format!("{}; {rounds}", machine.program())] {
        for line in textwrap::wrap(&line, LINE) {
            y += 16;
            text(body, "small", (MARGIN, y), &line);
        }
    }
    y += 24;
    let legend = [
        (0, BPFECHO, "bpfecho"),
        (100, SELF_CONNECTED, "the limit: a socket connected to itself, no server at all"),
        (470, EPOLL, "servers in user space"),
    ];
    for (x, subject, meaning) in legend {
        rectangle(body, (MARGIN + x, y - 10), (12.0, 12), colour(subject));
        text(body, "small", (MARGIN + x + 18, y), meaning);
    }
    y + BETWEEN_PANELS
}

/// What has a bar, or is void.
fn shown(measure: &Measure) -> impl Iterator<Item = &Row> {
    measure.rows.iter().filter(|row| !matches!(row.outcome, Outcome::Absent(_)))
}

/// A panel from its upper left corner on: a title, and a bar for each subject.
fn draw_panel(body: &mut String, measure: &Measure, title: &str, (x, y): (usize, usize)) {
    let better = if is_rate(measure.unit) { "more is better" } else { "less is better" };
    text(body, "panel", (x, y + 12), title);
    text(body, "small name", (x + PANEL_WIDTH, y + 12), better);
    let summaries: Vec<_> = shown(measure).map(|row| (row.subject, summary(row))).collect();
    let largest =
        summaries.iter().filter_map(|(_, summary)| Some(summary.as_ref()?.high)).fold(0.0, f64::max);
    let scale = if largest > 0.0 { LONGEST_BAR as f64 / largest } else { 0.0 };
    for (index, (subject, summary)) in summaries.into_iter().enumerate() {
        let y = y + TITLE_HEIGHT + index * PITCH;
        let class = if subject == BPFECHO { "name strong" } else { "name" };
        text(body, class, (x + NAMES_WIDTH, y + 11), subject);
        let start = (x + NAMES_WIDTH + GAP, y);
        match summary {
            Some(summary) => {
                let lengths = [summary.median, summary.low, summary.high].map(|value| value * scale);
                draw_bar(body, start, lengths, subject, &quantity(summary.median, measure.unit));
            }
            None => text(body, "void", (start.0 + 6, y + 11), "void"),
        }
    }
}

fn summary(row: &Row) -> Option<Summary> {
    match &row.outcome {
        Outcome::Values(values) => Summary::of(values),
        Outcome::Void(_) | Outcome::Absent(_) => None,
    }
}

/// A bar, its whisker and its number.
fn draw_bar(body: &mut String, (x, y): (usize, usize), lengths: [f64; 3], subject: &str, number: &str) {
    let [median, low, high] = lengths;
    rectangle(body, (x, y), (median, BAR_HEIGHT), colour(subject));
    if high - low >= 1.0 {
        let (low, high) = (x as f64 + low, x as f64 + high);
        let (top, middle, bottom) = (y + 4, y + BAR_HEIGHT / 2, y + BAR_HEIGHT - 4);
        let _ = writeln!(
            body,
            "<path class=\"whisker\" d=\"M{low:.1} {top}V{bottom}M{low:.1} {middle}H{high:.1}M{high:.1} {top}V{bottom}\"/>"
        );
    }
    let class = if subject == BPFECHO { "strong" } else { "number" };
    text(body, class, (x + high as usize + 6, y + 11), number);
}

fn colour(subject: &str) -> &'static str {
    match subject {
        BPFECHO => "#0969da",
        BPFECHO_CLSACT | BPFECHO_XDP => "#80b9ff",
        SELF_CONNECTED => "#f0a040",
        _ => "#afb8c1",
    }
}

fn rectangle(body: &mut String, (x, y): (usize, usize), (width, height): (f64, usize), colour: &str) {
    let _ = writeln!(
        body,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\"/>"
    );
}

fn text(body: &mut String, class: &str, (x, y): (usize, usize), text: &str) {
    let _ = writeln!(body, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(text));
}

/// As XML has it (section 2.4), without the characters that it cannot have at all (section 2.2).
fn escaped(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).fold(String::new(), |mut escaped, character| {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            _ => escaped.push(character),
        }
        escaped
    })
}
