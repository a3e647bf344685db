//! Going through all states.

use std::collections::{HashMap, HashSet};

use super::event::{Event, Scenario};
use super::state::{State, Violation};

/// The numbers of what was gone through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) states: usize,
    pub(super) steps: usize,
    pub(super) rests: usize,
    pub(super) deepest: usize,
}

/// A property that does not hold, and the events that lead there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) violation: Violation,
    pub(super) events: Vec<Event>,
}

struct Frame {
    state: State,
    fingerprint: u64,
    events: std::vec::IntoIter<Event>,
    /// The event that led here.
    by: Option<Event>,
    /// Something happens by itself here.
    moves: bool,
}

/// Goes through all states of a scenario, depth first. What happens by itself is followed first, so that when a state
/// has been left behind, everything that follows from it without faults has been seen to come to a good rest.
pub(super) fn explore(scenario: Scenario) -> Result<Count, Found> {
    let first = State::first(scenario).map_err(|violation| Found { violation, events: Vec::new() })?;
    let mut search = Search::default();
    let fingerprint = first.fingerprint();
    search.enter(first, fingerprint, None);
    while let Some(frame) = search.path.last_mut() {
        let Some(event) = frame.events.next() else {
            search.leave()?;
            continue;
        };
        if matches!(event, Event::Fault { .. }) {
            search.rest()?;
        }
        search.follow(event)?;
    }
    Ok(search.count)
}

#[derive(Default)]
struct Search {
    seen: HashSet<u64>,
    path: Vec<Frame>,
    on_path: HashMap<u64, usize>,
    count: Count,
}

impl Search {
    fn enter(&mut self, state: State, fingerprint: u64, by: Option<Event>) {
        self.seen.insert(fingerprint);
        self.on_path.insert(fingerprint, self.path.len());
        self.count.states += 1;
        let events = state.events().into_iter();
        self.path.push(Frame { state, fingerprint, events, by, moves: false });
        self.count.deepest = self.count.deepest.max(self.path.len());
    }

    fn follow(&mut self, event: Event) -> Result<(), Found> {
        let Some(frame) = self.path.last_mut() else { return Ok(()) };
        self.count.steps += 1;
        let next = match frame.state.after(event) {
            Ok(next) => next,
            Err(violation) => return Err(self.found(violation, &[event])),
        };
        let fingerprint = next.fingerprint();
        let by_itself = !matches!(event, Event::Fault { .. });
        let first = by_itself && !frame.moves && fingerprint != frame.fingerprint;
        frame.moves |= first;
        if !self.seen.contains(&fingerprint) {
            self.enter(next, fingerprint, Some(event));
        } else if first && self.on_path.contains_key(&fingerprint) {
            self.comes_to_rest(next, event)?;
        }
        Ok(())
    }

    /// Where all that happens by itself has been followed: did anything?
    fn rest(&mut self) -> Result<(), Found> {
        let Some(frame) = self.path.last_mut() else { return Ok(()) };
        if std::mem::replace(&mut frame.moves, true) {
            return Ok(());
        }
        self.count.rests += 1;
        match frame.state.check_rest() {
            Ok(()) => Ok(()),
            Err(violation) => Err(self.found(violation, &[])),
        }
    }

    fn leave(&mut self) -> Result<(), Found> {
        self.rest()?;
        if let Some(frame) = self.path.pop() {
            self.on_path.remove(&frame.fingerprint);
        }
        Ok(())
    }

    /// Follows what happens by itself from a state that is still being gone through, to its end.
    fn comes_to_rest(&self, mut state: State, event: Event) -> Result<(), Found> {
        let mut met = HashSet::new();
        let mut events = vec![event];
        'next: while met.insert(state.fingerprint()) {
            let here = state.fingerprint();
            for event in state.events() {
                if matches!(event, Event::Fault { .. }) {
                    break;
                }
                events.push(event);
                let next = state.after(event).map_err(|violation| self.found(violation, &events))?;
                if next.fingerprint() != here {
                    state = next;
                    continue 'next;
                }
                events.pop();
            }
            return state.check_rest().map_err(|violation| self.found(violation, &events));
        }
        Err(self.found("P6: it never rests".to_owned(), &events))
    }

    fn found(&self, violation: Violation, last: &[Event]) -> Found {
        let events = self.path.iter().filter_map(|frame| frame.by).chain(last.iter().copied()).collect();
        Found { violation, events }
    }
}
