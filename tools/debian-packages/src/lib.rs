//! Packages of any Debian suite and architecture, fetched and unpacked in a folder, such as kernels to test on and the C
//! libraries of other machines.
//!
//! apt works on lists, a status and a cache of its own there, so that nothing of the machine's changes. It checks
//! signatures and checksums as ever. The mirror is that of the machine's own release. Nothing is installed: no script of
//! a package runs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How long a list of packages is used before it is fetched again: as long as mirrors keep what is in it, and more.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// The packages of one suite for one architecture.
#[derive(Debug)]
pub struct Suite {
    /// Everything that belongs to it.
    folder: PathBuf,
    architecture: String,
}

impl Suite {
    /// The suite `name`, such as "bullseye" or "trixie-backports", for an `architecture` as Debian calls it, such as
    /// "amd64". Its list of packages is fetched if there is none of today in `cache`, which need not exist.
    ///
    /// # Errors
    ///
    /// If the mirror is not known, or the list cannot be fetched.
    pub fn open(cache: &Path, name: &str, architecture: &str) -> Result<Self, String> {
        // A path that is not absolute begins in /etc/apt.
        let cache = std::path::absolute(cache).map_err(|error| format!("{}: {error}", cache.display()))?;
        let folder = cache.join(format!("{name}-{architecture}"));
        let suite = Self { folder, architecture: architecture.into() };
        let fetched = suite.folder.join("fetched");
        let age = fs::metadata(&fetched).and_then(|metadata| metadata.modified()).ok();
        if age.and_then(|time| time.elapsed().ok()).is_some_and(|age| age < FRESH) {
            return Ok(suite);
        }
        for folder in ["lists/partial", "cache/archives/partial", "unpacked"] {
            create_folder(&suite.folder.join(folder))?;
        }
        let source = format!("deb [signed-by={KEYRING} arch={architecture}] {} {name} main\n", mirror()?);
        write(&suite.folder.join("sources.list"), &source)?;
        // No package is installed.
        write(&suite.folder.join("status"), "")?;
        run(suite.apt("apt-get").args(["--quiet=2", "--error-on=any", "update"]))?;
        write(&fetched, "")?;
        Ok(suite)
    }

    /// Unpacks `package` and whatever it depends on, directly or not, that `follow` wants. A metapackage is empty itself.
    /// Returns the folder of each: what the package has as `/usr/lib` is `usr/lib` in there.
    ///
    /// # Errors
    ///
    /// If there is no such package, or it cannot be fetched or unpacked.
    pub fn unpack_with(&self, package: &str, follow: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, String> {
        let mut packages = vec![package.to_owned()];
        let mut folders = Vec::new();
        while let Some(package) = packages.get(folders.len()) {
            folders.push(self.unpack(package)?);
            for dependency in self.dependencies(package)? {
                if follow(&dependency) && !packages.contains(&dependency) {
                    packages.push(dependency);
                }
            }
        }
        Ok(folders)
    }

    /// Unpacks `package`, unless that has been done. Returns the folder, see [`Suite::unpack_with`].
    ///
    /// # Errors
    ///
    /// As [`Suite::unpack_with`].
    pub fn unpack(&self, package: &str) -> Result<PathBuf, String> {
        let shown = run(self.apt("apt-cache").args(["--no-all-versions", "show", package]))?;
        let version = field(&shown, "Version")
            .ok_or_else(|| format!("apt-cache show {package}: no version in {shown:?}"))?;
        let unpacked = self.folder.join("unpacked");
        let name = format!("{package}_{version}");
        let folder = unpacked.join(&name);
        if folder.exists() {
            return Ok(folder);
        }
        // A folder that is there is complete: it gets its name at the end.
        let partial = unpacked.join(format!("{name}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial)
                .map_err(|error| format!("removing {}: {error}", partial.display()))?;
        }
        create_folder(&partial)?;
        // apt-get download leaves the file where it is started, and says its name nowhere.
        let archives = self.folder.join("cache/archives").join(&name);
        create_folder(&archives)?;
        run(self.apt("apt-get").current_dir(&archives).args(["--quiet=2", "download", package]))?;
        run(Command::new("dpkg-deb").arg("--extract").arg(only_file(&archives)?).arg(&partial))?;
        fs::remove_dir_all(&archives).map_err(|error| format!("removing {}: {error}", archives.display()))?;
        fs::rename(&partial, &folder)
            .map_err(|error| format!("renaming {} to {name}: {error}", partial.display()))?;
        Ok(folder)
    }

    /// The names of the packages that `package` depends on.
    fn dependencies(&self, package: &str) -> Result<Vec<String>, String> {
        let shown = run(self.apt("apt-cache").args(["depends", "--important", package]))?;
        let named =
            shown.lines().filter_map(|line| line.trim_start_matches([' ', '|']).split_once("Depends: "));
        // Those that several packages provide are in angle brackets.
        Ok(named.map(|(_, name)| name.to_owned()).filter(|name| !name.starts_with('<')).collect())
    }

    /// One of apt's programs, which knows nothing but this suite.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |name: &str, value: &Path| {
            let mut option = OsString::from(format!("{name}="));
            option.push(value);
            command.arg("-o").arg(option);
        };
        option("Dir::Etc::SourceList", &self.folder.join("sources.list"));
        option("Dir::Etc::SourceParts", Path::new("/dev/null"));
        option("Dir::State::Lists", &self.folder.join("lists"));
        option("Dir::State::status", &self.folder.join("status"));
        option("Dir::Cache", &self.folder.join("cache"));
        // Some machines keep none of what apt makes of its lists, which takes seconds.
        option("Dir::Cache::pkgcache", Path::new("pkgcache.bin"));
        option("Acquire::Languages", Path::new("none"));
        option("APT::Architecture", Path::new(&self.architecture));
        option("APT::Architectures", Path::new(&self.architecture));
        command
    }
}

/// Where the machine's own release comes from.
fn mirror() -> Result<String, String> {
    let path = "/etc/os-release";
    let release = fs::read_to_string(path).map_err(|error| format!("reading {path}: {error}"))?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = name.ok_or_else(|| format!("{path} does not say the name of a release of Debian"))?;
    let sites = run(Command::new("apt-get")
        .args(["indextargets", "--format", "$(SITE)", "Identifier: Packages"])
        .arg(format!("Codename: {name}")))?;
    let site = sites.lines().next();
    site.map(Into::into)
        .ok_or_else(|| format!("apt-get indextargets: no mirror of {name} among apt's sources"))
}

/// The value of a field in what apt-cache shows.
fn field<'a>(shown: &'a str, name: &str) -> Option<&'a str> {
    shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The one file in a folder.
fn only_file(folder: &Path) -> Result<PathBuf, String> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let files = read().map_err(|error| format!("reading {}: {error}", folder.display()))?;
    <[PathBuf; 1]>::try_from(files)
        .map(|[file]| file)
        .map_err(|files| format!("{} holds {} files instead of one", folder.display(), files.len()))
}

fn create_folder(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("creating {}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("writing {}: {error}", path.display()))
}

/// Runs `command`, which must succeed. Returns what it prints; what it says on standard error is in the error.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output();
    // The options that precede what is asked are the same each time.
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let asked = words.chunks(2).skip_while(|pair| pair[0] == "-o").flatten().map(|word| &**word);
    let name = command.get_program().to_string_lossy();
    let attempt = [&*name].into_iter().chain(asked).collect::<Vec<_>>().join(" ");
    let output = output.map_err(|error| format!("starting {attempt}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{attempt} failed ({}): {}", output.status, said.trim_end()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("reading what {attempt} prints: {error}"))
}
