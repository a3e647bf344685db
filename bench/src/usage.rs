//! What a benchmark costs: processor time and memory of this process and of the servers.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;

/// The processor time that this process has used, in seconds, in all its threads.
pub(crate) fn own_cpu_s() -> f64 {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    clock.tv_sec as f64 + clock.tv_nsec as f64 / 1e9
}

/// The most memory that this process has had resident, in MiB.
pub(crate) fn own_peak_rss_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// What Redis says of itself.
pub(crate) struct RedisUsage {
    pub(crate) cpu_s: f64,
    pub(crate) used_mib: f64,
    pub(crate) peak_mib: f64,
}

/// Asks a Redis what it has used.
pub(crate) async fn redis(url: &str) -> anyhow::Result<RedisUsage> {
    let info = redis_info(url).await?;
    let figure = |name| -> anyhow::Result<f64> { Ok(told(&info, name)?.parse()?) };
    let mib = 1024.0 * 1024.0;
    Ok(RedisUsage {
        cpu_s: figure("used_cpu_sys")? + figure("used_cpu_user")?,
        used_mib: figure("used_memory")? / mib,
        peak_mib: figure("used_memory_peak")? / mib,
    })
}

/// The version of a Redis, or of what says that it is one.
pub(crate) async fn redis_version(url: &str) -> anyhow::Result<String> {
    let info = redis_info(url).await?;
    match told(&info, "valkey_version") {
        Ok(version) => Ok(format!("Valkey {version}")),
        Err(_) => Ok(told(&info, "redis_version")?.to_owned()),
    }
}

async fn redis_info(url: &str) -> anyhow::Result<String> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    Ok(redis::cmd("INFO").arg("all").query_async(&mut connection).await?)
}

/// What Redis tells under a name.
fn told<'a>(info: &'a str, name: &str) -> anyhow::Result<&'a str> {
    let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(found.with_context(|| format!("Redis does not tell {name}"))?.trim())
}

/// Makes Redis forget its peak of memory.
pub(crate) async fn reset_redis_peak(url: &str) -> anyhow::Result<()> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::cmd("CONFIG").arg("RESETSTAT").query_async::<()>(&mut connection).await?;
    Ok(())
}

/// What an etcd says of itself.
pub(crate) struct EtcdUsage {
    pub(crate) cpu_s: f64,
    /// How many times it synced its log to the disk, and how many of these took longer than 64 ms.
    pub(crate) syncs: f64,
    pub(crate) slow_syncs: f64,
}

/// Asks an etcd what it has used, over its metrics.
pub(crate) fn etcd(url: &str) -> anyhow::Result<EtcdUsage> {
    let text = page_of_etcd(url, "/metrics")?;
    let figure = |name: &str| -> anyhow::Result<f64> {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(found.with_context(|| format!("etcd does not tell {name}"))?.trim().parse()?)
    };
    let syncs = figure("etcd_disk_wal_fsync_duration_seconds_count")?;
    let fast = figure("etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.064\"}")?;
    Ok(EtcdUsage { cpu_s: figure("process_cpu_seconds_total")?, syncs, slow_syncs: syncs - fast })
}

/// The version of an etcd.
pub(crate) fn etcd_version(url: &str) -> anyhow::Result<String> {
    let page = page_of_etcd(url, "/version")?;
    let told: serde_json::Value = serde_json::from_str(&page).context("etcd's version is not JSON")?;
    Ok(told["etcdserver"].as_str().context("etcd does not tell its version")?.to_owned())
}

fn page_of_etcd(url: &str, page: &str) -> anyhow::Result<String> {
    let place = url.strip_prefix("http://").context("etcd's pages are read without TLS only")?;
    let mut stream = TcpStream::connect(place.trim_end_matches('/'))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {page} HTTP/1.0\r\nHost: {place}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").context("etcd's answer has no body")?;
    Ok(body.to_owned())
}

/// The processor time that another process has used, in seconds; none once it has gone.
pub(crate) fn cpu_s_of(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may contain anything, in parentheses: the 12th and 13th are user and system time.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Some((ticks()? + ticks()?) / per_second)
}
