//! Users' own task types: anything with a key and a value is placed as a [`Task`], and comes back as what it was.
//!
//! ```
//! use lrmf_core::Task;
//! use lrmf_core::typed::TypedTask;
//!
//! #[derive(Debug, PartialEq)]
//! struct Partition { topic: String, number: u32 }
//!
//! impl TypedTask for Partition {
//!     fn key(&self) -> String { format!("{}-{}", self.topic, self.number) }
//!     fn value(&self) -> String { String::new() }
//!     fn from_task(task: &Task) -> anyhow::Result<Self> {
//!         let (topic, number) = task.key.rsplit_once('-').ok_or_else(|| anyhow::anyhow!("no partition"))?;
//!         Ok(Self { topic: topic.to_owned(), number: number.parse()? })
//!     }
//! }
//! let partition = Partition { topic: "orders".into(), number: 7 };
//! assert_eq!(Partition::from_task(&partition.to_task())?, partition);
//! # anyhow::Ok(())
//! ```

use std::fmt;
use std::marker::PhantomData;

use async_trait::async_trait;

use crate::provider::TaskProvider;
use crate::task::{Holding, Task};
use crate::worker::Worker;

/// A type of tasks of the user's own.
pub trait TypedTask: Sized + Send + Sync + 'static {
    /// Returns the key by which it is placed; unique in its group.
    fn key(&self) -> String;

    /// Returns the value for its holder. A changed value is a new holding.
    fn value(&self) -> String;

    /// Returns its weight, in a member's capacity. Default 1.
    fn weight(&self) -> u32 {
        1
    }

    /// The reverse of [`to_task`](Self::to_task).
    ///
    /// # Errors
    /// A task that is none of this type; it is then not started, and the leader tries elsewhere.
    fn from_task(task: &Task) -> anyhow::Result<Self>;

    /// The task that is placed for it.
    fn to_task(&self) -> Task {
        Task::new(self.key(), self.value()).with_weight(self.weight())
    }
}

/// A [`TaskProvider`] of tasks of a type of the user's own; [`Typed`] makes one of the other.
#[async_trait]
pub trait TypedProvider<T>: Send + Sync + 'static {
    /// All tasks of the group, in any order, with unique keys.
    async fn tasks(&self) -> anyhow::Result<Vec<T>>;
}

/// A task of the user's type in its member's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedHolding<T> {
    /// The task.
    pub task: T,
    /// The holding, with the fencing token.
    pub holding: Holding,
}

/// A [`Worker`] of tasks of a type of the user's own, with the same obligations; [`Typed`] makes one of the other.
#[async_trait]
pub trait TypedWorker<T>: Send + Sync + 'static {
    /// These tasks are now this member's.
    async fn assign(&self, tasks: &[TypedHolding<T>]) -> anyhow::Result<()>;

    /// These tasks are no longer this member's: stop them.
    async fn revoke(&self, tasks: &[TypedHolding<T>]) -> anyhow::Result<()>;
}

/// A [`TypedProvider`] as a [`TaskProvider`], a [`TypedWorker`] as a [`Worker`].
pub struct Typed<T, X>(X, PhantomData<fn() -> T>);

impl<T, X> Typed<T, X> {
    /// Wraps a provider or a worker.
    pub fn new(inner: X) -> Self {
        Self(inner, PhantomData)
    }
}

impl<T, X> fmt::Debug for Typed<T, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Typed<{}>", std::any::type_name::<T>())
    }
}

#[async_trait]
impl<T: TypedTask, P: TypedProvider<T>> TaskProvider for Typed<T, P> {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        Ok(self.0.tasks().await?.iter().map(TypedTask::to_task).collect())
    }
}

#[async_trait]
impl<T: TypedTask, W: TypedWorker<T>> Worker for Typed<T, W> {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        self.0.assign(&typed(holdings)?).await
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        self.0.revoke(&typed(holdings)?).await
    }
}

fn typed<T: TypedTask>(holdings: &[Holding]) -> anyhow::Result<Vec<TypedHolding<T>>> {
    let typed = |holding: &Holding| {
        anyhow::Ok(TypedHolding { task: T::from_task(&holding.task)?, holding: holding.clone() })
    };
    holdings.iter().map(typed).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::ids::Token;

    #[derive(Clone, Debug, PartialEq)]
    struct Number(u32);

    impl TypedTask for Number {
        fn key(&self) -> String {
            self.0.to_string()
        }

        fn value(&self) -> String {
            (self.0 * self.0).to_string()
        }

        fn weight(&self) -> u32 {
            self.0
        }

        fn from_task(task: &Task) -> anyhow::Result<Self> {
            Ok(Self(task.key.parse()?))
        }
    }

    #[derive(Default)]
    struct Numbers(Mutex<Vec<(char, u32, Token)>>);

    #[async_trait]
    impl TypedProvider<Number> for Numbers {
        async fn tasks(&self) -> anyhow::Result<Vec<Number>> {
            Ok(vec![Number(2), Number(3)])
        }
    }

    #[async_trait]
    impl TypedWorker<Number> for Numbers {
        async fn assign(&self, tasks: &[TypedHolding<Number>]) -> anyhow::Result<()> {
            let heard = tasks.iter().map(|held| ('+', held.task.0, held.holding.token));
            self.0.lock().unwrap().extend(heard);
            Ok(())
        }

        async fn revoke(&self, tasks: &[TypedHolding<Number>]) -> anyhow::Result<()> {
            let heard = tasks.iter().map(|held| ('-', held.task.0, held.holding.token));
            self.0.lock().unwrap().extend(heard);
            Ok(())
        }
    }

    #[tokio::test]
    async fn own_types_go_out_as_tasks_and_come_back() {
        let provided = TaskProvider::tasks(&Typed::<Number, _>::new(Numbers::default())).await.unwrap();
        assert_eq!(provided, [Task::new("2", "4").with_weight(2), Task::new("3", "9").with_weight(3)]);
        let worker = Typed::<Number, _>::new(Numbers::default());
        let [two, other] = ["2", "x"].map(|key| Holding { task: Task::new(key, ""), token: Token(7) });
        Worker::assign(&worker, std::slice::from_ref(&two)).await.unwrap();
        assert!(Worker::assign(&worker, &[other]).await.is_err());
        Worker::revoke(&worker, &[two]).await.unwrap();
        assert_eq!(*worker.0.0.lock().unwrap(), [('+', 2, Token(7)), ('-', 2, Token(7))]);
    }
}
