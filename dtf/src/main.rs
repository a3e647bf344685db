//! The `dtf` command.

use std::process::ExitCode;

use dtf::tasks::noop::Noop;

fn main() -> ExitCode {
    dtf::cli::main(vec![Noop::registration()])
}
