//! The `lrmf` command on a living group: each command once, with what it does, in both forms.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use lrmf_core::{CoordinatorHandle, Event, FixedTasks, Holding, Task, TaskProvider, Worker};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::support::Etcd;
use crate::support::books::{Booked, Books};
use crate::support::group::{LONG, PATIENCE, member};

const TASKS: usize = 6;

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn command(etcd: &Etcd, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lrmf"));
    command.args(["--biz", "test", "--tenancy", "t"]).args(arguments).env("LRMF_ENDPOINTS", etcd.endpoint());
    command.env("LRMF_PROTOCOL", "cli").env("LRMF_TIMEOUT", "60s").env("USER", "tester").stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// For people.
fn lrmf(etcd: &Etcd, arguments: &[&str]) -> String {
    let said = run(&mut command(etcd, arguments));
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?}: {}", said.out);
    said.out
}

/// For scripts: one document.
fn json(etcd: &Etcd, arguments: &[&str]) -> Value {
    let out = lrmf(etcd, &[&["-o", "json"], arguments].concat());
    assert_eq!(out.lines().count(), 1);
    serde_json::from_str(&out).unwrap()
}

/// The fault, in one line.
fn fails(etcd: &Etcd, arguments: &[&str]) -> (i32, String) {
    let said = run(&mut command(etcd, arguments));
    assert_eq!((said.out.as_str(), said.err.lines().count()), ("", 1), "{arguments:?}: {}", said.err);
    (said.code, said.err)
}

async fn join(etcd: &Etcd, name: &str, worker: impl Worker) -> CoordinatorHandle {
    join_for(LONG, etcd, name, worker).await
}

async fn join_for(ttl: Duration, etcd: &Etcd, name: &str, worker: impl Worker) -> CoordinatorHandle {
    let tasks = (0..TASKS).map(|task| Task::new(format!("task/{task}"), format!("value {task}")));
    let member = member(&etcd.endpoint(), "cli", name, ttl).await;
    member.provider(FixedTasks::new(tasks)).worker(worker).start().await.unwrap()
}

/// Waits until `a` and `b` have three tasks each, after which nothing moves.
async fn shared(books: &Books) {
    let of = |running: &std::collections::BTreeMap<_, String>, name| {
        running.values().filter(|at| *at == name).count()
    };
    books.wait_for(|running| of(running, "a") == 3 && of(running, "b") == 3).await;
}

async fn pair(etcd: &Etcd, books: &Books) -> (CoordinatorHandle, CoordinatorHandle) {
    let a = join(etcd, "a", books.worker("a")).await;
    books.wait_for_members(TASKS, &["a"]).await;
    let b = join(etcd, "b", books.worker("b")).await;
    shared(books).await;
    (a, b)
}

fn holder(etcd: &Etcd, task: &str) -> String {
    json(etcd, &["show", task])["member"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_seen() {
    let (etcd, books) = (Etcd::start(), Books::new());
    let (a, b) = pair(&etcd, &books).await;

    let members = json(&etcd, &["members"]);
    assert_eq!((&members["leader"], &members["assignor"]), (&"a".into(), &"sticky-balanced".into()));
    let tasks: Vec<_> =
        members["members"].as_array().unwrap().iter().map(|member| &member["tasks"]).collect();
    assert_eq!(tasks, [3, 3]);
    let table = lrmf(&etcd, &["members"]);
    assert!(table.contains("MEMBER") && table.contains("leads") && table.contains("2 members"), "{table}");

    let tasks = json(&etcd, &["tasks"]);
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), TASKS);
    let of_b = json(&etcd, &["tasks", "--member", "b"]);
    assert!(
        of_b["tasks"].as_array().unwrap().iter().all(|task| task["member"] == "b" && task["state"] == "held")
    );
    let table = lrmf(&etcd, &["tasks"]);
    assert!(table.contains("task/5") && table.contains("6 tasks"), "{table}");

    let task = json(&etcd, &["show", "task/3"]);
    assert_eq!((&task["key"], &task["value"]), (&"task/3".into(), &"value 3".into()));
    assert!(task["token"].as_u64().unwrap() > 0);
    assert!(lrmf(&etcd, &["show", "task/3"]).contains("value 3"));

    let key = of_b["tasks"][0]["key"].as_str().unwrap();
    let why = json(&etcd, &["explain", key]);
    let codes: Vec<_> = why["reasons"].as_array().unwrap().iter().map(|reason| &reason["code"]).collect();
    assert_eq!(codes, ["planned", "held"]);
    assert!(lrmf(&etcd, &["explain", key]).contains("sticky-balanced moved it there"));
    tokio::join!(a.close(), b.close());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_drained_and_evicted() {
    let (etcd, books) = (Etcd::start(), Books::new());
    let a = join(&etcd, "a", books.worker("a")).await;
    books.wait_for_members(TASKS, &["a"]).await;
    // Who is evicted stays away for a TTL.
    let b = join_for(LONG / 8, &etcd, "b", books.worker("b")).await;
    shared(&books).await;

    assert!(lrmf(&etcd, &["drain", "b", "--note", "new disks"]).contains("b is to be emptied"));
    books.wait_for_members(TASKS, &["a"]).await;
    let members = json(&etcd, &["members"]);
    assert_eq!(
        (&members["members"][1]["drained"], &members["members"][1]["state"]),
        (&true.into(), &"active".into())
    );
    assert_eq!(json(&etcd, &["undrain", "b"])["was"], true);
    shared(&books).await;
    assert!(lrmf(&etcd, &["undrain", "b"]).contains("was not drained"));
    assert_eq!(json(&etcd, &["drain", "a"])["member"], "a");
    books.wait_for_members(TASKS, &["b"]).await;
    lrmf(&etcd, &["undrain", "a"]);
    shared(&books).await;

    for form in ["table", "json"] {
        let session = json(&etcd, &["members"])["members"][1]["incarnation"].as_str().unwrap().to_owned();
        let mut events = b.events();
        assert!(lrmf(&etcd, &["-o", form, "evict", "b"]).contains(&session));
        let mut evicted = false;
        let again = loop {
            match events.next().await.unwrap() {
                Event::Evicted => evicted = true,
                Event::Joined { incarnation } => break incarnation.to_string(),
                _ => {}
            }
        };
        assert!(evicted && again != session);
        shared(&books).await;
    }
    tokio::join!(a.close(), b.close());
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_pinned_and_the_group_is_frozen() {
    let (etcd, books) = (Etcd::start(), Books::new());
    let (a, b) = pair(&etcd, &books).await;

    for (to, form) in [("a", "table"), ("b", "json"), ("a", "table")] {
        assert!(lrmf(&etcd, &["-o", form, "pin", "task/0", to]).contains("task/0"));
        books.wait_for(|running| running.len() == TASKS && running["task/0"] == to).await;
        assert!(lrmf(&etcd, &["explain", "task/0"]).contains(&format!("pinned to {to}")));
    }
    assert_eq!(json(&etcd, &["unpin", "task/0"])["was"], true);
    assert!(lrmf(&etcd, &["unpin", "task/0"]).contains("was not pinned"));
    shared(&books).await;

    assert!(lrmf(&etcd, &["freeze"]).contains("stays where it runs"));
    assert_eq!(json(&etcd, &["freeze"])["asked"], "freeze");
    let of_b: Vec<_> =
        (0..TASKS).map(|task| format!("task/{task}")).filter(|task| holder(&etcd, task) == "b").collect();
    // What runs nowhere is placed: on the newcomer too, which gets nothing of what runs.
    let c = join(&etcd, "c", books.worker("c")).await;
    lrmf(&etcd, &["drain", "b"]);
    a.close().await;
    books.wait_for_members(TASKS, &["b", "c"]).await;
    assert!(of_b.iter().all(|task| holder(&etcd, task) == "b"));
    assert_eq!(json(&etcd, &["members"])["frozen"], true);
    assert_eq!(json(&etcd, &["unfreeze"])["was"], true);
    books.wait_for_members(TASKS, &["c"]).await;
    assert!(lrmf(&etcd, &["unfreeze"]).contains("was not frozen"));
    tokio::join!(b.close(), c.close());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_nobody_has_are_said_and_asked_for_all_the_same() {
    let (etcd, books) = (Etcd::start(), Books::new());
    let a = join(&etcd, "a", books.worker("a")).await;
    books.wait_for_members(TASKS, &["a"]).await;
    let said = run(&mut command(&etcd, &["drain", "A"]));
    assert_eq!(
        (said.code, said.err.as_str()),
        (0, "lrmf: A is no member of the group now; members are: a\n")
    );
    let said = run(&mut command(&etcd, &["-o", "json", "pin", "task/7", "c"]));
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (document["unknown"].as_array().unwrap().len(), said.err.lines().count()),
        (2, 2),
        "{}",
        said.err
    );
    assert!(said.err.contains("nobody has a task \"task/7\" now"), "{}", said.err);
    assert_eq!(json(&etcd, &["unpin", "task/7"])["was"], true);
    assert_eq!(json(&etcd, &["undrain", "A"])["was"], true);
    a.close().await;
}

/// Lists tasks for as long as it is told to.
struct Wavering(watch::Receiver<bool>);

#[async_trait]
impl TaskProvider for Wavering {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        anyhow::ensure!(*self.0.borrow(), "the catalogue is \u{1b}[2Jdown");
        Ok(vec![Task::new("task/0", "")])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_provider_are_shown_until_it_answers_again() {
    let (etcd, books) = (Etcd::start(), Books::new());
    let (works, told) = watch::channel(true);
    let member = member(&etcd.endpoint(), "cli", "a", LONG).await;
    let a = member.provider(Wavering(told)).worker(books.worker("a")).start().await.unwrap();
    books.wait_for_members(1, &["a"]).await;
    assert_eq!(json(&etcd, &["members"])["troubles"], Value::Null);

    works.send_replace(false);
    lrmf(&etcd, &["trigger"]);
    let seen = |wanted: bool| {
        let begin = std::time::Instant::now();
        while json(&etcd, &["tasks"])["troubles"]["provider"].is_string() != wanted {
            assert!(begin.elapsed() < PATIENCE);
        }
    };
    seen(true);
    for list in ["members", "tasks"] {
        let table = lrmf(&etcd, &[list]);
        assert!(table.contains("the provider fails, and its last good list is in effect"), "{table}");
        assert!(table.contains("the catalogue is \\x1b[2Jdown"), "{table}");
    }
    assert_eq!(json(&etcd, &["tasks"])["tasks"].as_array().unwrap().len(), 1);
    works.send_replace(true);
    lrmf(&etcd, &["trigger"]);
    seen(false);
    a.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_key_steers_the_terminal() {
    let (etcd, books) = (Etcd::start(), Books::new());
    let evil = "x\nforged held \u{1b}[2J\u{9b}1m";
    let member = member(&etcd.endpoint(), "cli", "a", LONG).await;
    let tasks = FixedTasks::new([Task::new(evil, "v\n\u{1b}c")]);
    let a = member.provider(tasks).worker(books.worker("a")).start().await.unwrap();
    books.wait_for_members(1, &["a"]).await;
    for arguments in
        [&["tasks"][..], &["show", evil], &["explain", evil], &["pin", evil, "a"], &["unpin", evil]]
    {
        let out = lrmf(&etcd, arguments);
        assert!(!out.contains(|c: char| c.is_control() && c != '\n'), "{arguments:?}: {out:?}");
        assert!(!out.lines().any(|line| line.starts_with("forged")), "{arguments:?}: {out}");
        assert!(out.contains("x\\nforged held \\x1b[2J"), "{arguments:?}: {out}");
    }
    a.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_no_etcd_is_left_out() {
    let (etcd, books) = (Etcd::start(), Books::new());
    let a = join(&etcd, "a", books.worker("a")).await;
    books.wait_for_members(TASKS, &["a"]).await;
    // It answers, in another language.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in other.incoming().map_while(Result::ok) {
            std::io::Write::write_all(&mut &stream, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                .ok();
        }
    });
    let endpoints = format!("{address},{}", etcd.endpoint());
    for _ in 0..10 {
        let said = run(&mut command(&etcd, &["--endpoints", &endpoints, "members"]));
        assert!(said.code == 0 && said.out.contains("1 members"), "{} {}", said.out, said.err);
    }
    a.close().await;
}

/// Gives one task back only when it is told to.
struct Stubborn(Booked, watch::Receiver<bool>);

#[async_trait]
impl Worker for Stubborn {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        self.0.assign(holdings).await
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        if holdings.iter().any(|holding| holding.task.key.as_ref() == "task/0") {
            self.1.clone().wait_for(|may| *may).await?;
        }
        self.0.revoke(holdings).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_given_back_is_released_by_force() {
    let (etcd, books, others) = (Etcd::start(), Books::new(), Books::new());
    let (may, wait) = watch::channel(false);
    let a = join(&etcd, "a", Stubborn(books.worker("a"), wait)).await;
    books.wait_for_members(TASKS, &["a"]).await;
    // Books of its own: it runs what also runs at `a`.
    let b = join(&etcd, "b", others.worker("b")).await;
    lrmf(&etcd, &["pin", "task/0", "b"]);
    let token = json(&etcd, &["show", "task/0"])["token"].as_u64().unwrap();
    books.wait_for(|running| running.len() < TASKS).await;
    let (code, error) = fails(&etcd, &["force-release", "task/0"]);
    assert!(code == 2 && error.contains("--yes"), "{error}");
    assert_eq!(holder(&etcd, "task/0"), "a");

    let released = json(&etcd, &["force-release", "task/0", "--yes"]);
    assert_eq!((&released["member"], &released["token"]), (&"a".into(), &token.into()));
    others.wait_for(|running| running.contains_key("task/0")).await;
    let task = json(&etcd, &["show", "task/0"]);
    assert!(task["member"] == "b" && task["token"].as_u64().unwrap() > token);
    assert!(lrmf(&etcd, &["explain", "task/0"]).contains("by force"));
    may.send_replace(true);
    books.wait_for(|running| !running.contains_key("task/0")).await;
    // The session has ended: there is nothing to release.
    a.close().await;
    others.wait_for_members(TASKS, &["b"]).await;
    let (code, _) = fails(&etcd, &["force-release", "task/9", "--yes"]);
    assert_eq!(code, 1);
    assert!(lrmf(&etcd, &["force-release", "task/1", "--yes"]).contains("counts as released by b"));
    b.close().await;
}

/// The command's lines as they come; ended with it.
struct Watch(Child, mpsc::Receiver<String>);

impl Watch {
    fn begin(etcd: &Etcd, form: &str) -> Self {
        let mut child = command(etcd, &["-o", form, "watch"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, receiver) = mpsc::channel(1024);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).all(|line| sender.blocking_send(line).is_ok())
        });
        Self(child, receiver)
    }

    async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let next = async {
            loop {
                let line = self.1.recv().await.unwrap();
                if wanted(&line) {
                    return line;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_watched_and_triggered() {
    let (etcd, books) = (Etcd::start(), Books::new());
    let (a, b) = pair(&etcd, &books).await;
    let (mut people, mut scripts) = (Watch::begin(&etcd, "table"), Watch::begin(&etcd, "json"));
    people.until(|line| line.contains("2 members, 6 tasks")).await;
    scripts.until(|line| line.contains(r#""what":"group""#)).await;

    assert!(lrmf(&etcd, &["trigger"]).contains("plan anew"));
    people.until(|line| line == "operator trigger").await;
    scripts.until(|line| line.contains(r#""control":"trigger""#)).await;
    assert_eq!(json(&etcd, &["trigger"])["asked"], "trigger");

    lrmf(&etcd, &["drain", "b"]);
    people.until(|line| line == "operator drain b").await;
    people.until(|line| line.contains("releasing at b")).await;
    people.until(|line| line.contains("held at a from b") && line.contains("(left)")).await;
    let line = scripts.until(|line| line.contains(r#""from":"b""#)).await;
    let change: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&change["what"], &change["member"], &change["state"]),
        (&"task".into(), &"a".into(), &"held".into())
    );
    b.close().await;
    people.until(|line| line == "member b gone").await;
    a.close().await;
    people.until(|line| line == "leader gone").await;
    scripts.until(|line| line == r#"{"what":"leader","member":null}"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_in_one_line() {
    let etcd = Etcd::start();
    let (code, error) = fails(&etcd, &["members"]);
    assert!(code == 1 && error.contains("there is no group cli/test/t"), "{error}");
    assert_eq!(fails(&etcd, &["freeze"]).0, 1);
    let (code, error) = fails(&etcd, &["--protocol", "", "tasks"]);
    assert!(code == 2 && error.contains("--protocol is missing"), "{error}");
    let (code, error) = fails(&etcd, &["drain"]);
    assert!(code == 2 && error.contains("<MEMBER>"), "{error}");
    let (code, error) = fails(&etcd, &["--user", "root", "tasks"]);
    assert!(code == 2 && error.contains("LRMF_PASSWORD"), "{error}");
    let (code, error) = fails(&etcd, &["--ca", "/nowhere.pem", "tasks"]);
    assert!(code == 2 && error.contains("/nowhere.pem cannot be read"), "{error}");
    let (code, error) = fails(&etcd, &["--timeout", "5", "tasks"]);
    assert!(code == 2 && error.contains("is no unit of time"), "{error}");
    let (code, error) = fails(&etcd, &["--endpoints", "nowhere", "tasks"]);
    assert!(code == 2 && error.contains("host:port"), "{error}");
    let said = run(command(&etcd, &["--endpoints", "127.0.0.1:1", "tasks"]).env_remove("RUST_LOG"));
    assert!(said.code == 1 && said.err.contains("cannot be reached"), "{}", said.err);

    let books = Books::new();
    let a = join(&etcd, "a", books.worker("a")).await;
    books.wait_for_members(TASKS, &["a"]).await;
    let (code, error) = fails(&etcd, &["show", "task/9"]);
    assert!(code == 1 && error.contains("nobody has a task"), "{error}");
    assert!(lrmf(&etcd, &["explain", "task/9"]).contains("nowhere"));
    let (code, error) = fails(&etcd, &["evict", "z"]);
    assert!(code == 1 && error.contains("z is no member"), "{error}");
    let (code, error) = fails(&etcd, &["drain", "a/b"]);
    assert!(code == 2 && error.contains("'/'"), "{error}");
    a.close().await;
}

#[test]
fn the_command_explains_itself() {
    let help = run(Command::new(env!("CARGO_BIN_EXE_lrmf")).arg("--help"));
    assert_eq!(help.code, 0);
    let commands =
        ["members", "tasks", "show", "explain", "watch", "drain", "undrain", "pin", "unpin", "freeze"];
    for command in commands.iter().chain(&[
        "unfreeze",
        "trigger",
        "evict",
        "delete-group",
        "force-release",
        "LRMF_PASSWORD",
    ]) {
        assert!(help.out.contains(command), "{command} is not in:\n{}", help.out);
    }
}
