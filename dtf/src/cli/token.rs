//! `dtf token`: who may use the HTTP API.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use dtf::Client;
use dtf::model::plugin::TaskPluginRegistration;
use dtf_api as api;
use dtf_api::Token;
use dtf_control::{NewToken, utc};
use dtf_model::token::{ApiToken, TokenRole};
use serde_json::{Value, json};

use super::args::{Output, duration};
use super::oneshot::refused;
use super::remote::{self, Remote};
use super::settings::Head;
use super::table::Listing;
use super::{Usage, say, task};

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    head: Head,
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token and print it; its secret is kept nowhere
    Create {
        /// Its purpose, or the name of the person or program that is to have it
        #[arg(long)]
        name: String,
        /// The rights that it gives
        #[arg(long, value_enum)]
        role: RoleArg,
        /// A resource group that it is limited to; may be repeated [default: all]
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// A task type that a worker with it may execute; may be repeated [default: all]
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
        /// The time until it is refused, as in 12h or 720h [default: never]
        #[arg(long, value_parser = duration, value_name = "TIME")]
        lifetime: Option<Duration>,
    },
    /// List the tokens, without their secrets
    List,
    /// Revoke a token; servers refuse it within five seconds
    Revoke {
        /// The id of the token: the part behind `dtf_`
        id: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    Worker,
    Reader,
    Operator,
    Admin,
}

impl From<RoleArg> for TokenRole {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Worker => Self::Worker,
            RoleArg::Reader => Self::Reader,
            RoleArg::Operator => Self::Operator,
            RoleArg::Admin => Self::Admin,
        }
    }
}

pub(crate) fn run(args: TokenArgs, types: Vec<TaskPluginRegistration>) -> anyhow::Result<ExitCode> {
    if let Some(client) = args.remote.client()? {
        let perform =
            async || over_http(&client, args.what, args.head.output).await.map(|()| ExitCode::SUCCESS);
        return remote::ask(perform);
    }
    task::with_client(&args.head.settings, types, async |client| {
        perform(&client, args.what, args.head.output).await.map(|()| ExitCode::SUCCESS)
    })
}

async fn perform(client: &Client, what: What, output: Output) -> anyhow::Result<()> {
    match what {
        What::Create { name, role, groups, types, lifetime } => {
            let created_by = std::env::var("USER").unwrap_or_else(|_| "dtf token".to_owned());
            let new = NewToken { name, role: role.into(), groups, types, lifetime, created_by };
            let (token, secret) = client.create_token(new).await.map_err(refused)?;
            show_created(&api_token(token), &secret, output)?;
        }
        What::List => {
            let tokens = client.tokens().await.map_err(refused)?;
            show_all(&tokens.into_iter().map(api_token).collect::<Vec<_>>(), output)?;
        }
        What::Revoke { id } => {
            let known = id_of(&id);
            if !client.revoke_token(known).await.map_err(refused)? {
                return Err(Usage(format!("there is no token {known:?}; `dtf token list` has them")).into());
            }
            show_revoked(known, output)?;
        }
    }
    Ok(())
}

/// The same through the HTTP API.
async fn over_http(client: &dtf_client::Client, what: What, output: Output) -> anyhow::Result<()> {
    let refused = remote::refused;
    match what {
        What::Create { name, role, groups, types, lifetime } => {
            let role = match role {
                RoleArg::Worker => api::TokenRole::Worker,
                RoleArg::Reader => api::TokenRole::Reader,
                RoleArg::Operator => api::TokenRole::Operator,
                RoleArg::Admin => api::TokenRole::Admin,
            };
            let lifetime_s = lifetime.map(|lifetime| lifetime.as_secs());
            let new = api::NewToken { name, role, groups, types, lifetime_s };
            let created = client.create_token(&new).await.map_err(refused)?;
            show_created(&created.token, &created.secret, output)
        }
        What::List => show_all(&client.tokens().await.map_err(refused)?, output),
        What::Revoke { id } => {
            client.revoke_token(id_of(&id)).await.map_err(refused)?;
            show_revoked(id_of(&id), output)
        }
    }
}

/// The id of a token, of which perhaps more is given.
fn id_of(id: &str) -> &str {
    id.strip_prefix("dtf_").map_or(id, |rest| rest.split('_').next().unwrap_or(rest))
}

/// A token, as the API has it.
fn api_token(token: ApiToken) -> Token {
    let ApiToken { id, name, role, groups, types, created_at, created_by, expires_at, last_used, .. } = token;
    let role = match role {
        TokenRole::Worker => api::TokenRole::Worker,
        TokenRole::Reader => api::TokenRole::Reader,
        TokenRole::Operator => api::TokenRole::Operator,
        TokenRole::Admin => api::TokenRole::Admin,
    };
    Token { id, name, role, groups, types, created_at, created_by, expires_at, last_used }
}

fn show_created(token: &Token, secret: &str, output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match output {
        Output::Json => writeln!(out, "{}", json!({ "token": document(token), "secret": secret }))?,
        Output::Text => {
            writeln!(out, "{secret}")?;
            say("keep it safe: it is shown this once");
        }
    }
    Ok(())
}

fn show_all(tokens: &[Token], output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match output {
        Output::Json => writeln!(out, "{}", json!(tokens.iter().map(document).collect::<Vec<_>>()))?,
        Output::Text => writeln!(out, "{}", table(tokens))?,
    }
    Ok(())
}

fn show_revoked(id: &str, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        writeln!(std::io::stdout(), "{}", json!({ "revoked": id }))?;
    }
    Ok(())
}

fn document(token: &Token) -> Value {
    json!({
        "id": token.id, "name": token.name, "role": token.role, "groups": token.groups, "types": token.types,
        "created_at": token.created_at, "created_by": token.created_by, "expires_at": token.expires_at,
        "last_used": token.last_used,
    })
}

fn table(tokens: &[Token]) -> Listing {
    let mut table = Listing::new(["id", "name", "role", "groups", "types", "made", "expires", "last used"]);
    let all = |names: &[String]| if names.is_empty() { "all".to_owned() } else { names.join(", ") };
    let time = |time: Option<u64>| time.map_or_else(|| "never".to_owned(), utc);
    for token in tokens {
        table.row([
            token.id.clone(),
            token.name.clone(),
            token.role.name().to_owned(),
            all(&token.groups),
            all(&token.types),
            utc(token.created_at),
            time(token.expires_at),
            time(token.last_used),
        ]);
    }
    table
}
