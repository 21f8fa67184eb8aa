//! The man page: is it well-formed, and does it say what the command does?

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::process::{Command, Stdio};

use bpfecho::attach::hook::Hook;
use serde_json::{Map, Value};

use super::path;
use super::support::bpfecho::command;
use super::support::namespace::sh;
use super::support::{mounts, sys};

const PAGE: &str = include_str!("../../tools/man/bpfecho.8");

pub(crate) fn clean() {
    let page = path("tools/man/bpfecho.8");
    let output = Command::new("mandoc").args(["-T", "lint", "-W", "warning", &page]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The lines of the section `name`.
fn section(name: &str) -> Vec<&'static str> {
    let heading = format!(".Sh {name}");
    let lines = PAGE.lines().skip_while(|line| *line != heading).skip(1);
    lines.take_while(|line| !line.starts_with(".Sh ")).collect()
}

pub(crate) fn hooks() {
    let lines = section("HOOKS");
    let described: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix(".It Cm ")).collect();
    assert_eq!(described, Hook::names());
}

/// Has each event said, and looks for each of its fields at the place where the page describes the event.
pub(crate) fn json() {
    mounts::own_bpffs();
    let lines = section("JSON");
    let described = |event: &str| -> Vec<&str> {
        let entry = lines.iter().skip_while(|line| **line != format!(".It Cm {event}")).skip(1);
        let entry = entry.take_while(|line| !line.starts_with(".It ") && !line.starts_with(".El"));
        entry.filter_map(|line| line.strip_prefix(".Cm ")?.split(' ').next()).collect()
    };
    let said = |arguments: &str| String::from_utf8(command(arguments).output().unwrap().stdout).unwrap();

    let holder = UdpSocket::bind("127.0.0.1:1122").unwrap();
    let mut text = said("--json 1122");
    drop(holder);
    sh("ip link add va type veth peer name vb && ip address add 10.9.0.1/24 dev va");
    // The first says that it is down, and that everybody is answered.
    text += &said("--json --background --ifname va 10.9.0.1 1122");
    text += &said("--json --check 1122");
    text += &said("--json --status");
    text += &said("--json --stop --ifname va");
    let mut child = command("--json --stats 0.1 1122").stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    while !text.contains("\"stats\"") && stdout.read_line(&mut text).unwrap() != 0 {}
    sys::kill(child.id(), libc::SIGTERM);
    stdout.read_to_string(&mut text).unwrap();
    child.wait().unwrap();

    let mut events = BTreeSet::new();
    for line in text.lines() {
        let object: Map<String, Value> = serde_json::from_str(line).unwrap();
        let event = object["event"].as_str().unwrap();
        for field in object.keys().filter(|field| !["schema", "event"].contains(&field.as_str())) {
            assert!(described(event).contains(&field.as_str()), "{field} of {event}");
        }
        events.insert(format!(".It Cm {event}"));
    }
    let items = lines.iter().filter(|line| line.starts_with(".It ")).map(ToString::to_string);
    assert_eq!(events, items.collect());
}
