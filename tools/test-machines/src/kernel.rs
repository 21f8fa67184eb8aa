//! A kernel of Debian, and its modules.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use debian_packages::Suite;

/// What the suites need of the kernel that may be a module.
const WANTED: [&str; 5] = ["veth", "8021q", "sch_ingress", "cls_bpf", "sch_netem"];

/// A kernel to boot.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// The image that a boot loader would take.
    pub(crate) image: PathBuf,
    /// The modules that are wanted and those that they need, as the kernel takes them, in the order in which it does.
    pub(crate) modules: Vec<(String, Vec<u8>)>,
    /// The folder with all modules, somewhere below it.
    pub(crate) all_modules: PathBuf,
}

impl Kernel {
    /// Unpacks the kernel that `package` is or depends on.
    pub(crate) fn fetch(suite: &Suite, package: &str) -> Result<Self, String> {
        // Since 7.1 image, signed image and modules are packages of their own.
        let parts = ["linux-image-", "linux-binary-", "linux-modules-"];
        let folders = suite.unpack_with(package, |name| parts.iter().any(|part| name.starts_with(part)))?;
        let mut files = Vec::new();
        for folder in folders {
            walk(&folder, &mut files)?;
        }
        let image = files.iter().find(|path| name(path).starts_with("vmlinu")).cloned();
        let image = image.ok_or_else(|| format!("{package} has no image of a kernel"))?;
        let modules = load_order(&files).map_err(|error| format!("{package}: {error}"))?;
        let module = files.iter().find(|path| module_name(name(path)).is_some());
        let all_modules = module.and_then(|path| path.ancestors().find(|path| path.ends_with("lib/modules")));
        let all_modules = all_modules.ok_or_else(|| format!("{package} has no modules"))?.into();
        Ok(Self { image, modules, all_modules })
    }
}

/// The modules that are wanted behind all those that they need.
fn load_order(files: &[PathBuf]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let available: BTreeMap<String, &Path> =
        files.iter().filter_map(|path| Some((module_name(name(path))?, path.as_path()))).collect();
    let built_in = files.iter().find(|path| name(path) == "modules.builtin");
    let built_in = built_in.map(|path| read(path)).transpose()?.unwrap_or_default();
    let built_in = String::from_utf8_lossy(&built_in);
    let is_built_in = |wanted: &str| {
        built_in.lines().any(|line| module_name(name(Path::new(line))).as_deref() == Some(wanted))
    };
    let mut order: Vec<(String, Vec<u8>)> = Vec::new();
    // The last is next; each comes again behind what it needs.
    let mut pending: Vec<String> = WANTED.iter().rev().map(ToString::to_string).collect();
    while let Some(wanted) = pending.pop() {
        if order.iter().any(|(name, _)| *name == wanted) || is_built_in(&wanted) {
            continue;
        }
        let path = available.get(&wanted).ok_or_else(|| format!("the kernel has no module {wanted}"))?;
        let module = decompressed(path)?;
        let missing: Vec<String> = needed(&module)
            .into_iter()
            .filter(|name| !order.iter().any(|(loaded, _)| loaded == name) && !is_built_in(name))
            .collect();
        if missing.is_empty() {
            order.push((wanted, module));
        } else {
            pending.push(wanted);
            pending.extend(missing);
        }
    }
    Ok(order)
}

/// What a module needs, as it says in its section `.modinfo`.
fn needed(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(start) = module.windows(FIELD.len()).position(|window| window == FIELD) else {
        return Vec::new();
    };
    let value = module[start + FIELD.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(canonical).collect()
}

/// The module that a file is, if it is one.
fn module_name(file: &str) -> Option<String> {
    Some(canonical(file.strip_suffix(".xz").unwrap_or(file).strip_suffix(".ko")?))
}

/// Files have dashes where the kernel has underscores.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn decompressed(path: &Path) -> Result<Vec<u8>, String> {
    if path.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(path).output();
        let output = output.map_err(|error| format!("starting xz: {error}"))?;
        if !output.status.success() {
            return Err(format!("decompressing {} failed ({})", path.display(), output.status));
        }
        Ok(output.stdout)
    } else {
        read(path)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("reading {}: {error}", path.display()))
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Adds all files in `folder` to `files`.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let failed = |error| format!("reading {}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
