//! The replies of scripts: an array that begins with a code, as `lua/common.lua` defines it.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use dtf_model::queue::{Backlog, RESULTS_WATERMARK, RESULTS_WATERMARK_BYTES, TaskState, Usage};
use dtf_model::{Control, Counts, RunEpoch, Seq, StoreError, TaskId};
use redis::Value;

use crate::codec::{self, Unreadable};
use crate::connection::STORE;

/// The values of a reply, behind its code.
#[derive(Debug)]
pub(crate) struct Reply {
    code: i64,
    values: std::vec::IntoIter<Value>,
}

/// A reply that no script gives: the server has other scripts or data than ours.
pub(crate) fn malformed(what: impl std::fmt::Display) -> StoreError {
    StoreError::Refused { store: STORE, cause: format!("a reply is malformed: {what}") }
}

impl From<Unreadable> for Malformed {
    fn from(unreadable: Unreadable) -> Self {
        Self(unreadable.to_string())
    }
}

/// Why a reply cannot be read.
#[derive(Debug)]
pub(crate) struct Malformed(pub(crate) String);

impl From<Malformed> for StoreError {
    fn from(malformed: Malformed) -> Self {
        self::malformed(malformed.0)
    }
}

impl Reply {
    const OK: i64 = 0;
    const GONE: i64 = 1;
    const FENCED: i64 = 2;
    const CONFLICT: i64 = 3;
    const MORE: i64 = 4;

    pub(crate) fn new(value: Value) -> Result<Self, StoreError> {
        let Value::Array(values) = value else { return Err(malformed("no array")) };
        let mut values = values.into_iter();
        match values.next() {
            Some(Value::Int(code)) => Ok(Self { code, values }),
            other => Err(malformed(format!("{other:?} is no code"))),
        }
    }

    /// The reply to a call on a task that was not refused.
    pub(crate) fn of_task(mut self, task: TaskId, run: RunEpoch) -> Result<Self, StoreError> {
        match self.code {
            Self::OK => Ok(self),
            Self::GONE => Err(StoreError::Gone { task, run }),
            Self::CONFLICT => Err(StoreError::Conflict { task, why: self.text()? }),
            _ => self.of_shard(),
        }
    }

    /// The reply to a call on a shard that was not refused.
    pub(crate) fn of_shard(mut self) -> Result<Self, StoreError> {
        match self.code {
            Self::OK => Ok(self),
            Self::FENCED => Err(StoreError::Fenced { seen: self.number()? }),
            code => Err(malformed(format!("code {code}"))),
        }
    }

    /// Returns true if the reply says that there is more to be declared.
    pub(crate) fn is_more(&self) -> bool {
        self.code == Self::MORE
    }

    pub(crate) fn optional(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self.values.next() {
            Some(Value::Nil) | None => Ok(None),
            Some(Value::BulkString(bytes)) => Ok(Some(Bytes::from(bytes))),
            Some(Value::Int(number)) => Ok(Some(Bytes::from(number.to_string()))),
            Some(other) => Err(malformed(format!("{other:?} is no text"))),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, StoreError> {
        self.optional()?.ok_or_else(|| malformed("a value is missing"))
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.bytes()?.into()).map_err(malformed)
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<String>, StoreError> {
        let text = self.optional()?.map(|bytes| String::from_utf8(bytes.into()));
        text.transpose().map_err(malformed)
    }

    /// A number that must be there.
    pub(crate) fn number<T: FromStr>(&mut self) -> Result<T, StoreError> {
        parse(&self.text()?)
    }

    /// A counter; one that was never raised is not there.
    pub(crate) fn count(&mut self) -> Result<u64, StoreError> {
        self.optional_text()?.map_or(Ok(0), |text| parse(&text))
    }

    pub(crate) fn control(&mut self) -> Result<Control, StoreError> {
        read_control(&self.text()?)
    }

    /// The replies that this one carries.
    pub(crate) fn replies(self) -> Result<Vec<Self>, StoreError> {
        self.values.map(Self::new).collect()
    }

    /// The values that are left, as they are.
    pub(crate) fn values(self) -> std::vec::IntoIter<Value> {
        self.values
    }

    /// Everything that is left.
    pub(crate) fn rest(mut self) -> Result<Vec<Bytes>, StoreError> {
        let mut rest = Vec::with_capacity(self.values.len());
        while self.values.len() > 0 {
            rest.push(self.bytes()?);
        }
        Ok(rest)
    }

    /// Reads the reply of `backlog.lua`.
    pub(crate) fn backlog(&mut self) -> Result<Backlog, StoreError> {
        let pending = self.count()?;
        let busy: f64 = self.optional_text()?.map_or(Ok(0.0), |text| parse(&text))?;
        let timed = self.count()?;
        let control = self.control()?;
        let flooded = self.count()? >= RESULTS_WATERMARK;
        let flooded = self.count()? >= RESULTS_WATERMARK_BYTES || flooded;
        let waiting = pending + self.count()?;
        let bytes = self.count()?;
        Ok(Backlog { waiting, bytes, mean_run: mean_run(busy, timed), control, flooded })
    }

    /// Reads a task's use of executors, as `take.lua` and `load_scheduler.lua` reply it.
    pub(crate) fn usage(&mut self) -> Result<Usage, StoreError> {
        let (used, running) = (Duration::from_nanos(self.count()?), self.count()?);
        let busy: f64 = self.number()?;
        Ok(Usage { used, running, mean_run: mean_run(busy, self.count()?) })
    }

    /// A reply that commands gave instead of a script.
    pub(crate) fn of_values(values: Vec<Value>) -> Self {
        Self { code: Self::OK, values: values.into_iter() }
    }

    /// Reads the reply of `state.lua`; `None` where its parts are of different runs.
    pub(crate) fn state(&mut self) -> Result<Option<TaskState>, StoreError> {
        let run = RunEpoch(self.number()?);
        let control = self.control()?;
        let (generated, followed, reopened) = (self.count()?, self.count()?, self.count()?);
        let counts = Counts {
            created: created(generated, followed, reopened)?,
            succeeded: self.count()?,
            failed: self.count()?,
            cancelled: self.count()?,
            timed_out: self.count()?,
        };
        let (pending, running) = (self.count()?, self.count()?);
        let (used, collected) = (Duration::from_nanos(self.count()?), self.count()?);
        let generated = self.optional()?.is_some();
        let progress = self.optional_text()?.map(|text| parse(&text)).transpose()?;
        let stop = self.optional_text()?;
        let ending = self.optional()?;
        let waits = [self.optional_text()?, self.optional_text()?, self.optional_text()?];
        let delayed = self.count()?;
        let Some(spec) = self.optional()? else { return Ok(None) };
        let spec = codec::read_spec(&spec).map_err(Malformed::from)?;
        if spec.run != run {
            return Ok(None);
        }
        // A short ending is where the end is noted, any other in a key of its own.
        let ending = match ending {
            Some(noted) if *noted == b"+"[..] => match self.optional()? {
                Some(ending) => Some(ending),
                None => return Ok(None),
            },
            noted => noted,
        };
        let ending = ending.map(|json| serde_json::from_slice(&json)).transpose().map_err(malformed)?;
        Ok(Some(TaskState {
            spec,
            control,
            counts,
            pending,
            delayed,
            running,
            used,
            collected,
            generated,
            progress,
            stop,
            blocked_on: waits.into_iter().flatten().collect(),
            ending,
        }))
    }
}

/// The mean of so many subtasks that were busy for so many nanoseconds together.
pub(crate) fn mean_run(busy: f64, timed: u64) -> Option<Duration> {
    (timed > 0).then(|| Duration::from_nanos((busy / timed as f64).round() as u64))
}

/// As `created_of` in `common.lua`.
fn created(generated: u64, followed: u64, reopened: u64) -> Result<u64, StoreError> {
    let follow_ups = followed.checked_sub(Seq::FIRST_FOLLOW_UP.0);
    let created = follow_ups.and_then(|follow_ups| (generated + follow_ups).checked_sub(reopened));
    created.ok_or_else(|| malformed("no number of a follow-up"))
}

pub(crate) fn read_control(code: &str) -> Result<Control, StoreError> {
    Control::from_code(parse(code)?).ok_or_else(|| malformed(format!("control {code}")))
}

pub(crate) fn parse<T: FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| malformed(format!("{text:?} is no number")))
}
