//! Runs a machine until it turns itself off.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::machine::Hardware;

/// How long a machine may take: several times what one takes here.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Boots the kernel with this root. Returns what it says on its console. Nothing connects it to a network.
pub(crate) fn boot(hardware: &Hardware, image: &Path, initramfs: &Path) -> Result<String, String> {
    let qemu = hardware.qemu;
    let failed = |error: io::Error| format!("running {qemu}: {error}");
    let mut child = Command::new(qemu)
        .args(hardware.options)
        .args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1G"])
        .args(["-nographic", "-no-reboot", "-nodefaults", "-nic", "none"])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", &format!("console={} quiet panic=-1", hardware.console)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let result = console(&mut child);
    // It is over, or is to be.
    let _ = child.kill();
    let status = child.wait().map_err(failed)?;
    let (mut said, mut complaint) = (result.map_err(failed)?, String::new());
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut complaint).map_err(failed)?;
    }
    if said.is_empty() {
        return Err(format!("{qemu} ended ({status}): {}", complaint.trim_end()));
    }
    said += &complaint;
    Ok(said)
}

/// All that the machine says until it ends, or until it has taken too long.
fn console(child: &mut Child) -> io::Result<String> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(String::new()) };
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stdout.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    let deadline = Instant::now() + LIMIT;
    let mut said = Vec::new();
    while let Ok(piece) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        said.extend(piece);
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}
