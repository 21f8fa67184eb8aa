//! The probe, configured as the command line would.

use bpfecho::arguments::{self, Command};
use bpfecho::configuration::{self, Configuration, Host};
use bpfecho::echo::Echo;
use loader::rtnetlink::{Interface, LinkKind};
use loader::{IfIndex, Program};

use crate::bytecode::Hook;

/// The port on which is echoed.
pub(super) const PORT: u16 = 1122;

/// The MAC address of the device of test runs, `lo`.
pub(super) const SERVER_MAC: [u8; 6] = [0; 6];

/// The programs for one interface, and what they are told.
pub(crate) struct Loaded {
    pub(crate) echo: Echo,
    pub(super) configuration: Configuration,
}

/// Loads the programs that echo on these addresses of an interface.
pub(crate) fn load(addresses: &[String], interface: &Interface) -> Result<Loaded, String> {
    let line = addresses.iter().cloned().chain([PORT.to_string()]);
    let request = match arguments::parse(line.map(Into::into)) {
        Ok(Command::Echo(request)) => request,
        _ => return Err(format!("not a command line: {addresses:?} {PORT}")),
    };
    let configured = configuration::configure(&request, std::slice::from_ref(interface), &Host::default());
    let configuration = configured
        .map_err(|error| error.to_string())?
        .pop()
        .ok_or_else(|| format!("no configuration for `{}`", interface.name))?;
    let echo = Echo::load(&configuration, true, false).map_err(|error| error.to_string())?;
    Ok(Loaded { echo, configuration })
}

/// Both sets of programs: on loopback, and on an Ethernet with the MAC address of the device of test runs.
pub(super) fn load_all() -> Result<[Loaded; 2], String> {
    [Hook::Loopback, Hook::Wire]
        .map(|hook| {
            let (name, link, mtu) = match hook {
                Hook::Loopback => ("lo", LinkKind::Loopback, 65536),
                Hook::Wire | Hook::Xdp => ("eth0", LinkKind::Ethernet, 1500),
            };
            let interface = Interface {
                index: IfIndex(1),
                name: name.into(),
                mtu,
                link,
                mac: Some(SERVER_MAC),
                up: true,
                all_multicast: false,
                kind: None,
                xdp: Vec::new(),
            };
            let addresses = [false, true].map(|v6| super::packets::server(hook, v6).to_string());
            load(&addresses, &interface)
        })
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .try_into()
        .map_err(|_| "two sets of programs".to_string())
}

/// The one of `loaded` for `hook`.
pub(super) fn program(loaded: &[Loaded; 2], hook: Hook) -> Result<&Program, String> {
    let [loopback, wire] = loaded;
    match hook {
        Hook::Loopback => Ok(loopback.echo.program()),
        Hook::Wire => Ok(wire.echo.program()),
        Hook::Xdp => wire.echo.xdp().ok_or_else(|| "the probe has no program for XDP".to_string()),
    }
}
