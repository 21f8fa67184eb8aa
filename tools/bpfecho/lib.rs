//! The command `bpfecho`: what it is told, what it does with the probe and the loader, and what it says.
//!
//! One [`mod@run`] is a straight line: [`arguments`] reads the command line, [`configuration`] makes of it what the
//! program on each interface is told, [`ports`] holds the ports, [`attach`] reserves places on hooks, [`echo`] loads the
//! programs, [`self_test`] tries them, [`attach`] puts them there, or in the place of leftovers, [`multicast`] lets
//! neighbours reach virtual hosts, [`privileges`] gives up what is no longer needed, [`notify`] and [`report`] tell that
//! it is ready; then nothing happens here, as the kernel does the work, but [`stats`] at each of the [`events`], until
//! one of them is the end. [`mod@check`] looks whether all of that would work; [`status`] and [`stop`] are about what is
//! attached already. All that is said goes through a [`voice`]. Where there is nothing but this program, [`init`] does
//! what others would.

pub mod arguments;
pub mod attach;
pub mod check;
pub mod configuration;
pub mod echo;
pub mod events;
pub mod init;
pub mod json;
pub mod multicast;
pub mod notify;
pub mod port_set;
pub mod ports;
pub mod prefix;
pub mod privileges;
pub mod protocols;
pub mod report;
pub mod run;
pub mod self_test;
pub mod settings;
pub mod stats;
pub mod status;
pub mod stop;
pub mod sys;
pub mod text;
pub mod voice;
