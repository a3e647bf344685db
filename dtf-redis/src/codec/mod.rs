//! Parcels, results and shipments as bytes: a version, then numbers of variable length and bodies behind their lengths. The
//! scripts read and write parcels too, see `lua/parcel.lua`. Parcels and shipments with a key have a version of their own, and
//! the key behind it; those without are as they were before there were keys.

use std::fmt;
use std::sync::{Arc, LazyLock};

use bytes::{Buf, Bytes};
use dtf_model::plugin::SubtaskResult;
use dtf_model::queue::{MAX_EXECUTOR_LOSSES, Outcome, Parcel, ParcelId, ResultBatch};
use dtf_model::shard::{Shipment, ShipmentId};
use dtf_model::{EmitEpoch, RunEpoch, Seq, ShardKey, TaskId, TaskParam, TaskSpec, TaskTypeId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

const VERSION: u8 = 1;
/// That of a parcel or shipment with a key.
const KEYED: u8 = 2;
/// Attempts and executor losses are one number: so many times the attempts, and the executor losses.
const TRIES: u64 = MAX_EXECUTOR_LOSSES as u64 + 1;

/// Why stored bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// They were written by a later version of this crate.
    Newer(u8),
    /// They are something else, or cut.
    Corrupt,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(version) => write!(
                f,
                "an entry has format {version}, which this version does not read yet: update this process"
            ),
            Self::Corrupt => f.write_str("an entry is corrupt"),
        }
    }
}

fn put_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_number(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Reads from the front of bytes, sharing them.
struct Reader(Bytes);

impl Reader {
    /// Behind the version.
    fn open(mut bytes: Bytes) -> Result<Self, Unreadable> {
        match bytes.try_get_u8() {
            Ok(VERSION) => Ok(Self(bytes)),
            Ok(version) if version > VERSION => Err(Unreadable::Newer(version)),
            _ => Err(Unreadable::Corrupt),
        }
    }

    /// Behind the version, and behind the key that says which of both versions it is.
    fn open_keyed(mut bytes: Bytes) -> Result<(Self, Option<ShardKey>), Unreadable> {
        match bytes.try_get_u8() {
            Ok(VERSION) => Ok((Self(bytes), None)),
            Ok(KEYED) => {
                let mut reader = Self(bytes);
                let key = ShardKey::from_code(reader.number()?).ok_or(Unreadable::Corrupt)?;
                Ok((reader, Some(key)))
            }
            Ok(version) if version > KEYED => Err(Unreadable::Newer(version)),
            _ => Err(Unreadable::Corrupt),
        }
    }

    fn number(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.0.try_get_u8().map_err(|_| Unreadable::Corrupt)?;
            let part = u64::from(byte & 0x7f);
            if part > u64::MAX >> shift {
                return Err(Unreadable::Corrupt);
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Unreadable::Corrupt)
    }

    fn small(&mut self) -> Result<u32, Unreadable> {
        u32::try_from(self.number()?).map_err(|_| Unreadable::Corrupt)
    }

    fn bytes(&mut self) -> Result<Bytes, Unreadable> {
        let length = usize::try_from(self.number()?).map_err(|_| Unreadable::Corrupt)?;
        if length > self.0.len() {
            return Err(Unreadable::Corrupt);
        }
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<String, Unreadable> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| Unreadable::Corrupt)
    }

    fn parcel(&mut self, key: Option<ShardKey>) -> Result<Parcel, Unreadable> {
        let id = ParcelId { epoch: EmitEpoch(self.small()?), first: Seq(self.number()?) };
        let tries = self.number()?;
        let attempt = u32::try_from(tries / TRIES).map_err(|_| Unreadable::Corrupt)?;
        let executor_losses = (tries % TRIES) as u32;
        let count = usize::try_from(self.number()?).map_err(|_| Unreadable::Corrupt)?;
        // Every body takes a byte at least, so a wrong count allocates nothing.
        if count > self.0.len() {
            return Err(Unreadable::Corrupt);
        }
        let bodies = (0..count).map(|_| self.bytes()).collect::<Result<_, _>>()?;
        Ok(Parcel { id, attempt, executor_losses, key, bodies })
    }

    fn end(self) -> Result<(), Unreadable> {
        if self.0.is_empty() { Ok(()) } else { Err(Unreadable::Corrupt) }
    }
}

/// A parcel of these bodies that was not tried yet.
pub(crate) fn new_parcel(id: ParcelId, key: Option<ShardKey>, bodies: &[Bytes]) -> Vec<u8> {
    let size: usize = bodies.iter().map(|body| body.len() + 3).sum();
    let mut to = Vec::with_capacity(size + 28);
    put_version(&mut to, key);
    put_parcel(&mut to, id, 0, 0, bodies);
    to
}

fn put_version(to: &mut Vec<u8>, key: Option<ShardKey>) {
    match key {
        Some(key) => {
            to.push(KEYED);
            put_number(to, key.code());
        }
        None => to.push(VERSION),
    }
}

fn put_parcel(to: &mut Vec<u8>, id: ParcelId, attempt: u32, executor_losses: u32, bodies: &[Bytes]) {
    put_number(to, id.epoch.0.into());
    put_number(to, id.first.0);
    // Deaths end at `MAX_EXECUTOR_LOSSES`.
    put_number(to, u64::from(attempt) * TRIES + u64::from(executor_losses).min(TRIES - 1));
    put_number(to, bodies.len() as u64);
    for body in bodies {
        put_bytes(to, body);
    }
}

pub(crate) fn read_parcel(bytes: Bytes) -> Result<Parcel, Unreadable> {
    let (mut reader, key) = Reader::open_keyed(bytes)?;
    let parcel = reader.parcel(key)?;
    reader.end()?;
    Ok(parcel)
}

/// Returns the first bytes of a batch of results.
pub(crate) fn results_head(id: ParcelId) -> Vec<u8> {
    let mut to = vec![VERSION];
    put_number(&mut to, id.epoch.0.into());
    put_number(&mut to, id.first.0);
    to
}

/// One result behind the others: how far behind the parcel's first subtask it is, a letter for how it ended, and what it
/// carries.
pub(crate) fn put_result(to: &mut Vec<u8>, index: u64, outcome: &Outcome) {
    put_number(to, index);
    match outcome {
        Outcome::Succeeded(result) => {
            to.push(b's');
            put_number(to, result.code.into());
            put_bytes(to, result.msg.as_bytes());
            put_bytes(to, &result.body);
        }
        Outcome::Failed { error, body } => {
            to.push(b'f');
            put_bytes(to, error.as_bytes());
            put_bytes(to, body);
        }
        Outcome::TimedOut { body } => {
            to.push(b't');
            put_bytes(to, body);
        }
        Outcome::Cancelled => to.push(b'c'),
    }
}

pub(crate) fn read_results(bytes: Bytes) -> Result<ResultBatch, Unreadable> {
    let mut reader = Reader::open(bytes)?;
    let epoch = EmitEpoch(reader.small()?);
    let first = reader.number()?;
    let mut results = Vec::new();
    while !reader.0.is_empty() {
        let seq = first.checked_add(reader.number()?).ok_or(Unreadable::Corrupt)?;
        let outcome = match reader.0.try_get_u8().map_err(|_| Unreadable::Corrupt)? {
            b's' => Outcome::Succeeded(SubtaskResult {
                code: reader.small()?,
                msg: reader.text()?,
                body: reader.bytes()?,
            }),
            b'f' => Outcome::Failed { error: reader.text()?, body: reader.bytes()? },
            b't' => Outcome::TimedOut { body: reader.bytes()? },
            b'c' => Outcome::Cancelled,
            _ => return Err(Unreadable::Corrupt),
        };
        results.push((Seq(seq), outcome));
    }
    Ok(ResultBatch { epoch, results })
}

pub(crate) fn shipment(shipment: &Shipment) -> Vec<u8> {
    let size: usize = shipment.parcel.bodies.iter().map(|body| body.len() + 3).sum();
    let mut to = Vec::with_capacity(size + 48);
    put_version(&mut to, shipment.parcel.key);
    put_number(&mut to, shipment.task.0);
    put_number(&mut to, shipment.run.0.into());
    let Parcel { id, attempt, executor_losses, bodies, .. } = &shipment.parcel;
    put_parcel(&mut to, *id, *attempt, *executor_losses, bodies);
    to
}

pub(crate) fn read_shipment(bytes: Bytes) -> Result<Shipment, Unreadable> {
    let (mut reader, key) = Reader::open_keyed(bytes)?;
    let task = TaskId(reader.number()?);
    let run = RunEpoch(reader.small()?);
    let parcel = reader.parcel(key)?;
    reader.end()?;
    Ok(Shipment { task, run, parcel })
}

/// The name of a parcel among those that run, as `parcel.lua` makes it.
pub(crate) fn parcel_name(id: ParcelId) -> String {
    format!("{}:{}", id.epoch, id.first)
}

pub(crate) fn read_parcel_name(name: &str) -> Result<ParcelId, Unreadable> {
    let (epoch, first) = name.split_once(':').ok_or(Unreadable::Corrupt)?;
    Ok(ParcelId { epoch: read(epoch)?, first: read(first)? })
}

/// The name of a shipment on its shard.
pub(crate) fn shipment_name(id: &ShipmentId) -> String {
    format!("{}:{}:{}:{}:{}", id.task, id.run, id.parcel.epoch, id.parcel.first, id.attempt)
}

pub(crate) fn read_shipment_name(name: &str) -> Result<ShipmentId, Unreadable> {
    let parts: Vec<_> = name.split(':').collect();
    let [task, run, epoch, first, attempt] = parts[..] else { return Err(Unreadable::Corrupt) };
    let parcel = ParcelId { epoch: read(epoch)?, first: read(first)? };
    Ok(ShipmentId { task: read(task)?, run: read(run)?, parcel, attempt: read(attempt)? })
}

/// The stored form of a task's specification. Of the parameters only those that differ from the defaults are stored.
#[derive(Serialize)]
struct Stored<'a> {
    format: u8,
    id: TaskId,
    #[serde(skip_serializing_if = "Uuid::is_nil")]
    request: Uuid,
    run: RunEpoch,
    task_type: TaskTypeId,
    param: &'a Map<String, Value>,
}

/// A task's specification, as it is stored with its queues.
pub(crate) fn spec(spec: &TaskSpec) -> serde_json::Result<Vec<u8>> {
    static DEFAULT: LazyLock<Option<Value>> =
        LazyLock::new(|| serde_json::to_value(TaskParam::default()).ok());
    let mut param = match serde_json::to_value(&*spec.param)? {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    if let Some(default) = &*DEFAULT {
        param.retain(|name, value| default.get(name) != Some(value));
    }
    let TaskSpec { id, request, run, task_type, .. } = *spec;
    serde_json::to_vec(&Stored { format: VERSION, id, request, run, task_type, param: &param })
}

pub(crate) fn read_spec(json: &[u8]) -> Result<TaskSpec, Unreadable> {
    #[derive(Deserialize)]
    struct Read {
        // The first version wrote none.
        #[serde(default)]
        format: u8,
        id: TaskId,
        // The previous version wrote none.
        #[serde(default)]
        request: Uuid,
        run: RunEpoch,
        task_type: TaskTypeId,
        param: TaskParam,
    }
    // What a later version wrote may be anything but for this.
    #[derive(Deserialize)]
    struct Head {
        format: u8,
    }
    match serde_json::from_slice(json) {
        Ok(Read { format, id, request, run, task_type, param }) if format <= VERSION => {
            Ok(TaskSpec { id, request, run, task_type, param: Arc::new(param) })
        }
        _ => match serde_json::from_slice(json) {
            Ok(Head { format }) if format > VERSION => Err(Unreadable::Newer(format)),
            _ => Err(Unreadable::Corrupt),
        },
    }
}

fn read<T: std::str::FromStr>(text: &str) -> Result<T, Unreadable> {
    text.parse().map_err(|_| Unreadable::Corrupt)
}

#[cfg(test)]
mod tests;
