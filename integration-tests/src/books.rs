//! The task type `books`: numbers, of which everybody can see from outside that each was executed and counted once.
//!
//! The executor writes the number of each subtask that it executed to the end of a file, so a number that is not there was
//! never executed. The collector keeps the count, the sum and the sum of squares of the numbers it was told, in the status
//! that is committed with the results: a number told twice or not at all shows in them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf::model::plugin::{
    CollectorSupport, ExecuteContext, ExecuteError, Generated, IterationMode, NewSubtask, ResultOf,
    SubtaskResult, TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration,
    TaskResult,
};
use dtf::model::queue::{MAX_EXECUTOR_LOSSES, Outcome};
use dtf::model::{Counts, InvalidInput, ShardKey, TaskParam, TaskSpec, TaskTypeId};
use serde::{Deserialize, Serialize};

/// The number of the type.
pub const BOOKS: TaskTypeId = TaskTypeId(1000);

/// The parameter of a task of the type.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BooksParam {
    /// The number of subtasks; their numbers begin at 0.
    pub count: u64,
    /// The time that each takes, in milliseconds.
    pub sleep_ms: u64,
    /// The file for the numbers of the executed ones, eight bytes each.
    pub file: PathBuf,
    /// The number of times that each stays open before a result of it is the last: it is executed so often besides.
    #[serde(default)]
    pub rounds: u8,
    /// The first collector that is told this number ends its process, behind the callback and before the commit.
    #[serde(default)]
    pub fatal: Option<u64>,
    /// Into how many ordered shard keys the numbers are divided; without, they have none.
    #[serde(default)]
    pub keys: Option<u64>,
    /// True if the last number waits, when it is executed, until it is let go: the task cannot end before.
    #[serde(default)]
    pub held: bool,
    /// The numbers that are multiples of this fail for good, until they are mended (see [`mended`]).
    #[serde(default)]
    pub fails: Option<u64>,
    /// The collector adds a subtask for each of so many numbers from 0 on; their numbers follow those of the generator.
    #[serde(default)]
    pub adds: Option<u64>,
}

impl BooksParam {
    /// Returns true if this number fails when it is executed now.
    fn fails(&self, number: u64) -> bool {
        self.fails.is_some_and(|every| number.is_multiple_of(every)) && !mended(&self.file).exists()
    }

    /// The subtask that the collector adds when it is told this number, if there is one.
    fn added(&self, number: u64) -> Option<NewSubtask> {
        let added = self.count + number;
        (number < self.adds?).then(|| NewSubtask::new(Bytes::copy_from_slice(&added.to_be_bytes())))
    }

    /// Returns true if it is this number's turn to wait.
    fn waits(&self, number: u64) -> bool {
        self.held && number + 1 == self.count && !let_go(&self.file).exists()
    }
}

/// Returns the file, beside that of the executed numbers, that has to be there for the last number not to wait.
pub fn let_go(file: &Path) -> PathBuf {
    file.with_extension("let-go")
}

/// The file whose presence, beside the file of the executed numbers, lets the numbers succeed that fail.
pub fn mended(file: &Path) -> PathBuf {
    file.with_extension("mended")
}

/// All files that a task can have written, that of the executed numbers first.
pub fn files(file: &Path) -> [PathBuf; 5] {
    [file.to_owned(), begun(file), order(file), mended(file), let_go(file)]
}

/// The numbers that were executed, in no order, those that were executed twice twice.
///
/// # Errors
/// The file cannot be read.
pub fn executed(file: &Path) -> std::io::Result<Vec<u64>> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(bytes.as_chunks::<8>().0.iter().map(|number| u64::from_be_bytes(*number)).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Returns the file, beside that of the executed numbers, to which a byte is written for each execution that begins.
pub fn begun(file: &Path) -> PathBuf {
    file.with_extension("begun")
}

/// Returns the file in which the begin and the end of each execution are noted, as soon as there are keys.
fn order(file: &Path) -> PathBuf {
    file.with_extension("order")
}

const BEGINS: u8 = b'b';
const ENDS: u8 = b'e';

/// Returns the violations of order among the executions of a task with so many keys: a number that began after a higher one
/// of its key, or before the one before it had ended. One that never ended, as its process was killed, may have begun
/// again.
///
/// # Errors
/// The file cannot be read.
pub fn out_of_order(file: &Path, keys: u64) -> std::io::Result<Vec<String>> {
    let bytes = std::fs::read(order(file))?;
    let mut latest: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
    let mut faults = Vec::new();
    for [what, number @ ..] in bytes.as_chunks::<9>().0 {
        let number = u64::from_be_bytes(*number);
        let ended = *what == ENDS;
        match latest.insert(number % keys, (number, ended)) {
            Some((before, _)) if ended && before != number => {
                faults.push(format!("{number} ended in {before}"))
            }
            Some((before, _)) if !ended && before > number => faults.push(format!("{number} after {before}")),
            Some((before, false)) if !ended && before < number => {
                faults.push(format!("{number} while {before} ran"));
            }
            _ => {}
        }
    }
    Ok(faults)
}

/// The results that a collector was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The number of successes.
    pub succeeded: u64,
    /// The number of other ends.
    pub otherwise: u64,
    /// The sum of the numbers that succeeded.
    pub sum: u64,
    /// The sum of their squares, without what is over 64 bits.
    pub squares: u64,
}

impl Told {
    /// The results when each number below `count` was told once.
    pub fn once_each(count: u64) -> Self {
        Self::each_of(0..count)
    }

    /// The results when each of these numbers was told once.
    pub fn each_of(numbers: impl IntoIterator<Item = u64>) -> Self {
        numbers.into_iter().fold(Self::default(), |told, number| told.and(number))
    }

    fn and(self, number: u64) -> Self {
        Self {
            succeeded: self.succeeded + 1,
            sum: self.sum.wrapping_add(number),
            squares: self.squares.wrapping_add(number.wrapping_mul(number)),
            ..self
        }
    }
}

/// The task type `books`.
#[derive(Clone, Copy, Debug)]
pub struct Books;

impl Books {
    /// Under its number and name.
    pub fn registration() -> TaskPluginRegistration {
        TaskPluginRegistration {
            task_type: BOOKS,
            name: "books".to_owned(),
            description: "numbers whose executions can be seen from outside".to_owned(),
            plugin: Arc::new(Self),
        }
    }
}

fn read(param: &TaskParam) -> Result<BooksParam, InvalidInput> {
    serde_json::from_value(param.type_param.clone())
        .map_err(|error| InvalidInput::TypeParam(error.to_string()))
}

impl TaskPlugin for Books {
    fn conf(&self) -> TaskConf {
        // A subtask that fails because of a fault shall be seen; that its executors are killed is not its fault.
        TaskConf {
            iteration: IterationMode::Yes,
            max_attempts: 1,
            max_executor_losses: MAX_EXECUTOR_LOSSES,
            backlog: 2000,
            ..TaskConf::default()
        }
    }

    fn check(&self, param: &TaskParam) -> Result<(), InvalidInput> {
        read(param).map(drop)
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        let BooksParam { count, keys, .. } = read(&spec.param)?;
        Ok(Box::new(Numbers { count, keys, next: 0 }))
    }

    fn executor(&self, spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        let param = read(&spec.param)?;
        let open = |file: &Path| File::options().create(true).append(true).open(file);
        let order = param.keys.map(|_| open(&order(&param.file))).transpose()?;
        let (file, begun) = (open(&param.file)?, open(&begun(&param.file))?);
        Ok(Arc::new(Writer { param, file, begun, order }))
    }

    fn collector(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        Ok(Box::new(Teller { param: read(&spec.param)?, told: Told::default() }))
    }
}

struct Numbers {
    count: u64,
    keys: Option<u64>,
    next: u64,
}

#[async_trait]
impl TaskGenerator for Numbers {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.next = saved.map_or(Ok(0), |saved| number_in(&saved))?;
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let end = self.count.min(self.next.saturating_add(most as u64));
        let subtask = |number: u64| NewSubtask {
            key: self.keys.map(|keys| ShardKey::new((number % keys).to_be_bytes()).ordered()),
            ..NewSubtask::new(Bytes::copy_from_slice(&number.to_be_bytes()))
        };
        let subtasks = (self.next..end).map(subtask).collect();
        self.next = end;
        Ok(Generated { subtasks, finished: self.next >= self.count })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(Bytes::copy_from_slice(&self.next.to_be_bytes())))
    }
}

fn number_in(body: &[u8]) -> anyhow::Result<u64> {
    Ok(u64::from_be_bytes(*body.first_chunk().context("it is no number")?))
}

/// Returns the number of times it stayed open: the part behind the number.
fn round_of(body: &[u8]) -> u8 {
    body.get(8).copied().unwrap_or(0)
}

struct Writer {
    param: BooksParam,
    file: File,
    begun: File,
    order: Option<File>,
}

impl Writer {
    fn note(&self, what: u8, body: &[u8]) -> anyhow::Result<()> {
        if let Some(mut order) = self.order.as_ref() {
            order.write_all(&[&[what], body.get(..8).context("it is no number")?].concat())?;
        }
        Ok(())
    }
}

#[async_trait]
impl TaskExecutor for Writer {
    async fn execute(&self, body: &Bytes, _: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        (&self.begun).write_all(&[0])?;
        self.note(BEGINS, body)?;
        tokio::time::sleep(Duration::from_millis(self.param.sleep_ms)).await;
        let number = number_in(body)?;
        if self.param.fails(number) {
            self.note(ENDS, body)?;
            return Err(ExecuteError::final_error(anyhow::anyhow!("number {number} fails")));
        }
        while self.param.waits(number) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // One write of eight bytes to the end of a file: whole, whoever else writes, and there when this process is killed.
        (&self.file).write_all(&number.to_be_bytes())?;
        self.note(ENDS, body)?;
        Ok(SubtaskResult::new(body.clone()))
    }
}

struct Teller {
    param: BooksParam,
    told: Told,
}

#[async_trait]
impl TaskCollector for Teller {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.told = saved.map_or(Ok(Told::default()), |saved| serde_json::from_slice(&saved))?;
        Ok(())
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        match &result.outcome {
            Outcome::Succeeded(done) if round_of(&done.body) < self.param.rounds => {
                let round = [round_of(&done.body) + 1];
                let next = [&number_in(&done.body)?.to_be_bytes()[..], &round].concat();
                support.keep_open(NewSubtask::new(next), Duration::from_millis(5));
            }
            Outcome::Succeeded(done) => {
                let number = number_in(&done.body)?;
                self.told = self.told.and(number);
                if let Some(added) = self.param.added(number) {
                    support.add_subtask(added);
                }
                if self.param.fatal == Some(number) {
                    self.die_once();
                }
            }
            _ => self.told.otherwise += 1,
        }
        Ok(())
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(serde_json::to_vec(&self.told)?.into()))
    }

    async fn after_task_completed(&mut self, _: &Counts) -> anyhow::Result<TaskResult> {
        Ok(TaskResult { data: serde_json::to_value(self.told)?, ..TaskResult::default() })
    }
}

impl Teller {
    /// Ends the process, unless one has been ended already.
    fn die_once(&self) {
        let mark = self.param.file.with_extension("died");
        if File::create_new(mark).is_ok() {
            std::process::abort();
        }
    }
}
