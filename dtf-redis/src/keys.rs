//! The names of all keys and channels.

use dtf_model::wake::Topic;
use dtf_model::{Seq, Shard, TaskId};

/// The number of subtasks of a bitmap, as in `done.lua`.
const CHUNK: u64 = 65_536;

/// The bitmaps that most tasks have at most: the first one of what is generated, and of follow-ups. `books.lua` names them too.
pub(crate) const FIRST_BITMAPS: [u64; 2] = [0, Seq::FIRST_FOLLOW_UP.0 / CHUNK];

/// Makes names, all with the prefix that was configured.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
}

/// The keys of a task.
pub(crate) struct TaskKeys<'a> {
    prefix: &'a str,
    task: TaskId,
}

/// The fixed keys of a task.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Info,
    Pending,
    Delayed,
    Running,
    Results,
    Sizes,
    Settled,
    Chunks,
    Full,
    Keyed,
    Turns,
    Spec,
    End,
}

impl Of {
    /// Those of its queues and books, in the order in which `open.lua`, `purge.lua` and `complete.lua` want them.
    pub(crate) const ALL: [Of; 11] = [
        Of::Info,
        Of::Pending,
        Of::Delayed,
        Of::Running,
        Of::Results,
        Of::Sizes,
        Of::Settled,
        Of::Chunks,
        Of::Full,
        Of::Keyed,
        Of::Turns,
    ];

    fn name(self) -> &'static str {
        match self {
            Of::Info => "info",
            Of::Pending => "pending",
            Of::Delayed => "delayed",
            Of::Running => "running",
            Of::Results => "results",
            Of::Sizes => "sizes",
            Of::Settled => "settled",
            Of::Chunks => "chunks",
            Of::Full => "full",
            Of::Keyed => "keyed",
            Of::Turns => "turns",
            Of::Spec => "spec",
            Of::End => "end",
        }
    }
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(crate) fn task(&self, task: TaskId) -> TaskKeys<'_> {
        TaskKeys { prefix: &self.prefix, task }
    }

    /// `fence`, `ready`, `claimed` and `shipped` of a shard, as its scripts want them.
    pub(crate) fn shard(&self, shard: Shard) -> [String; 4] {
        ["fence", "ready", "claimed", "shipped"]
            .map(|name| format!("{}dtf.shard.{name}.{{{shard}}}", self.prefix))
    }

    /// The cluster that these queues belong to.
    pub(crate) fn owner(&self) -> String {
        format!("{}dtf.cluster", self.prefix)
    }

    /// Keys that are written to see whether they can be, and expire at once; in a Cluster most likely of all nodes.
    pub(crate) fn probes(&self, number: u32) -> impl Iterator<Item = String> {
        (0..number).map(|at| format!("{}dtf.probe.{{{at}}}", self.prefix))
    }

    pub(crate) fn channel(&self, topic: Topic) -> String {
        let prefix = &self.prefix;
        match topic {
            Topic::Watch(part) => format!("{prefix}dtf.wake.watch.{part}"),
            Topic::Schedules(part) => format!("{prefix}dtf.wake.schedules.{part}"),
            Topic::Hooks => format!("{prefix}dtf.wake.hooks"),
            Topic::Generation(part) => format!("{prefix}dtf.wake.generation.{part}"),
            Topic::Scheduling(part) => format!("{prefix}dtf.wake.scheduling.{part}"),
            Topic::Credit(part) => format!("{prefix}dtf.wake.credit.{part}"),
            Topic::Collection(part) => format!("{prefix}dtf.wake.collection.{part}"),
            Topic::Shard(part) => format!("{prefix}dtf.wake.shard.{part}"),
            Topic::Control => format!("{prefix}dtf.wake.control"),
            Topic::Row(task) => format!("{prefix}dtf.wake.row.{task}"),
        }
    }

    /// The topic of a channel; none where it is not one of ours.
    pub(crate) fn topic(&self, channel: &str) -> Option<Topic> {
        let name = channel.strip_prefix(&self.prefix)?.strip_prefix("dtf.wake.")?;
        let Some((kind, number)) = name.split_once('.') else {
            return match name {
                "control" => Some(Topic::Control),
                "hooks" => Some(Topic::Hooks),
                _ => None,
            };
        };
        match kind {
            "watch" => number.parse().ok().map(Topic::Watch),
            "schedules" => number.parse().ok().map(Topic::Schedules),
            "generation" => number.parse().ok().map(Topic::Generation),
            "scheduling" => number.parse().ok().map(Topic::Scheduling),
            "credit" => number.parse().ok().map(Topic::Credit),
            "collection" => number.parse().ok().map(Topic::Collection),
            "shard" => number.parse().ok().map(Topic::Shard),
            "row" => number.parse().ok().map(Topic::Row),
            _ => None,
        }
    }
}

impl TaskKeys<'_> {
    pub(crate) fn of(&self, of: Of) -> String {
        format!("{}dtf.task.{}.{{{}}}", self.prefix, of.name(), self.task)
    }

    /// The bitmap with this number.
    pub(crate) fn done(&self, chunk: u64) -> String {
        format!("{}dtf.task.done.{{{}}}.{chunk}", self.prefix, self.task)
    }
}

/// The numbers of the bitmaps that these subtasks are in.
pub(crate) fn chunks(first: Seq, count: u64) -> std::ops::RangeInclusive<u64> {
    first.0 / CHUNK..=(first.0 + count.saturating_sub(1)) / CHUNK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_task_have_its_tag() {
        let keys = Keys::new("test.");
        let task = keys.task(TaskId(42));
        assert_eq!(task.of(Of::Info), "test.dtf.task.info.{42}");
        assert_eq!(task.done(7), "test.dtf.task.done.{42}.7");
        assert!(Of::ALL.into_iter().all(|of| task.of(of).ends_with(".{42}")));
        assert_eq!(keys.shard(Shard(3))[1], "test.dtf.shard.ready.{3}");
    }

    #[test]
    fn channels_are_read_back() {
        let keys = Keys::new("p.");
        let topics = [
            Topic::Watch(1),
            Topic::Generation(2),
            Topic::Schedules(2),
            Topic::Hooks,
            Topic::Scheduling(3),
            Topic::Collection(4),
            Topic::Credit(4),
            Topic::Shard(5),
            Topic::Control,
            Topic::Row(TaskId(6)),
        ];
        for topic in topics {
            assert_eq!(keys.topic(&keys.channel(topic)), Some(topic));
        }
        for other in ["dtf.wake.control", "p.dtf.wake.", "p.dtf.wake.shard.x", "p.dtf.wake.else.1"] {
            assert_eq!(keys.topic(other), None);
        }
    }

    #[test]
    fn subtasks_are_in_the_bitmaps_of_their_numbers() {
        assert_eq!(chunks(Seq(0), 1), 0..=0);
        assert_eq!(chunks(Seq(65_535), 2), 0..=1);
        assert_eq!(chunks(Seq(65_536), 65_537), 1..=2);
        assert_eq!(chunks(Seq::FIRST_FOLLOW_UP, 0), 1 << 36..=1 << 36);
        assert_eq!(FIRST_BITMAPS, [0, 68_719_476_736]);
    }
}
