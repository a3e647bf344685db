//! Large bodies: what travels in one call is bounded by bytes, not by how many they are.

use std::sync::{Arc, Mutex};

use crate::common::{KIND, Stage};
use async_trait::async_trait;
use bytes::Bytes;
use dtf::model::plugin::{
    CollectorSupport, ExecuteContext, ExecuteError, Generated, NewSubtask, ResultOf, SubtaskResult,
    TaskCollector, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration, TaskResult,
};
use dtf::model::{Counts, InvalidInput, TaskParam, TaskSpec, TaskStatus};

const SUBTASKS: usize = 300;
const BODY: usize = 256 << 10;

/// Gives as many large subtasks as it is asked for, and notes how many that is.
#[derive(Clone, Default)]
struct Large {
    asked: Arc<Mutex<Vec<usize>>>,
    given: usize,
}

#[async_trait]
impl TaskGenerator for Large {
    async fn begin(&mut self, _: Option<Bytes>) -> anyhow::Result<()> {
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        self.asked.lock().unwrap().push(most);
        let count = most.min(SUBTASKS - self.given);
        self.given += count;
        let subtasks = vec![NewSubtask::new(vec![7; BODY]); count];
        Ok(Generated { subtasks, finished: self.given == SUBTASKS })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(None)
    }
}

#[async_trait]
impl TaskExecutor for Large {
    async fn execute(&self, body: &Bytes, _: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        Ok(SubtaskResult::new(body.clone()))
    }
}

#[async_trait]
impl TaskCollector for Large {
    async fn begin(&mut self, _: Option<Bytes>) -> anyhow::Result<()> {
        Ok(())
    }

    async fn after_execution(&mut self, _: &ResultOf, _: &mut CollectorSupport) -> anyhow::Result<()> {
        Ok(())
    }

    async fn after_task_completed(&mut self, _: &Counts) -> anyhow::Result<TaskResult> {
        Ok(TaskResult::default())
    }
}

impl TaskPlugin for Large {
    fn check(&self, _: &TaskParam) -> Result<(), InvalidInput> {
        Ok(())
    }

    fn generator(&self, _: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        Ok(Box::new(self.clone()))
    }

    fn executor(&self, _: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        Ok(Arc::new(self.clone()))
    }

    fn collector(&self, _: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        Ok(Box::new(self.clone()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_generator_is_asked_for_as_many_as_make_four_mebibytes() {
    let (stage, plugin) = (Stage::new(), Large::default());
    let asked = plugin.asked.clone();
    let (name, description, plugin) = ("large".to_owned(), String::new(), Arc::new(plugin));
    let dtf =
        stage.process_of("a", vec![TaskPluginRegistration { task_type: KIND, name, description, plugin }]);
    dtf.start_all().await.unwrap();
    let task = dtf.client().create_task(KIND, TaskParam::default()).await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, SUBTASKS as u64));
    let asked = asked.lock().unwrap().clone();
    // Nothing is known before the first batch.
    assert!(asked[0] <= 64, "{asked:?}");
    assert!(asked.len() > 1 && asked[1..].iter().all(|most| most * BODY <= 4 << 20), "{asked:?}");
    dtf.stop().await;
}
