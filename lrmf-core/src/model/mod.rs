//! An exhaustive check of small groups: the protocol's own machines ([`Node`](crate::protocol::node::Node), with all
//! that is in it) over a model store, taken through every order, within a bound, in which calls, answers, deliveries,
//! ends of sessions and faults can happen.
//!
//! # The model
//! Two members, two tasks. A state is the machines, the store, and what is on its way between them: calls, slow
//! answers, watch deliveries (each feed has its own queue), stops that have not ended yet, and writes that nobody waits
//! for any more. One event takes it to the next; [`State::events`](state::State::events) lists those that can happen.
//! Faults are drawn from a small budget. Holding something back for any length of time is one of them, so that with a
//! budget of n all orders are gone through that differ from the plain one in at most n places, the other faults included
//! (as in Emmi, Qadeer, Rakamarić: *Delay-Bounded Scheduling*, 2011). A join without faults is gone through in every order.
//!
//! Time stands still. A [tick](event::Event::Tick) lets a member look a second ahead, past all its pauses before
//! retries and no further; so every retry comes at any point, or late, and nothing rests on how long one waits. A
//! session may end at any point, which stands for every pause, partition and clock that could end it. What time itself
//! has to do with (P2, the self-fencing deadline) is for the simulation.
//!
//! # What is checked
//! - In every state P1 and P3 on the records and on the running members, and that only the leader writes.
//! - From every state P6: when no further fault comes and everything that is on its way arrives, the group comes to
//!   rest, and then each task is held by one living session.
//!
//! # How it stays small
//! States are the same when they differ only in the names of revisions, generations, leases, sessions and calls, as the
//! machines compare those and do not count with them; [`canon`] renames them in the order of their first appearance, or
//! of their size where that matters. Some things happen at once that could take time, without any other member seeing
//! the difference: leases are granted, tasks start, the provider answers.

mod canon;
mod event;
mod faults;
mod oracle;
mod process;
mod search;
mod shown;
mod state;
mod tests;
