//! Costs of a benchmark: processor time and memory of this process, of others and of the servers.

mod etcd;
mod redis;

use std::fs;

pub(crate) use etcd::{etcd, etcd_version};
pub(crate) use redis::{RedisUsage, redis, redis_version, reset_redis};

/// The processor time that this process has used, in seconds, in all its threads.
pub(crate) fn own_cpu_s() -> f64 {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    clock.tv_sec as f64 + clock.tv_nsec as f64 / 1e9
}

/// The largest memory that this process has had resident, in MiB.
pub(crate) fn own_peak_rss_mib() -> Option<f64> {
    memory_mib("/proc/self/status", "VmHWM:")
}

/// The memory that another process has resident, in MiB; none once it has gone.
pub(crate) fn rss_mib_of(pid: u32) -> Option<f64> {
    memory_mib(&format!("/proc/{pid}/status"), "VmRSS:")
}

fn memory_mib(status: &str, name: &str) -> Option<f64> {
    let status = fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// The number of sockets that another process has open.
pub(crate) fn sockets_of(pid: u32) -> std::io::Result<usize> {
    // A descriptor that was closed meanwhile cannot be read.
    let targets = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten().flat_map(|fd| fs::read_link(fd.path()));
    Ok(targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count())
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
