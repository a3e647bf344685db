//! Figures of Redis from its `INFO`, summed over the nodes of a Cluster.

use anyhow::Context;

const MIB: f64 = 1024.0 * 1024.0;

/// The figures of one or several nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RedisUsage {
    pub(crate) cpu_s: f64,
    /// The calls of scripts: `EVALSHA`, `EVAL`, `FCALL`.
    pub(crate) scripts: f64,
    /// The commands processed, from clients and from scripts.
    pub(crate) commands: f64,
    /// The memory in use.
    pub(crate) used_mib: f64,
    /// The memory in use by data: without buffers of clients and of the append-only file.
    pub(crate) data_bytes: f64,
    pub(crate) peak_mib: f64,
    /// The connections.
    pub(crate) clients: f64,
}

impl RedisUsage {
    fn of_node(info: &str) -> anyhow::Result<Self> {
        let figure = |name| -> anyhow::Result<f64> { Ok(field(info, name)?.parse()?) };
        let calls = |command: &str| -> anyhow::Result<f64> {
            // A command that was never called has no line.
            let Ok(stats) = field(info, &format!("cmdstat_{command}")) else { return Ok(0.0) };
            let calls = stats.split(',').find_map(|stat| stat.strip_prefix("calls="));
            Ok(calls.with_context(|| format!("Redis reports no calls of {command}"))?.parse()?)
        };
        let used = figure("used_memory")?;
        Ok(Self {
            cpu_s: figure("used_cpu_sys")? + figure("used_cpu_user")?,
            scripts: calls("evalsha")? + calls("eval")? + calls("fcall")?,
            commands: figure("total_commands_processed")?,
            used_mib: used / MIB,
            data_bytes: used - figure("mem_clients_normal")? - figure("mem_aof_buffer")?,
            peak_mib: figure("used_memory_peak")? / MIB,
            clients: figure("connected_clients")?,
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cpu_s: self.cpu_s + other.cpu_s,
            scripts: self.scripts + other.scripts,
            commands: self.commands + other.commands,
            used_mib: self.used_mib + other.used_mib,
            data_bytes: self.data_bytes + other.data_bytes,
            peak_mib: self.peak_mib + other.peak_mib,
            clients: self.clients + other.clients,
        }
    }
}

/// Reads the figures of the nodes with these URLs.
pub(crate) async fn redis(urls: &[String]) -> anyhow::Result<RedisUsage> {
    let mut sum = RedisUsage::default();
    for url in urls {
        sum = sum.plus(RedisUsage::of_node(&info(url).await?)?);
    }
    Ok(sum)
}

/// The version of Redis, or of Valkey.
pub(crate) async fn redis_version(url: &str) -> anyhow::Result<String> {
    let info = info(url).await?;
    match field(&info, "valkey_version") {
        Ok(version) => Ok(format!("Valkey {version}")),
        Err(_) => Ok(field(&info, "redis_version")?.to_owned()),
    }
}

/// Resets the peak of memory and the statistics of commands.
pub(crate) async fn reset_redis(urls: &[String]) -> anyhow::Result<()> {
    for url in urls {
        let mut connection = redis::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
        redis::cmd("CONFIG").arg("RESETSTAT").query_async::<()>(&mut connection).await?;
    }
    Ok(())
}

async fn info(url: &str) -> anyhow::Result<String> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    Ok(redis::cmd("INFO").arg("all").query_async(&mut connection).await?)
}

/// The value of a field.
fn field<'a>(info: &'a str, name: &str) -> anyhow::Result<&'a str> {
    let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(found.with_context(|| format!("Redis does not report {name}"))?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "used_memory:3000\r\nused_memory_peak:1048576\r\nmem_clients_normal:700\r\n\
        mem_aof_buffer:300\r\nconnected_clients:4\r\nused_cpu_sys:1.5\r\nused_cpu_user:2.5\r\n\
        total_commands_processed:90\r\ncmdstat_evalsha:calls=7,usec=80,usec_per_call=11.4\r\n";

    #[test]
    fn the_figures_of_nodes_are_summed() {
        let node = RedisUsage::of_node(INFO).expect("all figures are there");
        assert_eq!((node.cpu_s, node.scripts, node.data_bytes, node.peak_mib), (4.0, 7.0, 2000.0, 1.0));
        let both = node.plus(node);
        assert_eq!((both.cpu_s, both.commands, both.clients), (8.0, 180.0, 8.0));
    }
}
