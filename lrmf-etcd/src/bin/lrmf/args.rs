//! What can be asked on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lrmf_core::config::text;

/// See and steer a group of members that share tasks through etcd.
#[derive(Debug, Parser)]
#[command(
    name = "lrmf",
    version,
    after_help = "The password for etcd is taken from LRMF_PASSWORD, never from an argument.\n\
    Exit codes: 0 done, 1 failed or not there, 2 asked for wrongly (nothing was done)."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) etcd: Etcd,
    #[command(flatten)]
    pub(crate) group: Group,
    /// How to print: tables for people, or one JSON document for scripts (`watch`: one object a line).
    #[arg(short, long, value_enum, default_value_t = Output::Table, env = "LRMF_OUTPUT", global = true)]
    pub(crate) output: Output,
    /// Why: kept with a request, for people.
    #[arg(long, global = true)]
    pub(crate) note: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to reach etcd.
#[derive(Debug, Args)]
pub(crate) struct Etcd {
    /// etcd's nodes, as host:port or URL, with commas between them.
    #[arg(
        long,
        env = "LRMF_ENDPOINTS",
        value_delimiter = ',',
        default_value = "127.0.0.1:2379",
        global = true
    )]
    pub(crate) endpoints: Vec<String>,
    /// The user at etcd; LRMF_PASSWORD has the password.
    #[arg(long, env = "LRMF_USER", global = true)]
    pub(crate) user: Option<String>,
    /// The authority that signed etcd's certificate (PEM); the system's where none is given and an endpoint is https.
    #[arg(long, env = "LRMF_CA", global = true)]
    pub(crate) ca: Option<PathBuf>,
    /// Our certificate (PEM), for an etcd that asks for one; needs --cert-key.
    #[arg(long, env = "LRMF_CERT", global = true)]
    pub(crate) cert: Option<PathBuf>,
    /// The key of our certificate (PEM); needs --cert.
    #[arg(long, env = "LRMF_CERT_KEY", global = true)]
    pub(crate) cert_key: Option<PathBuf>,
    /// The name in etcd's certificate, where it is not that of the endpoint.
    #[arg(long, env = "LRMF_DOMAIN", global = true)]
    pub(crate) domain: Option<String>,
    /// What all keys begin with in etcd, where that is shared with others: the members' setting `root`.
    #[arg(long, env = "LRMF_ROOT", default_value = "", global = true)]
    pub(crate) root: String,
    /// The time that etcd may take to answer: a whole number and ms, s, m or h.
    #[arg(long, env = "LRMF_TIMEOUT", default_value = "3s", value_parser = text::parse, global = true)]
    pub(crate) timeout: Duration,
}

/// Which group.
#[derive(Debug, Args)]
pub(crate) struct Group {
    /// What kind of work is placed.
    #[arg(long, env = "LRMF_PROTOCOL", global = true, default_value = "")]
    pub(crate) protocol: String,
    /// Whose work it is.
    #[arg(long, env = "LRMF_BIZ", global = true, default_value = "")]
    pub(crate) biz: String,
    /// Which tenant of it.
    #[arg(long, env = "LRMF_TENANCY", global = true, default_value = "")]
    pub(crate) tenancy: String,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the members and what they are about.
    Members,
    /// List the tasks, who has them, and since which generation.
    Tasks {
        /// Only those of this member.
        #[arg(long)]
        member: Option<String>,
    },
    /// Show one task.
    Show {
        /// The task's key.
        key: String,
    },
    /// Say why a task is where it is, and what it waits for.
    Explain {
        /// The task's key.
        key: String,
    },
    /// Say what happens, as it happens, until interrupted.
    Watch,
    /// Empty a member, task by task, and give it nothing.
    Drain {
        /// The member.
        member: String,
    },
    /// Let a drained member have tasks again.
    Undrain {
        /// The member.
        member: String,
    },
    /// Keep a task with one member; while that one is away, any other has it.
    Pin {
        /// The task's key.
        key: String,
        /// The member.
        member: String,
    },
    /// Let the assignor decide about a task again.
    Unpin {
        /// The task's key.
        key: String,
    },
    /// Leave everything that runs where it runs; tasks that nobody runs are placed all the same.
    Freeze,
    /// Let tasks move again.
    Unfreeze,
    /// Ask the provider which tasks there are, and plan anew.
    Trigger,
    /// Send a member away: it stops everything and ends its session. Most come back after one TTL; drain it to keep it empty.
    Evict {
        /// The member.
        member: String,
        /// Its process is dead, and I know it: end its session now, so that nobody waits for the TTL. Should it live, its tasks
        /// run twice until it hears of this: only tokens keep them from doing harm.
        #[arg(long)]
        dead: bool,
        /// I have made sure that the process is dead, or that stores check tokens.
        #[arg(long, requires = "dead")]
        yes: bool,
    },
    /// Delete all records of a group that has no members any more.
    DeleteGroup {
        /// I do not need them.
        #[arg(long)]
        yes: bool,
    },
    /// Declare that a task's holder no longer runs it, although it has not said so, and give it to somebody else. Should
    /// it run on, it runs twice: only its token keeps the old run from doing harm.
    ForceRelease {
        /// The task's key.
        key: String,
        /// I have made sure that it does not run, or that stores check its token.
        #[arg(long)]
        yes: bool,
    },
}
