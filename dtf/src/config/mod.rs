//! The configuration of a service: a file, the environment, and flags, in this order of precedence.
//!
//! `dtf config keys` lists all settings there are; each has a key in the file (`redis.url`), a variable (`DTF_REDIS_URL`) and a
//! flag (`--redis-url`). What is unknown, of the wrong type or out of range is refused in one line that says where it
//! stands and what is allowed. Passwords are never shown and have no flags.

mod check;
mod kind;
mod origin;
mod read;
mod secret;
mod servers;
pub(crate) mod settings;

use std::net::IpAddr;
use std::time::Duration;

use dtf_executor::ExecutorConfig;
use dtf_model::ClusterShape;
use dtf_model::Role;
use dtf_scheduler::budget::{Amount, Budgets};
use dtf_scheduler::history::HistoryPolicy;
use dtf_scheduler::manager::ManagerConfig;
use dtf_scheduler::scheduler::SchedulerConfig;
use dtf_webhook::{AddressRule, SenderConf};
use ipnet::IpNet;
use lrmf_core::CoordinatorConfig;
use lrmf_core::config::text;
use serde::{Deserialize, Deserializer, Serialize};

use crate::service::DtfConfig;

pub use self::check::ConfigError;
pub use self::origin::Origin;
pub use self::read::{Effective, Sources, read};
pub use self::secret::{Secret, ServerUrl};
pub use self::servers::{Etcd, MySql, RedisServer, RedisTopology};

/// All settings of a process of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name of the cluster.
    pub cluster: String,
    /// The name of this process among the cluster's; the name of its host by default.
    pub instance: String,
    /// The roles of this process; all by default.
    #[serde(deserialize_with = "roles")]
    pub role: Vec<Role>,
    /// The servers that the roles' groups meet on.
    pub etcd: Etcd,
    /// `tbl_task`.
    pub mysql: MySql,
    /// The queues of tasks.
    pub redis: RedisServer,
    /// The division of the cluster's work.
    pub shape: ClusterShape,
    /// The membership in the roles' groups.
    pub membership: CoordinatorConfig,
    /// The manager role.
    pub manager: Manager,
    /// The generator role.
    pub generator: Generator,
    /// The scheduler role.
    pub scheduler: Scheduler,
    /// The executor role.
    pub executor: Executor,
    /// The threads of plugin code.
    pub plugins: Plugins,
    /// The HTTP server of this process.
    pub http: Http,
    /// The HTTP API and the dashboard.
    pub api: Api,
    /// Tasks of type `map`.
    pub map: Map,
    /// The requests to the addresses that users have told of the ends of tasks.
    pub webhook: Webhook,
    /// The log of this process.
    pub log: Log,
    /// The start of this process.
    pub start: Start,
    /// The end of this process.
    pub stop: Stop,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: "default".to_owned(),
            instance: host_name(),
            role: Role::ALL.to_vec(),
            etcd: Etcd::default(),
            mysql: MySql::default(),
            redis: RedisServer::default(),
            shape: ClusterShape::default(),
            membership: CoordinatorConfig::default(),
            manager: Manager::default(),
            generator: Generator::default(),
            scheduler: Scheduler::default(),
            executor: Executor::default(),
            plugins: Plugins::default(),
            http: Http::default(),
            api: Api::default(),
            map: Map::default(),
            webhook: Webhook::default(),
            log: Log::default(),
            start: Start::default(),
            stop: Stop::default(),
        }
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn roles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Role>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let named = |role: &Role| names.iter().any(|name| name == "all" || name == role.name());
    Ok(Role::ALL.into_iter().filter(named).collect())
}

/// The manager role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Manager {
    /// The time that the queues of an ended task are kept. Default 1 minute.
    #[serde(with = "text")]
    pub retention: Duration,
    /// The period of looks for ended tasks. Default 5 s.
    #[serde(with = "text")]
    pub sweep: Duration,
    /// The rows of ended tasks that are kept, by rules of which the first one that fits a group and type counts. Default 30 days
    /// of all.
    pub history: HistoryPolicy,
}

impl Default for Manager {
    fn default() -> Self {
        let ManagerConfig { retention, sweep, history } = ManagerConfig::default();
        Self { retention, sweep, history }
    }
}

/// The generator role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Generator {
    /// The number of subtasks that may wait for dispatch over all tasks of the cluster. Default 500,000.
    pub backlog: u64,
    /// The number of a resource group's. Default 250,000.
    pub group_backlog: u64,
    /// The size of the subtasks that may wait for dispatch over all tasks of the cluster, in bytes. Default 1 GiB.
    pub backlog_bytes: u64,
    /// The size of a resource group's. Default 512 MiB.
    pub group_backlog_bytes: u64,
}

impl Default for Generator {
    fn default() -> Self {
        let Budgets { all, group } = Budgets::default();
        Self {
            backlog: all.subtasks,
            group_backlog: group.subtasks,
            backlog_bytes: all.bytes,
            group_backlog_bytes: group.bytes,
        }
    }
}

/// The scheduler role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scheduler {
    /// The size of the results that may wait for collectors over all tasks of the cluster, in bytes. Default 1 GiB.
    pub results_bytes: u64,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self { results_bytes: SchedulerConfig::default().results_bytes }
    }
}

/// The executor role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Executor {
    /// The number of parcels that run at once. By default the number of processors.
    pub slots: usize,
    /// The number of parcels that a shard may have in hand. Default 2.
    pub window: u32,
    /// The time that running subtasks have when their shard is given up. Default 1 s.
    #[serde(with = "text")]
    pub drain: Duration,
    /// The file with the commands that may be run for the items of tasks of type `map`; none where empty.
    pub commands: String,
    /// The secret that requests for items of tasks of type `map` are signed with, `whsec_…`; they are not signed where empty.
    pub http_secret: Secret,
    /// The most requests for such items that are under way to one host and port. Default 64.
    pub http_per_host: usize,
}

impl Default for Executor {
    fn default() -> Self {
        let ExecutorConfig { slots, window, drain, .. } = ExecutorConfig::default();
        Self {
            slots,
            window,
            drain,
            commands: String::new(),
            http_secret: Secret::default(),
            http_per_host: 64,
        }
    }
}

/// The threads of plugin code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plugins {
    /// The number of threads. By default the number of processors, at least 4.
    pub threads: usize,
    /// The longest subtask timeout that a type may have. Default 30 minutes, and not less.
    #[serde(with = "text")]
    pub max_subtask_timeout: Duration,
}

impl Default for Plugins {
    fn default() -> Self {
        let DtfConfig { plugin_threads: threads, max_subtask_timeout, .. } = DtfConfig::default();
        Self { threads, max_subtask_timeout }
    }
}

/// The HTTP server of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// `HOST:PORT`, or `off`. Default `127.0.0.1:7070`.
    pub listen: String,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: "127.0.0.1:7070".to_owned() }
    }
}

/// Reads an address or a network, as in `10.0.0.7` or `10.0.0.0/8`.
pub(crate) fn network(text: &str) -> Result<IpNet, ()> {
    text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| ())
}

/// The HTTP API and the dashboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// The address, `HOST:PORT`, or `off`. Default `off`.
    pub listen: String,
    /// A PEM file with the certificate, and the chain behind it; no TLS where empty. Read again when it changes.
    pub cert: String,
    /// A PEM file with the key of `cert`.
    pub key: String,
    /// The hosts that the server goes by, as `HOST` or `HOST:PORT`, besides the loopback address that it may listen on; any where
    /// empty and it listens elsewhere.
    pub hosts: Vec<String>,
    /// The addresses or networks of proxies that are believed when they say on whose behalf they ask.
    pub trusted_proxies: Vec<String>,
    /// The time for which entries of the audit are kept. Default 90 days.
    #[serde(with = "text")]
    pub audit_retention: Duration,
}

impl Default for Api {
    fn default() -> Self {
        let (cert, key) = (String::new(), String::new());
        let audit_retention = Duration::from_secs(90 * 24 * 3600);
        let (hosts, trusted_proxies) = (Vec::new(), Vec::new());
        Self { listen: "off".to_owned(), cert, key, hosts, trusted_proxies, audit_retention }
    }
}

/// The requests to the addresses that users have told of the ends of tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// The addresses and networks that requests may go to besides the public internet.
    pub allowed_networks: Vec<String>,
}

/// Tasks of type `map`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Map {
    /// The object stores that sources and sinks may use: what is below these addresses.
    pub stores: Vec<String>,
    /// The file with the databases that sources and functions may use; none where empty.
    pub connections: String,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The log of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The format of lines.
    pub format: LogFormat,
    /// Directives of `tracing`; `RUST_LOG` goes before them. Default `info`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Human, filter: "info".to_owned() }
    }
}

/// The start of a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Start {
    /// The longest wait for servers that are not there; `None` to wait for ever.
    #[serde(with = "optional")]
    pub deadline: Option<Duration>,
}

/// The end of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// The time that running subtasks have; then the work is handed over. Default 45 s.
    #[serde(with = "text")]
    pub grace: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self { grace: Duration::from_secs(45) }
    }
}

mod optional {
    use std::time::Duration;

    use lrmf_core::config::text;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        span.map(text::show).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let span = Option::<String>::deserialize(deserializer)?;
        span.map(|span| text::parse(&span).map_err(serde::de::Error::custom)).transpose()
    }
}

impl Config {
    /// The settings of the process.
    pub fn dtf(&self) -> DtfConfig {
        // They were checked when the settings were read.
        let allowed = self.webhook.allowed_networks.iter().filter_map(|network_of| network(network_of).ok());
        DtfConfig {
            cluster: self.cluster.clone(),
            instance: self.instance.clone(),
            alone: false,
            shape: self.shape,
            membership: self.membership.clone(),
            manager: ManagerConfig {
                retention: self.manager.retention,
                sweep: self.manager.sweep,
                history: self.manager.history.clone(),
            },
            webhooks: SenderConf {
                addresses: AddressRule::allowing(allowed.collect()),
                ..SenderConf::default()
            },
            generator: Budgets {
                all: Amount { subtasks: self.generator.backlog, bytes: self.generator.backlog_bytes },
                group: Amount {
                    subtasks: self.generator.group_backlog,
                    bytes: self.generator.group_backlog_bytes,
                },
            },
            scheduler: SchedulerConfig { results_bytes: self.scheduler.results_bytes },
            executor: ExecutorConfig {
                slots: self.executor.slots,
                window: self.executor.window,
                drain: self.executor.drain,
            },
            grace: self.stop.grace,
            plugin_threads: self.plugins.threads,
            max_subtask_timeout: self.plugins.max_subtask_timeout,
        }
    }
}

#[cfg(test)]
mod tests;
