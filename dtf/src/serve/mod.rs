//! A service: a process that has some of the roles, on servers, until it is told to end.
//!
//! 1. It serves its health over HTTP, before anything else, so that a platform sees what it waits for.
//! 2. It connects to its servers, with growing pauses while they are not there.
//! 3. It starts its roles, one after the other: each joins its group.
//! 4. Told to end, it says that it is not ready, hands over what it holds, and leaves.

mod api;
pub(crate) mod connect;
pub(crate) mod connections;
pub(crate) mod doctor;
mod health;
mod http;
pub(crate) mod identity;
mod measured;
mod metrics;
pub(crate) mod shape;
pub(crate) mod watched;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dtf_model::Role;
use dtf_model::connection::SqlConnections;
use dtf_model::plugin::{PluginRegistry, TaskPluginRegistration};
use dtf_types::{Commands, Exchange, MapParts, ObjectStores, Outbound};
use dtf_webhook::SenderConf;
use lrmf_core::BootClock;
use lrmf_core::config::text;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::connect::{Patience, service_ports};
use self::health::{Health, Phase};
use self::http::Pages;
use self::measured::{Sampler, measured};
use self::metrics::Metrics;
use crate::config::{Config, ConfigError};
use crate::service::{Dtf, Ports, ServiceError};
use crate::tasks::exec::AllowedCommands;

pub use self::api::ApiError;
pub use self::connect::ConnectError;
pub(crate) use self::connect::client_ports;

/// The period of putting recorded values together.
const UPKEEP: Duration = Duration::from_secs(5);

/// The time that handing over may take once the running subtasks have had theirs.
const HANDOVER: Duration = Duration::from_secs(10);

/// Why a service ended otherwise than it should.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A server cannot be worked with.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The process or a role of it could not start.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The HTTP port cannot be had.
    #[error("http.listen is {listen}, which cannot be had: {error}; choose another one, or off")]
    Http {
        /// The address.
        listen: String,
        /// Why.
        error: std::io::Error,
    },
    /// The API cannot be served.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A member of a group ended by itself: its store refuses it for good.
    #[error("the role {0} ended by itself; the log says why")]
    Ended(Role),
    /// Handing over took too long. What was not handed over goes elsewhere when the sessions end.
    #[error(
        "the work was not handed over within 10s of stop.grace, {0}; others take over when the sessions end"
    )]
    Grace(String),
}

/// Reads the commands that the settings allow this process to run for items: none where it executes nothing.
///
/// # Errors
/// The file cannot be used, in one line.
pub fn commands(config: &Config) -> Result<Option<AllowedCommands>, ConfigError> {
    let file = &config.executor.commands;
    if file.is_empty() || !config.role.contains(&Role::Executor) {
        return Ok(None);
    }
    let wrong = |why| ConfigError::plain(format!("executor.commands cannot be used: {why}"));
    AllowedCommands::read(Path::new(file)).map(Some).map_err(wrong)
}

/// Runs a service until `stop` is cancelled, and hands its work over then.
///
/// # Errors
/// It could not start, a role of it ended by itself, or handing over took longer than `stop.grace`.
pub async fn run(
    config: &Config,
    types: Vec<TaskPluginRegistration>,
    stop: &CancellationToken,
) -> Result<(), ServeError> {
    let commands = commands(config).map_err(ConnectError::from)?;
    run_with_commands(config, types, commands, stop).await
}

/// Runs a service, as [`run`] does, with these commands, whatever its settings say of them.
///
/// # Errors
/// As [`run`].
pub async fn run_with_commands(
    config: &Config,
    types: Vec<TaskPluginRegistration>,
    commands: Option<AllowedCommands>,
    stop: &CancellationToken,
) -> Result<(), ServeError> {
    let health = Arc::new(Health::new());
    let metrics = Metrics::install().map(Arc::new);
    let page_end = CancellationToken::new();
    let pages = Pages { health: health.clone(), metrics: metrics.clone() };
    let listener = bind(&config.http.listen).await?;
    let _pages = listener.map(|listener| http::serve(listener, pages, page_end.clone()));
    let serving = serve(config, types, commands, stop, &health);
    let done = tokio::select! {
        done = serving => done,
        () = upkeep(metrics.as_deref()) => Ok(()),
    };
    page_end.cancel();
    done
}

async fn bind(listen: &str) -> Result<Option<TcpListener>, ServeError> {
    if listen == "off" {
        return Ok(None);
    }
    let wrong = |error| ServeError::Http { listen: listen.to_owned(), error };
    let listener = TcpListener::bind(listen).await.map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    info!(%address, "health and metrics are at /live, /ready and /metrics");
    Ok(Some(listener))
}

/// Never ends.
async fn upkeep(metrics: Option<&Metrics>) {
    let mut pause = tokio::time::interval(UPKEEP);
    loop {
        pause.tick().await;
        if let Some(metrics) = metrics {
            metrics.upkeep();
        }
    }
}

async fn serve(
    config: &Config,
    types: Vec<TaskPluginRegistration>,
    commands: Option<AllowedCommands>,
    stop: &CancellationToken,
    health: &Health,
) -> Result<(), ServeError> {
    let waiting = |server| health.enter(Phase::Connecting(Some(server)));
    let patience = Patience { deadline: config.start.deadline, waiting: &waiting };
    let Some((ports, watched, shape)) =
        stop.run_until_cancelled(service_ports(config, &patience)).await.transpose()?
    else {
        return Ok(());
    };
    let config = &Config { shape, ..config.clone() };
    // Remote workers are met where subtasks are executed.
    let exchange = config
        .role
        .contains(&Role::Executor)
        .then(|| Exchange::of_cluster(ports.coordination.clone(), &config.cluster));
    let map = dtf_types::registration(MapParts {
        exchange: exchange.clone(),
        commands: commands.map(|commands| Arc::new(commands) as Arc<dyn Commands>),
        results: Some(ports.table.clone()),
        items: Some((ports.table.clone(), ports.queues.clone())),
        outbound: Some(outbound(config).map_err(ConnectError::from)?),
        stores: stores(config).map_err(ConnectError::from)?,
        connections: connections(config).map_err(ConnectError::from)?,
    });
    let types: Vec<_> = types.into_iter().chain([map]).collect();
    let mut plugins = PluginRegistry::default();
    for registration in types.clone() {
        plugins.register(registration).map_err(ServiceError::from)?;
    }
    let dtf = process(config, types, measured(ports.clone(), &plugins))?;
    let _api = api::start(config, &dtf, &ports, exchange).await?;
    let started = stop.run_until_cancelled(start(&dtf, config, health)).await.transpose();
    let ended = match started {
        Ok(Some(())) => {
            health.enter(Phase::Serving);
            info!(cluster = config.cluster, instance = config.instance, "serving");
            let sampler = dtf
                .member(Role::Manager)
                .await
                .map(|manager| Sampler::new(&ports, config.shape, manager, &plugins).run());
            let sampling = async {
                match sampler {
                    Some(sampling) => sampling.await,
                    None => std::future::pending().await,
                }
            };
            let keeping = async {
                match connect::only_executes(config) {
                    true => std::future::pending().await,
                    false => shape::keep(&*ports.coordination, &config.cluster, config.shape).await,
                }
            };
            tokio::select! {
                ended = until_ended(&dtf, config, stop) => ended,
                // They never end.
                () = sampling => Ok(()),
                () = keeping => Ok(()),
                () = watched.watch(health) => Ok(()),
            }
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    health.enter(Phase::Draining);
    info!("handing over");
    let drained = tokio::time::timeout(config.stop.grace + HANDOVER, dtf.stop()).await;
    health.clear();
    ended?;
    drained.map_err(|_| ServeError::Grace(text::show(config.stop.grace)))?;
    info!("ended");
    Ok(())
}

/// Returns the way to receivers of requests.
fn outbound(config: &Config) -> Result<Outbound, ConfigError> {
    let conf = SenderConf { per_host: config.executor.http_per_host, ..config.dtf().webhooks };
    // It was checked when the settings were read.
    let secrets = config.executor.http_secret.expose().parse().into_iter().collect();
    Outbound::new(conf, secrets, Arc::new(BootClock)).map_err(|error| ConfigError::plain(error.to_string()))
}

/// The object stores that tasks may use; none where the settings name none.
fn stores(config: &Config) -> Result<Option<ObjectStores>, ConfigError> {
    let prefixes = &config.map.stores;
    if prefixes.is_empty() {
        return Ok(None);
    }
    let wrong = |why| ConfigError::plain(format!("map.stores cannot be used: {why}"));
    ObjectStores::mounted(prefixes.iter().map(String::as_str), std::env::vars()).map(Some).map_err(wrong)
}

fn connections(config: &Config) -> Result<Option<Arc<dyn SqlConnections>>, ConfigError> {
    let file = &config.map.connections;
    if file.is_empty() {
        return Ok(None);
    }
    let wrong = |why| ConfigError::plain(format!("map.connections cannot be used: {why}"));
    let connections = connections::read(Path::new(file)).map_err(wrong)?;
    Ok(Some(Arc::new(connections)))
}

fn process(config: &Config, types: Vec<TaskPluginRegistration>, ports: Ports) -> Result<Dtf, ServiceError> {
    let mut builder = Dtf::builder(ports).config(config.dtf());
    for registration in types {
        builder = builder.register_task_type(registration)?;
    }
    builder.build()
}

async fn start(dtf: &Dtf, config: &Config, health: &Health) -> Result<(), ServeError> {
    for role in &config.role {
        health.enter(Phase::Joining(*role));
        metrics::begin(*role, &config.cluster);
        dtf.start_service(*role).await?;
        if let Some(member) = dtf.member(*role).await {
            health.joined(*role, member);
        }
        info!(%role, "joined");
    }
    Ok(())
}

/// Waits for the order to end. A role that ends before is an error.
async fn until_ended(dtf: &Dtf, config: &Config, stop: &CancellationToken) -> Result<(), ServeError> {
    let mut members = JoinSet::new();
    for role in &config.role {
        if let Some(member) = dtf.member(*role).await {
            let role = *role;
            members.spawn(async move {
                member.ended().await;
                role
            });
        }
    }
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        Some(Ok(role)) = members.join_next() => Err(ServeError::Ended(role)),
    }
}
