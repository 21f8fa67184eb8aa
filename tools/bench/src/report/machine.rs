//! What a run was made on, as far as it can be told.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::system::{sysinfo, uname};

const UNKNOWN: &str = "unknown";

/// Those that take time at each entry to the kernel or each indirect jump in it.
const VULNERABILITIES: [&str; 5] = ["meltdown", "mds", "retbleed", "spec_rstack_overflow", "spectre_v2"];

/// The machine and the program.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The model of the processor, or else its architecture.
    pub(crate) processor: String,
    /// How many of its CPUs this process may use.
    pub(crate) cpus: usize,
    /// Of memory.
    pub(crate) bytes: u64,
    /// The version of the kernel.
    pub(crate) kernel: String,
    /// Whether a hypervisor shows itself; x86 processors have a flag for that.
    pub(crate) is_virtual: Option<bool>,
    /// What governs the CPU's frequency.
    pub(crate) governor: Option<String>,
    /// What the kernel does about each of [`VULNERABILITIES`] that the processor has.
    pub(crate) mitigations: Vec<String>,
    /// `net.core.bpf_jit_enable`: whether programs are compiled.
    pub(crate) jit: Option<u32>,
    /// `net.core.bpf_jit_harden`: whether constants in them are hidden, which makes them slower.
    pub(crate) jit_harden: Option<u32>,
    /// Of the last 1, 5 and 15 minutes.
    pub(crate) load: Option<[f64; 3]>,
    /// Of this source, with `+changes` if it is not quite that.
    pub(crate) commit: String,
    /// Of bpfecho.
    pub(crate) version: String,
    /// In UTC.
    pub(crate) date: String,
}

impl Machine {
    /// Describes this machine, and the program at `bpfecho`. What cannot be told is left out.
    pub(crate) fn describe(bpfecho: &Path) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let version = output(Command::new(bpfecho).arg("--version"));
        let memory = sysinfo();
        Self {
            processor: cpu_field(&cpuinfo, "model name").unwrap_or(std::env::consts::ARCH).to_owned(),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            bytes: u64::from(memory.mem_unit) * memory.totalram as u64,
            // Whose it is says nothing.
            kernel: uname().release().to_string_lossy().split('-').next().unwrap_or_default().to_owned(),
            is_virtual: cpu_field(&cpuinfo, "flags")
                .map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            governor: content("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            mitigations: VULNERABILITIES.into_iter().filter_map(mitigation).collect(),
            jit: content("/proc/sys/net/core/bpf_jit_enable").and_then(|text| text.parse().ok()),
            jit_harden: content("/proc/sys/net/core/bpf_jit_harden").and_then(|text| text.parse().ok()),
            load: content("/proc/loadavg").and_then(|text| load_average(&text)),
            commit: commit().unwrap_or_else(|| UNKNOWN.to_owned()),
            version: version
                .and_then(|text| Some(text.split(' ').nth(1)?.to_owned()))
                .unwrap_or_else(|| UNKNOWN.to_owned()),
            date: output(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"]))
                .unwrap_or_else(|| UNKNOWN.to_owned()),
        }
    }

    /// What was measured, and when.
    pub(super) fn program(&self) -> String {
        format!("bpfecho {}, commit {}, {} UTC", self.version, self.commit, self.date)
    }

    /// What it ran on.
    pub(super) fn hardware(&self) -> String {
        let mut parts = vec![
            self.processor.clone(),
            format!("{} CPU{}", self.cpus, if self.cpus == 1 { "" } else { "s" }),
            format!("{:.1} GiB", self.bytes as f64 / f64::from(1 << 30)),
        ];
        parts.extend((self.is_virtual == Some(true)).then(|| "virtual".to_owned()));
        parts.extend(self.governor.as_ref().map(|governor| format!("governor {governor}")));
        parts.push(format!("Linux {}", self.kernel));
        parts.join(", ")
    }

    /// What else may explain a number.
    pub(super) fn conditions(&self) -> String {
        let jit = match self.jit {
            Some(0) => "off",
            Some(_) => "on",
            None => UNKNOWN,
        };
        let mut parts = vec![format!("BPF JIT {jit}")];
        parts.extend(
            self.jit_harden.filter(|level| *level > 0).map(|level| format!("bpf_jit_harden {level}")),
        );
        parts.extend(self.mitigations.iter().cloned());
        parts.extend(self.load.map(|load| {
            let [one, five, fifteen] = load.map(|load| format!("{load:.2}"));
            format!("load average {one} {five} {fifteen} at the start")
        }));
        parts.join(", ")
    }
}

/// The first `name` in /proc/cpuinfo, see proc_cpuinfo(5).
fn cpu_field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    fields.filter(|(field, _)| field.trim() == name).map(|(_, value)| value.trim()).next()
}

fn mitigation(vulnerability: &str) -> Option<String> {
    let text = content(&format!("/sys/devices/system/cpu/vulnerabilities/{vulnerability}"))?;
    Some(format!("{vulnerability}: {}", in_few_words(&text)?))
}

/// What the kernel does about a vulnerability, unless the processor does not have it. Only the first clause: those
/// behind commas and semicolons are about parts of it.
fn in_few_words(text: &str) -> Option<&str> {
    let clause = text.split([';', ',']).next()?.trim();
    (clause != "Not affected").then(|| clause.strip_prefix("Mitigation: ").unwrap_or(clause))
}

/// The first three numbers of /proc/loadavg, see proc_loadavg(5).
fn load_average(text: &str) -> Option<[f64; 3]> {
    let numbers: Vec<f64> = text.split(' ').take(3).filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().ok()
}

/// The commit of this source. Nothing is locked: root would leave files that the owner of the tree cannot change.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let source = env!("CARGO_MANIFEST_DIR");
        output(Command::new("git").args(["-C", source, "--no-optional-locks"]).args(arguments))
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_changed = !git(&["status", "--porcelain"])?.is_empty();
    Some(if is_changed { commit + "+changes" } else { commit })
}

fn content(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// What `command` says, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_of_the_kernel_say_is_understood() {
        let cpuinfo =
            "processor\t: 0\nmodel name\t: Fast: 2\nflags\t\t: fpu hypervisor\nmodel name\t: Slow\n";
        assert_eq!(cpu_field(cpuinfo, "model name"), Some("Fast: 2"));
        assert_eq!(cpu_field(cpuinfo, "model"), None);
        assert_eq!(load_average("0.20 0.18 0.12 1/80 11206"), Some([0.20, 0.18, 0.12]));
        assert_eq!(load_average("0.20 0.18"), None);
        assert_eq!(in_few_words("Not affected"), None);
        assert_eq!(in_few_words("Mitigation: Retpolines; IBPB: conditional"), Some("Retpolines"));
        assert_eq!(in_few_words("Vulnerable: Safe RET, no microcode"), Some("Vulnerable: Safe RET"));
    }
}
