//! The queues, shards and wake-ups of the distributed task framework on Redis 6.2 and later, or Valkey.
//!
//! [`RedisQueues`], [`RedisShards`] and [`RedisWakeUp`] implement the ports of `dtf-model` on one [`Redis`]: two connections a
//! process (and node of a Cluster), one for all calls, one for listening to wake-ups.
//!
//! ```no_run
//! use dtf_redis::{Redis, RedisConfig, RedisQueues, RedisShards, RedisWakeUp};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = RedisConfig { url: "redis://:secret@db.example:6379/0".into(), ..RedisConfig::default() };
//! let redis = Redis::connect(config).await?;
//! let queues = RedisQueues::new(redis.clone());
//! let shards = RedisShards::new(redis.clone());
//! let wake = RedisWakeUp::start(redis);
//! # Ok(())
//! # }
//! ```
//!
//! # What the server must be
//! - **`maxmemory-policy noeviction`.** Another policy may delete a task's keys one by one; it is refused at connect.
//! - **`appendonly yes`**, unless the loss of all progress at a restart is acceptable; a warning is logged where it is off. With
//!   `appendfsync everysec` a crash of the machine or of the server loses the last second or two, also of what was acknowledged:
//!   the server puts writes to its file off while an earlier one is being synced. The framework makes up for it by executing
//!   again; `always` loses nothing and is slower.
//! - **One server, a Cluster, or a master watched by Sentinels**, as [`Topology`] says. Each script touches keys of one hash
//!   slot, those of one task or one shard, and declares all of them; commands on several tasks or shards are sent one by one.
//!   A failover loses what the old master had not replicated yet; the framework makes up for that as for the last second of a
//!   file.
//! - **TLS** for addresses that begin with `rediss://`, with the feature `tls`, which is on unless switched off; `Tls` has the
//!   certificates. The name in the server's certificate has to be the host of the address.
//!
//! # Keys
//! All keys of task `T` have the hash tag `{T}`, those of shard `s` the tag `{s}`; all begin with the configured prefix.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `dtf.task.info.{T}` | hash | run, control, counters, streams of numbers, statuses, tokens |
//! | `dtf.task.spec.{T}`, `.end.{T}` | strings | what the task is, and what its collector made of it, as JSON |
//! | `dtf.task.pending.{T}` | list | parcels waiting for dispatch that have no shard key |
//! | `dtf.task.keyed.{T}` | sorted set | those of them that have a shard key, by key and number |
//! | `dtf.task.turns.{T}` | sorted set | the shard keys whose turn it is, by lane, and those that are busy |
//! | `dtf.task.delayed.{T}` | sorted set | parcels of one, by due time in microseconds of the server's clock |
//! | `dtf.task.running.{T}` | hash | `epoch:first` → `shard:parcel` |
//! | `dtf.task.results.{T}`, `.sizes.{T}` | lists | batches of results waiting for the collector; `count:bytes` of each |
//! | `dtf.task.settled.{T}` | set | subtasks that a late success settled while their parcel still waits or runs |
//! | `dtf.task.done.{T}.n` | string | bitmap of the subtasks counted, 65,536 a key |
//! | `dtf.task.chunks.{T}` | hash | number of each bitmap → bits set in it |
//! | `dtf.task.full.{T}` | sorted set | ranges of bitmaps that were full and are deleted |
//! | `dtf.shard.fence.{s}` | hash | token, window, shipments there |
//! | `dtf.shard.ready.{s}`, `.claimed.{s}` | lists | names of shipments |
//! | `dtf.shard.shipped.{s}` | hash | name → shipment |
//!
//! Wake-ups are messages on the channels `dtf.wake.…`.
//!
//! # Errors
//! A refused connection is [`StoreError::Unreachable`](dtf_model::StoreError::Unreachable), as is a server that says that it does
//! nothing now: it is loading, out of memory, read-only. A server at its `maxmemory` refuses new tasks and subtasks and nothing
//! else, so work goes on and makes room. A timeout or a connection that broke is
//! [`StoreError::Unknown`](dtf_model::StoreError::Unknown): the call may have been applied. Calls are not retried in here, except
//! that a script the server has forgotten is loaded again.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod codec;
mod config;
mod connection;
mod inspect;
mod keys;
mod link;
mod lives;
mod queues;
mod reply;
mod scripts;
mod shards;
#[cfg(feature = "tls")]
mod tls;
mod wake;

#[cfg(feature = "tls")]
pub use self::config::Tls;
pub use self::config::{RedisConfig, Topology};
pub use self::connection::Redis;
pub use self::inspect::Inspection;
pub use self::queues::RedisQueues;
pub use self::shards::RedisShards;
pub use self::wake::RedisWakeUp;
