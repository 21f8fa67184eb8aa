//! `--check`: whether all that an echo needs is there, and what may be in its way. Changes nothing: programs are loaded
//! but not attached, and hooks are tried in a network namespace that is gone afterwards.

mod finding;
mod host;
mod interface;

use std::fmt;

use loader::rtnetlink::{Interface, Netlink};
use serde_json::json;

use crate::arguments::Request;
use crate::configuration::{Configuration, configure};
use crate::run::{RunError, explore, find_interfaces};
use finding::{Finding, Level};

/// At least one thing is in the way.
#[derive(Debug)]
pub struct CheckFailed(usize);

impl fmt::Display for CheckFailed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} failed: this would not echo", crate::text::counted(self.0 as u64, "check"))
    }
}

impl std::error::Error for CheckFailed {}

/// Looks at all that matters for `request`, and says what was found on standard output.
///
/// # Errors
///
/// [`CheckFailed`] if something is in the way.
pub fn check(request: &Request) -> Result<(), CheckFailed> {
    let findings = look(request);
    for finding in &findings {
        if request.voice.json {
            let Finding { level, topic, text, remedy } = finding;
            let fields = json!({ "level": level.name(), "topic": topic, "text": text, "remedy": remedy });
            crate::json::say("check", fields);
        } else {
            crate::voice::print(&format!("{finding}\n"));
        }
    }
    match findings.iter().filter(|finding| finding.level == Level::Fail).count() {
        0 => Ok(()),
        failed => Err(CheckFailed(failed)),
    }
}

fn look(request: &Request) -> Vec<Finding> {
    let mut findings = vec![host::kernel(), host::capabilities(request)];
    let mut netlink = match Netlink::open() {
        Ok(netlink) => netlink,
        Err(error) => return with(findings, Finding::fail("netlink", error.to_string(), None)),
    };
    let interfaces = match find_interfaces(&mut netlink, &request.interfaces) {
        Ok(interfaces) => interfaces,
        Err(RunError::NoInterface { name, names }) if request.wait => {
            let text = format!("`{name}` is not there: there are {}", names.join(", "));
            return with(findings, Finding::warn("interface", text, Some("--wait waits for it".into())));
        }
        Err(error) => return with(findings, Finding::fail("interface", error.to_string(), None)),
    };
    let configurations = match configured(&mut netlink, request, &interfaces) {
        Ok(configurations) => configurations,
        Err(error) => return with(findings, Finding::fail("addresses", error.to_string(), None)),
    };
    findings.extend(host::programs(request, &configurations));
    findings.push(host::ports(request, &interfaces));
    for (interface, configuration) in interfaces.iter().zip(&configurations) {
        findings.extend(interface::look(&mut netlink, request, interface, configuration));
    }
    findings.extend(host::tracking(&configurations));
    // The last, as it leaves the network that this is about.
    findings.extend(host::hooks(request, &interfaces));
    findings
}

fn configured(
    netlink: &mut Netlink,
    request: &Request,
    interfaces: &[Interface],
) -> Result<Vec<Configuration>, RunError> {
    let host = explore(netlink, request)?;
    Ok(configure(request, interfaces, &host)?)
}

fn with(mut findings: Vec<Finding>, last: Finding) -> Vec<Finding> {
    findings.push(last);
    findings
}
