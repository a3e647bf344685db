//! Members as processes of their own on a real etcd: killed, and stopped for longer than their session lives.
//!
//! The oracle is outside of all of them: a file that every process appends to, so that there is one order of who began,
//! did and ended what.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lrmf_core::{
    Coordinator, CoordinatorConfig, CoordinatorHandle, FixedTasks, GroupId, Held, InstanceId, MemberStage,
    Task, TaskRunner,
};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::support::{Etcd, PATIENCE, connected, prompt};
use tokio::sync::watch;

const TASKS: usize = 12;
/// With the margin, so long that a process can stand still for seconds without losing it.
const TTL: Duration = Duration::from_secs(15);
const MARGIN: Duration = Duration::from_secs(5);

// ---- a member ----

fn append(book: &Path, line: &str) {
    let mut file = std::fs::File::options().append(true).create(true).open(book).unwrap();
    // One write: lines of several processes do not mix.
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What the processes below are. It runs until it is killed.
#[tokio::test]
#[ignore = "a member, started by the other tests as a process of its own"]
async fn member_process() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let (name, book) = (variable("MEMBER_NAME"), PathBuf::from(variable("MEMBER_BOOK")));
    let store = connected(prompt([variable("MEMBER_ETCD")])).await;
    let (to_tasks, this) = watch::channel(None::<CoordinatorHandle>);
    let (of_worker, of_task) = (this.clone(), name.clone());
    let worker = TaskRunner::new(move |held: Held| {
        let (mut this, name, book) = (of_worker.clone(), of_task.clone(), book.clone());
        async move {
            // Tasks can begin before the handle is there.
            let member = this.wait_for(Option::is_some).await?.clone();
            let stage = member.map(|member| member.status().borrow().stage.clone());
            let session = match stage {
                Some(MemberStage::Serving(incarnation)) => incarnation.to_string(),
                other => format!("{other:?}"),
            };
            let about = format!("{} {}", held.task.key, held.token);
            append(&book, &format!("{name} start {about} {session}"));
            while held.may_work() {
                append(&book, &format!("{name} work {about}"));
                drop(tokio::time::timeout(Duration::from_millis(20), held.stop.cancelled()).await);
            }
            append(&book, &format!("{name} stop {about}"));
            anyhow::Ok(())
        }
    });
    let config = CoordinatorConfig {
        ttl: TTL,
        margin: MARGIN,
        settle: Duration::from_millis(100),
        ..CoordinatorConfig::default()
    };
    let member = Coordinator::builder(Arc::new(store), GroupId::new("test", "processes", "t").unwrap())
        .instance_id(InstanceId::new(&name).unwrap())
        .provider(FixedTasks::new((0..TASKS).map(|index| Task::new(format!("task-{index:02}"), ""))))
        .worker(worker)
        .config(config)
        .start()
        .await
        .unwrap();
    to_tasks.send_replace(Some(member.clone()));
    member.ended().await;
}

struct Process {
    name: &'static str,
    book: PathBuf,
    child: Child,
}

impl Process {
    fn start(name: &'static str, etcd: &Etcd, book: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::member_process", "--ignored", "--nocapture"])
            .envs([("MEMBER_NAME", name), ("MEMBER_ETCD", &etcd.endpoint())])
            .env("MEMBER_BOOK", book)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { name, book: book.to_owned(), child }
    }

    fn note(&self, what: &str) {
        append(&self.book, &format!("{} {what}", self.name));
    }

    /// SIGKILL. What it did comes before the note, what others do because of it after.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.note("killed");
    }

    /// SIGSTOP, in the middle of whatever it does.
    fn stop(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP).unwrap();
        waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
        self.note("asleep");
    }

    /// SIGCONT.
    fn wake(&self) {
        self.note("awake");
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

// ---- the oracle ----

/// What one process runs: each task with its token and the session that it was begun in.
type Runs = BTreeMap<String, (u64, String)>;

#[derive(Debug, Default)]
struct Books {
    running: BTreeMap<String, Runs>,
    /// The highest token of each task, and whose it is.
    highest: BTreeMap<String, (u64, String)>,
    asleep: Vec<String>,
    /// Those that slept and were not seen in a new session yet, with the sessions that they went to sleep in.
    dazed: BTreeMap<String, Vec<String>>,
    /// How much was done with tokens that any store would refuse.
    refused: usize,
}

impl Books {
    /// Follows what is in the file and panics at the first thing that must not be.
    fn read(book: &Path) -> Self {
        let text = std::fs::read_to_string(book).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut books = Self::default();
        whole.lines().for_each(|line| books.follow(line));
        books
    }

    fn follow(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            [name, "start", key, token, session] => {
                self.start(line, name, key, token.parse().unwrap(), session)
            }
            [name, "work", key, token] => self.work(line, name, key, token.parse().unwrap()),
            [name, "stop", key, _] => drop(self.of(name).remove(key)),
            [name, "killed"] => drop(self.running.remove(name)),
            [name, "asleep"] => self.asleep.push(name.to_owned()),
            [name, "awake"] => {
                self.asleep.retain(|other| other != name);
                let sessions = self.of(name).values().map(|(_, session)| session.clone()).collect();
                self.dazed.insert(name.to_owned(), sessions);
            }
            _ => panic!("{line:?}"),
        }
    }

    fn of(&mut self, name: &str) -> &mut Runs {
        self.running.entry(name.to_owned()).or_default()
    }

    fn start(&mut self, line: &str, name: &str, key: &str, token: u64, session: &str) {
        let now = (token, name.to_owned());
        let before = self.highest.insert(key.to_owned(), now.clone());
        // A run that ended because its time seemed over begins again when it is not.
        let again = before.as_ref() == Some(&now) && !self.of(name).contains_key(key);
        let rises = before.as_ref().is_none_or(|(before, _)| *before < token);
        assert!(rises || again, "{line}: the token before was {before:?}");
        if let Some(former) = self.dazed.remove(name) {
            assert!(
                !former.iter().any(|other| other == session),
                "{line}: in a session that it has slept through"
            );
            assert!(session.len() > 30, "{line}: without a session");
        }
        for (other, runs) in &self.running {
            // One that sleeps does nothing, and its session has to be over. One that has slept has stopped or is refused.
            let outlived = self.asleep.contains(other) || self.dazed.contains_key(other);
            assert!(outlived || !runs.contains_key(key), "{line}: it runs at {other}");
        }
        self.of(name).insert(key.to_owned(), (token, session.to_owned()));
    }

    fn work(&mut self, line: &str, name: &str, key: &str, token: u64) {
        let held = self.of(name).get(key).map(|(token, _)| *token);
        assert_eq!(held, Some(token), "{line}: it does not run there");
        if self.highest.get(key).is_none_or(|(highest, _)| *highest != token) {
            assert!(
                self.dazed.contains_key(name),
                "{line}: it was lost, and this process had every chance to know"
            );
            self.refused += 1;
        }
    }

    /// Returns true where all tasks run, an even share at each of these.
    fn shared_by(&self, names: &[&str]) -> bool {
        let loads: Vec<usize> =
            names.iter().map(|name| self.running.get(*name).map_or(0, BTreeMap::len)).collect();
        loads.iter().sum::<usize>() == TASKS && loads.iter().all(|load| *load == TASKS / names.len())
    }
}

async fn until(book: &Path, wanted: impl Fn(&Books) -> bool) -> Books {
    let waiting = async {
        loop {
            let books = Books::read(book);
            if wanted(&books) {
                return books;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(books) => books,
        Err(_) => panic!("still waiting with {:?}", Books::read(book)),
    }
}

/// Three processes that share the tasks; the first one leads.
async fn three(etcd: &Etcd, book: &Path) -> [Process; 3] {
    let a = Process::start("a", etcd, book);
    until(book, |books| books.shared_by(&["a"])).await;
    let (b, c) = (Process::start("b", etcd, book), Process::start("c", etcd, book));
    until(book, |books| books.shared_by(&["a", "b", "c"])).await;
    [a, b, c]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_a_killed_process_run_elsewhere_and_its_successor_gets_its_share() {
    let (etcd, dir) = (Etcd::start(), tempfile::tempdir().unwrap());
    let book = dir.path().join("book");
    let [mut a, mut b, _c] = three(&etcd, &book).await;
    // The leader, then another one.
    a.kill();
    until(&book, |books| books.shared_by(&["b", "c"])).await;
    let _a = Process::start("a", &etcd, &book);
    until(&book, |books| books.shared_by(&["a", "b", "c"])).await;
    b.kill();
    // At once: it waits as the registered successor until the session of the one before has ended.
    let _b = Process::start("b", &etcd, &book);
    until(&book, |books| books.shared_by(&["a", "b", "c"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_slept_for_longer_than_its_session_does_nothing_before_it_has_another_one() {
    let (etcd, dir) = (Etcd::start(), tempfile::tempdir().unwrap());
    let book = dir.path().join("book");
    let [a, b, _c] = three(&etcd, &book).await;
    // The leader, then another one.
    for (slept, (sleeper, others)) in (1..).zip([(&a, ["b", "c"]), (&b, ["a", "c"])]) {
        sleeper.stop();
        until(&book, |books| {
            others.iter().map(|name| books.running.get(*name).map_or(0, BTreeMap::len)).sum::<usize>()
                == TASKS
        })
        .await;
        sleeper.wake();
        let all_back = |books: &Books| books.dazed.is_empty() && books.shared_by(&["a", "b", "c"]);
        let books = until(&book, all_back).await;
        // It was put to sleep between the question and its answer's effect at most: that is what tokens are for.
        assert!(books.refused <= slept, "{} pieces of work with tokens that had been passed", books.refused);
    }
}
