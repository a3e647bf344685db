//! The plugin that a task type is made into.

use std::sync::Arc;

use bytes::Bytes;
use dtf_model::plugin::{
    Dispatch, NewSubtask, TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPlugin, TaskScheduler,
};
use dtf_model::{InvalidInput, ShardKey, SubtaskId, TaskParam, TaskSpec};
use serde::de::DeserializeOwned;

use crate::codec::{decode, decode_param};

/// Makes the generator of a task.
pub(crate) type GeneratorOf<P> =
    Arc<dyn Fn(P, &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> + Send + Sync>;
/// Makes the executor of a task.
pub(crate) type ExecutorOf<P> =
    Arc<dyn Fn(P, &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> + Send + Sync>;
/// Makes the collector of a task.
pub(crate) type CollectorOf = Arc<dyn Fn(&TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> + Send + Sync>;
/// Checks a parameter beyond its type.
pub(crate) type CheckOf<P> = Arc<dyn Fn(&P) -> Result<(), String> + Send + Sync>;
/// Gives the key of an encoded item.
pub(crate) type KeyOfBody = Arc<dyn Fn(&[u8]) -> anyhow::Result<ShardKey> + Send + Sync>;
/// Decides when an encoded item is dispatched.
pub(crate) type DispatchOf = Arc<dyn Fn(SubtaskId, &[u8]) -> anyhow::Result<Dispatch> + Send + Sync>;

pub(crate) struct TypedPlugin<P> {
    pub(crate) name: String,
    pub(crate) conf: TaskConf,
    pub(crate) schema: Option<serde_json::Value>,
    pub(crate) check: Option<CheckOf<P>>,
    pub(crate) generator: GeneratorOf<P>,
    pub(crate) key: Option<KeyOfBody>,
    pub(crate) dispatch: Option<DispatchOf>,
    pub(crate) executor: ExecutorOf<P>,
    pub(crate) collector: CollectorOf,
}

impl<P: DeserializeOwned> TypedPlugin<P> {
    fn param(&self, param: &TaskParam) -> anyhow::Result<P> {
        decode_param(&self.name, &param.type_param)
    }
}

impl<P: DeserializeOwned + Send + Sync + 'static> TaskPlugin for TypedPlugin<P> {
    fn conf(&self) -> TaskConf {
        self.conf.clone()
    }

    fn schema(&self) -> Option<serde_json::Value> {
        self.schema.clone()
    }

    fn check(&self, param: &TaskParam) -> Result<(), InvalidInput> {
        let one_line = |error: String| InvalidInput::TypeParam(error.replace('\n', " "));
        let param = self.param(param).map_err(|error| one_line(format!("{error:#}")))?;
        let check = self.check.as_ref().map_or(Ok(()), |check| check(&param));
        check.map_err(|wrong| one_line(format!("the parameter of {}: {wrong}", self.name)))
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        (self.generator)(self.param(&spec.param)?, spec)
    }

    fn again(&self, _spec: &TaskSpec, body: Bytes) -> anyhow::Result<NewSubtask> {
        let key = self.key.as_ref().map(|key| key(&body)).transpose()?;
        Ok(NewSubtask { body, key })
    }

    fn executor(&self, spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        (self.executor)(self.param(&spec.param)?, spec)
    }

    fn scheduler(&self, _spec: &TaskSpec) -> Option<Arc<dyn TaskScheduler>> {
        let dispatch = self.dispatch.clone()?;
        Some(Arc::new(DispatchWhen(dispatch)))
    }

    fn collector(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        (self.collector)(spec)
    }
}

/// The scheduler callback over a closure.
struct DispatchWhen(DispatchOf);

#[async_trait::async_trait]
impl TaskScheduler for DispatchWhen {
    async fn before_dispatch(&self, id: SubtaskId, body: &Bytes) -> anyhow::Result<Dispatch> {
        (self.0)(id, body)
    }
}

/// Makes a closure over items one over their encoded form.
pub(crate) fn key_of_body<I: DeserializeOwned + 'static>(key: crate::input::KeyOf<I>) -> KeyOfBody {
    Arc::new(move |body: &[u8]| Ok(key(&decode("the item", body)?)))
}
