//! Breakers of a cluster in simulated time: nodes with clocks of their own, a store that freezes, is emptied or replaced
//! by an old copy, calls and messages that are late or lost, a service that fails, nodes that do not reach it or die.
//!
//! [`world`] is the cluster, [`checks`] what holds at every moment, [`faults`] what is done to it; the tests are below.
//! `SLUICE_SIM_RUNS=20000` runs that many scenarios of anything at any time, and takes some minutes.

mod checks;
mod faults;
mod tests;
mod world;
