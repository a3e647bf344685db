//! The way from one process to the stores, with faults on it.

use std::any::Any;
use std::sync::Arc;

use dtf::Ports;
use dtf::model::StoreError;
use dtf::model::intercept::{Call, Intercepted, Interceptor};
use tokio::sync::Notify;

/// The fate of a call.
pub(crate) enum Fate {
    /// It is made and answered.
    Pass,
    /// It is not made.
    Unreachable,
    /// It is refused.
    Refused,
    /// It is made, and its answer is lost.
    Unknown,
    /// It is made, and its answer comes when this is notified.
    Held(Arc<Notify>),
}

/// Says what becomes of each call, by the name of its method.
pub(crate) type Faults = Arc<dyn Fn(&'static str) -> Fate + Send + Sync>;

/// These stores, as they are seen through faults.
pub(crate) fn wired(ports: &Ports, faults: &Faults) -> Ports {
    let wire = Arc::new(Wire(faults.clone()));
    Ports {
        table: Intercepted::new(ports.table.clone(), wire.clone()),
        queues: Intercepted::new(ports.queues.clone(), wire.clone()),
        shards: Intercepted::new(ports.shards.clone(), wire),
        ..ports.clone()
    }
}

struct Wire(Faults);

impl Interceptor for Wire {
    async fn around<T: Any + Send>(
        &self,
        call: Call<'_>,
        next: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let (store, name) = ("the test's store", call.method);
        match (self.0)(name) {
            Fate::Pass => next.await,
            Fate::Unreachable => Err(StoreError::Unreachable { store, cause: format!("{name} not sent") }),
            Fate::Refused => Err(StoreError::Refused { store, cause: format!("{name} not wanted") }),
            Fate::Unknown => {
                next.await?;
                Err(StoreError::Unknown { store, cause: format!("{name} not answered") })
            }
            Fate::Held(until) => {
                let answer = next.await;
                until.notified().await;
                answer
            }
        }
    }
}
