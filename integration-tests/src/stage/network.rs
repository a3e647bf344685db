//! The ways of a process to its servers.

use test_servers::proxy::{Passage, Proxy};

use super::Site;

/// The ways of a process to etcd, the database and Redis.
pub struct Network {
    /// The three ways, in this order.
    pub ways: [Proxy; 3],
    /// The settings that make a process take these ways.
    pub settings: [(&'static str, String); 3],
}

impl Network {
    /// From now on this passes to and from all servers.
    pub fn let_pass(&self, passage: Passage) {
        self.ways.iter().for_each(|way| way.let_pass(passage));
    }
}

impl Site {
    /// Ways of its own to the servers, which can be cut, for one process.
    pub fn network(&self) -> Network {
        let to = |url: &str| {
            let place = url.split_once("://").unwrap().1.trim_end_matches('/');
            let place = place.rsplit('@').next().unwrap().split('/').next().unwrap();
            (Proxy::to(place).unwrap(), place.to_owned())
        };
        let (etcd, sql, redis) = (self.etcd.url(), self.database(), self.redis.url());
        let ((to_etcd, at_etcd), (to_sql, at_sql), (to_redis, at_redis)) = (to(&etcd), to(&sql), to(&redis));
        let settings = [
            ("DTF_ETCD_ENDPOINTS", etcd.replace(&at_etcd, &to_etcd.address())),
            ("DTF_MYSQL_URL", sql.replace(&at_sql, &to_sql.address())),
            ("DTF_REDIS_URL", redis.replace(&at_redis, &to_redis.address())),
        ];
        Network { ways: [to_etcd, to_sql, to_redis], settings }
    }
}
