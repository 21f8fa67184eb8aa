//! The command `bpfecho`: what it is told, what it does with the probe and the loader, and what it says.
//!
//! One run is a straight line: [`arguments`] reads the command line, [`configuration`] makes of it what the
//! program on each interface is told, [`ports`] holds the ports, [`echo`] loads and attaches the programs,
//! [`multicast`] lets neighbours reach virtual hosts, [`notify`] and [`report`] tell that it is ready; then
//! nothing happens here, as the kernel does the work, until one of the signals of [`sys`] ends it.

pub mod arguments;
pub mod configuration;
pub mod echo;
pub mod multicast;
pub mod notify;
pub mod port_set;
pub mod ports;
pub mod prefix;
pub mod protocols;
pub mod report;
pub mod run;
pub mod sys;
pub mod text;
