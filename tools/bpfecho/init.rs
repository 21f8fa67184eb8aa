//! A machine on which there is a kernel and nothing but this program, as its first process. What others do elsewhere is
//! done here: drivers are loaded, interfaces brought up, and the machine is switched off at the end, as a first process
//! must not end.

use std::fs;

use loader::Errno;
use loader::rtnetlink::Interface;

use crate::sys;
use crate::voice::Voice;

/// Where modules are looked for, not in folders below.
const MODULES: &str = "/lib/modules";

/// Loads the modules of the kernel that are there, each as soon as those that it needs are loaded.
pub fn load_modules(voice: Voice) {
    let Ok(entries) = fs::read_dir(MODULES) else { return };
    let mut left = Vec::new();
    for entry in entries.flatten() {
        if let Some(name) = entry.file_name().to_str()
            && name.ends_with(".ko")
        {
            left.push((format!("{MODULES}/{name}"), Errno::ENOENT));
        }
    }
    loop {
        let before = left.len();
        left.retain_mut(|(path, refusal)| match sys::load_module(path) {
            Ok(()) | Err(Errno::EEXIST) => false,
            Err(errno) => {
                *refusal = errno;
                true
            }
        });
        if left.len() == before {
            break;
        }
    }
    for (path, errno) in left {
        voice.warn(&format!("loading the module {path}: {errno}"));
    }
}

/// Brings up those of `interfaces` that are down.
///
/// # Errors
///
/// The name of the first that stays down, and why.
pub fn bring_up(interfaces: &mut [Interface]) -> Result<(), (String, Errno)> {
    for interface in interfaces.iter_mut().filter(|interface| !interface.up) {
        sys::bring_up(&interface.name).map_err(|errno| (interface.name.clone(), errno))?;
        interface.up = true;
    }
    Ok(())
}
