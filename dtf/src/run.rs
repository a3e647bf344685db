//! Running typed tasks of a process.

use dtf_control::{ClientError, ResultStream, RunError, Submission};
use dtf_typed::{TaskRef, TaskType};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::service::Dtf;

impl Dtf {
    /// Begins to create a task of this type, with this parameter. See [`Submission`].
    pub fn new_task<P: Serialize, R, T: TaskRef<P, R>>(&self, task_type: T, param: P) -> Submission<T, R> {
        self.client().new_task(task_type, param)
    }

    /// Runs a task of this type to its end, and returns its result. The type is given as a
    /// [`TaskType`](dtf_typed::TaskType), or by name.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// use dtf::prelude::*;
    ///
    /// let lengths = TaskType::named("lengths")
    ///     .input(|words: Vec<String>| words)
    ///     .execute(|word: String, _ctx| async move { Ok(word.len()) })
    ///     .fold(0, |sum: usize, length| sum + length)
    ///     .build();
    /// let dtf = Dtf::embedded().register(&lengths).start().await?;
    /// let words = vec!["seven".to_owned(), "eight".to_owned()];
    /// assert_eq!(dtf.run(&lengths, words.clone()).await?, 10);
    /// let by_name: usize = dtf.run("lengths", words).await?;
    /// assert_eq!(by_name, 10);
    /// # dtf.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Submission::run`].
    pub async fn run<P: Serialize, R: DeserializeOwned, T: TaskRef<P, R>>(
        &self,
        task_type: T,
        param: P,
    ) -> Result<R, RunError> {
        self.new_task(task_type, param).run().await
    }

    /// Runs a task of this type, and returns the outputs of its items as they come.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// use dtf::prelude::*;
    /// use futures::TryStreamExt;
    ///
    /// let squares = TaskType::named("squares")
    ///     .input(|limit: u64| 0..limit)
    ///     .execute(|n: u64, _ctx| async move { Ok(n * n) })
    ///     .build();
    /// let dtf = Dtf::embedded().register(&squares).start().await?;
    /// let mut outputs: Vec<u64> = dtf.stream(&squares, 5).await?.try_collect().await?;
    /// outputs.sort();
    /// assert_eq!(outputs, [0, 1, 4, 9, 16]);
    /// # dtf.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Submission::stream`].
    pub async fn stream<P: Serialize, I, O: DeserializeOwned + 'static, R: DeserializeOwned>(
        &self,
        task_type: &TaskType<P, I, O, R>,
        param: P,
    ) -> Result<ResultStream<O>, ClientError> {
        self.new_task(task_type, param).stream().await
    }
}
