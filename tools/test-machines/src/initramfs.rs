//! The root of a machine: busybox, the program, the suites, modules, and nothing else.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use debian_packages::Suite;

use crate::binaries::Binaries;
use crate::kernel::Kernel;

/// What the machine starts.
const INIT: &str = include_str!("init.sh");

/// Writes an archive that the kernel unpacks as its root, in `folder`. Returns its path.
pub(crate) fn write(
    folder: &Path,
    suite: &Suite,
    binaries: &Binaries,
    kernel: &Kernel,
) -> Result<PathBuf, String> {
    let busybox = suite.unpack("busybox-static")?.join("usr/bin/busybox");
    let mut files = vec![("init".to_string(), INIT.as_bytes().to_vec())];
    let programs = [("busybox", &busybox), ("bpfecho", &binaries.product)];
    let suites = binaries.suites.iter().map(|(name, path)| (name.as_str(), path));
    for (name, path) in programs.into_iter().chain(suites) {
        let bytes = fs::read(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        files.push((format!("bin/{name}"), bytes));
    }
    for (index, (name, module)) in kernel.modules.iter().enumerate() {
        files.push((format!("modules/{index:02}-{name}.ko"), module.clone()));
    }
    let root = folder.join("root");
    let failed = |error| format!("writing {}: {error}", root.display());
    if root.exists() {
        fs::remove_dir_all(&root).map_err(failed)?;
    }
    let folders = ["bin", "modules", "proc", "sys", "dev", "tmp"];
    for name in folders {
        fs::create_dir_all(root.join(name)).map_err(failed)?;
    }
    for (name, bytes) in &files {
        let path = root.join(name);
        fs::write(&path, bytes).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    let names = folders.into_iter().chain(files.iter().map(|(name, _)| name.as_str()));
    let archive = folder.join("initramfs");
    pack(&root, &names.collect::<Vec<_>>(), &archive)?;
    Ok(archive)
}

/// Puts these files into an archive.
fn pack(root: &Path, names: &[&str], archive: &Path) -> Result<(), String> {
    let attempt = || {
        let mut child = Command::new("cpio")
            .args(["--create", "--format=newc", "--owner=+0:+0", "--quiet"])
            .current_dir(root)
            .stdin(Stdio::piped())
            .stdout(fs::File::create(archive)?)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(names.join("\n").as_bytes())?;
        }
        child.wait()
    };
    match attempt() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cpio failed ({status})")),
        Err(error) => Err(format!("packing {} with cpio: {error}", archive.display())),
    }
}
