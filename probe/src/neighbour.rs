//! Virtual hosts and their neighbours: ARP (RFC 826) and neighbour discovery (RFC 4861), as far as it takes to
//! be found.
//!
//! Whoever wants an address for itself may have it. A host that looks whether an address is free (RFC 5227
//! section 2.1.1, RFC 4862 section 5.4) gets no answer, and one that says that an address is its own is believed:
//! from then on nobody is told anything else.

use crate::abi::{Counter, Prefix, destination};
use crate::address;
use crate::checksum::Edit;
use crate::headers::{Arp, Be16, Be32, Ethernet, Icmp, Ipv6, LinkLayerOption, Neighbour, Solicitation, icmp};
use crate::host::{Audience, Fragments, Frame, Host, Parts, Room};
use crate::packet::view;
use crate::reflect::Refusal;
use crate::slow_path::{UNWRITABLE, load};

/// Solicited and override (RFC 4861 section 4.4).
const FLAGS: Be32 = Be32::new(0x6000_0000);

/// The hop limit that shows that no router passed a message on (RFC 4861 section 7.1.1).
const NEVER_PASSED_ON: u8 = 255;

/// Answers an ARP request for a virtual host.
#[inline(never)]
pub(crate) fn arp<H: Host, F: Frame>(host: &H, frame: &mut F, room: &mut Room) -> Result<(), Refusal> {
    let Room { parts, key, network, ethernet, reflected, .. } = room;
    let offset = parts.network;
    let message: &mut Arp = view(network);
    load(frame, offset, message).ok_or(Refusal::NOT_OURS)?;
    if message.kind != Arp::ETHERNET_IPV4 {
        return Err(Refusal::NOT_OURS);
    }
    key.source = Prefix::whole(address::mapped(message.sender));
    key.destination = Prefix::whole(address::mapped(message.target));
    // A probe names no sender.
    let is_probe = message.sender.word() == 0;
    if is_probe || message.sender == message.target || message.operation != Arp::REQUEST {
        note_claim(host, if is_probe { &key.destination } else { &key.source });
        return Err(Refusal::NOT_OURS);
    }
    note_claim(host, &key.source);
    may_answer(host, frame, ethernet, key)?;

    ethernet.destination = ethernet.source;
    ethernet.source = host.mac();
    message.operation = Arp::REPLY;
    message.target_mac = message.sender_mac;
    message.sender_mac = ethernet.source;
    core::mem::swap(&mut message.sender, &mut message.target);
    reflected.packets = Counter::Neighbours;
    let stored = frame.store(0, ethernet) && frame.store(offset, message);
    if stored { Ok(()) } else { Err(UNWRITABLE) }
}

/// Whether an ICMPv6 message is a neighbour solicitation, which is in `room` then.
#[inline(always)]
pub(crate) fn is_solicitation<F: Frame>(frame: &F, room: &mut Room) -> bool {
    let message: &mut Solicitation = view(&mut room.segment);
    frame.load_part(room.parts.transport, message, size_of::<Neighbour>())
        && message.neighbour.icmp.kind == icmp::NEIGHBOUR_SOLICITATION
}

/// Answers a neighbour solicitation for a virtual host, right behind its IP header.
#[inline(never)]
pub(crate) fn solicitation<H: Host, F: Frame>(
    host: &H,
    frame: &mut F,
    room: &mut Room,
) -> Result<(), Refusal> {
    let Room { parts, key, network: ip, ethernet, segment, reflected, .. } = room;
    let Parts { network, transport, end, .. } = *parts;
    let message: &mut Solicitation = view(segment);
    let ip: &mut Ipv6 = view(ip);
    key.destination = Prefix::whole(message.neighbour.target);
    if ip.hop_limit != NEVER_PASSED_ON
        || end > frame.length()
        || end < transport + size_of::<Neighbour>() as u32
        || message.neighbour.icmp.code != 0
        || address::is_mapped(&message.neighbour.target)
    {
        return Err(Refusal::NOT_OURS);
    }
    // Duplicate address detection names no sender.
    if address::is_unspecified(&ip.source) {
        note_claim(host, &key.destination);
        return Err(Refusal::NOT_OURS);
    }
    note_claim(host, &key.source);
    may_answer(host, frame, ethernet, key)?;

    let mut edit = Edit::default();
    let mut length = size_of::<Neighbour>();
    ethernet.destination = ethernet.source;
    ethernet.source = host.mac();
    // The sender's MAC address makes room for ours. Only one who knows ours already may leave it out.
    if end >= transport + size_of::<Solicitation>() as u32 {
        length = size_of::<Solicitation>();
        if !frame.load(transport, message) || message.option.kind != LinkLayerOption::SOURCE {
            return Err(Refusal::NOT_OURS);
        }
        let old = message.option.sum();
        message.option.kind = LinkLayerOption::TARGET;
        message.option.mac = ethernet.source;
        edit.replace(old, message.option.sum());
    } else if frame.audience() != Audience::Us {
        return Err(Refusal::NOT_OURS);
    }
    let head = &mut message.neighbour.icmp;
    edit.replace(head.kind_word(), Be16([icmp::NEIGHBOUR_ADVERTISEMENT, 0]).word());
    edit.replace(head.rest.word(), FLAGS.word());
    head.kind = icmp::NEIGHBOUR_ADVERTISEMENT;
    head.rest = FLAGS;
    // The pseudo header: the sender becomes the receiver, and the target the sender.
    edit.replace(address::sum(&ip.destination), address::sum(&message.neighbour.target));
    ip.destination = ip.source;
    ip.source = message.neighbour.target;
    let stored = frame.store(0, ethernet)
        && frame.store(network, ip)
        && frame.store_part(transport, message, host.forget(length as u32) as usize);
    reflected.packets = Counter::Neighbours;
    reflected.checksum = transport + Icmp::CHECKSUM_OFFSET as u32;
    reflected.difference = edit.difference();
    if stored { Ok(()) } else { Err(UNWRITABLE) }
}

/// Remembers that somebody else has or wants `address`, if it is that of a virtual host. Four times in the program it
/// would be too long.
#[inline(never)]
fn note_claim<H: Host>(host: &H, address: &Prefix) {
    if host.destination(address) & destination::VIRTUAL != 0 {
        host.claim(address);
    }
}

/// Whether the source of `question` is to be told where its destination is.
#[inline(always)]
fn may_answer<H: Host, F: Frame>(
    host: &H,
    frame: &F,
    ethernet: &Ethernet,
    question: &Fragments,
) -> Result<(), Refusal> {
    let target = &question.destination;
    let ours = host.destination(target) & destination::VIRTUAL != 0 && !host.is_claimed(target);
    if !ours || frame.audience() == Audience::Other {
        return Err(Refusal::NOT_OURS);
    }
    // Whoever may use the server may ask for it from its link-local address, too (RFC 4861 section 7.2.2).
    let may_ask = address::is_link_local(&question.source.address) || host.answers(&question.source);
    if !ethernet.is_answerable() || !may_ask {
        return Err(Refusal::because(Counter::DroppedSource));
    }
    Ok(())
}
