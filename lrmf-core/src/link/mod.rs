//! Liveness links: members of a group of mode [`Available`](GroupMode::Available) hear at once that the process of another one
//! has ended, and do not wait for its contact to run out.
//!
//! # What it is
//! Each member listens at an address of its own, says in its labels which, and keeps one connection to the leader. The system
//! closes a process's connections when the process ends, however it ends. So the leader hears of the end of each member, and
//! the members of the end of the leader, within milliseconds.
//!
//! # What follows from it
//! A *hint*: the contact of that session is deleted, as if it had run out, and nothing else. Tasks go elsewhere under higher
//! tokens, as in this mode they do anyway when a member is silent for a third of the TTL. In a group of mode
//! [`Exclusive`](GroupMode::Exclusive) there are no contacts and a hint does nothing: there P1 holds, and only an operator, who
//! knows, may say that a process is dead ([`Admin::declare_dead`](crate::admin::Admin::declare_dead)).
//!
//! | what happens | what is heard | what follows |
//! |---|---|---|
//! | a process ends, by itself, by a signal or by a panic | its connections close, and nobody listens at its address | a hint, after [`GRACE`] |
//! | it leaves in good order | it says so before it closes | nothing: it has handed its tasks over |
//! | a connection breaks, and the process lives | it connects again within [`GRACE`] | nothing |
//! | the same, and it cannot | it seems to have ended | a wrong hint: its tasks move, once; it is back in contact as soon as it hears of it |
//! | its machine loses power, or the network is cut | nothing | its contact runs out, as without links |
//! | it is stopped or hangs | nothing: its connections stay | the same |
//! | another process listens at its address by now | another name or session answers | a hint about the old session, which no longer does anything to a new one |
//!
//! # Costs
//! A member has one connection, the leader one for each member. Nothing is sent on them after the greeting. When the leader's
//! process ends, the members that are its candidates, five at most, look whether anybody listens at its address.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use lrmf_core::{Coordinator, CoordinatorConfig, FixedTasks, GroupId, GroupMode, InstanceId, MemoryStore};
//! # use lrmf_core::smooth::SmoothWorker;
//! use lrmf_core::link::LivenessLink;
//!
//! # async fn run() -> anyhow::Result<()> {
//! # let (store, group) = (Arc::new(MemoryStore::new()), GroupId::new("mirror", "orders", "default")?);
//! let link = LivenessLink::listen(&"tcp://10.0.0.7:7411".parse()?).await?;
//! let config = CoordinatorConfig { mode: GroupMode::Available, ..CoordinatorConfig::default() };
//! let member = Coordinator::builder(store.clone(), group)
//!     .instance_id(InstanceId::new("a")?)
//!     .config(link.announced_in(config))
//! #   .provider(FixedTasks::new([])).worker(SmoothWorker::new(|_| ()))
//!     .start()
//!     .await?;
//! // Ends with the member.
//! let link = tokio::spawn(link.serve(member.clone(), store));
//! # member.close().await;
//! # link.await?;
//! # Ok(())
//! # }
//! ```

mod accept;
mod address;
mod dial;
mod peers;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::admin::Admin;
use crate::config::CoordinatorConfig;
#[cfg(doc)]
use crate::config::GroupMode;
use crate::coordination::Coordination;
use crate::coordinator::CoordinatorHandle;
use crate::ids::{Incarnation, InstanceId};

use address::Listener;
pub use address::{InvalidAddress, LinkAddress};

/// The label in which a member says where it listens.
pub const LABEL: &str = "liveness-link";

/// The time that a member whose connection closed has to connect again.
pub const GRACE: Duration = Duration::from_millis(250);

/// A member's end of its links: it listens, and is not yet of any member.
#[derive(Debug)]
pub struct LivenessLink {
    listener: Listener,
    address: LinkAddress,
    connected: watch::Sender<usize>,
}

impl LivenessLink {
    /// Listens at an address. With port 0 the system chooses one, and [`address`](Self::address) says which.
    ///
    /// # Errors
    /// What the system says: an address that is in use or not this machine's, a path that cannot be written.
    pub async fn listen(address: &LinkAddress) -> io::Result<Self> {
        let (listener, address) = Listener::bind(address).await?;
        Ok(Self { listener, address, connected: watch::Sender::new(0) })
    }

    /// The address at which it listens.
    pub fn address(&self) -> &LinkAddress {
        &self.address
    }

    /// The number of members that are connected to this one, as they are while it leads.
    pub fn connected(&self) -> watch::Receiver<usize> {
        self.connected.subscribe()
    }

    /// The settings of a member that says where it listens. Others have to reach it there.
    #[must_use]
    pub fn announced_in(&self, mut config: CoordinatorConfig) -> CoordinatorConfig {
        config.labels.insert(LABEL.to_owned(), self.address.to_string());
        config
    }

    /// Links the member with its group until it has ended; says good-bye then. Dropping the future before is taken for the
    /// death of the process.
    pub async fn serve(self, member: CoordinatorHandle, store: Arc<dyn Coordination>) {
        let hints = Hints { admin: Admin::new(store.clone(), member.group().clone()) };
        tokio::select! {
            () = accept::run(&self, &member, &hints) => {}
            // It ends with the member, and has said good-bye then.
            () = dial::run(&member, store.as_ref(), &hints) => {}
        }
        self.listener.close();
    }
}

/// The way in which others are told that a process seems to have ended.
#[derive(Debug)]
struct Hints {
    admin: Admin,
}

impl Hints {
    async fn give(&self, member: &InstanceId, incarnation: Incarnation) {
        match self.admin.report_silent(member, incarnation).await {
            Ok(true) => tracing::warn!(%member, %incarnation, "process ended"),
            Ok(false) => {}
            // Its contact runs out without a hint, too.
            Err(error) => {
                tracing::warn!(%member, %incarnation, %error, "process ended, and it cannot be said")
            }
        }
    }
}
