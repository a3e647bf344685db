//! The `dtf` command with a kind of task whose executions can be seen from outside.

use std::process::ExitCode;

use integration_tests::books::Books;

fn main() -> ExitCode {
    dtf::cli::main(vec![Books::registration()])
}
