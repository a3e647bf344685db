//! The example of the original framework's README, line by line, on an etcd.
//!
//! ```text
//! etcd &
//! cargo run -p lrmf-etcd --example simple -- testInstance_1 &
//! cargo run -p lrmf-etcd --example simple -- testInstance_2
//! ```
//!
//! Each process says which tasks it is given and which are taken from it. Ctrl-C hands its tasks over and leaves.

use std::sync::Arc;

use async_trait::async_trait;
use lrmf_core::assignor::StringOrderEvenly;
use lrmf_core::{Coordinator, GroupId, Holding, InstanceId, Task, TaskProvider, Worker};
use lrmf_etcd::{EtcdConfig, EtcdStore};

struct TestTaskProvider;

#[async_trait]
impl TaskProvider for TestTaskProvider {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        let task1 = Task::new("key1", "value1");
        let task2 = Task::new("key2", "value2");
        let task3 = Task::new("key3", "value3");
        Ok(vec![task1, task2, task3])
    }
}

struct TestWorker {
    // Tells the instances apart.
    instance_id: InstanceId,
}

#[async_trait]
impl Worker for TestWorker {
    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        for holding in holdings {
            println!("instance {} revoke task {}", self.instance_id, holding.task.key);
        }
        Ok(())
    }

    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        for holding in holdings {
            println!("instance {} assign task {}", self.instance_id, holding.task.key);
        }
        Ok(())
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let instance = std::env::args().nth(1).unwrap_or_else(|| "testInstance_0".to_owned());
    let endpoint = std::env::var("ETCD_ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let instance_id = InstanceId::new(&instance)?;
    let worker = TestWorker { instance_id: instance_id.clone() };

    let store = Arc::new(EtcdStore::connect(EtcdConfig::new([endpoint])).await?);
    let coordinator = Coordinator::builder(store, GroupId::new("foo", "bar", "tenancy")?)
        .instance_id(instance_id)
        .worker(worker)
        .provider(TestTaskProvider)
        .assignor(StringOrderEvenly)
        .start()
        .await?;

    // The original waits for ever and leaves its tasks to the end of its lease; this one hands them over.
    tokio::signal::ctrl_c().await?;
    coordinator.close().await;
    Ok(())
}
