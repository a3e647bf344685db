//! Giving work to remote workers, and taking their reports.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dtf_api as api;
use dtf_api::Code;
use dtf_model::TaskId;
use dtf_model::gateway::{Gateway, NamedWorker};
use dtf_model::plugin::MAX_BODY_BYTES;
use dtf_model::queue::ExecutorQueue;
use dtf_types::exchange::{
    ExchangeError, Given, ItemOutcome, LEASE, MAX_ITEMS, Note, Report, SessionView, TicketKey, WorkerInfo,
};
use dtf_types::{Exchange, exchange};
use lrmf_core::admin::AdminError;
use uuid::Uuid;

use super::App;
use super::audit::Change;
use super::gateway::{self, LocalGateway};
use crate::convert;
use crate::problem::Failed;

/// The most functions of a worker.
const MAX_FUNCTIONS: usize = 100;
/// The longest name of a worker, of its language and of its version, in characters.
const MAX_NAME_CHARS: usize = 128;
/// The most characters of a note on an item.
const MAX_NOTE_CHARS: usize = 256;
/// The most characters of an error that are kept.
const MAX_ERROR_CHARS: usize = 4096;

impl App {
    /// Gives work to remote workers: in the process of this name, which has the executor role, and whose exchange this is. Successes that
    /// its executor does not wait for any more are put into these queues.
    #[must_use]
    pub fn with_exchange(self, exchange: Exchange, process: &str, queues: Arc<dyn ExecutorQueue>) -> Self {
        Self { gateway: Some(Arc::new(LocalGateway::new(exchange, process, queues))), ..self }
    }

    fn local_gateway(&self) -> Result<&LocalGateway, Failed> {
        self.gateway.as_deref().ok_or_else(|| {
            Failed::new(Code::NotAllowed, "this process executes nothing; ask one with the role executor")
        })
    }

    fn exchange(&self) -> Result<&Exchange, Failed> {
        Ok(&self.local_gateway()?.exchange)
    }

    async fn ticket_key(&self) -> Result<&TicketKey, Failed> {
        Ok(self.exchange()?.ticket_key().await.map_err(AdminError::from)?)
    }

    /// Gives items to a worker, and waits for the first one.
    ///
    /// # Errors
    /// The session is unknown, the request is out of range, or the token is not for one of the functions.
    pub async fn poll(&self, poll: api::Poll) -> Result<api::Work, Failed> {
        let (exchange, key) = (self.exchange()?, self.ticket_key().await?);
        let most = poll.most as usize;
        if most > MAX_ITEMS {
            return Err(Failed::invalid(format!("most is {most}; allowed is 0 to {MAX_ITEMS}")));
        }
        let session = match poll.session {
            Some(session) => session,
            None => exchange.begin(self.check_worker(poll.worker, &poll.functions)?, &poll.functions)?,
        };
        let (given, news) = exchange.poll(session, most, Duration::from_millis(poll.wait_ms)).await?;
        let items = given.into_iter().map(|given| item(key, given)).collect::<Result<_, _>>()?;
        let dropped = gateway::dropped(key, &news);
        Ok(api::Work { session, lease_ms: lease_ms(), items, dropped, drain: news.drain })
    }

    fn check_worker(&self, worker: api::WorkerInfo, functions: &[String]) -> Result<WorkerInfo, Failed> {
        let api::WorkerInfo { name, language, version, slots } = worker;
        for (what, text) in [("name", &name), ("language", &language), ("version", &version)] {
            let chars = text.chars().count();
            if chars > MAX_NAME_CHARS {
                let detail =
                    format!("worker.{what} has {chars} characters; at most {MAX_NAME_CHARS} are allowed");
                return Err(Failed::invalid(detail));
            }
        }
        if name.is_empty() {
            return Err(Failed::invalid("worker.name is empty; give the worker a name, such as its host's"));
        }
        if !(1..=MAX_FUNCTIONS).contains(&functions.len()) {
            let detail = format!("functions has {} names; allowed are 1 to {MAX_FUNCTIONS}", functions.len());
            return Err(Failed::invalid(detail));
        }
        for function in functions {
            dtf_types::check_function_name(function)?;
            let types = &self.caller.types;
            if !types.is_empty() && !types.contains(function) {
                let detail = format!("this token is for {}, not for {function:?}", types.join(", "));
                return Err(Failed::new(Code::Forbidden, detail));
            }
        }
        Ok(WorkerInfo { name, language, version, slots })
    }

    /// Takes the outcomes of items. Successes are taken wherever the items were given out, and whatever has become of that process.
    ///
    /// # Errors
    /// The session is unknown, or the request is out of range; then nothing was taken. Or the store failed; what was taken is not taken
    /// again.
    pub async fn report_work(&self, report: api::ReportWork) -> Result<api::Reported, Failed> {
        let count = report.reports.len();
        if count > MAX_ITEMS {
            return Err(Failed::invalid(format!(
                "{count} reports are too many; at most {MAX_ITEMS} are taken"
            )));
        }
        let (gateway, key) = (self.local_gateway()?, self.ticket_key().await?);
        let (mut reports, mut unknown) = (Vec::with_capacity(count), Vec::new());
        for report in report.reports {
            let (text, outcome) = outcome(report)?;
            match key.verify(&text) {
                Some(ticket) => reports.push(Report { ticket, outcome }),
                None => unknown.push(text),
            }
        }
        let left = gateway.exchange.report(report.session, reports)?;
        let useless = gateway.count_late(self.client(), left).await?;
        unknown.extend(useless.into_iter().map(|ticket| key.sign(ticket)));
        Ok(api::Reported { accepted: (count - unknown.len()) as u64, unknown })
    }

    /// Renews a worker's session, and waits for news.
    ///
    /// # Errors
    /// The session is unknown.
    pub async fn beat(&self, beat: api::Beat) -> Result<api::News, Failed> {
        let wait = Duration::from_millis(beat.wait_ms);
        if beat.notes.len() > MAX_ITEMS {
            let detail = format!("{} notes are too many; at most {MAX_ITEMS} are taken", beat.notes.len());
            return Err(Failed::invalid(detail));
        }
        let (exchange, key) = (self.exchange()?, self.ticket_key().await?);
        let notes = beat.notes.into_iter().map(note).collect::<Result<Vec<_>, _>>()?;
        let known = notes.into_iter().filter_map(|(text, note)| Some((key.verify(&text)?, note)));
        exchange.note(beat.session, known);
        let (mut running, mut dropped) = (Vec::with_capacity(beat.running.len()), Vec::new());
        for text in beat.running {
            match key.verify(&text) {
                Some(ticket) => running.push(ticket),
                None => dropped.push(text),
            }
        }
        let wait = if dropped.is_empty() { wait } else { Duration::ZERO };
        let news = exchange.beat(beat.session, &running, wait).await?;
        dropped.extend(gateway::dropped(key, &news));
        Ok(api::News { lease_ms: lease_ms(), dropped, drain: news.drain })
    }

    /// Ends a worker's session.
    ///
    /// # Errors
    /// This process executes nothing.
    pub fn leave(&self, session: Uuid) -> Result<(), Failed> {
        self.exchange()?.leave(session);
        Ok(())
    }

    /// Returns the remote workers that are connected to this process, and what other processes have said of theirs.
    ///
    /// # Errors
    /// The store failed.
    pub async fn remote_workers(&self) -> Result<Vec<api::RemoteWorker>, Failed> {
        let ours = self.gateway.iter().flat_map(|gateway| {
            gateway.exchange.sessions().into_iter().map(|view| connected_here(view, &gateway.process))
        });
        let mut workers: Vec<_> = ours.collect();
        let here: HashSet<Uuid> = workers.iter().map(|worker| worker.session).collect();
        let process = self.gateway.as_ref().map(|gateway| &*gateway.process);
        for Gateway { process: name, workers: named, .. } in self.client().gateways().await? {
            // Of this process it is known better.
            if process == Some(name.as_str()) {
                continue;
            }
            let elsewhere = named.into_iter().filter(|worker| !here.contains(&worker.session));
            workers.extend(elsewhere.map(|worker| connected_elsewhere(worker, &name)));
        }
        workers
            .sort_by(|one, other| (&one.worker.name, one.session).cmp(&(&other.worker.name, other.session)));
        Ok(workers)
    }

    /// Returns the items that workers have which are connected to this process, those that run longest first.
    ///
    /// # Errors
    /// The limit is out of range.
    pub fn running_items(&self, query: &api::RunningQuery) -> Result<Vec<api::RunningItem>, Failed> {
        self.caller().check_unlimited()?;
        let most = super::page(query.limit, 100)?;
        let running =
            |gateway: &Arc<LocalGateway>| gateway.exchange.running(query.task.map(TaskId), most as usize);
        let view = |item: exchange::RunningItem| api::RunningItem {
            task: item.subtask.task.0,
            key: item.subtask.to_string(),
            function: item.function.to_string(),
            worker: item.worker,
            attempt: item.attempt,
            running_ms: u64::try_from(item.running.as_millis()).unwrap_or(u64::MAX),
            progress: item.note.progress,
            message: item.note.message,
        };
        Ok(self.gateway.iter().flat_map(running).map(view).collect())
    }

    /// Asks all remote workers with a name that are connected to this process to end what they have and leave.
    ///
    /// # Errors
    /// There is no such worker, or the audit failed.
    pub async fn drain_remote(&self, name: &str) -> Result<(), Failed> {
        self.caller.check_unlimited()?;
        let (target, request) = (format!("remote worker {name}"), Uuid::new_v4());
        let change = Change { action: "worker.drain", target, detail: String::new(), request };
        self.audited(change, async {
            match self.exchange()?.drain(name) {
                true => Ok(()),
                false => Err(Failed::not_found(format!("no worker {name:?} is connected to this process"))),
            }
        })
        .await
    }
}

fn connected_here(view: SessionView, process: &str) -> api::RemoteWorker {
    let WorkerInfo { name, language, version, slots } = view.worker;
    api::RemoteWorker {
        session: view.session,
        worker: api::WorkerInfo { name, language, version, slots },
        functions: view.functions.iter().map(|name| name.to_string()).collect(),
        process: process.to_owned(),
        running: Some(view.running as u64),
        lease_ms: Some(view.lease_ms),
        drained: view.drained,
    }
}

fn connected_elsewhere(worker: NamedWorker, process: &str) -> api::RemoteWorker {
    let NamedWorker { session, name, language, version, slots, functions, drained } = worker;
    api::RemoteWorker {
        session,
        worker: api::WorkerInfo { name, language, version, slots },
        functions,
        process: process.to_owned(),
        running: None,
        lease_ms: None,
        drained,
    }
}

fn note(note: api::ItemNote) -> Result<(String, Note), Failed> {
    let api::ItemNote { ticket, progress, message } = note;
    if let Some(progress) = progress.filter(|progress| !(0.0..=1.0).contains(progress)) {
        return Err(Failed::invalid(format!("the progress of {ticket} is {progress}; allowed is 0 to 1")));
    }
    let chars = message.as_ref().map_or(0, |message| message.chars().count());
    if chars > MAX_NOTE_CHARS {
        let detail =
            format!("the message of {ticket} has {chars} characters; at most {MAX_NOTE_CHARS} are taken");
        return Err(Failed::invalid(detail));
    }
    Ok((ticket, Note { progress, message }))
}

fn lease_ms() -> u64 {
    u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX)
}

fn item(key: &TicketKey, given: Given) -> Result<api::WorkItem, Failed> {
    let item = given.item;
    Ok(api::WorkItem {
        ticket: key.sign(given.ticket),
        function: item.function.to_string(),
        task: item.subtask.task.0,
        key: item.subtask.to_string(),
        attempt: item.attempt,
        timeout_ms: u64::try_from(item.timeout.as_millis()).unwrap_or(u64::MAX),
        body: convert::json(&item.body, "an item")?,
    })
}

fn outcome(report: api::ItemReport) -> Result<(String, ItemOutcome), Failed> {
    let api::ItemReport { ticket, result, error, retryable } = report;
    let outcome = match (result, error) {
        (Some(_), Some(_)) => {
            return Err(Failed::invalid(format!(
                "the report on {ticket} has a result and an error; give one of them"
            )));
        }
        (None, Some(error)) => {
            ItemOutcome::Failed { message: error.chars().take(MAX_ERROR_CHARS).collect(), retryable }
        }
        (result, None) => {
            let json = result.as_ref().map_or("null", |json| json.get());
            if json.len() > MAX_BODY_BYTES {
                let detail = format!(
                    "the result of {ticket} has {} bytes; at most {MAX_BODY_BYTES} are taken",
                    json.len()
                );
                return Err(Failed::new(Code::TooLarge, detail));
            }
            ItemOutcome::Succeeded(Bytes::copy_from_slice(json.as_bytes()))
        }
    };
    Ok((ticket, outcome))
}

impl From<ExchangeError> for Failed {
    fn from(error: ExchangeError) -> Self {
        let code = match error {
            ExchangeError::NoSession => Code::NoSession,
            ExchangeError::Full => Code::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}
