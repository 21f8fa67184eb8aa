//! The units: does systemd take them, and does the command run as confined as they want it? Only what systemd does before
//! it starts the command is done here, as far as that goes without it: user, capabilities, file systems. System calls
//! are not filtered.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::path;
use super::support::bpfecho::Bpfecho;
use super::support::network::{End, Host, V4, join};
use super::support::{stream, sys, tc};

const SERVICE: &str = include_str!("../../tools/systemd/bpfecho.service");
const TEMPLATE: &str = include_str!("../../tools/systemd/bpfecho@.service");
const INSTALLED: &str = "/usr/local/bin/bpfecho";

/// The values of the setting `name` in `unit`.
fn setting<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

/// Both units in a folder of their own, which goes with this, with a command that is there.
struct Units(String);

impl Units {
    fn new() -> Self {
        let folder = format!("{}/units-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        fs::create_dir_all(&folder).unwrap();
        for (name, unit) in [("bpfecho.service", SERVICE), ("bpfecho@.service", TEMPLATE)] {
            assert!(unit.contains(&format!("ExecStart={INSTALLED} ")));
            let unit = unit.replace(INSTALLED, env!("CARGO_BIN_EXE_bpfecho"));
            fs::write(format!("{folder}/{name}"), unit).unwrap();
        }
        Self(folder)
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn verify() {
    let Units(folder) = &Units::new();
    for name in ["bpfecho.service", "bpfecho@eth0.service"] {
        let mut command = Command::new("systemd-analyze");
        // The pages of the manual are looked for where they are installed, which they are not.
        let output = command.args(["verify", "--man=no", &format!("{folder}/{name}")]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let ours: Vec<_> = said.lines().filter(|line| line.contains("bpfecho")).collect();
        assert!(output.status.success() && ours.is_empty(), "{said}");
    }
}

/// Networks, programs and no more, as `systemd-analyze security` sees it: 10 is all, 0 nothing.
pub(crate) fn security() {
    for name in ["bpfecho.service", "bpfecho@.service"] {
        let file = path(&format!("tools/systemd/{name}"));
        let mut command = Command::new("systemd-analyze");
        let output = command.args(["security", "--offline=true", "--threshold=18", &file]).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
    let confinement = |unit: &'static str| unit.split_once("# All that a start needs").unwrap().1;
    assert_eq!(confinement(SERVICE), confinement(TEMPLATE));
}

/// What `unit` starts with `options`, for the interface `interface`: where nothing can be written and there are no
/// devices, as nobody in particular, with the capabilities of the unit.
fn command(unit: &str, interface: &str, options: &str) -> Command {
    let line = setting(unit, "ExecStart")[0].replace("%i", interface).replace("$OPTIONS", options);
    let arguments = line.strip_prefix(INSTALLED).unwrap();
    let bounds = setting(unit, "CapabilityBoundingSet")[0];
    assert_eq!(setting(unit, "AmbientCapabilities"), [bounds]);
    assert_eq!(setting(unit, "RestrictNamespaces"), ["yes"]);
    let bounds = bounds.replace("CAP_", ",+").replace(' ', "").to_lowercase();
    let script = format!(
        "mount --rbind --make-rslave / /mnt && mount -o remount,bind,ro /mnt && mount -t tmpfs -o ro none /mnt/dev && \
         mount -t tmpfs -o ro none /mnt/sys/fs && \
         exec chroot /mnt setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --bounding-set -all{bounds} \
         --inh-caps -all{bounds} --ambient-caps -all{bounds} {} {arguments}",
        env!("CARGO_BIN_EXE_bpfecho")
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).stdin(Stdio::null());
    command
}

pub(crate) fn confined() {
    let [options, ..] = setting(SERVICE, "Environment")[..] else { panic!() };
    let options = options.trim_matches('"').strip_prefix("OPTIONS=").unwrap();
    let bpfecho = Bpfecho::spawn(&mut command(SERVICE, "", options));
    stream::exchange(&stream::connect("127.0.0.1:1122"), 6, 6);
    assert!(bpfecho.end().status.success());
    assert!(tc::ours().is_empty());
}

/// The interface comes later than the service.
pub(crate) fn waits() {
    let server = Host::new();
    let mut command = command(TEMPLATE, "vb", "--allow 10.9.0.0/16 10.9.0.2 1122");
    let mut child = server.run(|| command.stderr(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = said.next();
    join(End(&Host::here(), "va", &["10.9.0.1/16"]), End(&server, "vb", &["10.9.0.2/16"]));
    let ready = said.find(|line| line.contains("echoing"));
    let echoes = ready.is_some().then(|| stream::exchange(&stream::connect(V4), 6, 6));
    sys::kill(child.id(), libc::SIGTERM);
    assert!(child.wait().unwrap().success());
    assert_eq!(first.as_deref(), Some("bpfecho: waiting for the interface `vb`"));
    assert!(echoes.is_some());
    assert!(server.run(|| tc::ours_on("vb")).is_empty());
}
