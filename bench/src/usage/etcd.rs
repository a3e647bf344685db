//! Figures of etcd from its pages.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;

/// The figures of an etcd.
pub(crate) struct EtcdUsage {
    pub(crate) cpu_s: f64,
    /// The syncs of its log to the disk.
    pub(crate) syncs: f64,
    /// Those of them that took longer than 64 ms.
    pub(crate) slow_syncs: f64,
}

/// Reads the figures of an etcd from its metrics.
pub(crate) fn etcd(url: &str) -> anyhow::Result<EtcdUsage> {
    let text = page(url, "/metrics")?;
    let figure = |name: &str| -> anyhow::Result<f64> {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(found.with_context(|| format!("etcd does not report {name}"))?.trim().parse()?)
    };
    let syncs = figure("etcd_disk_wal_fsync_duration_seconds_count")?;
    let fast = figure("etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.064\"}")?;
    Ok(EtcdUsage { cpu_s: figure("process_cpu_seconds_total")?, syncs, slow_syncs: syncs - fast })
}

/// The version of an etcd.
pub(crate) fn etcd_version(url: &str) -> anyhow::Result<String> {
    let page = page(url, "/version")?;
    let version: serde_json::Value = serde_json::from_str(&page).context("etcd's version is not JSON")?;
    Ok(version["etcdserver"].as_str().context("etcd does not report its version")?.to_owned())
}

fn page(url: &str, page: &str) -> anyhow::Result<String> {
    let address = url.strip_prefix("http://").context("etcd's pages are read without TLS only")?;
    let mut stream = TcpStream::connect(address.trim_end_matches('/'))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {page} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").context("etcd's answer has no body")?;
    Ok(body.to_owned())
}
