//! Two minutes of the soak. `DTF_SEED=n` chooses its seed.

use std::time::Duration;

use integration_tests::soak::{Options, run};

#[test]
fn whatever_fails_the_books_are_right() {
    let seed = std::env::var("DTF_SEED").map_or(1, |seed| seed.parse().unwrap());
    run(&Options { span: Duration::from_secs(120), seed, longest: None, redis: None });
}
