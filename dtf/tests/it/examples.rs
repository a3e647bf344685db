//! The examples in one process. On servers the sample of the original's README is among the tests of the whole stack.

#[path = "../../examples/sample.rs"]
#[expect(dead_code, reason = "the example's own main is not run here")]
mod sample;

#[path = "../../examples/accounts.rs"]
#[expect(dead_code, reason = "the example's own main is not run here")]
mod accounts;

use std::sync::Arc;

use dtf::Dtf;
use dtf::embedded::{self, Database, Embedded};
use dtf::model::TaskStatus;

#[tokio::test]
async fn the_sample_runs_in_one_process() {
    let builder = Dtf::builder(embedded::ports(Database::Memory).await.unwrap());
    let builder = builder.config(Embedded { jobs: 2 }.config());
    let dtf = builder.register_task_type(sample::registration()).unwrap().build().unwrap();
    dtf.start_all().await.unwrap();
    let row = sample::create_task(&dtf).await.unwrap().wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 1000), "{}", row.reason);
    assert_eq!(row.result.unwrap().data, 1000);
    dtf.stop().await;
}

#[tokio::test]
async fn each_accounts_transfers_are_booked_in_their_order() {
    let bank = Arc::<accounts::Bank>::default();
    let builder = Dtf::builder(embedded::ports(Database::Memory).await.unwrap());
    let builder = builder.config(Embedded { jobs: 4 }.config());
    let dtf = builder.register_task_type(accounts::registration(bank)).unwrap().build().unwrap();
    dtf.start_all().await.unwrap();
    let row = accounts::create_task(&dtf).await.unwrap().wait().await.unwrap();
    let all = accounts::ACCOUNTS * accounts::ENTRIES;
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, all), "{}", row.reason);
    assert_eq!(row.result.unwrap().data, 0);
    dtf.stop().await;
}
