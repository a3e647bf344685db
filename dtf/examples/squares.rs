//! A task type from nothing: adds up the squares of the numbers below a limit.
//!
//! ```console
//! cargo run --example squares
//! ```

use dtf::prelude::*;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let squares = TaskType::named("squares")
        .input(|limit: u64| 0..limit) // the subtasks, lazily; resumed behind those that were generated
        .execute(|n: u64, _ctx| async move { Ok(n * n) }) // on any executor, at least once
        .fold(0u64, |sum, square| sum + square) // each result exactly once
        .build();
    let dtf = Dtf::embedded().register(&squares).start().await?;
    let sum = dtf.run(&squares, 100_000).await?;
    println!("the sum of the squares below 100000 is {sum}");
    dtf.stop().await;
    Ok(())
}
