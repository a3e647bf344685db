//! The parts of a cluster, and the tasks that follow from them.

use std::collections::BTreeSet;

use anyhow::ensure;
use lrmf_core::Task;
use serde::{Deserialize, Serialize};

/// The metadata of a cluster, as its file has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metadata {
    /// The topics to mirror.
    pub(crate) topics: Vec<Topic>,
    /// The consumer groups whose offsets to mirror.
    #[serde(default)]
    pub(crate) consumer_groups: Vec<ConsumerGroup>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Topic {
    /// Its name.
    pub(crate) name: String,
    /// The number of its partitions.
    pub(crate) partitions: u32,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsumerGroup {
    /// Its name.
    pub(crate) name: String,
    /// The source that it reads.
    pub(crate) topics: Vec<String>,
}

/// What a holder is told: which thing of the cluster its task is about. It is the task's value, so a thing that changes
/// is revoked and assigned anew, and nothing else is touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Subject {
    /// Mirror the settings of a topic.
    Topic(Topic),
    /// Mirror the messages of one partition.
    Partition {
        /// Of which topic.
        topic: String,
        /// The number, from 0.
        number: u32,
    },
    /// Mirror the committed offsets of a group.
    ConsumerGroup(ConsumerGroup),
}

impl Subject {
    fn key(&self) -> String {
        match self {
            Self::Topic(topic) => format!("topic/{}", topic.name),
            Self::Partition { topic, number } => format!("partition/{topic}/{number}"),
            Self::ConsumerGroup(group) => format!("group/{}", group.name),
        }
    }
}

impl Metadata {
    /// Reads a metadata file's text.
    ///
    /// # Errors
    /// It is not the JSON that is expected (a file that is being written is not, as a rule), or contradicts itself.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let metadata: Self = serde_json::from_str(text)?;
        metadata.check()?;
        Ok(metadata)
    }

    fn check(&self) -> anyhow::Result<()> {
        let mut topics = BTreeSet::new();
        for topic in &self.topics {
            ensure!(!topic.name.is_empty(), "a topic has no name");
            ensure!(topic.partitions > 0, "the topic {:?} has no partitions", topic.name);
            ensure!(topics.insert(topic.name.as_str()), "the topic {:?} is there twice", topic.name);
        }
        let mut groups = BTreeSet::new();
        for group in &self.consumer_groups {
            ensure!(!group.name.is_empty(), "a consumer group has no name");
            ensure!(groups.insert(group.name.as_str()), "the group {:?} is there twice", group.name);
            for topic in &group.topics {
                ensure!(
                    topics.contains(topic.as_str()),
                    "{:?} reads {topic:?}, which is not there",
                    group.name
                );
            }
        }
        Ok(())
    }

    /// The tasks: one for each topic, each partition and each consumer group.
    ///
    /// # Errors
    /// None in practice: the values are plain data.
    pub(crate) fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        let partitions = self.topics.iter().flat_map(|topic| {
            (0..topic.partitions).map(|number| Subject::Partition { topic: topic.name.clone(), number })
        });
        let topics = self.topics.iter().cloned().map(Subject::Topic);
        let groups = self.consumer_groups.iter().cloned().map(Subject::ConsumerGroup);
        let subjects = topics.chain(partitions).chain(groups);
        subjects.map(|subject| Ok(Task::new(subject.key(), serde_json::to_string(&subject)?))).collect()
    }
}
