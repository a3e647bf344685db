//! The list of tasks: asking the provider, and what to make of its answers.

use crate::event::Event;
use crate::protocol::Now;
use crate::records::{Troubles, most_entry_bytes};
use crate::task::Task;

use super::tasks::TaskList;
use super::{ASK_AGAIN, Leader, LeaderAction, Phase};

impl Leader {
    /// The provider's answer.
    pub fn on_tasks(&mut self, now: Now, result: Result<Vec<Task>, String>) -> Vec<LeaderAction> {
        self.asking = false;
        self.ask_at = now.at + self.config.provider_period;
        let (before, most) = (self.tasks.as_ref(), most_entry_bytes(self.config.limits));
        let list = |tasks| TaskList::unless_same(before, tasks, most).map_err(|error| error.to_string());
        match result.and_then(list) {
            Ok(tasks) => {
                self.troubles.provider = None;
                self.stale |= tasks.is_some() || std::mem::take(&mut self.refused);
                if tasks.is_some() {
                    self.tasks = tasks;
                    self.relisted = true;
                }
            }
            Err(error) => {
                self.ask_at = now.at + self.config.provider_period.min(ASK_AGAIN);
                self.troubles.provider = Some(Troubles::kept(&error));
                self.out.push(LeaderAction::Emit(Event::ProviderFailed { error }));
                self.tasks_from_records();
            }
        }
        if std::mem::take(&mut self.ask_again) {
            self.ask(now);
        }
        self.advance(now)
    }

    /// Somebody asks for a new plan.
    pub fn on_trigger(&mut self, now: Now) -> Vec<LeaderAction> {
        self.trigger(now);
        self.advance(now)
    }

    /// The provider may have other tasks than before.
    pub fn on_hint(&mut self, now: Now) -> Vec<LeaderAction> {
        self.ask_soon(now);
        self.advance(now)
    }

    pub(super) fn trigger(&mut self, now: Now) {
        self.stale = true;
        self.ask_soon(now);
    }

    pub(super) fn ask_soon(&mut self, now: Now) {
        if self.asking {
            self.ask_again = true;
        } else {
            self.ask(now);
        }
    }

    pub(super) fn ask(&mut self, now: Now) {
        self.asking = true;
        self.ask_at = now.at + self.config.provider_period;
        self.out.push(LeaderAction::AskProvider);
    }

    /// A provider that never answered: the tasks in the records are the last ones known.
    pub(super) fn tasks_from_records(&mut self) {
        if self.tasks.is_none() && !matches!(self.phase, Phase::Loading | Phase::Over) {
            let known = self.view.entries().map(|place| place.entry.task()).collect();
            self.tasks = TaskList::new(known, usize::MAX).ok();
            self.relisted = true;
            self.stale = true;
        }
    }
}
