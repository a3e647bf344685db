//! The example `simple`, as processes on a real etcd: what they say is what the original's README promises.

#[path = "../../examples/simple.rs"]
mod example;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

use crate::support::{Etcd, PATIENCE};

const KEYS: [&str; 3] = ["key1", "key2", "key3"];

/// What the processes below are. It runs until it is interrupted.
#[test]
#[ignore = "the example, started by the other test as a process of its own"]
fn example_process() {
    example::main().unwrap();
}

/// An instance, and what it says.
struct Instance {
    child: Child,
    lines: mpsc::Receiver<String>,
    held: BTreeSet<String>,
}

impl Instance {
    fn start(name: &str, etcd: &Etcd) -> Self {
        // To the example the name is its first argument; to the test harness it is the name of no test.
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                name,
                "simple::example_process",
                "--exact",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("ETCD_ENDPOINT", etcd.endpoint())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, lines) = mpsc::channel(64);
        let said = format!("instance {name} ");
        // It ends with the process.
        std::thread::spawn(move || {
            let mut said =
                out.map_while(Result::ok).filter_map(|line| Some(line.split_once(&said)?.1.to_owned()));
            said.all(|what| sender.blocking_send(what).is_ok())
        });
        Self { child, lines, held: BTreeSet::new() }
    }

    /// Waits until it says that it has so many tasks.
    async fn holds(&mut self, count: usize) {
        let hearing = async {
            while self.held.len() != count {
                let said = self.lines.recv().await.unwrap();
                match said.split_once(" task ").unwrap() {
                    ("assign", key) => assert!(self.held.insert(key.to_owned()), "{key} again"),
                    ("revoke", key) => assert!(self.held.remove(key), "{key} was not there"),
                    _ => panic!("{said}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, hearing).await.unwrap();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_the_three_tasks_and_hand_them_over() {
    let etcd = Etcd::start();
    let mut one = Instance::start("testInstance_1", &etcd);
    one.holds(3).await;
    let mut two = Instance::start("testInstance_2", &etcd);
    two.holds(1).await;
    one.holds(2).await;
    let all: Vec<_> = one.held.iter().chain(&two.held).collect();
    assert_eq!(all, KEYS.iter().collect::<Vec<_>>(), "neighbours stay together");
    kill_process(Pid::from_child(&one.child), Signal::INT).unwrap();
    two.holds(3).await;
    assert!(one.child.wait().unwrap().success());
}
