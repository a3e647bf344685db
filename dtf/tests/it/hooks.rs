//! Hooks under managers that die and stores that are away: each receiver is told of the ends that it asked for, at least once, and what
//! came of it is listed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::dice::{self, Dice};
use crate::common::wires::{self, Fate, Faults};
use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::model::audit::{AuditEntry, AuditFilter, AuditOutcome};
use dtf::model::flow::{Condition, End};
use dtf::model::hook::{Hook, HookState, TaskEnd};
use dtf::model::plugin::ExecuteError;
use dtf::model::table::TaskRow;
use dtf::model::{TaskId, TaskParam};
use dtf::{Client, Dtf};

const SEEDS: u64 = 12;
const FAILS: u64 = 8;

/// The messages that a receiver got: task and end, by the id of the message.
type Told = Arc<Mutex<BTreeMap<uuid::Uuid, (usize, TaskId, End)>>>;

/// A callback that notes what it is told, unless `refuse` says at which of its calls it fails.
fn noting(
    told: &Told,
    refuse: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> impl Fn(TaskEnd) -> std::future::Ready<anyhow::Result<()>> + Send + Sync + 'static {
    let (told, calls) = (told.clone(), AtomicUsize::new(0));
    move |end| {
        if refuse(calls.fetch_add(1, Ordering::Relaxed)) {
            return std::future::ready(Err(anyhow::anyhow!("not now")));
        }
        let mut told = told.lock().unwrap();
        told.entry(end.id).or_insert((0, end.row.id, end.end)).0 += 1;
        std::future::ready(Ok(()))
    }
}

/// Subtask 7 fails.
fn plugin() -> Numbers {
    Numbers::new(|number, context| match number {
        7 => Err(ExecuteError::final_error(anyhow::anyhow!("no"))),
        _ => ok(number, context),
    })
}

fn param(subtasks: u64, hooks: &[Hook]) -> TaskParam {
    TaskParam { hooks: hooks.to_vec(), timeout: Duration::from_secs(24 * 3600), ..count(subtasks) }
}

async fn row(stage: &Stage, task: TaskId) -> TaskRow {
    stage.ports.table.get(task).await.unwrap().unwrap()
}

/// The row, once its hooks are settled.
async fn settled(stage: &Stage, task: TaskId) -> TaskRow {
    let settled = async {
        loop {
            let row = row(stage, task).await;
            if row.hooks.iter().all(|record| record.state.is_settled()) {
                return row;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let week = Duration::from_secs(7 * 24 * 3600);
    tokio::time::timeout(week, settled)
        .await
        .unwrap_or_else(|_| panic!("the hooks of task {task} never settle"))
}

async fn audit(stage: &Stage, task: TaskId) -> Vec<AuditEntry> {
    let filter = AuditFilter { target: Some(format!("task {task}")), ..AuditFilter::default() };
    stage.ports.table.entries(&filter, None, 100).await.unwrap()
}

async fn create(client: &Client, subtasks: u64, hooks: &[Hook]) -> TaskId {
    client.create_task(KIND, param(subtasks, hooks)).await.unwrap().id()
}

async fn site(told: &Told) -> (Stage, Dtf) {
    let stage = Stage::new();
    let dtf = stage.builder(stage.ports.clone(), "p", plugin()).callback("note", noting(told, |_| false));
    let dtf = dtf.build().unwrap();
    dtf.start_all().await.unwrap();
    (stage, dtf)
}

#[tokio::test(start_paused = true)]
async fn receivers_are_told_of_the_ends_that_they_asked_for() {
    let told = Told::default();
    let (stage, dtf) = site(&told).await;
    let hooks = Condition::ALL.map(|when| Hook::callback("note").when(when));
    let (good, bad) = (create(&dtf.client(), 1, &hooks).await, create(&dtf.client(), FAILS, &hooks).await);
    let later = TaskParam { start_at: Some(1 << 60), ..param(1, &hooks) };
    let cancelled = dtf.client().create_task(KIND, later).await.unwrap().id();
    dtf.client().cancel_task(cancelled).await.unwrap();
    use HookState::{Delivered, Unneeded};
    for (task, states, end) in [
        (good, [Delivered, Delivered, Unneeded], End::Completed),
        (bad, [Unneeded, Delivered, Delivered], End::Failed),
        (cancelled, [Unneeded, Delivered, Unneeded], End::Other),
    ] {
        let row = settled(&stage, task).await;
        assert_eq!(row.hooks.iter().map(|record| record.state).collect::<Vec<_>>(), states, "task {task}");
        assert_eq!(row.hook_at, None);
        let told = told.lock().unwrap();
        let of_task: Vec<_> = told.values().filter(|(_, of, _)| *of == task).collect();
        let delivered = states.iter().filter(|state| **state == Delivered).count();
        assert_eq!(of_task.len(), delivered);
        assert!(of_task.iter().all(|(times, _, of)| (*times, *of) == (1, end)), "{of_task:?}");
    }
    let entries = audit(&stage, good).await;
    assert_eq!(entries.len(), 2);
    assert!(
        entries.iter().all(|entry| entry.action == "hook.deliver" && entry.outcome == AuditOutcome::Done)
    );
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_is_told_again_until_it_says_yes() {
    let (told, never) = (Told::default(), Told::default());
    let stage = Stage::new();
    let builder = stage.builder(stage.ports.clone(), "p", plugin());
    let dtf = builder
        .callback("third", noting(&told, |call| call < 2))
        .callback("never", noting(&never, |_| true))
        .callback("panics", |_| async { panic!("a fault of the program") })
        .callback("hangs", |_| std::future::pending())
        .build()
        .unwrap();
    dtf.start_all().await.unwrap();
    let names = ["third", "never", "panics", "hangs", "unknown"];
    let task = create(&dtf.client(), 1, &names.map(Hook::callback)).await;
    // The first waits are 5 s and 5 minutes.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let row = row(&stage, task).await;
    let outcome: Vec<_> =
        row.hooks.iter().map(|record| (record.state, record.attempts, record.error.as_str())).collect();
    assert_eq!(outcome[0], (HookState::Delivered, 3, ""));
    assert_eq!(outcome[1], (HookState::Pending, 3, "not now"));
    assert_eq!(outcome[2], (HookState::Pending, 3, "the callback panicked"));
    assert_eq!(outcome[3], (HookState::Pending, 3, "no answer within 50s"));
    assert!(outcome[4].2.starts_with("no callback \"unknown\" is registered"), "{outcome:?}");
    assert_eq!(audit(&stage, task).await.len(), 1, "what is settled");

    // A user may ask again for what is settled.
    dtf.client().deliver_again(task, 0).await.unwrap();
    let again = dtf.client().deliver_again(task, 0).await.unwrap_err().to_string();
    assert!(again.contains("not settled yet"), "{again}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(told.lock().unwrap().values().map(|(times, ..)| *times).sum::<usize>(), 2);
    let missing = dtf.client().deliver_again(task, 5).await.unwrap_err().to_string();
    assert_eq!(missing, format!("task {task} has no hook 5; it has 5, counted from 0"));
    dtf.stop().await;
}

/// At every step of ending and of delivering, before and behind its write.
#[tokio::test(start_paused = true)]
async fn a_manager_that_is_killed_at_any_step_leaves_no_receiver_untold() {
    for fate in [|| Fate::Unreachable, || Fate::Unknown] {
        let mut steps = 0;
        loop {
            let (stage, told) = (Stage::new(), Told::default());
            let (made, died) = (Arc::new(AtomicUsize::new(0)), Arc::<AtomicBool>::default());
            let dead = died.clone();
            let faults: Faults = Arc::new(move |call| {
                if dead.load(Ordering::Relaxed) {
                    return Fate::Unreachable;
                }
                let counts = ["finish", "update_hooks", "add_entry"].contains(&call);
                if counts && made.fetch_add(1, Ordering::Relaxed) == steps {
                    dead.store(true, Ordering::Relaxed);
                    return fate();
                }
                Fate::Pass
            });
            let start = async |ports, instance: &str| {
                let builder =
                    stage.builder(ports, instance, plugin()).callback("note", noting(&told, |_| false));
                let dtf = builder.build().unwrap();
                dtf.start_all().await.unwrap();
                dtf
            };
            let first = start(wires::wired(&stage.ports, &faults), "first").await;
            let client = stage.process("client", plugin()).client();
            let task = create(&client, 1, &[Hook::callback("note")]).await;
            tokio::time::sleep(Duration::from_secs(10)).await;
            first.kill().await;
            let second = start(stage.ports.clone(), "second").await;
            let row = settled(&stage, task).await;
            assert_eq!(row.hooks[0].state, HookState::Delivered, "killed at step {steps}");
            let times = told.lock().unwrap().values().map(|(times, ..)| *times).collect::<Vec<_>>();
            assert!(matches!(times[..], [1 | 2]), "killed at step {steps}: {times:?}");
            let listed = audit(&stage, task).await.len();
            assert!((1..=row.hooks[0].attempts as usize).contains(&listed), "{steps}: {listed} of {row:?}");
            second.stop().await;
            if !died.load(Ordering::Relaxed) {
                break;
            }
            steps += 1;
        }
        assert_eq!(steps, 4, "end, claim, list, settle");
    }
}

/// Hundreds of tasks under a database that comes and goes, and managers that die.
async fn chaos(seed: u64) {
    let (dice, stage, told) = (Dice::new(seed), Stage::new(), Told::default());
    let (calm, mut tasks) = (Arc::<AtomicBool>::default(), Vec::new());
    let client = stage.process("client", plugin()).client();
    let start = async |instance: String| {
        let (roll, is_calm) = (dice.clone(), calm.clone());
        let dead = Arc::<AtomicBool>::default();
        let cut = dead.clone();
        let faults: Faults = Arc::new(move |_| match roll.below(100) {
            _ if cut.load(Ordering::Relaxed) => Fate::Unreachable,
            _ if is_calm.load(Ordering::Relaxed) => Fate::Pass,
            0..5 => Fate::Unreachable,
            5..10 => Fate::Unknown,
            _ => Fate::Pass,
        });
        let (roll, calm) = (dice.clone(), calm.clone());
        let note = noting(&told, move |_| !calm.load(Ordering::Relaxed) && roll.below(4) == 0);
        let builder = stage.builder(wires::wired(&stage.ports, &faults), &instance, plugin());
        let dtf = builder.callback("note", note).build().unwrap();
        dtf.start_all().await.unwrap();
        (dtf, dead)
    };
    let mut process = start("p0".to_owned()).await;
    for round in 1..=5 {
        for _ in 0..40 {
            let when = Condition::ALL[dice.below(3) as usize];
            let subtasks = if dice.below(3) == 0 { FAILS } else { dice.below(4) };
            tasks.push(create(&client, subtasks, &[Hook::callback("note").when(when)]).await);
        }
        tokio::time::sleep(Duration::from_millis(dice.below(20_000))).await;
        process.1.store(true, Ordering::Relaxed);
        process.0.kill().await;
        process = start(format!("p{round}")).await;
    }
    calm.store(true, Ordering::Relaxed);
    for task in tasks {
        let row = settled(&stage, task).await;
        let end = End::of(row.status, &row.counts).unwrap();
        let (hook, state) = (&row.hooks[0].hook, row.hooks[0].state);
        let message = TaskEnd::of(&row, 0).unwrap().id;
        let told = told.lock().unwrap().get(&message).copied();
        match hook.when.is_met_by(end) {
            true => {
                assert!(state == HookState::Delivered && told.is_some_and(|(_, of, _)| of == task), "{row:?}")
            }
            false => assert!(state == HookState::Unneeded && told.is_none(), "{row:?}"),
        }
    }
    process.0.stop().await;
}

#[test]
fn each_receiver_is_told_whatever_dies() {
    dice::run_seeds(SEEDS, chaos);
}

/// What it has claimed is attempted, and its receiver has room for the next.
#[tokio::test(start_paused = true)]
async fn a_look_that_fails_half_way_loses_no_claim() {
    let (stage, told) = (Stage::new(), Told::default());
    let faults: Faults = Arc::new(|call| match call {
        "next_hook_at" => Fate::Unreachable,
        _ => Fate::Pass,
    });
    let builder = stage.builder(wires::wired(&stage.ports, &faults), "p", plugin());
    let dtf = builder.callback("note", noting(&told, |_| false)).build().unwrap();
    dtf.start_all().await.unwrap();
    // More than a receiver has room for.
    for _ in 0..20 {
        let task = create(&dtf.client(), 1, &[Hook::callback("note")]).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let row = row(&stage, task).await;
        assert_eq!((row.hooks[0].state, row.hooks[0].attempts), (HookState::Delivered, 1));
    }
    dtf.stop().await;
}

/// It is asked by eight at a time, and the others have their messages at once.
#[tokio::test(start_paused = true)]
async fn a_slow_receiver_holds_up_nobody_else() {
    const MANY: usize = 100;
    let (stage, told) = (Stage::new(), Told::default());
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (under_way, seen) = (now.clone(), most.clone());
    let slow = move |_| {
        let under_way = under_way.clone();
        seen.fetch_max(under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(Duration::from_secs(40)).await;
            under_way.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        }
    };
    let builder = stage.builder(stage.ports.clone(), "p", plugin());
    let dtf = builder.callback("slow", slow).callback("note", noting(&told, |_| false)).build().unwrap();
    dtf.start_all().await.unwrap();
    let client = dtf.client();
    let slow = [Hook::callback("slow")];
    let tasks = futures::future::join_all((0..MANY).map(|_| create(&client, 1, &slow))).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let quick = create(&client, 1, &[Hook::callback("note")]).await;
    client.task(quick).wait().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(row(&stage, quick).await.hooks[0].state, HookState::Delivered);
    for task in tasks {
        let row = settled(&stage, task).await;
        assert_eq!((row.hooks[0].state, row.hooks[0].attempts), (HookState::Delivered, 1));
    }
    assert_eq!(most.load(Ordering::Relaxed), 8);
    dtf.stop().await;
}

/// On real time, as sockets have no other.
#[cfg(feature = "full")]
mod requests {
    use axum::Router;
    use axum::body::Bytes;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use dtf::embedded::Database;
    use dtf::webhook::{AddressRule, Secret, Signed, TOLERANCE, verify};
    use lrmf_core::{BootClock, Clock};
    use serde_json::Value;

    use super::*;

    /// The messages that a receiver accepted, and those that it did not believe.
    #[derive(Default)]
    struct Received {
        messages: Vec<Value>,
        unbelieved: usize,
    }

    async fn receiver(secret: Secret) -> (String, Arc<Mutex<Received>>) {
        let received = Arc::<Mutex<Received>>::default();
        let noted = received.clone();
        let receive = async move |headers: HeaderMap, body: Bytes| {
            let text =
                |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let signed = Signed {
                id: text("webhook-id").to_owned(),
                timestamp: text("webhook-timestamp").parse().unwrap_or(0),
                signatures: text("webhook-signature").to_owned(),
            };
            let now = BootClock.unix_millis() / 1000;
            let mut noted = noted.lock().unwrap();
            match verify(&secret, &signed, &body, now, TOLERANCE) {
                Ok(()) => noted.messages.push(serde_json::from_slice(&body).unwrap()),
                Err(_) => noted.unbelieved += 1,
            }
            StatusCode::NO_CONTENT
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=s3cret", listener.local_addr().unwrap());
        let router = Router::new().route("/hook", post(receive));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (url, received)
    }

    async fn process(addresses: AddressRule) -> (dtf::Ports, Dtf) {
        let ports = dtf::embedded::ports(Database::Memory).await.unwrap();
        let mut config = dtf::embedded::Embedded { jobs: 2 }.config();
        config.webhooks.addresses = addresses;
        let builder =
            Dtf::builder(ports.clone()).config(config).register(dtf::tasks::noop::Noop::registration());
        let dtf = builder.build().unwrap();
        dtf.start_all().await.unwrap();
        (ports, dtf)
    }

    async fn ended(ports: &dtf::Ports, task: TaskId) -> TaskRow {
        let wait = async {
            loop {
                let row = ports.table.get(task).await.unwrap().unwrap();
                if row.hooks.iter().all(|record| record.state.is_settled()) {
                    return row;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), wait)
            .await
            .unwrap_or_else(|_| panic!("the hooks of task {task} never settle"))
    }

    async fn noop(dtf: &Dtf, url: &str) -> TaskId {
        let kind = dtf.client().types().number_named("noop").unwrap();
        let type_param = serde_json::json!({"count": 3});
        let param = TaskParam {
            name: "nightly".into(),
            type_param,
            hooks: vec![Hook::url(url)],
            ..TaskParam::default()
        };
        dtf.client().create_task(kind, param).await.unwrap().id()
    }

    #[tokio::test]
    async fn a_request_is_signed_with_the_secret_of_the_group_and_says_how_the_task_ended() {
        let (ports, dtf) = process(AddressRule::all()).await;
        let secret = dtf.client().signing_secret("default").await.unwrap();
        let (url, received) = receiver(secret.clone()).await;
        let task = noop(&dtf, &url).await;
        let row = ended(&ports, task).await;
        assert_eq!(row.hooks[0].state, HookState::Delivered, "{row:?}");
        let message = received.lock().unwrap().messages.pop().unwrap();
        assert_eq!(message["type"], "task.completed");
        let data = &message["data"];
        assert_eq!((&data["id"], &data["name"]), (&Value::from(task.0), &Value::from("nightly")));
        assert_eq!((&data["type"], &data["progress"]["succeeded"]), (&Value::from("noop"), &Value::from(3)));

        // The old secret is good for a day more, and one of another group is none.
        let new = dtf.client().replace_signing_secret("default").await.unwrap();
        assert_ne!(new, secret);
        let (newer, accepted) = receiver(new).await;
        for url in [&url, &newer] {
            let row = ended(&ports, noop(&dtf, url).await).await;
            assert_eq!(row.hooks[0].state, HookState::Delivered);
        }
        assert_eq!(
            (received.lock().unwrap().messages.len(), accepted.lock().unwrap().messages.len()),
            (1, 1)
        );
        dtf.client().set_quota("other", 1).await.unwrap();
        let (elsewhere, refused) = receiver(dtf.client().signing_secret("other").await.unwrap()).await;
        ended(&ports, noop(&dtf, &elsewhere).await).await;
        let noted = |received: &Received| (received.messages.len(), received.unbelieved);
        assert_eq!(noted(&refused.lock().unwrap()), (0, 1));

        // What may be a secret is in no list of changes.
        let entries = ports.table.entries(&AuditFilter::default(), None, 100).await.unwrap();
        assert!(
            !entries.is_empty() && !entries.iter().any(|entry| entry.detail.contains("s3cret")),
            "{entries:?}"
        );
        dtf.stop().await;
    }

    #[tokio::test]
    async fn private_addresses_are_refused_unless_they_are_allowed() {
        let (ports, dtf) = process(AddressRule::PUBLIC).await;
        let (url, received) = receiver(dtf.client().signing_secret("default").await.unwrap()).await;
        let row = ended(&ports, noop(&dtf, &url).await).await;
        assert_eq!((row.hooks[0].state, row.hooks[0].attempts), (HookState::Failed, 1));
        assert!(row.hooks[0].error.contains("private network"), "{}", row.hooks[0].error);
        assert!(received.lock().unwrap().messages.is_empty());
        dtf.stop().await;
    }
}
