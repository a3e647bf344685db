//! The sample of the original's README in one process. On servers it is among the tests of the whole stack.

#[path = "../examples/sample.rs"]
#[expect(dead_code, reason = "the example's own main is not run here")]
mod sample;

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
