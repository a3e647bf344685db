//! All settings there are: their keys, what they may be, what they are for.

use std::ops::RangeInclusive;

use dtf_model::ClusterShape;

use super::kind::Kind;

/// A setting.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Its key in the file, with dots between tables.
    pub(crate) key: &'static str,
    /// The kind of its values.
    pub(crate) kind: Kind,
    /// Its purpose.
    pub(crate) help: &'static str,
}

impl Setting {
    /// The environment variable that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("DTF_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// The flag that sets it, without dashes in front. Secrets have none: everybody on the machine can see the arguments
    /// of a process.
    pub(crate) fn flag(&self) -> Option<String> {
        (self.kind != Kind::Secret).then(|| self.key.replace(['.', '_'], "-"))
    }
}

/// The setting with this key.
pub(crate) fn find(key: &str) -> Option<Setting> {
    all().into_iter().find(|setting| setting.key == key)
}

/// The known key that is most like another one, if any is.
pub(crate) fn nearest<'a>(known: impl Iterator<Item = &'a str>, asked: &str) -> Option<&'a str> {
    let distance = |key: &str| strsim::damerau_levenshtein(key, asked);
    known.min_by_key(|key| distance(key)).filter(|key| distance(key) <= 1 + key.len() / 4)
}

const COUNT: RangeInclusive<i64> = 1..=1_000_000;
/// From 1 MiB to 1 TiB.
const BYTES: RangeInclusive<i64> = 1 << 20..=1 << 40;
const PARTS: RangeInclusive<i64> = 1..=ClusterShape::MOST as i64;

/// All of them, in the order in which they are shown.
pub(crate) fn all() -> Vec<Setting> {
    let of = |key, kind, help| Setting { key, kind, help };
    vec![
        of("cluster", Kind::Text, "The name of the cluster: processes of one name work together"),
        of(
            "instance",
            Kind::Text,
            "The name of this process: the same across restarts, no other living one's; its host's name where empty",
        ),
        of(
            "role",
            Kind::Roles,
            "The roles of this process: all, or some of manager, generator, scheduler, executor, collector",
        ),
        of("etcd.endpoints", Kind::List, "The nodes of etcd, host:port or a URL each"),
        of("etcd.user", Kind::Text, "The user at etcd, where it asks for one"),
        of("etcd.password", Kind::Secret, "The user's password at etcd"),
        of(
            "etcd.ca",
            Kind::Text,
            "A PEM file with the authority that signed etcd's certificate; turns TLS on",
        ),
        of("etcd.cert", Kind::Text, "A PEM file with our own certificate, where etcd asks for one"),
        of("etcd.key", Kind::Text, "A PEM file with the key of etcd.cert"),
        of("etcd.domain", Kind::Text, "The name in etcd's certificate, where it is not that of the endpoint"),
        of("etcd.connect_timeout", Kind::Time, "How long a connection to etcd may take to come about"),
        of("etcd.request_timeout", Kind::Time, "How long a call to etcd may take, retries included"),
        of(
            "etcd.root",
            Kind::Text,
            "What all keys begin with in etcd, where that is shared with others: /teams/search",
        ),
        of("mysql.url", Kind::Url, "The database of tbl_task: mysql://USER@HOST:PORT/DATABASE"),
        of("mysql.password", Kind::Secret, "The user's password at MySQL"),
        of(
            "mysql.ca",
            Kind::Text,
            "A PEM file with the authority that signed MySQL's certificate, which has to be for the host of the URL; turns TLS on",
        ),
        of("mysql.cert", Kind::Text, "A PEM file with our own certificate, where MySQL asks for one"),
        of("mysql.key", Kind::Text, "A PEM file with the key of mysql.cert"),
        of(
            "mysql.migrate",
            Kind::Flag,
            "Whether a service brings the schema up to date when it starts; else `dtf migrate` does",
        ),
        of("mysql.max_connections", Kind::Number(1..=1000), "The most connections to MySQL at once"),
        of("mysql.acquire_timeout", Kind::Time, "How long a call may wait for a connection to MySQL"),
        of("mysql.call_timeout", Kind::Time, "How long MySQL may take to answer"),
        of(
            "mysql.max_lifetime",
            Kind::Time,
            "The age at which a connection to MySQL is replaced, for which its name is resolved again",
        ),
        of("redis.url", Kind::Url, "The queues: redis://[USER@]HOST:PORT/DATABASE; rediss:// for TLS"),
        of("redis.password", Kind::Secret, "The password at Redis"),
        of(
            "redis.ca",
            Kind::Text,
            "A PEM file with the authority that signed Redis' certificate; the system's authorities where not set",
        ),
        of("redis.cert", Kind::Text, "A PEM file with our own certificate, where Redis asks for one"),
        of("redis.key", Kind::Text, "A PEM file with the key of redis.cert"),
        of(
            "redis.topology",
            Kind::Word(&["single", "cluster", "sentinel"]),
            "What is at the addresses: one server, nodes of a Cluster, or Sentinels",
        ),
        of(
            "redis.further_urls",
            Kind::List,
            "Further nodes of the Cluster, or further Sentinels, as redis://HOST:PORT each",
        ),
        of("redis.sentinel_master", Kind::Text, "The name under which the Sentinels watch the master"),
        of("redis.sentinel_password", Kind::Secret, "The Sentinels' own password"),
        of(
            "redis.key_prefix",
            Kind::Text,
            "What all keys begin with, so that several clusters can share a server",
        ),
        of(
            "redis.require_aof",
            Kind::Flag,
            "Whether a Redis that would forget everything at a restart is refused",
        ),
        of("redis.connect_timeout", Kind::Time, "How long a connection to Redis may take to come about"),
        of("redis.response_timeout", Kind::Time, "How long Redis may take to answer"),
        of(
            "shape.watch_buckets",
            Kind::Number(PARTS),
            "Into how many parts the managers' work is divided; all of shape is the same in all processes of a cluster",
        ),
        of(
            "shape.generation_buckets",
            Kind::Number(PARTS),
            "Into how many parts the generators' work is divided",
        ),
        of(
            "shape.partitions",
            Kind::Number(PARTS),
            "Into how many parts the schedulers' work is divided; with one, all quotas are kept by one scheduler",
        ),
        of(
            "shape.shards",
            Kind::Number(PARTS),
            "Into how many parts the executors' work is divided; at least four times as many as executors spread it evenly",
        ),
        of(
            "shape.collection_buckets",
            Kind::Number(PARTS),
            "Into how many parts the collectors' work is divided",
        ),
        of("membership.ttl", Kind::Time, "After how long without a sign of life others take over"),
        of(
            "membership.margin",
            Kind::Time,
            "How long before that a process that cannot reach etcd has stopped",
        ),
        of(
            "membership.keep_alive",
            Kind::Time,
            "How often a sign of life is sent; a third of ttl - margin where not set",
        ),
        of(
            "membership.settle",
            Kind::Time,
            "How long the leader of a group that starts up waits after a join for the next one",
        ),
        of(
            "membership.companions",
            Kind::Time,
            "How long a handover that is due waits for others, to share a write",
        ),
        of(
            "membership.drain_timeout",
            Kind::Time,
            "How long a process that leaves waits for its parts to be handed over",
        ),
        of(
            "membership.max_moves",
            Kind::Number(COUNT),
            "The most parts that are between two processes at a time",
        ),
        of(
            "membership.max_zone_moves",
            Kind::Number(COUNT),
            "The most parts that are on their way from the processes of one zone at a time",
        ),
        of(
            "membership.zone_moves_per_minute",
            Kind::Number(COUNT),
            "The most parts that the processes of one zone are asked to give back within a minute; any number when not set",
        ),
        of(
            "membership.leader_preference",
            Kind::Number(0..=255),
            "The preference for this process as the leader of its roles' groups: the highest one leads",
        ),
        of(
            "membership.conflict",
            Kind::Word(&["wait", "refuse"]),
            "What happens when another living process has this instance's name",
        ),
        of(
            "membership.capacity",
            Kind::Number(COUNT),
            "How much this process can hold, relative to the others, where work is placed by weight",
        ),
        of(
            "membership.zone",
            Kind::Text,
            "The failure domain that this process is in, where work is spread over them",
        ),
        of("membership.labels", Kind::Labels, "What else this process says of itself, for people and tools"),
        of("manager.retention", Kind::Time, "How long the queues of an ended task are kept"),
        of("manager.sweep", Kind::Time, "How often ended tasks are looked for"),
        of(
            "manager.history",
            Kind::List,
            "The rows of ended tasks that are kept, by rules as in \"group=billing type=7 age=720h number=100000\"; the first that fits counts",
        ),
        of(
            "generator.backlog",
            Kind::Number(1..=1_000_000_000),
            "How many subtasks may wait for dispatch over all tasks; the same in all processes",
        ),
        of(
            "generator.group_backlog",
            Kind::Number(1..=1_000_000_000),
            "How many of them of one resource group",
        ),
        of(
            "generator.backlog_bytes",
            Kind::Number(BYTES),
            "The bytes of the subtasks that may wait for dispatch over all tasks; the same in all processes",
        ),
        of("generator.group_backlog_bytes", Kind::Number(BYTES), "The bytes of those of one resource group"),
        of(
            "scheduler.results_bytes",
            Kind::Number(BYTES),
            "The bytes of the results that may wait for collectors over all tasks; the same in all processes",
        ),
        of(
            "executor.slots",
            Kind::Number(1..=10_000),
            "How many parcels of subtasks run at once; the number of processors where not set",
        ),
        of("executor.window", Kind::Number(1..=10_000), "How many parcels a shard may have in hand"),
        of(
            "executor.drain",
            Kind::Time,
            "How long running subtasks may go on when their shard goes to another process; less than membership.margin",
        ),
        of(
            "executor.commands",
            Kind::Text,
            "A TOML file with the commands that this executor may run for items of tasks of type map; none where not set",
        ),
        of(
            "executor.http_secret",
            Kind::Secret,
            "The secret that requests for items of tasks of type map are signed with, whsec_…; not signed where not set",
        ),
        of(
            "executor.http_per_host",
            Kind::Number(1..=10_000),
            "How many requests for items of tasks of type map may be under way to one host and port",
        ),
        of("plugins.threads", Kind::Number(1..=1024), "The threads that plugin code runs on"),
        of(
            "plugins.max_subtask_timeout",
            Kind::Time,
            "The longest subtask timeout that a type of task may have; at least 30m",
        ),
        of(
            "http.listen",
            Kind::Text,
            "Where /live, /ready and /metrics are served, HOST:PORT; off for nowhere",
        ),
        of(
            "api.listen",
            Kind::Text,
            "Where the HTTP API and the dashboard are served, HOST:PORT; off for nowhere. Until there is a token, requests from the machine itself are answered only",
        ),
        of(
            "api.cert",
            Kind::Text,
            "A PEM file with the API's certificate and the chain behind it; read again when it changes",
        ),
        of("api.key", Kind::Text, "A PEM file with the key of api.cert"),
        of(
            "api.hosts",
            Kind::List,
            "The hosts that the API goes by, HOST or HOST:PORT; others are refused. Any, where not set and api.listen is no loopback address",
        ),
        of(
            "api.trusted_proxies",
            Kind::List,
            "The addresses or networks of proxies whose X-Forwarded-For is believed",
        ),
        of("api.audit_retention", Kind::Time, "How long entries of the audit are kept"),
        of(
            "webhook.allowed_networks",
            Kind::List,
            "The addresses or networks that hooks may be told at besides the public internet, as in 10.0.0.0/8; 0.0.0.0/0 and ::/0 for all",
        ),
        of(
            "map.stores",
            Kind::List,
            "The object stores that tasks of type map may read and write, as in s3://bucket/in/; with the variables that each cloud's tools use, such as AWS_ACCESS_KEY_ID",
        ),
        of(
            "map.connections",
            Kind::Text,
            "A TOML file with the databases that tasks of type map may use: lines of NAME = \"URL\", with mysql:// or sqlite://; none where not set",
        ),
        of("log.format", Kind::Word(&["human", "json"]), "How log lines look"),
        of(
            "log.filter",
            Kind::Text,
            "What is logged, as in info or dtf_executor=debug,info; RUST_LOG goes before it",
        ),
        of(
            "start.deadline",
            Kind::Time,
            "How long servers that are not there are waited for at the start; for ever where not set",
        ),
        of(
            "stop.grace",
            Kind::Time,
            "How long running subtasks may go on when the process is told to end; then its work is handed over",
        ),
    ]
}
