//! A mixed load under random faults on real servers, for as long as it is told to.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use dtf::tasks::noop::Noop;
use integration_tests::books::Books;
use integration_tests::soak::{self, OWN_MOUNTS, Options, Topology};
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
    /// The longest that a fault lasts, in seconds. By default an eighth of the time, ten minutes at most
    #[arg(long, value_name = "SECONDS")]
    longest: Option<u64>,
    /// The topology of the servers of the queues: single, sentinel or cluster. By default the seed says which
    #[arg(long)]
    redis: Option<Topology>,
}

/// Begins the program again with mounts of its own, which end with it, where that is permitted: the servers then have small disks.
fn with_own_mounts() -> anyhow::Result<()> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command
    };
    let is_permitted = unshare().arg("true").output().is_ok_and(|out| out.status.success());
    if !is_permitted || std::env::var_os(OWN_MOUNTS).is_some() {
        return Ok(());
    }
    let mut again = unshare();
    again.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(OWN_MOUNTS, "yes");
    Err(again.exec().into())
}

fn main() -> ExitCode {
    // The processes of the cluster are this program too, so that it runs wherever it is alone.
    if stage::is_dtf_books() {
        return dtf::cli::main(vec![Books::registration(), Noop::registration()]);
    }
    let Arguments { minutes, seed, longest, redis } = Arguments::parse();
    if let Err(error) = with_own_mounts() {
        eprintln!("soak: {error}");
        return ExitCode::FAILURE;
    }
    let (span, longest) = (Duration::from_secs(minutes * 60), longest.map(Duration::from_secs));
    soak::run(&Options { span, seed, longest, redis });
    ExitCode::SUCCESS
}
