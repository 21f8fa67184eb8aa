//! The benchmark: bpfecho, the limit of what goes through the kernel's network stack, and peers, measured side by side.
//!
//! Every subject lives in a network namespace of its own, so that none is in another's way, and all of them take turns:
//! a measure is taken of each subject, then again of each, for some rounds. What is reported is the median of the rounds,
//! and the smallest and the largest. Every byte is checked. A subject that returned a wrong byte or lost a request
//! gets no number but is reported as void, and the run fails, unless it is a program that was merely installed.

mod bytecode;
mod client;
mod groups;
mod growth;
mod namespace;
pub mod program;
mod report;
pub mod results;
mod rounds;
mod running;
mod server;
mod start;
pub mod subject;
mod sys;
pub mod wire;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argh::FromArgs;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use client::pattern;
use groups::{GROUPS, PATIENCE, Run};
use results::Results;
use running::{Absent, Started, Subject};
use subject::{BPFECHO, BPFECHO_CLSACT, EPOLL};

/// Measures bpfecho, its limit and its peers side by side.
#[derive(FromArgs)]
struct Arguments {
    /// take the most important measures only, in less than a minute, and fail if a target is grossly missed
    #[argh(switch)]
    short: bool,

    /// take only the measures of this group; may be repeated (all)
    #[argh(option, arg_name = "group")]
    only: Vec<String>,

    /// where results.json and picture.svg are put (target/bench)
    #[argh(option, arg_name = "directory", default = "PathBuf::from(\"target/bench\")")]
    output: PathBuf,

    /// what `cargo bench` says
    #[argh(switch, hidden_help)]
    #[expect(dead_code, reason = "there is nothing else to run")]
    bench: bool,
}

/// Groups that do not need subjects on loopback.
const PROGRAM: &str = "program";
const WIRE: &str = "wire";

/// Runs the benchmark of the program at `bpfecho` as the command line says.
pub fn main(bpfecho: &Path) -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The peers of this package are processes of the same program.
        [_, "--serve", kind, address] => server::serve(kind, address).map(|()| true),
        _ => run(&argh::from_env(), bpfecho),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and reports. Whether all is well.
fn run(arguments: &Arguments, bpfecho: &Path) -> Result<bool, String> {
    let known: Vec<&str> =
        GROUPS.iter().map(|(name, ..)| *name).chain([start::GROUP, PROGRAM, WIRE]).collect();
    if let Some(group) = arguments.only.iter().find(|group| !known.contains(&group.as_str())) {
        return Err(format!("`{group}` is no group: there are {}", known.join(", ")));
    }
    // Before all the work.
    let directory = &arguments.output;
    fs::create_dir_all(directory).map_err(|error| format!("creating {}: {error}", directory.display()))?;
    allow_many_files()?;
    let rounds = if arguments.short { 3 } else { 5 };
    let machine = report::Machine::describe(bpfecho);
    let results = measure(arguments, bpfecho, rounds)?;
    let settings = report::Settings { rounds, short: arguments.short, machine };
    print!("{}", report::write(&results, &settings, directory)?);
    Ok(is_good(&results, arguments.short))
}

/// Whether no subject has failed and, in a short run, no target is grossly missed.
fn is_good(results: &Results, short: bool) -> bool {
    !(results.is_void() || short && report::targets(results).iter().any(report::Target::is_missed_grossly))
}

/// Takes the measures that are wanted.
fn measure(arguments: &Arguments, bpfecho: &Path, rounds: u32) -> Result<Results, String> {
    let is_wanted =
        |group: &str| arguments.only.is_empty() || arguments.only.iter().any(|wanted| wanted == group);
    let short = arguments.short;
    let mut results = Results::default();
    if is_wanted(start::GROUP) {
        results.measures.extend(start::measure(bpfecho, PATIENCE, rounds)?);
    }
    if GROUPS.iter().any(|(group, ..)| is_wanted(group)) {
        let subjects = subjects(bpfecho, short)?;
        let run = Run { bpfecho, subjects: &subjects, rounds, short };
        for (group, ..) in GROUPS.iter().filter(|(group, ..)| is_wanted(group)) {
            results.measures.extend(run.measure(group)?);
        }
    }
    if is_wanted(PROGRAM) {
        eprintln!("bench: {PROGRAM}");
        results.measures.extend(program::measure(rounds, short)?);
    }
    if is_wanted(WIRE) && !short {
        eprintln!("bench: {WIRE}");
        results.measures.extend(wire::measure(rounds, short)?);
    }
    Ok(results)
}

/// Starts all subjects. Peers that are not installed and hooks that the kernel does not have are no failure.
fn subjects(bpfecho: &Path, short: bool) -> Result<Vec<Started>, String> {
    let started = |name, subject: Result<_, _>| subject.map_err(|why| Absent { name, why });
    let on = |name, hook| started(name, Subject::bpfecho(name, bpfecho, hook, &[Ipv4Addr::LOCALHOST]));
    let mut subjects = vec![on(BPFECHO, "tcx")];
    if !short {
        subjects.push(on(BPFECHO_CLSACT, "clsact"));
    }
    if subjects.iter().all(Result::is_err)
        && let Some(Err(Absent { why, .. })) = subjects.pop()
    {
        return Err(format!("bpfecho: {why}"));
    }
    subjects.push(Ok(Subject::self_connected()?));
    let peers = server::peers().into_iter().filter(|peer| !short || peer.name == EPOLL);
    subjects.extend(peers.map(|peer| started(peer.name, Subject::peer(&peer))));
    Ok(subjects)
}

/// Raises the limit of open files as far as it may be, also for subjects: there are tens of thousands of connections.
fn allow_many_files() -> Result<(), String> {
    const FILES: u64 = 1 << 16;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = Rlimit {
        current: current.map(|files| files.max(FILES)),
        maximum: maximum.map(|files| files.max(FILES)),
    };
    // Only with CAP_SYS_RESOURCE it may be more than `maximum`.
    setrlimit(Resource::Nofile, enough)
        .or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }))
        .map_err(|error| format!("raising the limit of open files: {error}"))
}
