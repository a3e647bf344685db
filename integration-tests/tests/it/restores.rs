//! Stores that belong to another cluster, and a store that is restored from a backup while the others are not. A Redis that went
//! back is in `forgetting`.

use integration_tests::stage::{Site, refused, until};

#[test]
fn a_redis_of_another_cluster_is_refused_at_start() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let one = site.serve("one", "all");
    site.change("CREATE DATABASE other");
    let other = [("DTF_CLUSTER", "other".to_owned()), ("DTF_MYSQL_URL", site.sql.url("other"))];
    let migrated = site.dtf(&["migrate"]).envs(other.clone()).output().unwrap();
    assert!(migrated.status.success());
    let mut service = site.start_with("two", "all", &other);
    until("it is refused", || service.has_ended());
    assert!(
        service.last_words().contains("Redis belongs to the cluster default"),
        "{}",
        service.last_words()
    );
    // Who creates tasks is refused too: they would be told of the other cluster's.
    let said = refused(&site, &["task", "list"], &other);
    assert!(said.contains("Redis belongs to the cluster default"), "{said}");
    // With the name of the first one, it is refused by etcd.
    let mut same_name = site.start_with("two", "manager", &other[1..]);
    until("it is refused", || same_name.has_ended());
    assert!(same_name.last_words().contains("etcd belongs to the cluster default"));
    // A prefix of its own, and both work.
    let apart = [other.as_slice(), &[("DTF_REDIS_KEY_PREFIX", "other.".to_owned())]].concat();
    let two = site.start_with("two", "all", &apart);
    two.until_ready();
    site.balance(&site.submit(50, 0, &[]));
    // Where the first one is no more, the other takes its place.
    let in_use = refused(&site, &["cluster", "adopt"], &apart);
    assert!(in_use.contains("end all processes of the cluster first"), "{in_use}");
    drop((one, two));
    until("the sessions are over", || {
        site.dtf(&["cluster", "adopt"]).envs(other.clone()).output().unwrap().status.success()
    });
    let two = site.start_with("two", "all", &other);
    two.until_ready();
}

#[test]
fn a_task_of_a_restored_database_adopts_no_queues_of_a_later_one() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let mut service = site.serve("one", "all");
    // Both are in Redis for the time of retention, and in no database any more: one has ended, the other goes on.
    site.balance(&site.submit(40, 0, &[]));
    let unfinished = site.submit(4000, 20, &[]);
    unfinished.goes_on(100);
    service.ends_well();
    site.change("DELETE FROM tbl_task");
    site.change("ALTER TABLE tbl_task AUTO_INCREMENT = 1");
    let _service = site.serve("one", "all");
    let (first, second) = (site.submit(3, 0, &[]), site.submit(5, 0, &[]));
    assert_eq!((first.id, second.id), (1, unfinished.id));
    site.balance(&first);
    site.balance(&second);
}
