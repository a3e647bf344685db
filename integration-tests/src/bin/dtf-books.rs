//! The `dtf` command with a kind of task whose executions can be seen from outside besides `noop`.

use std::process::ExitCode;

use dtf::tasks::noop::Noop;
use integration_tests::books::Books;

fn main() -> ExitCode {
    dtf::cli::main(vec![Books::registration(), Noop::registration()])
}
