//! The user's code, as bad as it can be: it fails, panics, hangs, is slow and lies, until the faults stop.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::assignor::{Assignor, Placement, PlanError, Problem, StickyBalanced};
use crate::ids::Token;
use crate::provider::{GenerationFloor, TaskProvider};
use crate::sim::world::LONGEST_REVOKE;
use crate::task::{Holding, MAX_VALUE_BYTES, Task};
use crate::tenure::Tenure;
use crate::worker::{GivenUp, Worker};

use super::process::Stop;
use super::state::{Shared, State};

/// Panics without a word on standard error.
pub(super) fn panics(who: &'static str) -> ! {
    resume_unwind(Box::new(who))
}

/// The behaviour of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    Well(Duration),
    Fails(Duration),
    Panics(Duration),
    Hangs,
    Lies(u64),
}

impl State {
    /// Decides how a call of the user's code goes: badly in this many of a thousand cases.
    fn conduct(&mut self, cases: u64, slow: u64) -> Conduct {
        let soon = self.rng.micros(100..5000);
        if !self.unlucky(cases) {
            return Conduct::Well(soon);
        }
        match self.rng.below(6) {
            0 | 1 => Conduct::Fails(soon),
            2 => Conduct::Panics(soon),
            3 => Conduct::Hangs,
            4 => Conduct::Lies(self.rng.next()),
            _ => Conduct::Well(self.rng.millis(0..slow)),
        }
    }
}

/// The user's code of one process.
#[derive(Clone)]
pub(super) struct User {
    pub(super) shared: Shared,
    pub(super) process: usize,
}

impl User {
    fn ended(&self, holding: &Holding) {
        self.shared.lock().has_ended(self.process, holding);
    }

    /// Notes that what follows is no sign of a member that stops what it should not.
    fn failed(&self, key: &Arc<str>, token: Token) {
        self.shared.lock().processes[self.process].failed.insert((key.clone(), token));
    }

    async fn work(&self, span: Duration) {
        tokio::time::sleep(span).await;
        self.shared.awake(self.process).await;
    }
}

#[async_trait]
impl Worker for User {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        for holding in holdings {
            let conduct = {
                let mut state = self.shared.lock();
                state.begins(self.process, holding);
                state.conduct(60, 5000)
            };
            let (key, token) = (&holding.task.key, holding.token);
            match conduct {
                Conduct::Well(span) => {
                    // Should its member give this up as it takes too long, it is stopped.
                    if span > Duration::from_millis(5) {
                        self.failed(key, token);
                    }
                    self.work(span).await;
                }
                Conduct::Fails(span) => {
                    self.failed(key, token);
                    self.work(span).await;
                    self.ended(holding);
                    anyhow::bail!("{}", "it fails".repeat(40));
                }
                Conduct::Panics(span) => {
                    self.failed(key, token);
                    self.work(span).await;
                    panics("assign");
                }
                Conduct::Hangs => {
                    self.failed(key, token);
                    std::future::pending::<()>().await;
                }
                // It says that it has begun, and gives up.
                Conduct::Lies(_) => self.failed(key, token),
            }
        }
        Ok(())
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        for holding in holdings {
            let conduct = {
                let mut state = self.shared.lock();
                state.is_told_to_stop(self.process, holding);
                let conduct = state.conduct(80, LONGEST_REVOKE);
                let stop = match conduct {
                    Conduct::Hangs => Some(Stop::Hangs),
                    Conduct::Panics(_) => Some(Stop::Panicked),
                    _ => None,
                };
                if let Some(stop) = stop {
                    let process = &mut state.processes[self.process];
                    process.beyond_reach.insert(holding.task.key.clone(), stop);
                }
                conduct
            };
            match conduct {
                Conduct::Well(span) => self.work(span).await,
                Conduct::Fails(span) => {
                    self.work(span).await;
                    self.ended(holding);
                    anyhow::bail!("it fails");
                }
                Conduct::Panics(span) => {
                    self.work(span).await;
                    panics("revoke");
                }
                Conduct::Hangs => std::future::pending::<()>().await,
                Conduct::Lies(_) => {}
            }
            self.ended(holding);
        }
        Ok(())
    }

    /// Gives up what it holds, what it does not hold any more, and what it never held.
    async fn given_up_within(&self, _tenure: &Tenure) -> GivenUp {
        loop {
            let (wait, conduct, faulty) = {
                let mut state = self.shared.lock();
                (state.rng.millis(200..5000), state.conduct(300, 5), state.faulty)
            };
            if !faulty {
                return std::future::pending().await;
            }
            self.work(wait).await;
            match conduct {
                Conduct::Well(_) => {}
                Conduct::Panics(_) => panics("given_up"),
                Conduct::Hangs => std::future::pending::<()>().await,
                Conduct::Lies(what) if what % 3 == 0 => {
                    return GivenUp { key: "no-task".into(), token: Token(what), error: "a lie".into() };
                }
                Conduct::Lies(_) | Conduct::Fails(_) => {
                    let mut state = self.shared.lock();
                    let running: Vec<_> =
                        state.processes[self.process].running.iter().map(|(k, t)| (k.clone(), *t)).collect();
                    let Some((key, token)) = state.rng.pick(&running).cloned() else { continue };
                    let token = if matches!(conduct, Conduct::Lies(_)) { Token(token.0 - 1) } else { token };
                    state.processes[self.process].failed.insert((key.clone(), token));
                    return GivenUp { key, token, error: "given up".into() };
                }
            }
        }
    }
}

#[async_trait]
impl TaskProvider for User {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        let (mut tasks, conduct) = {
            let mut state = self.shared.lock();
            let mut tasks = state.tasks.clone();
            let by = state.rng.below(tasks.len() as u64) as usize;
            tasks.rotate_left(by);
            (tasks, state.conduct(100, 3000))
        };
        match conduct {
            Conduct::Well(span) => self.work(span).await,
            Conduct::Fails(span) => {
                self.work(span).await;
                anyhow::bail!("it fails");
            }
            Conduct::Panics(span) => {
                self.work(span).await;
                panics("tasks");
            }
            Conduct::Hangs => std::future::pending::<()>().await,
            Conduct::Lies(what) => match what % 3 {
                0 => tasks.extend(tasks.first().cloned()),
                1 => tasks.push(Task::new("", "no key")),
                _ => tasks.push(Task::new("large", "x".repeat(MAX_VALUE_BYTES + 1))),
            },
        }
        Ok(tasks)
    }

    fn changes(&self) -> Option<BoxStream<'static, ()>> {
        let (user, ends) = (self.clone(), self.shared.lock().rng.per_mille(200));
        let hints = futures::stream::unfold(user, move |user| async move {
            loop {
                let (wait, faulty) = {
                    let mut state = user.shared.lock();
                    (state.rng.millis(500..10_000), state.faulty)
                };
                if !faulty {
                    return None;
                }
                user.work(wait).await;
                match user.shared.lock().conduct(500, 5) {
                    Conduct::Panics(_) => panics("changes"),
                    Conduct::Fails(_) | Conduct::Lies(_) => break,
                    Conduct::Well(_) | Conduct::Hangs => {}
                }
            }
            Some(((), user))
        });
        (!ends).then(|| hints.boxed())
    }
}

impl Assignor for User {
    fn plan(&self, problem: &Problem<'_>) -> Result<Vec<Placement>, PlanError> {
        let conduct = self.shared.lock().conduct(60, 5);
        let plan = StickyBalanced.plan(problem);
        match conduct {
            Conduct::Well(_) => plan,
            Conduct::Fails(_) => Err(PlanError::Failed("it fails".into())),
            Conduct::Panics(_) | Conduct::Hangs => panics("plan"),
            Conduct::Lies(what) => {
                let mut plan = plan?;
                match what % 4 {
                    0 => drop(plan.pop()),
                    1 => plan.push(Placement { task: u32::MAX, to: 0 }),
                    2 => plan.extend(plan.first().copied()),
                    // A plan that is valid and moves everything.
                    _ => {
                        let (members, by) = (problem.members.len() as u64, what / 4);
                        let to = |task: u64| u32::try_from((task + by) % members.max(1)).unwrap_or(0);
                        let all = (0..problem.tasks.len() as u64).filter(|_| members > 0);
                        plan = all
                            .map(|task| Placement { task: u32::try_from(task).unwrap_or(0), to: to(task) })
                            .collect();
                    }
                }
                Ok(plan)
            }
        }
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}

#[async_trait]
impl GenerationFloor for User {
    /// The highest token that any worker was ever given, as a store would know that they write to.
    async fn highest(&self) -> anyhow::Result<u64> {
        let conduct = self.shared.lock().conduct(60, 3000);
        match conduct {
            Conduct::Well(span) => self.work(span).await,
            Conduct::Fails(_) | Conduct::Lies(_) => anyhow::bail!("it fails"),
            Conduct::Panics(_) => panics("highest"),
            Conduct::Hangs => std::future::pending::<()>().await,
        }
        Ok(self.shared.lock().highest_token.0)
    }
}

/// The time that a plan takes, on a thread of its own; some never end.
pub(super) fn busy(shared: &Shared) -> Duration {
    let mut state = shared.lock();
    match state.conduct(60, 3000) {
        Conduct::Well(span) => span,
        Conduct::Hangs => Duration::from_secs(3600),
        Conduct::Fails(span) | Conduct::Panics(span) => span,
        Conduct::Lies(_) => Duration::ZERO,
    }
}
