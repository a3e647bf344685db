//! The plugin.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use dtf_model::connection::SqlConnections;
use dtf_model::defined_type::DefinedType;
use dtf_model::items::ItemTable;
use dtf_model::param::MAX_TIMEOUT;
use dtf_model::plugin::{
    MAX_SUBTASK_TIMEOUT, Members, NewSubtask, TaskCollector, TaskConf, TaskExecutor, TaskGenerator,
    TaskPlugin, TaskPluginRegistration, of_defined,
};
use dtf_model::queue::QueueReader;
use dtf_model::result::ResultTable;
use dtf_model::{InvalidInput, TaskParam, TaskSpec, TaskTypeId};
use serde::Deserialize;
use serde_json::Value;

use crate::checksum::ChecksumFunction;
use crate::command::{CommandFunction, Commands};
use crate::defined;
use crate::exchange::Exchange;
use crate::function::{Attempts, RemoteFunction};
use crate::http::{HttpBatches, HttpFunction, Outbound};
use crate::item_key::Keyed;
use crate::members::AllMembers;
use crate::param::{CsvOut, FailedSink, Function, MAX_ATTEMPTS, MapParam, Sink, WebhookOut};
use crate::sink::{
    CountSink, CsvSink, JsonlSink, KeepSink, ObjectFormat, ObjectSink, WebhookSink, WithFailed,
};
use crate::source::{self, ItemStores};
use crate::sql::SqlFunction;
use crate::stores::{self, ObjectStores};

/// The number of the type.
const MAP: TaskTypeId = TaskTypeId(5);

/// The parts of a process that tasks of type `map` use there.
#[derive(Clone, Default)]
pub struct MapParts {
    /// The place where remote workers are met; in a process with the executor role.
    pub exchange: Option<Exchange>,
    /// The commands that may be run for items; in a process with the executor role that allows any.
    pub commands: Option<Arc<dyn Commands>>,
    /// The way to receivers of requests; in a process with the executor role, and in one with the collector role.
    pub outbound: Option<Outbound>,
    /// The table of results that are kept; in a process with the collector role.
    pub results: Option<Arc<dyn ResultTable>>,
    /// The object stores that sources, sinks and checksums may use; in a process with the generator, the executor or the collector role.
    pub stores: Option<ObjectStores>,
    /// The databases that sources and functions may use; in a process with the generator or the executor role.
    pub connections: Option<Arc<dyn SqlConnections>>,
    /// The table of items that are fed, and the queues; in a process with the generator role.
    pub items: Option<(Arc<dyn ItemTable>, Arc<dyn QueueReader>)>,
}

impl MapParts {
    /// Returns the names of the functions that the process executes itself.
    fn own_functions(&self) -> Vec<Arc<str>> {
        let commands = self.commands.iter().flat_map(|commands| commands.names());
        let commands = commands.map(|name| Function::Exec(name).member().into());
        let requests = self.outbound.iter().map(|_| Arc::from(crate::http::MEMBER));
        let checksums = self.exchange.iter().map(|_| Arc::from(crate::checksum::MEMBER));
        // Where nothing is executed, the connections are the generator's.
        let connections = self.connections.iter().filter(|_| self.exchange.is_some());
        let statements = connections.flat_map(|connections| connections.names());
        let statements = statements.map(|name| crate::sql::member_of(&name).into());
        commands.chain(requests).chain(checksums).chain(statements).collect()
    }
}

/// Returns the type `map`. With an exchange it has to be called on a runtime.
pub fn registration(parts: MapParts) -> TaskPluginRegistration {
    let of_workers = parts.exchange.as_ref().map(Exchange::functions);
    let members = AllMembers::new(parts.own_functions(), of_workers);
    TaskPluginRegistration {
        task_type: MAP,
        name: "map".to_owned(),
        description: "applies a function to each item of a source".to_owned(),
        plugin: Arc::new(Map { parts, members }),
    }
}

struct Map {
    parts: MapParts,
    members: AllMembers,
}

impl Map {
    fn results(&self) -> anyhow::Result<Arc<dyn ResultTable>> {
        self.parts.results.clone().context("this process keeps no results")
    }

    fn object_sink(
        &self,
        spec: &TaskSpec,
        address: &str,
        format: ObjectFormat,
    ) -> anyhow::Result<Box<dyn TaskCollector>> {
        let (table, stores) = (self.results()?, self.parts.stores.clone());
        Ok(Box::new(ObjectSink::new(table, (spec.id, spec.run), stores, address, format)))
    }
}

impl TaskPlugin for Map {
    fn conf(&self) -> TaskConf {
        // Each task has attempts and a timeout of its own below these.
        // A task that is fed stays open for as long as its own timeout says.
        TaskConf {
            task_type_timeout: MAX_TIMEOUT,
            subtask_timeout: MAX_SUBTASK_TIMEOUT,
            max_attempts: MAX_ATTEMPTS,
            // Workers and servers answer within that, mostly.
            parcel_work: Duration::from_millis(250),
            ..TaskConf::default()
        }
    }

    fn members(&self) -> Option<Members> {
        Some(self.members.watch())
    }

    fn member(&self, param: &TaskParam) -> Option<String> {
        // Asked for each row of a list: the source may be large.
        match param.type_param.get("defined").and_then(|defined| defined.get("name")?.as_str()) {
            Some(name) => Some(of_defined(name)),
            None => self.executing_member(param),
        }
    }

    fn executing_member(&self, param: &TaskParam) -> Option<String> {
        let function = Function::deserialize(param.type_param.get("function")?).ok()?;
        Some(function.member())
    }

    fn check_definition(&self, definition: &DefinedType) -> Result<(), InvalidInput> {
        defined::check(definition)
    }

    fn fill_in(&self, definition: &DefinedType, given: &Value) -> Result<Value, InvalidInput> {
        defined::fill_in(definition, given)
    }

    fn given<'a>(&self, param: &'a TaskParam) -> &'a Value {
        param.type_param.pointer("/defined/param").unwrap_or(&param.type_param)
    }

    fn takes_items(&self, param: &TaskParam) -> bool {
        param.type_param.get("source").is_some_and(|source| source == "items")
    }

    fn check(&self, param: &TaskParam) -> Result<(), InvalidInput> {
        MapParam::read(param).map(drop)
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        let items = self.parts.items.clone();
        let items = items.map(|(items, queues)| ItemStores { items, queues });
        let MapParam { source, key, .. } = MapParam::read(&spec.param)?;
        let inner = source::generator(
            source,
            spec,
            items,
            self.parts.stores.clone(),
            self.parts.connections.clone(),
        )?;
        Ok(match key {
            Some(key) => Box::new(Keyed { inner, key }),
            None => inner,
        })
    }

    fn again(&self, spec: &TaskSpec, body: Bytes) -> anyhow::Result<NewSubtask> {
        let subtask = NewSubtask::new(body);
        match MapParam::read(&spec.param)?.key {
            Some(key) => key.keyed(subtask),
            None => Ok(subtask),
        }
    }

    fn executor(&self, spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        let param = MapParam::read(&spec.param)?;
        let (timeout, attempts) = (param.timeout(), Attempts(param.attempts));
        match param.function {
            Function::Worker(name) => {
                let Some(exchange) = self.parts.exchange.clone() else {
                    anyhow::bail!("this process meets no remote workers");
                };
                Ok(Arc::new(RemoteFunction { exchange, name: name.into(), timeout, attempts }))
            }
            Function::Exec(name) => {
                let Some(commands) = self.parts.commands.clone() else {
                    anyhow::bail!("this process runs no commands");
                };
                Ok(Arc::new(CommandFunction { commands, name, timeout, attempts }))
            }
            Function::Http(call) => {
                let Some(outbound) = self.parts.outbound.clone() else {
                    anyhow::bail!("this process sends no requests");
                };
                let prepared = call.prepared()?;
                let Some(most) = call.batch else {
                    return Ok(Arc::new(HttpFunction::new(outbound, prepared, timeout, attempts)));
                };
                let Some(exchange) = self.parts.exchange.clone() else {
                    anyhow::bail!("this process sends no requests for many items");
                };
                Ok(Arc::new(HttpBatches::new(exchange, outbound, prepared, most as usize, timeout, attempts)))
            }
            Function::Sql(call) => {
                let Some(connections) = self.parts.connections.clone() else {
                    anyhow::bail!("this process has no connections to databases");
                };
                Ok(Arc::new(SqlFunction { connections, call, timeout, attempts }))
            }
            Function::Checksum(kind) => {
                let stores = self.parts.stores.clone();
                Ok(Arc::new(ChecksumFunction { kind, stores, timeout, attempts }))
            }
        }
    }

    fn collector(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        let MapParam { sink, failed, .. } = MapParam::read(&spec.param)?;
        let sink: Box<dyn TaskCollector> = match sink {
            Sink::Count => Box::new(CountSink),
            Sink::Jsonl(path) => match stores::address(&path) {
                Some(address) => self.object_sink(spec, address, ObjectFormat::Jsonl)?,
                None => Box::new(JsonlSink::new(path)),
            },
            Sink::Csv(CsvOut { path, columns }) => match stores::address(&path) {
                Some(address) => self.object_sink(spec, address, ObjectFormat::Csv(columns))?,
                None => Box::new(CsvSink::new(path, columns)),
            },
            Sink::Webhook(WebhookOut { url }) => {
                let Some(outbound) = self.parts.outbound.clone() else {
                    anyhow::bail!("this process sends no requests");
                };
                Box::new(WebhookSink::new(outbound, url, spec.id, spec.run))
            }
            Sink::Keep => Box::new(KeepSink::new(self.results()?, spec.id, spec.run)),
        };
        Ok(match failed {
            Some(FailedSink::Jsonl(path)) => Box::new(WithFailed::new(sink, path)),
            None => sink,
        })
    }
}
