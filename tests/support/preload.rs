//! Libraries between the command and libc, which let the kernel here look like another.

use std::path::PathBuf;
use std::process::Command;

use super::namespace::sh;

/// A library, compiled from C; removed with the value.
pub(crate) struct Library(PathBuf);

impl Library {
    /// Compiles `source`. No other library of this process has the name.
    pub(crate) fn new(name: &str, source: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bpfecho-{name}-{}.so", std::process::id()));
        let file = path.with_extension("c");
        std::fs::write(&file, source).unwrap();
        sh(&format!(
            "cc -D_GNU_SOURCE -Wall -Werror -shared -fPIC -o '{}' '{}' -ldl",
            path.display(),
            file.display()
        ));
        std::fs::remove_file(file).unwrap();
        Self(path)
    }

    /// Puts it between `command` and libc.
    pub(crate) fn preload<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_PRELOAD", &self.0)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
