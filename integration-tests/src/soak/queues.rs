//! The servers of the queues, in each of their topologies.

use std::str::FromStr;

use test_servers::servers::{Redis, RedisCluster, RedisSentinel};

use super::dice::Dice;

/// The topology of the servers of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server behind an address of its own for each process.
    Single,
    /// A master and a replica under a Sentinel.
    Sentinel,
    /// A Cluster of three masters with a replica each.
    Cluster,
}

impl FromStr for Topology {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "single" => Ok(Self::Single),
            "sentinel" => Ok(Self::Sentinel),
            "cluster" => Ok(Self::Cluster),
            _ => Err("known are: single, sentinel, cluster"),
        }
    }
}

/// The servers of the queues.
pub(super) enum Queues {
    /// The one of the site.
    Single,
    Sentinel(Box<RedisSentinel>),
    Cluster(RedisCluster),
}

impl Queues {
    pub(super) fn start(topology: Topology) -> Self {
        match topology {
            Topology::Single => Self::Single,
            Topology::Sentinel => Self::Sentinel(Box::new(RedisSentinel::private().unwrap())),
            Topology::Cluster => {
                Self::Cluster(RedisCluster::private_with_replicas(&["--appendfsync", "always"]).unwrap())
            }
        }
    }

    /// The settings by which processes find them, where those of the site do not say it.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Single => Vec::new(),
            Self::Sentinel(servers) => vec![
                ("DTF_REDIS_URL", servers.url()),
                ("DTF_REDIS_TOPOLOGY", "sentinel".to_owned()),
                ("DTF_REDIS_SENTINEL_MASTER", RedisSentinel::MASTER.to_owned()),
            ],
            Self::Cluster(cluster) => {
                let urls = cluster.urls();
                vec![
                    ("DTF_REDIS_URL", urls[0].clone()),
                    ("DTF_REDIS_FURTHER_URLS", urls[1..].join(",")),
                    ("DTF_REDIS_TOPOLOGY", "cluster".to_owned()),
                ]
            }
        }
    }

    /// Returns true if another server may take over without the last writes of the one before.
    pub(super) fn may_forget(&self) -> bool {
        !matches!(self, Self::Single)
    }

    /// Waits until each of them is what it is going to be. Until then a former master may take writes that will be lost.
    pub(super) fn until_settled(&self) {
        match self {
            Self::Single => {}
            Self::Sentinel(servers) => servers.until_settled().unwrap(),
            Self::Cluster(cluster) => cluster.until_settled().unwrap(),
        }
    }

    /// All of them.
    pub(super) fn servers<'a>(&'a mut self, single: &'a mut Redis) -> Vec<&'a mut Redis> {
        match self {
            Self::Single => vec![single],
            Self::Sentinel(servers) => servers.servers().into(),
            Self::Cluster(cluster) => cluster.nodes().iter_mut().collect(),
        }
    }

    /// One of them; the same for the same number.
    pub(super) fn server<'a>(&'a mut self, single: &'a mut Redis, number: usize) -> &'a mut Redis {
        let mut all = self.servers(single);
        let at = number % all.len();
        all.swap_remove(at)
    }

    /// Lets another server take over as planned. Returns false where there is none.
    pub(super) fn fail_over(&self, dice: &mut Dice) -> bool {
        match self {
            Self::Single => return false,
            Self::Sentinel(servers) => servers.fail_over().unwrap(),
            Self::Cluster(cluster) => cluster.fail_over(dice.index(6)).unwrap(),
        }
        true
    }
}
