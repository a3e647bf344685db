//! A mixed load under random faults on real servers, for as long as it is told to.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use dtf::tasks::noop::Noop;
use integration_tests::books::Books;
use integration_tests::soak::{self, Options};
use integration_tests::stage;

/// Runs a cluster under load and random faults, and checks its books.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Arguments {
    /// The time for which faults go on, in minutes; what runs then is waited for besides.
    #[arg(long, default_value_t = 2)]
    minutes: u64,
    /// The seed of load and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    // The processes of the cluster are this program too, so that it runs wherever it is alone.
    if stage::is_dtf_books() {
        return dtf::cli::main(vec![Books::registration(), Noop::registration()]);
    }
    let Arguments { minutes, seed } = Arguments::parse();
    soak::run(&Options { span: Duration::from_secs(minutes * 60), seed });
    ExitCode::SUCCESS
}
