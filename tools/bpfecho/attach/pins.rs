//! Links that stay without a process: each is a file in a bpf filesystem, named by the link's id.

use std::ffi::{CStr, CString};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use loader::{BpfLink, BpfLinkError, Errno, IfIndex};

use crate::sys;

/// Where the bpf filesystem is mounted by convention.
const BPFFS: &CStr = c"/sys/fs/bpf";

/// The folder of our links.
const FOLDER: &str = "/sys/fs/bpf/bpfecho";

/// Why a link could not be pinned.
#[derive(Debug)]
pub enum PinError {
    /// There is no bpf filesystem, and none can be mounted.
    Mount(Errno),
    /// It would be mounted where only a few processes see it, and end with them.
    Private,
    /// The folder cannot be made.
    Folder(io::Error),
    /// The kernel does not pin the link.
    Link(BpfLinkError),
}

impl fmt::Display for PinError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount(errno) => {
                write!(formatter, "mounting a bpf filesystem at /sys/fs/bpf, to keep the program there: {errno}")?;
                formatter.write_str(match *errno {
                    Errno::EPERM => ": needs CAP_SYS_ADMIN; --hook clsact does without",
                    Errno::ENOENT => ": mount sysfs at /sys; --hook clsact does without",
                    Errno::ENODEV => ": this kernel has none; --hook clsact does without",
                    _ => "",
                })
            }
            Self::Private => formatter.write_str(
                "no bpf filesystem is mounted at /sys/fs/bpf, and one that is mounted from this mount namespace would \
                 end with it: mount one, or choose --hook clsact",
            ),
            Self::Folder(error) => write!(formatter, "making the folder {FOLDER}: {error}"),
            Self::Link(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for PinError {}

/// Makes sure that links can be pinned. Returns whether a bpf filesystem had to be mounted for it.
///
/// # Errors
///
/// [`PinError`].
pub fn prepare() -> Result<bool, PinError> {
    let mounted = if matches!(sys::is_bpffs(BPFFS), Ok(true)) {
        false
    } else if in_private_namespace() {
        return Err(PinError::Private);
    } else {
        sys::mount_bpffs(BPFFS).map_err(PinError::Mount)?;
        true
    };
    make_folder().map(|()| mounted)
}

fn make_folder() -> Result<(), PinError> {
    match fs::DirBuilder::new().mode(0o700).create(FOLDER) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(PinError::Folder(error)),
        _ => Ok(()),
    }
}

/// Whether this mount namespace is another one than that of the first process, such as `ip netns exec` makes for one
/// command.
fn in_private_namespace() -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    match (namespace("self"), namespace("1")) {
        (Some(own), Some(first)) => own != first,
        _ => false,
    }
}

/// Has `link` stay when this process ends; nothing, if it is pinned already.
///
/// # Errors
///
/// [`PinError::Link`] or [`PinError::Folder`].
pub fn pin(link: &BpfLink) -> Result<(), PinError> {
    let id = link.info().map_err(PinError::Link)?.id;
    loop {
        match link.pin(&path(id)) {
            // Somebody else has taken the last pin away meanwhile, and the folder.
            Err(error) if error.errno() == Errno::ENOENT => make_folder()?,
            Err(error) if error.errno() != Errno::EEXIST => return Err(PinError::Link(error)),
            _ => return Ok(()),
        }
    }
}

/// Takes the pin of the link `id` away, if it has one.
pub fn unpin(id: u32) {
    // What is not there need not go, and what may not go is found again, as it still is attached.
    let _ = fs::remove_file(Path::new(FOLDER).join(id.to_string()));
    // Not unless it is empty.
    let _ = fs::remove_dir(FOLDER);
}

/// Takes away the pins of links whose interfaces are gone, which the kernel keeps as long.
pub fn remove_stale() {
    let Ok(entries) = fs::read_dir(FOLDER) else { return };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for id in ids.collect::<Vec<u32>>() {
        let info = BpfLink::open_pinned(&path(id)).and_then(|link| link.info());
        if info.is_ok_and(|info| matches!(info.place, Some((IfIndex(0), _)))) {
            unpin(id);
        }
    }
}

fn path(id: u32) -> CString {
    CString::new(format!("{FOLDER}/{id}")).unwrap_or_default()
}
