//! Calls of what the user supplied: the worker, the provider and the assignor. Nothing of it runs on the driver's task.
//! All of it may panic, or not return.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span};

use super::Ports;
use crate::assignor::{Assignor, Placement};
use crate::panics::message_of;
use crate::protocol::leader::{PlanFailure, PlanRequest};
use crate::protocol::{AssignError, Command, Input, StopError};
use crate::provider::TaskProvider;
use crate::task::Holding;
use crate::worker::GivenUp;

/// The time for which a worker is not asked again that panicked when it was asked what it gives up.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// The place in which the user's code runs.
#[derive(Clone)]
pub(crate) enum Place {
    /// On the runtime that the member was started from. Plans are made on threads of their own.
    Apart(Handle),
    /// On the driver's own runtime, whose time stands still while anything runs: plans are made at once. For tests, which
    /// are the same each time then.
    Here,
    /// The same, and a plan takes as long as this says, of the runtime's time, as if a thread of its own made it. For the
    /// simulation.
    #[cfg(test)]
    Simulated(Arc<dyn Fn() -> Duration + Send + Sync>),
}

/// Runs a future of the user's code and says why it did not end, if it did not.
async fn run<T: Send + 'static>(
    place: Place,
    call: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    let call = AssertUnwindSafe(call).catch_unwind();
    let outcome = match place {
        Place::Here => call.await,
        #[cfg(test)]
        Place::Simulated(_) => call.await,
        Place::Apart(runtime) => match AbortOnDropHandle::new(runtime.spawn(call)).await {
            Ok(outcome) => outcome,
            Err(_) => return Err("the runtime that it ran on has ended".to_owned()),
        },
    };
    outcome.map_err(|panic| format!("panicked: {}", message_of(panic.as_ref())))
}

/// Asks the worker to start a task, until `abandoned`.
pub(super) async fn assign(
    ports: Ports,
    holding: Holding,
    span: Span,
    abandoned: CancellationToken,
) -> Input {
    let (key, token) = (holding.task.key.clone(), holding.token);
    let (worker, tenure) = (ports.worker, ports.tenure);
    let call = async move {
        let holdings = [holding];
        tokio::select! {
            biased;
            result = worker.assign_within(&holdings, &tenure) => Some(result),
            () = abandoned.cancelled() => None,
        }
    };
    let result = match run(ports.place, call.instrument(span)).await {
        Ok(Some(Ok(()))) => Ok(()),
        Ok(Some(Err(error))) => Err(AssignError::Failed(format!("{error:#}"))),
        Ok(None) => Err(AssignError::Unknown("assign was given up before it had returned".to_owned())),
        Err(why) => Err(AssignError::Unknown(why)),
    };
    Input::Assigned { key, token, result }
}

/// Asks the worker to stop a task.
pub(super) async fn revoke(ports: Ports, holding: Holding, span: Span) -> Input {
    let (key, token) = (holding.task.key.clone(), holding.token);
    let worker = ports.worker;
    let call = async move { worker.revoke(&[holding]).await };
    let result = match run(ports.place, call.instrument(span)).await {
        Ok(result) => result.map_err(|error| StopError::Failed(format!("{error:#}"))),
        Err(why) => Err(StopError::Panicked(why)),
    };
    Input::Revoked { key, token, result }
}

/// Asks for the highest generation that is known outside the store.
pub(super) async fn ask_floor(ports: Ports, limit: Duration) -> Input {
    let Some(floor) = ports.floor else { return Input::Floor(Ok(0)) };
    let call = async move { tokio::time::timeout(limit, floor.highest()).await };
    Input::Floor(match run(ports.place, call).await {
        Ok(Ok(highest)) => highest.map_err(|error| format!("{error:#}")),
        Ok(Err(_)) => Err(format!("no answer within {limit:?}")),
        Err(why) => Err(why),
    })
}

/// Asks the provider for its tasks.
pub(super) async fn ask_provider(ports: Ports, limit: Duration) -> Input {
    let provider = ports.provider;
    let call = async move { tokio::time::timeout(limit, provider.tasks()).await };
    Input::Tasks(match run(ports.place, call).await {
        Ok(Ok(tasks)) => tasks.map_err(|error| format!("{error:#}")),
        Ok(Err(_)) => Err(format!("no answer within {limit:?}")),
        Err(why) => Err(why),
    })
}

/// Passes on what the provider says about changes, for as long as it says something.
pub(super) async fn hear_of_changes(
    place: Place,
    provider: Arc<dyn TaskProvider>,
    inputs: mpsc::Sender<Input>,
) {
    let call = async move {
        let Some(mut changes) = provider.changes() else { return };
        while changes.next().await.is_some() {
            if inputs.send(Input::Command(Command::Hint)).await.is_err() {
                return;
            }
        }
    };
    if let Err(why) = run(place, call).await {
        tracing::error!(error = %why, "the provider's changes end: it is asked on its period");
    }
}

/// Passes on what the worker gives up, until nobody listens or it is aborted.
pub(super) async fn hear_of_given_up(ports: Ports, inputs: mpsc::Sender<Input>) {
    loop {
        let (worker, tenure, inputs) = (ports.worker.clone(), ports.tenure.clone(), inputs.clone());
        let call = async move {
            loop {
                let GivenUp { key, token, error } = worker.given_up_within(&tenure).await;
                if inputs.send(Input::GivenUp { key, token, error }).await.is_err() {
                    return;
                }
            }
        };
        let Err(why) = run(ports.place.clone(), call).await else { return };
        tracing::error!(error = %why, "the worker cannot say what it gives up: it is asked again");
        tokio::time::sleep(AFTER_PANIC).await;
    }
}

type Answer = Result<Vec<Placement>, PlanFailure>;
type Plan = Box<dyn FnOnce() -> Answer + Send>;

/// Asks an assignor, for one plan at a time.
#[derive(Clone)]
pub(super) struct Planner {
    assignor: Arc<dyn Assignor>,
    limit: Duration,
    /// Held for as long as the assignor runs, also after nobody waits for it any more.
    turn: Arc<Semaphore>,
}

impl Planner {
    pub(super) fn new(assignor: Arc<dyn Assignor>, limit: Duration) -> Self {
        Self { assignor, limit, turn: Arc::new(Semaphore::new(1)) }
    }

    pub(super) async fn plan(self, place: Place, request: Arc<PlanRequest>) -> Input {
        let answer = match place {
            Place::Here => request.ask(self.assignor.as_ref()),
            Place::Apart(_) => self.in_turn(request.clone(), tokio::task::spawn_blocking).await,
            #[cfg(test)]
            Place::Simulated(busy) => {
                let thread = |plan: Plan| {
                    let busy = busy();
                    tokio::spawn(async move {
                        tokio::time::sleep(busy).await;
                        plan()
                    })
                };
                self.in_turn(request.clone(), thread).await
            }
        };
        Input::Planned { request, answer }
    }

    /// Asks when the plan before has been made, and waits for so long and no longer.
    async fn in_turn(
        &self,
        request: Arc<PlanRequest>,
        thread: impl FnOnce(Plan) -> JoinHandle<Answer>,
    ) -> Answer {
        let ended = || PlanFailure::Panicked("the runtime has ended".to_owned());
        let planned = async {
            let turn = self.turn.clone().acquire_owned().await.map_err(|_| ended())?;
            let assignor = self.assignor.clone();
            let plan = thread(Box::new(move || {
                let answer = request.ask(assignor.as_ref());
                drop(turn);
                answer
            }));
            plan.await.map_err(|_| ended())?
        };
        tokio::time::timeout(self.limit, planned).await.unwrap_or(Err(PlanFailure::TimedOut(self.limit)))
    }
}
