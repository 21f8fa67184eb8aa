//! The Debian package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use build_dist::architecture::Architecture;
use build_dist::output;

use crate::files::{self, DOCUMENTS};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs before the package is removed, or replaced: units that nobody has a binary for any more are stopped, and start with
/// the system no more. Patterns are for what runs; of what is enabled, the template stands for all its instances. Programs
/// in the background stay, as they would at the end of any process that left them.
const PRERM: &str = "\
#!/bin/sh
set -e
if [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then
    systemctl stop bpfecho.service 'bpfecho@*.service'
    systemctl --no-reload disable bpfecho.service bpfecho@.service
fi
";

/// Runs after it was installed, and after it was removed.
const RELOAD: &str = "\
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
";

/// Makes the package of `binary` in `folder`. Returns its path.
pub(crate) fn build(
    root: &Path,
    scratch: &Path,
    folder: &Path,
    architecture: &Architecture,
    binary: &Path,
) -> Result<PathBuf, String> {
    let tree = scratch.join(format!("deb-{}", architecture.name));
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(|error| format!("removing {}: {error}", tree.display()))?;
    }
    files::copy(binary, &tree.join("usr/bin/bpfecho"), 0o755)?;
    for document in &DOCUMENTS {
        let text = files::read(&root.join(document.source))?;
        // Where administrators put what they build is not where packages do.
        let text = text.replace("/usr/local/bin/", "/usr/bin/");
        files::write(&tree.join(document.installed), text.as_bytes(), 0o644)?;
    }
    let changelog = tree.join("usr/share/doc/bpfecho/changelog");
    files::copy(&root.join("CHANGELOG.md"), &changelog, 0o644)?;
    // The copyright file says whose it is, and all that may be done with it.
    files::copy(&root.join("LICENSE"), &tree.join("usr/share/doc/bpfecho/copyright"), 0o644)?;
    for compressed in [changelog, tree.join("usr/share/man/man8/bpfecho.8")] {
        // Without name and time, so that the same comes of the same.
        output(Command::new("gzip").args(["-9", "--no-name"]).arg(compressed))?;
    }
    let size = files::size(binary)?.div_ceil(1024);
    let control = format!(
        "Package: bpfecho\n\
         Version: {VERSION}\n\
         Architecture: {}\n\
         Maintainer: the authors of bpfecho <bpfecho@localhost>\n\
         Installed-Size: {size}\n\
         Section: net\n\
         Priority: optional\n\
         Description: TCP and UDP echo server that runs inside the Linux kernel\n \
         An eBPF program on the traffic-control hook, or on XDP before it, turns each packet\n \
         round before it reaches anybody. For benchmarks of proxies and network libraries, and\n \
         for test rigs. One static binary that needs nothing but a kernel.\n",
        architecture.debian
    );
    files::write(&tree.join("DEBIAN/control"), control.as_bytes(), 0o644)?;
    for (name, script) in [("prerm", PRERM), ("postinst", RELOAD), ("postrm", RELOAD)] {
        files::write(&tree.join("DEBIAN").join(name), script.as_bytes(), 0o755)?;
    }
    let package = folder.join(format!("bpfecho_{VERSION}_{}.deb", architecture.debian));
    let time = output(Command::new("git").current_dir(root).args(["log", "-1", "--format=%ct"]))?;
    output(
        Command::new("dpkg-deb")
            // What the files say of their age.
            .env("SOURCE_DATE_EPOCH", time.trim_end())
            .args(["--root-owner-group", "-Zxz", "--build"])
            .args([&tree, &package]),
    )?;
    Ok(package)
}
