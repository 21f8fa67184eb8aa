//! What is said to programs, and statistics.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::support::bpfecho::{self, Running, command};
use super::support::datagram::{self, exchange};
use super::support::{stream, tc};

type Counters = BTreeMap<String, u64>;

/// One line, which has to be an object of the schema.
#[track_caller]
fn parse(line: &str) -> Value {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(event["schema"], 1, "{line}");
    assert!(["ready", "stats", "summary", "error"].contains(&event["event"].as_str().unwrap()), "{line}");
    event
}

/// Counters that are not zero.
fn counters(value: &Value) -> Counters {
    let all = value.as_object().unwrap().iter().map(|(name, count)| (name.clone(), count.as_u64().unwrap()));
    all.filter(|(_, count)| *count != 0).collect()
}

pub(crate) fn run() {
    for hook in tc::HOOKS {
        let mut command = command(&format!("127.0.0.1 ::1 1122 --json --stats 0.1 --hook {hook}"));
        let mut running = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut stdout = BufReader::new(running.child().stdout.take().unwrap());
        let mut next = || {
            let mut line = String::new();
            (stdout.read_line(&mut line).unwrap() != 0).then(|| parse(&line))
        };
        let ready = next().unwrap();
        assert_eq!(ready["event"], "ready");
        assert_eq!(ready["addresses"], serde_json::json!(["127.0.0.1", "::1"]));
        assert_eq!((&ready["ports"], &ready["background"]), (&"1122".into(), &false.into()));
        let program = &ready["programs"][0];
        assert_eq!((&program["ifname"], &program["ifindex"]), (&"lo".into(), &1.into()));
        assert_eq!(program["hook"], format!("{hook} egress"));
        assert_eq!((program["program_id"].as_u64(), tc::ours().len()), (Some(tc::ours()[0].into()), 1));

        let (mut sum, mut total, mut expected) = (Counters::new(), Counters::new(), Counters::new());
        for (address, size, kind) in [("127.0.0.1:1122", 100, "udp4"), ("[::1]:1122", 1000, "udp6")] {
            let client = datagram::client(address);
            for _ in 0..7 {
                client.send(&vec![7; size]).unwrap();
                assert_eq!(client.recv(&mut [0; 2000]).unwrap(), size);
            }
            expected.insert(format!("{kind}_packets"), 7);
            expected.insert(format!("{kind}_bytes"), 7 * size as u64);
            // Each in an interval of its own.
            while total != expected {
                let stats = next().unwrap();
                assert_eq!(stats["event"], "stats");
                assert!(stats["interval_ms"].is_u64());
                for (name, count) in counters(&stats["interval"]) {
                    *sum.entry(name).or_default() += count;
                }
                total = counters(&stats["total"]);
                assert_eq!(sum, total);
            }
        }
        super::support::sys::kill(running.child().id(), libc::SIGTERM);
        let rest: Vec<Value> = std::iter::from_fn(next).collect();
        let (summary, stats) = rest.split_last().unwrap();
        assert!(stats.iter().all(|one| one["event"] == "stats" && counters(&one["interval"]).is_empty()));
        assert_eq!((&summary["event"], counters(&summary["counters"])), (&"summary".into(), expected));
        let mut stderr = String::new();
        running.child().stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((running.child().wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
    }
}

pub(crate) fn errors() {
    let _holder = UdpSocket::bind("127.0.0.1:1122").unwrap();
    for (arguments, status, text) in [
        ("127.0.0.1 1122 --json", 1, "UDP port 1122 on 127.0.0.1 is in use by "),
        ("127.0.0.1 1122 --json -q", 1, "UDP port 1122 on 127.0.0.1 is in use by "),
        ("--ifname eth7 --json", 1, "no interface is called `eth7`: there are lo"),
        ("--status --ifname eth7 --json", 1, "no interface is called `eth7`: there are lo"),
        ("--stop --ifname eth7 --json", 1, "no interface is called `eth7`: there are lo"),
        ("--json --nonsense", 2, "Unrecognized argument: --nonsense"),
        ("-q -v --json", 2, "--quiet and --verbose contradict each other"),
    ] {
        let output = command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments}");
        assert_eq!(output.stderr, b"", "{arguments}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.lines().count(), 1, "{arguments}: {said}");
        let event = parse(&said);
        assert_eq!((&event["event"], &event["status"]), (&"error".into(), &status.into()));
        let reason = event["text"].as_str().unwrap();
        assert!(reason.starts_with(text) && !reason.contains('\n'), "{said}");
    }
}

/// Where lines end that are cut into columns.
const COLUMNS: [usize; 3] = [10, 21, 36];

pub(crate) fn for_people() {
    // To a file or a pipe, line for line.
    let mut running = Running::start(command("1122 --stats 0.1 -q").stdout(Stdio::piped()));
    let mut lines = BufReader::new(running.child().stdout.take().unwrap()).lines().map(Result::unwrap);
    let head = lines.next().unwrap();
    assert_eq!(head, " packets/s     bits/s  connections/s  not echoed");
    let is_row = |line: &str| COLUMNS.into_iter().all(|end| line[..end].ends_with(|last: char| last != ' '));
    exchange("127.0.0.1:1122");
    let rows: Vec<String> = lines.by_ref().take(3).collect();
    assert!(rows.iter().all(|row| is_row(row) && row.len() == COLUMNS[2]), "{rows:?}");
    let client = stream::connect("127.0.0.1:1122");
    stream::exchange(&client, 1 << 20, 1 << 16);
    let busy = lines.find(|row| row.split_whitespace().any(|cell| cell != "0")).unwrap();
    assert!(is_row(&busy), "{busy}");
    assert_eq!(running.end_by(libc::SIGTERM).0, Some(0));

    // On a terminal, in place.
    let mut script = Command::new("script");
    let line = format!("{} 1122 --stats 0.1", env!("CARGO_BIN_EXE_bpfecho"));
    script.args(["-qefc", &line, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut running = Running::start(&mut script);
    let mut terminal = BufReader::new(running.child().stdout.take().unwrap());
    let mut shown = Vec::new();
    // The ready line, the head, and three rows.
    while shown.iter().filter(|byte| b"\nK".contains(byte)).count() < 5 {
        let mut byte = [0];
        terminal.read_exact(&mut byte).unwrap();
        shown.extend(byte);
    }
    bpfecho::run("--stop -q");
    terminal.read_to_end(&mut shown).unwrap();
    assert_eq!(running.child().wait().unwrap().code(), Some(0));
    let shown = String::from_utf8(shown).unwrap();
    let rows = shown.split_once(&format!("{head}\r\n")).unwrap_or_else(|| panic!("{shown:?}")).1;
    let (rows, rest) = rows.split_once("\r\n").unwrap();
    let rows: Vec<&str> = rows.split("\x1b[K").collect();
    let (end, rows) = rows.split_last().unwrap();
    assert!(end.is_empty() && rows.len() >= 3, "{shown:?}");
    assert!(rows.iter().all(|row| row.strip_prefix('\r').is_some_and(is_row)), "{shown:?}");
    assert_eq!(rest, "bpfecho: echoed nothing\r\n");
}
