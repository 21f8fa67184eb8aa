//! What a device does to packets before XDP sees them, or after.

use loader::XdpMode;
use loader::rtnetlink::Interface;

use crate::sys::{self, Offload};

/// Something that XDP cannot see, and that may make an answer wrong or have it lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// What happens.
    pub text: String,
    /// What can be done.
    pub remedy: String,
}

/// What there is on `interface` with XDP in this mode. Generic XDP leaves to the kernel what belongs to a packet beside its
/// bytes.
pub fn traps(interface: &Interface, mode: XdpMode) -> Vec<Trap> {
    let name = &interface.name;
    if mode != XdpMode::Native {
        return Vec::new();
    }
    let mut traps = Vec::new();
    let has = |offload| sys::has_offload(name, offload) == Ok(true);
    let is_veth = interface.kind.as_deref() == Some("veth");
    if is_veth {
        // veth_xdp_flush() in drivers/net/veth.c.
        traps.push(Trap {
            text: format!(
                "the other end of `{name}` takes what XDP sends only if it has an XDP program, too"
            ),
            remedy: format!("--hook xdp-generic, or any XDP program on the other end of `{name}`"),
        });
        traps.push(Trap {
            text: format!(
                "what comes from the other end of `{name}` with a checksum that is left to the device is answered by \
                 tc, the slower way"
            ),
            remedy: format!("ethtool -K PEER tx off at the other end of `{name}`"),
        });
    }
    if has(Offload::VlanReceive) {
        let switch = if is_veth {
            "ethtool -K PEER txvlan off".into()
        } else {
            format!("ethtool -K {name} rxvlan off")
        };
        traps.push(Trap {
            text: format!(
                "VLAN tags may be taken off on `{name}` before XDP sees them, and are not put on answers"
            ),
            remedy: switch,
        });
    }
    if has(Offload::LargeReceive) {
        traps.push(Trap {
            text: format!("`{name}` merges packets (LRO), with which most drivers refuse XDP"),
            remedy: format!("ethtool -K {name} lro off"),
        });
    }
    traps
}
