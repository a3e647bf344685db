//! The simulation of whole processes: the real driver ([`Driver`](crate::driver::Driver)) with everything that it spawns, on
//! a clock and ports of the simulation, with user code that fails, panics, hangs, is slow and lies, and a store that is slow,
//! hangs, refuses, has less room than it says and goes back to older copies.
//!
//! All processes share one runtime of one thread, whose time is paused and goes on when nobody has anything to do. What a
//! real process does on threads of its own is a port here: the thread of an assignor is a future that takes the time that the
//! seed says. Every delay and every fault comes from the seed, so a run repeats itself.
//!
//! Beyond what the simulation of the machines checks, a driver never ends by a defect, a member ends in time when it is told
//! to, and a [`Tenure`](crate::tenure::Tenure) that is valid has a session.

mod clock;
mod faults;
mod link;
mod process;
mod state;
mod user;
mod world;

pub(super) use world::run;
