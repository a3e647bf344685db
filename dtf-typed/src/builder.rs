//! The builder of a task type. Its stages are types, so that the compiler knows which parts are there.

use std::marker::PhantomData;
use std::sync::Arc;

use dtf_model::plugin::{
    Dispatch, IterationMode, TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPluginRegistration,
};
use dtf_model::{Counts, ShardKey, SubtaskId, TaskSpec, TaskTypeId};
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{decode, decode_param};
use crate::collect::{Ended, Finish, Fold, FollowUps, Step, SummaryOf};
use crate::execute::{Context, TypedExecutor};
use crate::input::{KeyOf, Page, Pages, Positions, Source, SourceGenerator, Streamed};
use crate::live::Live;
use crate::number::number_of;
use crate::plugin::{CheckOf, DispatchOf, ExecutorOf, TypedPlugin, key_of_body};
use crate::task_type::TaskType;

/// A type that is stored and sent: everything that can be written and read by serde, and be sent between threads.
pub trait Stored: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Stored for T {}

/// Builds a [`TaskType`], stage by stage: [`Named`], [`WithInput`], [`WithExecutor`], [`WithFold`], [`WithResult`].
///
/// A part that is missing is a compile error:
///
/// ```compile_fail
/// use dtf_typed::TaskType;
/// let nothing_executes = TaskType::named("squares").input(|limit: u64| 0..limit).build();
/// ```
///
/// So is a part that does not fit the one before it:
///
/// ```compile_fail
/// use dtf_typed::TaskType;
/// let numbers_are_no_text = TaskType::named("squares")
///     .input(|limit: u64| 0..limit)
///     .execute(|text: String, _ctx| async move { Ok(text.len()) });
/// ```
#[must_use = "a task type is made by `build`"]
pub struct TaskTypeBuilder<S> {
    pub(crate) about: About,
    stage: S,
}

/// The settings of a type that is being built.
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) number: Option<TaskTypeId>,
    pub(crate) conf: TaskConf,
    pub(crate) schema: Option<serde_json::Value>,
}

/// The first stage: a name. It is followed by an input.
pub struct Named(());

type MakeGenerator<P, I> =
    Box<dyn Fn(P, &TaskSpec, Option<KeyOf<I>>) -> anyhow::Result<Box<dyn TaskGenerator>> + Send + Sync>;

/// The second stage: parameters `P` give items `I`. It is followed by an executor.
pub struct WithInput<P, I> {
    generator: MakeGenerator<P, I>,
    key: Option<KeyOf<I>>,
    check: Option<CheckOf<P>>,
    dispatch: Option<DispatchOf>,
}

/// The third stage: each item gives an output `O`. It is followed by a fold, or built as it is.
pub struct WithExecutor<P, I, O> {
    input: WithInput<P, I>,
    executor: ExecutorOf<P>,
    output: PhantomData<fn() -> O>,
}

/// The fourth stage: the outputs are folded into a state `S`, which is also the result of the task unless it is
/// [finished](TaskTypeBuilder::finish) into another one.
pub struct WithFold<P, I, O, S> {
    executor: WithExecutor<P, I, O>,
    init: S,
    step: Arc<Step<I, O, S>>,
}

/// Makes the collector of a task from the parts that other stages know.
type MakeCollector<I, R> = Box<
    dyn Fn(
            &TaskSpec,
            Option<KeyOf<I>>,
            Arc<Live>,
            Option<SummaryOf<R>>,
        ) -> anyhow::Result<Box<dyn TaskCollector>>
        + Send
        + Sync,
>;

/// The last stage: the result of a task is an `R`.
pub struct WithResult<P, I, O, R> {
    executor: WithExecutor<P, I, O>,
    collector: MakeCollector<I, R>,
    summary: Option<SummaryOf<R>>,
}

impl<S> TaskTypeBuilder<S> {
    fn then<T>(self, next: impl FnOnce(S) -> T) -> TaskTypeBuilder<T> {
        TaskTypeBuilder { about: self.about, stage: next(self.stage) }
    }
}

impl TaskTypeBuilder<Named> {
    pub(crate) fn new(name: String) -> Self {
        let conf = TaskConf::default();
        let about = About { name, description: String::new(), number: None, conf, schema: None };
        Self { about, stage: Named(()) }
    }

    /// Sets the items: anything that can be iterated over, made from the parameter of the task.
    ///
    /// It is resumed behind the items that were taken, with [`Iterator::nth`]: at no cost for ranges, slices and vectors. The
    /// items must be the same each time, for the same parameter. For items that are read from somewhere and may fail, see
    /// [`try_input`](Self::try_input).
    ///
    /// ```
    /// # use dtf_typed::TaskType;
    /// let numbers = TaskType::named("numbers").input(|limit: u64| 0..limit);
    /// let words = TaskType::named("words").input(|words: Vec<String>| words);
    /// let pairs = TaskType::named("pairs").input(|n: u32| (0..n).flat_map(move |a| (0..n).map(move |b| (a, b))));
    /// ```
    pub fn input<P, It>(
        self,
        input: impl Fn(P) -> It + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithInput<P, It::Item>>
    where
        P: Stored,
        It: IntoIterator<IntoIter: Send + 'static, Item: Stored>,
    {
        self.source(move |param, _| Ok(Positions::new(input(param).into_iter().map(Ok))))
    }

    /// Sets the items, where making them may fail. A failure is tried again, behind the items that were taken.
    ///
    /// ```
    /// # use dtf_typed::TaskType;
    /// use std::io::BufRead;
    ///
    /// let lines = TaskType::named("lines").try_input(|path: String| {
    ///     let file = std::io::BufReader::new(std::fs::File::open(path)?);
    ///     Ok(file.lines().map(|line| Ok(line?)))
    /// });
    /// ```
    pub fn try_input<P, I, It>(
        self,
        input: impl Fn(P) -> anyhow::Result<It> + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithInput<P, I>>
    where
        P: Stored,
        I: Stored,
        It: IntoIterator<IntoIter: Send + 'static, Item = anyhow::Result<I>>,
    {
        self.source(move |param, _| Ok(Positions::new(input(param)?.into_iter())))
    }

    /// Sets the items: an asynchronous stream that begins at a position, the number of items taken before.
    ///
    /// ```
    /// # use dtf_typed::TaskType;
    /// use futures::stream;
    ///
    /// let events = TaskType::named("events")
    ///     .input_stream(|last: u64, from: u64| stream::iter((from..last).map(Ok)));
    /// ```
    pub fn input_stream<P, I, St>(
        self,
        input: impl Fn(P, u64) -> St + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithInput<P, I>>
    where
        P: Stored + Clone,
        I: Stored,
        St: Stream<Item = anyhow::Result<I>> + Send + 'static,
    {
        let input = Arc::new(input);
        self.source(move |param: P, _| {
            let input = input.clone();
            let open = move |from: u64| -> BoxStream<'static, anyhow::Result<I>> {
                input(param.clone(), from).boxed()
            };
            Ok(Streamed::new(open))
        })
    }

    /// Sets the items: pages that are fetched one after the other, each by its cursor; the first one by none.
    ///
    /// The cursor is saved, so a page is fetched again only where it was taken in part. It must have the same items each
    /// time.
    ///
    /// ```
    /// # use dtf_typed::{Page, TaskType};
    /// let users = TaskType::named("users").input_pages(|last: u64, cursor: Option<u64>| async move {
    ///     let first = cursor.unwrap_or(0); // such as: SELECT … WHERE id >= first ORDER BY id LIMIT 100
    ///     let end = last.min(first + 100);
    ///     Ok(Page { items: (first..end).collect(), next: (end < last).then_some(end) })
    /// });
    /// ```
    pub fn input_pages<P, I, C, Fut>(
        self,
        fetch: impl Fn(P, Option<C>) -> Fut + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithInput<P, I>>
    where
        P: Stored + Clone,
        I: Stored,
        C: Stored + Clone,
        Fut: Future<Output = anyhow::Result<Page<I, C>>> + Send + 'static,
    {
        let fetch = Arc::new(fetch);
        self.source(move |param: P, _| {
            let fetch = fetch.clone();
            Ok(Pages::new(move |cursor| fetch(param.clone(), cursor).boxed()))
        })
    }

    /// Sets the items with a [`TaskGenerator`] of your own, which gives items `I` as JSON.
    pub fn generator<P: Stored, I: Stored>(
        self,
        generator: impl Fn(P, &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithInput<P, I>> {
        self.then(|_| WithInput {
            generator: Box::new(move |param, spec, _| generator(param, spec)),
            key: None,
            check: None,
            dispatch: None,
        })
    }

    fn source<P, I, Src>(
        self,
        source: impl Fn(P, &TaskSpec) -> anyhow::Result<Src> + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithInput<P, I>>
    where
        Src: Source<Item = I> + 'static,
        I: Stored,
    {
        self.then(|_| WithInput {
            generator: Box::new(move |param, spec, key| {
                Ok(Box::new(SourceGenerator { source: source(param, spec)?, key }))
            }),
            key: None,
            check: None,
            dispatch: None,
        })
    }
}

impl<P: Stored, I: Stored> TaskTypeBuilder<WithInput<P, I>> {
    /// Checks parameters before a task is created, beyond their type. An error is one line for the task's creator: what is
    /// wrong, and what is allowed.
    ///
    /// ```
    /// # use dtf_typed::TaskType;
    /// let squares = TaskType::named("squares").input(|limit: u64| 0..limit).check(|limit| match limit {
    ///     0..=2_000_000 => Ok(()),
    ///     _ => Err(format!("{limit} is too high; allowed is 0 to 2000000")),
    /// });
    /// ```
    pub fn check(mut self, check: impl Fn(&P) -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.stage.check = Some(Arc::new(check));
        self
    }

    /// Keeps items with the same key together on one executor, as long as it is there. See [`dtf_model::key`].
    pub fn keyed_by<K: AsRef<[u8]>>(self, key: impl Fn(&I) -> K + Send + Sync + 'static) -> Self {
        self.key(move |item| ShardKey::new(key(item)))
    }

    /// Executes items with the same key one at a time, in their order, across retries and lost executors. See
    /// [`dtf_model::key`].
    ///
    /// ```
    /// # use dtf_typed::TaskType;
    /// // (account, amount): the entries of an account are booked in their order.
    /// let transfers = TaskType::named("transfers")
    ///     .input(|entries: Vec<(String, i64)>| entries)
    ///     .ordered_by(|(account, _)| account.clone());
    /// ```
    pub fn ordered_by<K: AsRef<[u8]>>(self, key: impl Fn(&I) -> K + Send + Sync + 'static) -> Self {
        self.key(move |item| ShardKey::new(key(item)).ordered())
    }

    fn key(mut self, key: impl Fn(&I) -> ShardKey + Send + Sync + 'static) -> Self {
        self.stage.key = Some(Arc::new(key));
        self
    }

    /// Decides, for each item, whether it is dispatched now or asked about again later. It costs: such items travel one by
    /// one.
    pub fn dispatch_when(
        mut self,
        dispatch: impl Fn(SubtaskId, &I) -> anyhow::Result<Dispatch> + Send + Sync + 'static,
    ) -> Self {
        let decide = move |id, body: &[u8]| dispatch(id, &decode("the item", body)?);
        self.stage.dispatch = Some(Arc::new(decide));
        self
    }

    /// Sets the execution of an item. Any number of items are executed at the same time, in any process that has executors.
    ///
    /// An item may be executed more than once; its output counts once. An error is tried again, up to
    /// [`max_attempts`](Self::max_attempts), and so is a panic; a [`final_error`](crate::final_error) is not. The future is
    /// dropped when its [`timeout`](Self::timeout) is over.
    ///
    /// ```
    /// # use dtf_typed::TaskType;
    /// # async fn fetch(url: &str) -> anyhow::Result<String> { Ok(url.to_owned()) }
    /// let sizes = TaskType::named("sizes")
    ///     .input(|urls: Vec<String>| urls)
    ///     .execute(|url: String, _ctx| async move { Ok(fetch(&url).await?.len()) })
    ///     .build();
    /// ```
    pub fn execute<O, Fut>(
        self,
        execute: impl Fn(I, Context<P>) -> Fut + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithExecutor<P, I, O>>
    where
        O: Stored,
        Fut: Future<Output = anyhow::Result<O>> + Send + 'static,
    {
        let execute: Arc<crate::execute::Execute<P, I, O>> =
            Arc::new(move |item, context| execute(item, context).boxed());
        self.executor(move |param, _| {
            Ok(Arc::new(TypedExecutor { param: Arc::new(param), execute: execute.clone() }))
        })
    }

    /// Sets the execution of an item by code that blocks its thread: computations, files, clients that are not asynchronous.
    ///
    /// Such code costs its own slot only. When its timeout is over, it is counted as timed out, and its
    /// [token](dtf_model::plugin::ExecuteContext::cancelled) fires; it should look at that now and then.
    ///
    /// ```
    /// # use dtf_typed::TaskType;
    /// let sizes = TaskType::named("sizes")
    ///     .input(|paths: Vec<String>| paths)
    ///     .execute_blocking(|path: String, _ctx| Ok(std::fs::read(path)?.len()))
    ///     .fold(0, |sum: usize, size| sum + size)
    ///     .build();
    /// ```
    pub fn execute_blocking<O: Stored>(
        self,
        execute: impl Fn(I, Context<P>) -> anyhow::Result<O> + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithExecutor<P, I, O>> {
        let execute = Arc::new(execute);
        self.execute(move |item, context| {
            let execute = execute.clone();
            async move { execute(item, context) }
        })
    }

    /// Sets the execution with a [`TaskExecutor`] of your own, which reads items `I` and gives outputs `O` as JSON.
    pub fn executor<O: Stored>(
        self,
        executor: impl Fn(P, &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithExecutor<P, I, O>> {
        self.then(|input| WithExecutor { input, executor: Arc::new(executor), output: PhantomData })
    }
}

impl<P: Stored, I: Stored, O: Stored> TaskTypeBuilder<WithExecutor<P, I, O>> {
    /// Folds the outputs, in the order in which they come, beginning with `init`.
    ///
    /// The state is saved together with the outputs that it has in it, at most 64 KiB as JSON. A process that takes over
    /// continues there, so each output counts exactly once. Items that failed are counted by the framework and not folded;
    /// [`collect`](Self::collect) is told of them.
    pub fn fold<S: Stored + Clone>(
        self,
        init: S,
        step: impl Fn(S, O) -> S + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithFold<P, I, O, S>> {
        self.with_step(init, move |state, ended, _| match ended {
            Ended::Succeeded(output) => Ok(step(state, output)),
            _ => Ok(state),
        })
    }

    /// Folds all ends of subtasks, also of those that failed, and may add follow-ups: further items of the same task.
    ///
    /// ```
    /// # use dtf_typed::{Ended, TaskType};
    /// // Visits everything that can be reached from a number by halving it.
    /// let halves = TaskType::named("halves")
    ///     .input(|start: u64| [start])
    ///     .execute(|n: u64, _ctx| async move { Ok(n / 2) })
    ///     .collect(0u64, |visited, ended, follow_ups| {
    ///         *visited += 1;
    ///         match ended {
    ///             Ended::Succeeded(half) if half > 0 => follow_ups.add(&half),
    ///             _ => Ok(()),
    ///         }
    ///     })
    ///     .build();
    /// ```
    pub fn collect<S: Stored + Clone>(
        mut self,
        init: S,
        step: impl Fn(&mut S, Ended<I, O>, &mut FollowUps<'_, I>) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithFold<P, I, O, S>> {
        self.about.conf.iteration = IterationMode::Yes;
        self.with_step(init, move |mut state, ended, follow_ups| {
            step(&mut state, ended, follow_ups)?;
            Ok(state)
        })
    }

    fn with_step<S>(
        self,
        init: S,
        step: impl Fn(S, Ended<I, O>, &mut FollowUps<'_, I>) -> anyhow::Result<S> + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithFold<P, I, O, S>> {
        self.then(|executor| WithFold { executor, init, step: Arc::new(step) })
    }

    /// Sets the collection with a [`TaskCollector`] of your own, which reads outputs `O` and gives a result `R` as JSON.
    pub fn collector<R: 'static>(
        mut self,
        collector: impl Fn(P, &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithResult<P, I, O, R>> {
        self.about.conf.iteration = IterationMode::Yes;
        let name = self.about.name.clone();
        self.then(|executor| WithResult {
            executor,
            collector: Box::new(move |spec, _, _, _| {
                collector(decode_param(&name, &spec.param.type_param)?, spec)
            }),
            summary: None,
        })
    }

    /// Makes the task type. Its tasks have no result but their counts.
    pub fn build(self) -> TaskType<P, I, O, ()> {
        self.fold((), |(), _| ()).build()
    }
}

impl<P: Stored, I: Stored, O: Stored, S: Stored + Clone> TaskTypeBuilder<WithFold<P, I, O, S>> {
    /// Makes the result of a task from the state, once every item has ended.
    ///
    /// ```
    /// # use dtf_typed::TaskType;
    /// let mean = TaskType::named("mean")
    ///     .input(|numbers: Vec<f64>| numbers)
    ///     .execute(|n: f64, _ctx| async move { Ok(n.sqrt()) })
    ///     .fold(0.0, |sum: f64, root| sum + root)
    ///     .finish(|sum, counts| Ok(sum / counts.succeeded as f64))
    ///     .build();
    /// ```
    pub fn finish<R: Stored>(
        self,
        finish: impl Fn(S, &Counts) -> anyhow::Result<R> + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithResult<P, I, O, R>> {
        let finish: Arc<Finish<S, R>> = Arc::new(finish);
        self.then(|WithFold { executor, init, step }| WithResult {
            executor,
            collector: Box::new(move |spec, key, live, summary| {
                Ok(Box::new(Fold {
                    spec: spec.clone(),
                    state: Some(init.clone()),
                    step: step.clone(),
                    finish: finish.clone(),
                    summary,
                    key,
                    live,
                    feed: None,
                    position: 0,
                }))
            }),
            summary: None,
        })
    }

    /// Puts the state at the end in words, for people: the `reason` of a completed task.
    pub fn summary(
        self,
        summary: impl Fn(&S, &Counts) -> String + Send + Sync + 'static,
    ) -> TaskTypeBuilder<WithResult<P, I, O, S>> {
        self.finish(|state, _| Ok(state)).summary(summary)
    }

    /// Makes the task type. The result of a task is the state at its end.
    pub fn build(self) -> TaskType<P, I, O, S> {
        self.finish(|state, _| Ok(state)).build()
    }
}

impl<P: Stored, I: Stored, O, R: 'static> TaskTypeBuilder<WithResult<P, I, O, R>> {
    /// Puts the result in words, for people: the `reason` of a completed task. A [`collector`](TaskTypeBuilder::collector) of
    /// your own gives its own.
    ///
    /// ```
    /// # use dtf_typed::TaskType;
    /// let squares = TaskType::named("squares")
    ///     .input(|limit: u64| 0..limit)
    ///     .execute(|n: u64, _ctx| async move { Ok(n * n) })
    ///     .fold(0u64, |sum, square| sum + square)
    ///     .finish(|sum, _counts| Ok(sum))
    ///     .summary(|sum, counts| format!("{} squares make {sum}", counts.succeeded))
    ///     .build();
    /// ```
    pub fn summary(mut self, summary: impl Fn(&R, &Counts) -> String + Send + Sync + 'static) -> Self {
        self.stage.summary = Some(Arc::new(summary));
        self
    }

    /// Makes the task type.
    pub fn build(self) -> TaskType<P, I, O, R> {
        let About { name, description, number, conf, schema } = self.about;
        let WithResult { executor, collector, summary } = self.stage;
        let WithExecutor { input: WithInput { generator, key, check, dispatch }, executor, .. } = executor;
        let live = Arc::<Live>::default();
        let (for_generator, for_collector, feeding) = (key.clone(), key.clone(), live.clone());
        let plugin = TypedPlugin {
            name: name.clone(),
            conf,
            schema,
            check,
            generator: Arc::new(move |param, spec| generator(param, spec, for_generator.clone())),
            key: key.map(key_of_body),
            dispatch,
            executor,
            collector: Arc::new(move |spec| {
                collector(spec, for_collector.clone(), feeding.clone(), summary.clone())
            }),
        };
        let task_type = number.unwrap_or_else(|| number_of(&name));
        let registration = TaskPluginRegistration { task_type, name, description, plugin: Arc::new(plugin) };
        TaskType { registration, live, types: PhantomData }
    }
}
