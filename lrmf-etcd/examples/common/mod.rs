//! What the examples share: how to be a member by command line, and how to leave.

#[allow(dead_code, reason = "not every example has keys to spread")]
pub(crate) mod hash;

use std::sync::Arc;
use std::time::Duration;

use lrmf_core::config::text;
use lrmf_core::{Coordinator, CoordinatorBuilder, CoordinatorConfig, CoordinatorHandle, GroupId, InstanceId};
use lrmf_etcd::{EtcdConfig, EtcdStore};
use tokio::signal::unix::{SignalKind, signal};

/// Which member this process is, and of what.
#[derive(Debug, clap::Args)]
pub(crate) struct MemberArgs {
    /// The nodes of etcd, as host:port, separated by commas.
    #[arg(long, env = "ETCD_ENDPOINT", default_value = "127.0.0.1:2379", value_delimiter = ',')]
    etcd: Vec<String>,
    /// The name of this member: no other running process's, and the same after a restart.
    #[arg(long, value_parser = InstanceId::new)]
    instance: InstanceId,
    /// Keeps groups apart that use one etcd.
    #[arg(long, default_value = "default")]
    tenancy: String,
    /// After how long without a sign of life a member's tasks go to others.
    #[arg(long, default_value = "10s", value_parser = text::parse)]
    ttl: Duration,
}

impl MemberArgs {
    /// The name of this member.
    #[allow(dead_code, reason = "not every example prints it")]
    pub(crate) fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Connects to etcd and begins to describe the member of the group of this protocol.
    ///
    /// # Errors
    /// etcd cannot be used, or a name is none.
    pub(crate) async fn member(&self, protocol: &str, biz: &str) -> anyhow::Result<CoordinatorBuilder> {
        // A call that takes longer than this may as well be lost: there has to be time for another before the session ends.
        let request_timeout = (self.ttl / 4).min(Duration::from_secs(3));
        let etcd = EtcdConfig {
            request_timeout,
            connect_timeout: request_timeout.min(Duration::from_secs(1)),
            ..EtcdConfig::new(&self.etcd)
        };
        let store = Arc::new(EtcdStore::connect(etcd).await?);
        let config =
            CoordinatorConfig { ttl: self.ttl, margin: self.ttl * 3 / 10, ..CoordinatorConfig::default() };
        Ok(Coordinator::builder(store, GroupId::new(protocol, biz, &self.tenancy)?)
            .instance_id(self.instance.clone())
            .config(config))
    }
}

/// Waits for Ctrl-C or SIGTERM, then hands the tasks over and leaves. A second Ctrl-C leaves at once.
///
/// # Errors
/// Signals cannot be heard; or the member ended by itself.
pub(crate) async fn serve_until_stopped(member: &CoordinatorHandle) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        heard = tokio::signal::ctrl_c() => heard?,
        _ = terminate.recv() => {}
        () = member.ended() => anyhow::bail!("the member ended: {:?}", member.status().borrow().stage),
    }
    println!("{} hands over and leaves", member.instance_id());
    tokio::select! {
        () = member.close() => {}
        heard = tokio::signal::ctrl_c() => heard?,
    }
    Ok(())
}
