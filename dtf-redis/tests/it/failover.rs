//! Planned failovers behind one address, servers that refuse writes, and users without rights.

use std::time::Duration;

use dtf_model::queue::{ExecutorQueue, QueueReader, SchedulerQueue, TakeRequest};
use dtf_model::wake::{Topic, WakeUp};
use dtf_model::{Shard, TaskId};
use dtf_redis::{Redis, RedisConfig, RedisQueues, RedisWakeUp};
use dtf_testkit::until_answered;
use test_servers::proxy::Proxy;
use test_servers::servers;

use crate::server::Server;
use crate::task::{FENCE, RUN, TASK, success, task_with};

/// `host:port` of a server.
fn place(server: &servers::Redis) -> String {
    server.url().trim_start_matches("redis://").trim_end_matches('/').to_owned()
}

/// Makes a server the replica of another one, and waits until it has everything.
fn follow(replica: &servers::Redis, master: &servers::Redis) {
    let place = place(master);
    let (host, port) = place.split_once(':').unwrap();
    replica.ask(&["REPLICAOF", host, port]).unwrap();
    while !replica.ask(&["INFO", "replication"]).unwrap().contains("master_link_status:up") {
        std::thread::sleep(Duration::from_millis(20));
    }
    let offset = |server: &servers::Redis, field: &str| {
        let info = server.ask(&["INFO", "replication"]).unwrap();
        info.lines().find_map(|line| line.strip_prefix(field).map(str::to_owned))
    };
    while offset(replica, "slave_repl_offset:") != offset(master, "master_repl_offset:") {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes the replica the master and the master its replica, and leads the address there.
fn swap(master: &servers::Redis, replica: &servers::Redis, address: &Proxy) {
    address.lead_to(&place(replica));
    replica.ask(&["REPLICAOF", "NO", "ONE"]).unwrap();
    let place = place(replica);
    let (host, port) = place.split_once(':').unwrap();
    master.ask(&["REPLICAOF", host, port]).unwrap();
    while !master.ask(&["INFO", "replication"]).unwrap().contains("master_link_status:up") {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_master_that_becomes_a_replica_behind_its_address_is_left() {
    let (first, second) = (servers::Redis::private().unwrap(), servers::Redis::private().unwrap());
    let address = Proxy::to(&place(&first)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(fails_over_twice(&first, &second, &address));
}

async fn fails_over_twice(first: &servers::Redis, second: &servers::Redis, address: &Proxy) {
    let config = RedisConfig { url: format!("redis://{}/", address.address()), ..RedisConfig::default() };
    let redis = Redis::connect(config).await.unwrap();
    let queues = RedisQueues::new(redis.clone());
    let wake = RedisWakeUp::start(redis.clone());
    let _listener = wake.listen(Topic::Watch(0));
    task_with(&queues, 3).await;
    tokio::task::block_in_place(|| follow(second, first));
    tokio::task::block_in_place(|| swap(first, second, address));
    // The first write says that it was not done, and the next one goes where the address leads now.
    let request = TakeRequest::of(&[Shard(0)], 1);
    let error = queues.take(FENCE, &request, 1).await.unwrap_err();
    assert!(error.is_retryable() && error.is_definitely_not_applied(), "{error}");
    let parcel = queues.take(FENCE, &request, 1).await.unwrap().parcels.remove(0).1;
    assert_eq!(queues.complete(TASK, RUN, success(&parcel)).await.unwrap().counted, 1);
    // Who only reads is not told by anybody, so the server is asked.
    tokio::task::block_in_place(|| swap(second, first, address));
    assert_eq!(queues.state(TASK).await.unwrap().unwrap().counts.counted(), 1);
    let error = redis.check_writable().await.unwrap_err().to_string();
    assert!(error.contains("replica"), "{error}");
    until_answered(|| redis.check_writable()).await;
    wake.notify(Topic::Watch(0), TaskId(1));
}

#[tokio::test]
async fn a_server_that_refuses_writes_says_why() {
    let server = servers::Redis::private().unwrap();
    let config = RedisConfig { url: server.url(), ..RedisConfig::default() };
    let redis = Redis::connect(config).await.unwrap();
    redis.check_writable().await.unwrap();
    for (setting, refusing, usual, says) in
        [("maxmemory", "1", "0", "OOM"), ("min-replicas-to-write", "1", "0", "NOREPLICAS")]
    {
        server.ask(&["CONFIG", "SET", setting, refusing]).unwrap();
        let error = redis.check_writable().await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains(says), "{error}");
        server.ask(&["CONFIG", "SET", setting, usual]).unwrap();
        redis.check_writable().await.unwrap();
    }
    assert_eq!(redis.inspect().await.unwrap().persistence_failures, Vec::<String>::new());
}

#[tokio::test]
async fn a_user_without_rights_is_told_the_rule_and_the_rule_is_enough() {
    let server = Server::start();
    let admin = redis::Client::open(server.config().url.as_str()).unwrap();
    let mut admin = admin.get_multiplexed_async_connection().await.unwrap();
    let url = server.config().url.replace("redis://", "redis://worker:secret@");
    let config = RedisConfig { url, key_prefix: "p.".to_owned(), ..server.config() };
    let mut acl = async |rules: &str| {
        let mut call = redis::cmd("ACL");
        call.arg("SETUSER").arg("worker").arg("reset").arg("on").arg(">secret");
        for rule in rules.split(' ') {
            call.arg(rule);
        }
        call.exec_async(&mut admin).await.unwrap();
    };
    // Redis 7 gives new users no channels.
    acl("~p.dtf.* +@all").await;
    let error = Redis::connect(config.clone()).await.unwrap().check_rights().await.unwrap_err().to_string();
    assert!(error.contains("ACL SETUSER worker ~p.dtf.* &p.dtf.wake.* "), "{error}");
    acl("~p.dtf.* &* +@all -info").await;
    let refused = Redis::connect(config.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("+info"), "{refused}");
    acl("~q.* &* +@all").await;
    let refused =
        Redis::connect(config.clone()).await.unwrap().check_writable().await.unwrap_err().to_string();
    assert!(refused.contains("ACL SETUSER"), "{refused}");
    let rule = error.split_once("ACL SETUSER worker ").unwrap().1.to_owned();
    acl(&rule).await;
    let redis = Redis::connect(config).await.unwrap();
    redis.check_rights().await.unwrap();
    redis.check_writable().await.unwrap();
    redis.inspect().await.unwrap();
    let queues = RedisQueues::new(redis);
    queues.incarnation().await.unwrap();
    task_with(&queues, 2).await;
    let parcel = queues.take(FENCE, &TakeRequest::of(&[Shard(0)], 1), 1).await.unwrap().parcels.remove(0).1;
    assert_eq!(queues.complete(TASK, RUN, success(&parcel)).await.unwrap().counted, 1);
}
