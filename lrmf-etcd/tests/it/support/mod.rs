//! Private etcd nodes: each test starts its own on free loopback ports, and they end with it.

pub(crate) mod books;
pub(crate) mod certificates;
pub(crate) mod group;
pub(crate) mod proxy;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lrmf_etcd::{ConnectError, EtcdConfig, EtcdStore};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;
use test_servers::servers::free_port;

/// How long anything may take that is waited for. Much more than it needs: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// For calls that must not fail only because the machine is busy.
pub(crate) fn patient(endpoints: impl IntoIterator<Item = impl Into<String>>) -> EtcdConfig {
    EtcdConfig {
        connect_timeout: PATIENCE,
        request_timeout: PATIENCE,
        ping_timeout: PATIENCE,
        ..EtcdConfig::new(endpoints)
    }
}

/// For members: calls that get no answer are made again long before a session of ten seconds or more ends.
pub(crate) fn prompt(endpoints: impl IntoIterator<Item = impl Into<String>>) -> EtcdConfig {
    let second = Duration::from_secs(1);
    EtcdConfig { connect_timeout: second, request_timeout: second, ..EtcdConfig::new(endpoints) }
}

/// Connects, and tries again for as long as what failed may pass.
pub(crate) async fn connected(config: EtcdConfig) -> EtcdStore {
    let connecting = async {
        loop {
            match EtcdStore::connect(config.clone()).await {
                Ok(store) => return store,
                Err(ConnectError::Store(error)) if error.is_retryable() => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, connecting).await.unwrap()
}

/// One etcd node. Killed when dropped.
pub(crate) struct Etcd {
    arguments: Vec<String>,
    client_port: u16,
    /// Where it says whether it is well, in plain text also when clients need TLS.
    health_port: u16,
    dir: TempDir,
    child: Child,
}

impl Etcd {
    /// A node by itself.
    pub(crate) fn start() -> Self {
        Self::cluster(1).remove(0)
    }

    /// Nodes that form a cluster.
    pub(crate) fn cluster(size: usize) -> Vec<Self> {
        Self::nodes(size, "http", &[])
    }

    /// A node whose clients need TLS, with these files and further arguments.
    pub(crate) fn with_tls(arguments: &[String]) -> Self {
        Self::nodes(1, "https", arguments).remove(0)
    }

    fn nodes(size: usize, scheme: &str, further: &[String]) -> Vec<Self> {
        let ports: Vec<[u16; 3]> = (0..size).map(|_| std::array::from_fn(|_| free_port().unwrap())).collect();
        let peer = |(index, [_, port, _]): (usize, &[u16; 3])| format!("n{index}=http://127.0.0.1:{port}");
        let peers = ports.iter().enumerate().map(peer).collect::<Vec<_>>().join(",");
        let spawn = |(index, ports): (usize, &[u16; 3])| Self::spawn(index, *ports, &peers, scheme, further);
        let nodes: Vec<Self> = ports.iter().enumerate().map(spawn).collect();
        nodes.iter().for_each(Self::wait_until_healthy);
        nodes
    }

    fn spawn(index: usize, ports: [u16; 3], peers: &str, scheme: &str, further: &[String]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [client_port, peer_port, health_port] = ports;
        let (client, peer) =
            (format!("{scheme}://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
        let settings = [
            ("name", format!("n{index}")),
            ("data-dir", dir.path().join("data").to_string_lossy().into_owned()),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-metrics-urls", format!("http://127.0.0.1:{health_port}")),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer),
            ("initial-cluster", peers.to_owned()),
        ];
        let settings = settings.into_iter().map(|(name, value)| format!("--{name}={value}"));
        let arguments: Vec<String> = settings.chain(further.iter().cloned()).collect();
        let child = run(&arguments, &dir.path().join("log"));
        Self { arguments, client_port, health_port, dir, child }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn wait_until_healthy(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_healthy() {
            let log = || std::fs::read_to_string(self.log()).unwrap_or_default();
            assert!(Instant::now() < deadline, "etcd did not become healthy; its log:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_healthy(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.health_port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.contains("\"health\":\"true\""))
    }

    /// Where clients connect to.
    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// A store on this node that waits for answers.
    pub(crate) async fn store(&self) -> EtcdStore {
        connected(patient([self.endpoint()])).await
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same data, and waits until it serves.
    pub(crate) fn restart(&mut self) {
        self.child = run(&self.arguments, &self.log());
        self.wait_until_healthy();
    }

    /// SIGSTOP: it keeps its connections and answers nothing. It has stopped when this returns.
    pub(crate) fn freeze(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP).unwrap();
        waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn run(arguments: &[String], log: &std::path::Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    let spawned = Command::new("etcd")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    match spawned {
        Ok(child) => child,
        Err(error) => panic!("cannot run etcd ({error}): these tests need it, `apt-get install etcd-server`"),
    }
}
