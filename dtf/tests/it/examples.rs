//! The examples in one process. On servers the sample of the original's README is among the tests of the whole stack.

#[path = "../../examples/sample.rs"]
#[expect(dead_code, reason = "the example's own main is not run here")]
mod sample;

#[path = "../../examples/accounts.rs"]
#[expect(dead_code, reason = "the example's own main is not run here")]
mod accounts;

#[path = "../../examples/traits.rs"]
#[expect(dead_code, reason = "the example's own main is not run here")]
mod traits;

use std::sync::Arc;

use dtf::Dtf;
use dtf::model::{TaskParam, TaskStatus};

#[tokio::test]
async fn the_sample_runs_in_one_process() {
    let dtf = Dtf::embedded().jobs(2).register(sample::registration()).start().await.unwrap();
    let output = sample::create_task(&dtf).await.unwrap().output().await.unwrap();
    assert_eq!(
        (output.status, output.counts.succeeded, output.value),
        (TaskStatus::Completed, 1000, Some(1000)),
        "{}",
        output.reason
    );
    dtf.stop().await;
}

#[tokio::test]
async fn each_accounts_transfers_are_booked_in_their_order() {
    let transfers = accounts::transfers(Arc::default());
    let dtf = Dtf::embedded().jobs(4).register(&transfers).start().await.unwrap();
    let output = dtf.new_task(&transfers, ()).submit().await.unwrap().output().await.unwrap();
    assert_eq!(output.value, Some(0), "{}", output.reason);
    assert_eq!(output.counts.succeeded, accounts::ACCOUNTS * accounts::ENTRIES);
    dtf.stop().await;
}

#[tokio::test]
async fn the_plugin_on_the_traits_gives_what_the_typed_one_gives() {
    let dtf = Dtf::embedded().jobs(2).register(traits::registration()).start().await.unwrap();
    let param = TaskParam { type_param: 1000.into(), ..TaskParam::default() };
    let row = dtf.client().create_task(traits::SQUARES, param).await.unwrap().wait().await.unwrap();
    let result = row.result.unwrap();
    assert_eq!((result.data, result.reason.as_str()), (332_833_500.into(), "the sum of 1000 squares"));
    dtf.stop().await;
}
