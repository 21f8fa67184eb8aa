//! Files that are not compiled, and what is done with files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A file that users get as it is.
pub(crate) struct Document {
    /// Where it is in the repository.
    pub(crate) source: &'static str,
    /// Where a package puts it.
    pub(crate) installed: &'static str,
}

pub(crate) const DOCUMENTS: [Document; 6] = [
    Document { source: "tools/man/bpfecho.8", installed: "usr/share/man/man8/bpfecho.8" },
    Document {
        source: "tools/completions/bpfecho.bash",
        installed: "usr/share/bash-completion/completions/bpfecho",
    },
    Document { source: "tools/completions/_bpfecho", installed: "usr/share/zsh/vendor-completions/_bpfecho" },
    Document {
        source: "tools/completions/bpfecho.fish",
        installed: "usr/share/fish/vendor_completions.d/bpfecho.fish",
    },
    Document { source: "tools/systemd/bpfecho.service", installed: "usr/lib/systemd/system/bpfecho.service" },
    Document {
        source: "tools/systemd/bpfecho@.service",
        installed: "usr/lib/systemd/system/bpfecho@.service",
    },
];

pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))
}

pub(crate) fn size(path: &Path) -> Result<u64, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("looking at {}: {error}", path.display()))?;
    Ok(metadata.len())
}

/// Makes the file `path`, and the folders that it is in, with permissions as of chmod(2).
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), String> {
    let write = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, content)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    write().map_err(|error| format!("writing {}: {error}", path.display()))
}

pub(crate) fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), String> {
    let content = fs::read(from).map_err(|error| format!("reading {}: {error}", from.display()))?;
    write(to, &content, mode)
}
