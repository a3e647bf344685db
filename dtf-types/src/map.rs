//! The plugin.

use std::sync::Arc;

use dtf_model::plugin::{
    MAX_SUBTASK_TIMEOUT, Members, TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPlugin,
    TaskPluginRegistration,
};
use dtf_model::result::ResultTable;
use dtf_model::{InvalidInput, TaskParam, TaskSpec, TaskTypeId};
use serde::Deserialize;
use tokio::sync::watch;

use crate::exchange::Exchange;
use crate::function::RemoteFunction;
use crate::param::{Function, MAX_ATTEMPTS, MapParam, Sink};
use crate::sink::{CountSink, JsonlSink, KeepSink};
use crate::source;

/// The number of the type.
const MAP: TaskTypeId = TaskTypeId(5);

/// Returns the type `map`. `exchange` is where remote workers are met, in a process with the executor role; `results` keeps results, in
/// one with the collector role.
pub fn registration(
    exchange: Option<Exchange>,
    results: Option<Arc<dyn ResultTable>>,
) -> TaskPluginRegistration {
    TaskPluginRegistration {
        task_type: MAP,
        name: "map".to_owned(),
        description: "applies a function to each item of a source".to_owned(),
        plugin: Arc::new(Map { exchange, results }),
    }
}

struct Map {
    exchange: Option<Exchange>,
    results: Option<Arc<dyn ResultTable>>,
}

impl TaskPlugin for Map {
    fn conf(&self) -> TaskConf {
        // Each task has attempts and a timeout of its own below these.
        TaskConf { subtask_timeout: MAX_SUBTASK_TIMEOUT, max_attempts: MAX_ATTEMPTS, ..TaskConf::default() }
    }

    fn members(&self) -> Option<Members> {
        Some(self.exchange.as_ref().map_or_else(|| watch::channel(Arc::from([])).1, Exchange::functions))
    }

    fn member(&self, param: &TaskParam) -> Option<String> {
        // Asked for each row of a list: the source may be large.
        let function = Function::deserialize(param.type_param.get("function")?).ok()?;
        Some(function.name().to_owned())
    }

    fn check(&self, param: &TaskParam) -> Result<(), InvalidInput> {
        MapParam::read(param).map(drop)
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        Ok(source::generator(MapParam::read(&spec.param)?.source))
    }

    fn executor(&self, spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        let param = MapParam::read(&spec.param)?;
        let Some(exchange) = self.exchange.clone() else {
            anyhow::bail!("this process meets no remote workers");
        };
        let Function::Worker(name) = &param.function;
        let (timeout, attempts) = (param.timeout(), param.attempts);
        Ok(Arc::new(RemoteFunction { exchange, name: name.as_str().into(), timeout, attempts }))
    }

    fn collector(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        Ok(match MapParam::read(&spec.param)?.sink {
            Sink::Count => Box::new(CountSink),
            Sink::Jsonl(path) => Box::new(JsonlSink::new(path)),
            Sink::Keep => {
                let Some(table) = self.results.clone() else {
                    anyhow::bail!("this process keeps no results");
                };
                Box::new(KeepSink::new(table, spec.id, spec.run))
            }
        })
    }
}
