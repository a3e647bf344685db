//! `dtf health`: asks the service on this machine, as container platforms do that have no other client at hand.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::FAILED;
use super::args::Output;
use super::settings::Head;

/// The longest time that the service may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    head: Head,
    /// Checks only that it runs at all, ready or not
    #[arg(long)]
    live: bool,
}

pub(crate) fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let config = args.head.settings.load()?.config;
    let page = if args.live { "/live" } else { "/ready" };
    if config.http.listen == "off" {
        bail!("http.listen is off, so nothing can be asked");
    }
    let (host, port) = config.http.listen.rsplit_once(':').context("http.listen has no port")?;
    // A service that listens everywhere listens here too.
    let host = if ["0.0.0.0", "[::]"].contains(&host) { "127.0.0.1" } else { host };
    let answer = ask(&format!("{host}:{port}"), page)
        .with_context(|| format!("no service answers at {host}:{port} (http.listen)"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let body = body.trim_end();
    match args.head.output {
        // What is ready says how in JSON already; what is alive says so in a word.
        Output::Json if args.live => writeln!(std::io::stdout(), "{}", serde_json::json!({ "live": body }))?,
        Output::Json | Output::Text => writeln!(std::io::stdout(), "{body}")?,
    }
    let well = head.split(' ').nth(1) == Some("200");
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn ask(address: &str, page: &str) -> std::io::Result<String> {
    let place = address.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&place, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {page} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
