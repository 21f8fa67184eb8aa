//! The command `bpfecho`: what it is told, what it does with the probe and the loader, and what it says.
//!
//! One run is a straight line: [`arguments`] reads the command line, [`ports`] holds the ports, [`echo`] loads
//! and attaches the program, [`notify`] and [`report`] tell that it is ready; then nothing happens here, as the
//! kernel does the work, until one of the signals of [`sys`] ends it.

pub mod arguments;
pub mod echo;
pub mod notify;
pub mod ports;
pub mod report;
pub mod run;
pub mod sys;
