//! Several Redis servers that belong together: a Cluster of three masters, and a master with a replica under a Sentinel.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::process::{Process, directory, find};
use super::redis::{Redis, answers, tls_settings};
use super::{Source, TlsFiles, ports};

/// The number of slots of a Cluster.
const SLOTS: u32 = 16_384;
/// The time limit for servers to find each other. Much more than they need: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// Three masters that share the slots.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// A private one.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub fn private() -> anyhow::Result<Self> {
        Self::private_with(&[])
    }

    /// A private one whose nodes have further settings, as on their command lines.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub fn private_with(further: &[&str]) -> anyhow::Result<Self> {
        Self::start(None, further)
    }

    /// A private one whose clients need TLS and a certificate of the files' authority, and whose nodes speak TLS among
    /// themselves.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub fn private_with_tls(files: &TlsFiles) -> anyhow::Result<Self> {
        Self::start(Some(files), &["--tls-cluster", "yes"])
    }

    /// A node that knows no other, and the port at which others find it.
    fn node(tls: Option<&TlsFiles>, further: &[&str]) -> anyhow::Result<(Redis, String)> {
        let bus = ports::free()?.to_string();
        // No node is given up only because the machine is busy.
        let settings =
            ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "20000"];
        Ok((Redis::private_among(tls, &[&settings, further].concat())?, bus))
    }

    fn start(tls: Option<&TlsFiles>, further: &[&str]) -> anyhow::Result<Self> {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Self::node(tls, further)?);
        }
        let each = SLOTS.div_ceil(3);
        for (number, (node, _)) in (0..).zip(&nodes) {
            let (first, end) = (number * each, ((number + 1) * each).min(SLOTS));
            let slots: Vec<String> = (first..end).map(|slot| slot.to_string()).collect();
            node.ask(&[&["CLUSTER".to_owned(), "ADDSLOTS".to_owned()][..], &slots].concat())?;
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
        }
        for (node, bus) in &nodes[1..] {
            let port = node.port()?.to_string();
            let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, bus];
            nodes[0].0.ask(&meet)?;
        }
        let cluster = Self { nodes: nodes.into_iter().map(|(node, _)| node).collect() };
        for node in &cluster.nodes {
            until("the nodes of a Cluster find each other", || {
                let says = |what: &str| node.ask(&["CLUSTER", what]);
                let whole = says("INFO")?.contains("cluster_state:ok");
                Ok(whole && says("NODES")?.matches("master").count() == 3)
            })?;
        }
        Ok(cluster)
    }

    /// A private one whose masters have a replica each. The settings are those of all nodes.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub fn private_with_replicas(further: &[&str]) -> anyhow::Result<Self> {
        let mut cluster = Self::start(None, further)?;
        let masters = cluster.nodes.iter().map(|node| node.ask(&["CLUSTER", "MYID"]));
        let masters: Vec<_> = masters.collect::<Result<_, _>>()?;
        let first = cluster.nodes[0].port()?.to_string();
        let first_bus = cluster.nodes[0].bus()?;
        for master in masters {
            let (replica, _) = Self::node(None, further)?;
            let master = master.lines().nth(1).unwrap_or_default().trim().to_owned();
            replica.ask(&["CLUSTER", "MEET", "127.0.0.1", &first, &first_bus])?;
            until("a replica finds its master", || {
                Ok(replica.ask(&["CLUSTER", "NODES"])?.contains(&master))
            })?;
            replica.ask(&["CLUSTER", "REPLICATE", &master])?;
            until("a replica follows its master", || Ok(replica.info("master_link_status")? == "up"))?;
            cluster.nodes.push(replica);
        }
        for node in &cluster.nodes {
            until("everybody knows the replicas", || {
                Ok(node.ask(&["CLUSTER", "NODES"])?.matches("slave").count() == 3)
            })?;
        }
        Ok(cluster)
    }

    /// Waits until three nodes are masters of all slots and the others follow them: a master that was away may have been replaced, and
    /// what it takes until it hears of that is lost.
    ///
    /// # Errors
    /// A node does not answer, or it does not come about.
    pub fn until_settled(&self) -> anyhow::Result<()> {
        until("all slots have a master and all replicas follow one", || {
            let mut masters = 0;
            for node in &self.nodes {
                if !node.ask(&["CLUSTER", "INFO"])?.contains("cluster_state:ok") {
                    return Ok(false);
                }
                match node.info("role")?.as_str() {
                    "master" => masters += 1,
                    _ if node.info("master_link_status")? == "up" => {}
                    _ => return Ok(false),
                }
            }
            Ok(masters == 3)
        })
    }

    /// Makes a replica the master of its slots, without losing anything, and waits until it is. Nothing happens where the node is no
    /// replica that follows its master.
    ///
    /// # Errors
    /// A node does not answer.
    pub fn fail_over(&self, to: usize) -> anyhow::Result<()> {
        let node = &self.nodes[to % self.nodes.len()];
        if node.info("master_link_status")? != "up" {
            return Ok(());
        }
        node.ask(&["CLUSTER", "FAILOVER"])?;
        // Where its master went away just then, it gives up after a while.
        let begin = Instant::now();
        while node.info("role")? != "master" && begin.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The nodes, to be asked, killed and restarted.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// The URLs of the nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }
}

/// A master and a replica, and the Sentinel that watches them.
#[derive(Debug)]
pub struct RedisSentinel {
    master: Redis,
    replica: Redis,
    sentinel: Process,
    scheme: &'static str,
    /// The port of the Sentinel without TLS.
    plain: u16,
}

impl RedisSentinel {
    /// The name of the master.
    pub const MASTER: &str = "tasks";

    /// A private one.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub fn private() -> anyhow::Result<Self> {
        Self::start(None)
    }

    /// A private one: clients of the servers and of the Sentinel need TLS and a certificate of the files' authority, and they
    /// speak TLS among themselves.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub fn private_with_tls(files: &TlsFiles) -> anyhow::Result<Self> {
        Self::start(Some(files))
    }

    fn start(tls: Option<&TlsFiles>) -> anyhow::Result<Self> {
        let among: &[&str] = if tls.is_some() { &["--tls-replication", "yes"] } else { &[] };
        let master = Redis::private_among(tls, among)?;
        let of = master.port()?.to_string();
        let replica = Redis::private_among(tls, &[among, &["--replicaof", "127.0.0.1", &of]].concat())?;
        let program = find("redis-server", "redis-server", Redis::VARIABLE)?;
        let (dir, plain) = (directory(None)?, ports::free()?);
        let (mut port, mut encryption) = (plain, String::new());
        if let Some(files) = tls {
            port = ports::free()?;
            for (name, value) in tls_settings(files, port) {
                encryption.push_str(&format!("{name} {}\n", value.to_string_lossy()));
            }
            encryption.push_str("tls-replication yes\n");
        }
        let file = dir.path().join("sentinel.conf");
        // The file is the Sentinel's own: it writes what it learns into it.
        fs::write(
            &file,
            format!(
                "bind 127.0.0.1\nport {plain}\n{encryption}dir {}\nsentinel monitor {name} 127.0.0.1 {of} 1\n\
                 sentinel down-after-milliseconds {name} 10000\nsentinel failover-timeout {name} 20000\n",
                dir.path().display(),
                name = Self::MASTER,
            ),
        )?;
        let arguments: Vec<OsString> = vec![file.into(), "--sentinel".into()];
        let sentinel = Process::start(program, arguments, dir, port, (plain, answers))?;
        let scheme = if tls.is_some() { "rediss" } else { "redis" };
        let servers = Self { master, replica, sentinel, scheme, plain };
        until("the replica follows its master", || {
            Ok(servers.is_followed()? && servers.knows_the_replica()?)
        })?;
        Ok(servers)
    }

    /// The URL of the Sentinel.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}/", self.scheme, self.sentinel.port())
    }

    /// The first master.
    pub fn master(&mut self) -> &mut Redis {
        &mut self.master
    }

    /// Both servers, the first master first.
    pub fn servers(&mut self) -> [&mut Redis; 2] {
        [&mut self.master, &mut self.replica]
    }

    /// Waits until one of the servers is the master that the Sentinel names, and the other one follows it. Until then the former master
    /// may take writes that are lost when it is told to follow.
    ///
    /// # Errors
    /// A server does not answer, or it does not come about.
    pub fn until_settled(&self) -> anyhow::Result<()> {
        until("one server is the master and the other one follows it", || {
            let named = command(self.plain, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::MASTER])?;
            let is_named = |server: &Redis| {
                server.port().map(|port| named.lines().any(|line| line.trim() == port.to_string()))
            };
            let is = |master: &Redis, replica: &Redis| -> anyhow::Result<bool> {
                Ok(is_named(master)?
                    && master.info("role")? == "master"
                    && replica.info("master_link_status")? == "up")
            };
            Ok(is(&self.master, &self.replica)? || is(&self.replica, &self.master)?)
        })
    }

    /// Lets the Sentinel make the replica the master, and waits until it is. Nothing happens where the Sentinel has a failover under
    /// way or no replica that could take over.
    ///
    /// # Errors
    /// A server does not answer.
    pub fn fail_over(&self) -> anyhow::Result<()> {
        let master = || command(self.plain, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::MASTER]);
        let before = master()?;
        if command(self.plain, &["SENTINEL", "FAILOVER", Self::MASTER]).is_err() {
            return Ok(());
        }
        let begin = Instant::now();
        while master()? == before && begin.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits until the replica has everything that the first master has.
    ///
    /// # Errors
    /// A server does not answer.
    pub fn until_replicated(&self) -> anyhow::Result<()> {
        until("the replica has everything", || {
            Ok(self.master.info("master_repl_offset")? == self.replica.info("slave_repl_offset")?)
        })
    }

    fn is_followed(&self) -> anyhow::Result<bool> {
        Ok(self.replica.info("master_link_status")? == "up")
    }

    fn knows_the_replica(&self) -> anyhow::Result<bool> {
        Ok(command(self.plain, &["SENTINEL", "REPLICAS", Self::MASTER])?.contains("127.0.0.1:"))
    }
}

impl Redis {
    /// Asks a private one, over a connection of its own, and gives its answer as it comes.
    ///
    /// # Errors
    /// It is not private, does not answer, or refuses.
    pub fn ask(&self, words: &[impl AsRef<[u8]>]) -> anyhow::Result<String> {
        self.port()?; // it is the test's own
        command(self.plain, words)
    }

    /// The names of all keys that a private one has.
    ///
    /// # Errors
    /// It is not private, or does not answer.
    pub fn keys(&self) -> anyhow::Result<Vec<String>> {
        let answer = self.ask(&["KEYS", "*"])?;
        Ok(answer.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::to_owned).collect())
    }

    /// The port of a node of a Cluster at which others find it.
    fn bus(&self) -> anyhow::Result<String> {
        let nodes = self.ask(&["CLUSTER", "NODES"])?;
        let own = nodes.lines().find(|line| line.contains("myself"));
        let bus = own.and_then(|line| line.split_once('@')?.1.split([',', ' ']).next());
        Ok(bus.context("a node does not know its own port")?.to_owned())
    }

    fn port(&self) -> anyhow::Result<u16> {
        match &self.source {
            Source::Private(process) => Ok(process.port()),
            Source::Named(_) => anyhow::bail!("this server is not the test's own"),
        }
    }

    /// Returns one value of `INFO replication`.
    fn info(&self, field: &str) -> anyhow::Result<String> {
        let text = self.ask(&["INFO", "replication"])?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(value.unwrap_or_default().trim().to_owned())
    }
}

/// Sends a command on a connection of its own, and reads its answer as it comes.
fn command(port: u16, words: &[impl AsRef<[u8]>]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    stream.write_all(&request)?;
    // Nothing more will come: the server ends the connection behind the answer. (A Sentinel does not know QUIT.)
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("the answer of Redis")?;
    ensure!(!answer.starts_with('-'), "Redis says {answer}");
    Ok(answer)
}

fn until(what: &str, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !holds()? {
        ensure!(begin.elapsed() < PATIENCE, "given up waiting until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
