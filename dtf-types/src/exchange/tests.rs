//! The exchange on paused time.

use std::collections::BTreeSet;
use std::future::{Ready, pending, ready};

use dtf_model::{EmitEpoch, RunEpoch, Seq, TaskId};
use tokio::task::JoinHandle;

use super::*;

fn item(function: &str, number: u64) -> Item {
    Item {
        function: function.into(),
        subtask: SubtaskId { task: TaskId(1), run: RunEpoch(1), epoch: EmitEpoch(1), seq: Seq(number) },
        attempt: 0,
        timeout: Duration::from_secs(60),
        body: number.to_string().into(),
        key: None,
    }
}

fn offer(exchange: &Exchange, function: &str, number: u64) -> JoinHandle<ItemOutcome> {
    let (exchange, item) = (exchange.clone(), item(function, number));
    tokio::spawn(async move { exchange.run(item, pending()).await })
}

fn join(exchange: &Exchange, name: &str, functions: &[&str]) -> Uuid {
    let worker = WorkerInfo { name: name.to_owned(), ..WorkerInfo::default() };
    let functions: Vec<_> = functions.iter().map(|name| (*name).to_owned()).collect();
    exchange.begin(worker, &functions).unwrap()
}

fn done(given: &Given) -> Report {
    Report { ticket: given.ticket, outcome: ItemOutcome::Succeeded(given.item.body.clone()) }
}

fn failed(given: &Given) -> Report {
    let outcome = ItemOutcome::Failed { message: "no".to_owned(), retryable: true };
    Report { ticket: given.ticket, outcome }
}

async fn take(exchange: &Exchange, session: Uuid) -> Vec<Given> {
    exchange.poll(session, 100, MAX_WAIT).await.unwrap().0
}

#[tokio::test(start_paused = true)]
async fn an_item_goes_to_a_worker_that_has_its_function_and_its_result_comes_back() {
    let exchange = Exchange::start();
    let (a, b) = (join(&exchange, "a", &["f"]), join(&exchange, "b", &["g"]));
    let waiting = tokio::spawn({
        let exchange = exchange.clone();
        async move { take(&exchange, a).await }
    });
    let outcome = offer(&exchange, "f", 7);
    let given = waiting.await.unwrap();
    assert_eq!((given.len(), &given[0].item.body[..]), (1, &b"7"[..]));
    assert!(take(&exchange, b).await.is_empty(), "nothing of its function");
    assert!(exchange.report(a, vec![done(&given[0])]).unwrap().is_empty());
    assert_eq!(outcome.await.unwrap(), ItemOutcome::Succeeded("7".into()));
    assert_eq!(exchange.report(a, vec![done(&given[0])]).unwrap(), [done(&given[0])], "it has an outcome");
}

#[tokio::test(start_paused = true)]
async fn each_item_is_given_once_however_many_poll() {
    let exchange = Exchange::start();
    let polls: Vec<_> = (0..20)
        .map(|number| {
            let (exchange, session) = (exchange.clone(), join(&exchange, &format!("w{number}"), &["f", "g"]));
            tokio::spawn(async move {
                let mut got = Vec::new();
                loop {
                    let (given, _) = exchange.poll(session, 3, Duration::from_secs(1)).await.unwrap();
                    if given.is_empty() {
                        return got;
                    }
                    exchange.report(session, given.iter().map(done).collect()).unwrap();
                    got.extend(given.into_iter().map(|given| given.item.subtask.seq.0));
                }
            })
        })
        .collect();
    let outcomes: Vec<_> =
        (0..500).map(|number| offer(&exchange, if number % 2 == 0 { "f" } else { "g" }, number)).collect();
    for (number, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.await.unwrap(), ItemOutcome::Succeeded(number.to_string().into()));
    }
    let mut got = Vec::new();
    for poll in polls {
        got.extend(poll.await.unwrap());
    }
    got.sort_unstable();
    assert_eq!(got, (0..500).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_worker_had_runs_elsewhere_within_its_lease_and_a_second() {
    let exchange = Exchange::start();
    let (dead, alive) = (join(&exchange, "dead", &["f"]), join(&exchange, "alive", &["f"]));
    let outcome = offer(&exchange, "f", 1);
    tokio::task::yield_now().await;
    let lost = take(&exchange, dead).await;
    let began = Instant::now();
    let again = loop {
        let given = take(&exchange, alive).await;
        if !given.is_empty() {
            break given;
        }
    };
    assert!(began.elapsed() <= LEASE + Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(lost[0].ticket, again[0].ticket);
    assert_eq!(exchange.poll(dead, 1, MAX_WAIT).await.unwrap_err(), ExchangeError::NoSession);
    assert_eq!(exchange.report(dead, vec![failed(&lost[0])]).unwrap_err(), ExchangeError::NoSession);
    assert!(exchange.report(dead, vec![done(&lost[0])]).unwrap().is_empty(), "a late success counts");
    assert_eq!(outcome.await.unwrap(), ItemOutcome::Succeeded("1".into()));
    let news = exchange.beat(alive, &[again[0].ticket], MAX_WAIT).await.unwrap();
    assert_eq!(news.dropped, [again[0].ticket], "the other one is told");
}

#[tokio::test(start_paused = true)]
async fn a_failure_counts_only_from_the_worker_that_has_the_item() {
    let exchange = Exchange::start();
    let (a, b) = (join(&exchange, "a", &["f"]), join(&exchange, "b", &["f"]));
    let outcome = offer(&exchange, "f", 1);
    tokio::task::yield_now().await;
    let given = take(&exchange, a).await;
    assert_eq!(exchange.report(b, vec![failed(&given[0])]).unwrap(), [failed(&given[0])]);
    assert!(!outcome.is_finished());
    assert!(exchange.report(a, vec![failed(&given[0])]).unwrap().is_empty());
    assert_eq!(outcome.await.unwrap(), ItemOutcome::Failed { message: "no".to_owned(), retryable: true });
}

#[tokio::test(start_paused = true)]
async fn an_item_that_takes_three_workers_down_is_lost_and_one_that_was_handed_back_is_not() {
    let exchange = Exchange::start();
    let outcome = offer(&exchange, "f", 1);
    tokio::task::yield_now().await;
    for name in ["a", "b", "c", "d"] {
        let polite = join(&exchange, name, &["f"]);
        assert_eq!(take(&exchange, polite).await.len(), 1);
        exchange.leave(polite);
    }
    for name in ["x", "y", "z"] {
        assert!(!outcome.is_finished());
        let session = join(&exchange, name, &["f"]);
        assert_eq!(take(&exchange, session).await.len(), 1, "{name}");
        tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    }
    assert_eq!(outcome.await.unwrap(), ItemOutcome::Lost);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_got_lost_is_made_good_by_the_next_beats() {
    let exchange = Exchange::start();
    let session = join(&exchange, "a", &["f"]);
    let _outcomes = [offer(&exchange, "f", 1), offer(&exchange, "f", 2)];
    tokio::task::yield_now().await;
    let given = take(&exchange, session).await;
    assert_eq!(given.len(), 2);
    // The worker never saw the second one.
    exchange.beat(session, &[given[0].ticket], Duration::ZERO).await.unwrap();
    tokio::time::sleep(UNNAMED).await;
    exchange.beat(session, &[given[0].ticket], Duration::ZERO).await.unwrap();
    let again = take(&exchange, session).await;
    assert_eq!((again.len(), again[0].ticket), (1, given[1].ticket));
    let foreign = Ticket { subtask: item("f", 9).subtask, nonce: 0 };
    let news = exchange.beat(session, &[foreign], Duration::ZERO).await.unwrap();
    assert_eq!(news.dropped, [foreign], "nobody waits for it");
}

#[tokio::test(start_paused = true)]
async fn cancelling_and_withdrawing_reach_the_worker_while_its_beat_waits() {
    let exchange = Exchange::start();
    let session = join(&exchange, "a", &["f"]);
    let (cancel, cancelled) = oneshot::channel::<()>();
    let running = tokio::spawn({
        let exchange = exchange.clone();
        async move { exchange.run(item("f", 1), async { drop(cancelled.await) }).await }
    });
    tokio::task::yield_now().await;
    let given = take(&exchange, session).await;
    let beat = |running: Vec<Ticket>| {
        let exchange = exchange.clone();
        tokio::spawn(async move { exchange.beat(session, &running, MAX_WAIT).await.unwrap() })
    };
    let (began, parked) = (Instant::now(), beat(vec![given[0].ticket]));
    tokio::task::yield_now().await;
    cancel.send(()).unwrap();
    assert_eq!(parked.await.unwrap().dropped, [given[0].ticket]);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(!running.is_finished(), "it may still come to an end");
    exchange.report(session, vec![done(&given[0])]).unwrap();
    assert_eq!(running.await.unwrap(), ItemOutcome::Succeeded("1".into()));

    // A beat that waits is answered though a poll has taken the news, and one that still names it is answered soon.
    let running = tokio::spawn({
        let exchange = exchange.clone();
        async move { exchange.run(item("f", 4), pending::<()>()).await }
    });
    tokio::task::yield_now().await;
    let given = take(&exchange, session).await;
    let parked = beat(vec![given[0].ticket]);
    tokio::task::yield_now().await;
    let began = Instant::now();
    exchange.shared.state().cancel(given[0].ticket);
    assert_eq!(exchange.poll(session, 0, Duration::ZERO).await.unwrap().1.dropped, [given[0].ticket]);
    assert!(parked.await.unwrap().is_none());
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(beat(vec![given[0].ticket]).await.unwrap().is_none());
    assert!(began.elapsed() <= SOON * 2, "{:?}", began.elapsed());
    exchange.beat(session, &[], Duration::ZERO).await.unwrap();
    assert_eq!(running.await.unwrap(), ItemOutcome::Cancelled);

    // One that its worker has stopped has ended, and is offered to nobody again.
    let (cancel, cancelled) = oneshot::channel::<()>();
    let running = tokio::spawn({
        let exchange = exchange.clone();
        async move { exchange.run(item("f", 4), async { drop(cancelled.await) }).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(take(&exchange, session).await.len(), 1);
    cancel.send(()).unwrap();
    tokio::task::yield_now().await;
    exchange.beat(session, &[], Duration::ZERO).await.unwrap();
    assert_eq!(running.await.unwrap(), ItemOutcome::Cancelled);
    tokio::time::sleep(UNNAMED).await;
    exchange.beat(session, &[], Duration::ZERO).await.unwrap();
    assert!(exchange.poll(session, 10, Duration::ZERO).await.unwrap().0.is_empty());

    let dropped = offer(&exchange, "f", 2);
    tokio::task::yield_now().await;
    let given = take(&exchange, session).await;
    // There were news since the last beat that waited, so the next one does not.
    beat(vec![given[0].ticket]).await.unwrap();
    let parked = beat(vec![given[0].ticket]);
    tokio::task::yield_now().await;
    dropped.abort();
    assert_eq!(parked.await.unwrap().dropped, [given[0].ticket]);
    let at_once: Ready<()> = ready(());
    assert_eq!(exchange.run(item("h", 3), at_once).await, ItemOutcome::Cancelled, "nobody has it");
}

#[tokio::test(start_paused = true)]
async fn functions_are_those_of_the_workers_that_are_there() {
    let exchange = Exchange::start();
    let mut functions = exchange.functions();
    let names = |functions: &mut watch::Receiver<Arc<[Arc<str>]>>| -> Vec<String> {
        functions.borrow_and_update().iter().map(|name| name.to_string()).collect()
    };
    let a = join(&exchange, "a", &["g", "f"]);
    assert_eq!(names(&mut functions), ["f", "g"]);
    join(&exchange, "b", &["g"]);
    assert!(!functions.has_changed().unwrap(), "nothing new");
    exchange.leave(a);
    assert_eq!(names(&mut functions), ["g"]);
    functions.changed().await.unwrap(); // the lease of the other one ends
    assert!(names(&mut functions).is_empty() && exchange.sessions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_drained_worker_gets_nothing_more_and_is_told_once() {
    let exchange = Exchange::start();
    let session = join(&exchange, "a", &["f"]);
    assert!(exchange.drain("a") && !exchange.drain("nobody"));
    let _outcome = offer(&exchange, "f", 1);
    tokio::task::yield_now().await;
    let (given, news) = exchange.poll(session, 10, MAX_WAIT).await.unwrap();
    assert!(given.is_empty() && news.drain);
    let (given, news) = exchange.poll(session, 10, Duration::from_secs(1)).await.unwrap();
    assert!(given.is_empty() && !news.drain);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_goes_away_leaves_its_item_to_the_next_one() {
    let exchange = Exchange::start();
    let (a, b) = (join(&exchange, "a", &["f"]), join(&exchange, "b", &["f"]));
    let poll = |session| {
        let exchange = exchange.clone();
        tokio::spawn(async move { take(&exchange, session).await })
    };
    let (gone, stays) = (poll(a), poll(b));
    tokio::task::yield_now().await;
    // Woken for the item, and ended before it could take it.
    let item = item("f", 1);
    exchange.shared.state().offer(Ticket { subtask: item.subtask, nonce: 0 }, item, oneshot::channel().0);
    gone.abort();
    let began = Instant::now();
    assert_eq!(stays.await.unwrap().len(), 1);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn items_of_a_key_go_to_one_worker_for_as_long_as_it_stays() {
    let exchange = Exchange::start();
    let keyed = |number: u64, attempt| Item {
        key: Some(ShardKey::new((number % 20).to_string())),
        attempt,
        ..item("f", number)
    };
    let offer = |number, attempt| {
        let (exchange, item) = (exchange.clone(), keyed(number, attempt));
        tokio::spawn(async move { exchange.run(item, pending()).await })
    };
    let numbers = |given: &[Given]| given.iter().map(|given| given.item.subtask.seq.0).collect::<Vec<_>>();
    // Before there is a worker, they wait for whoever comes; then each for its own.
    let _first: Vec<_> = (0..40).map(|number| offer(number, 0)).collect();
    tokio::task::yield_now().await;
    let (a, b) = (join(&exchange, "a", &["f"]), join(&exchange, "b", &["f"]));
    let (of_a, of_b) = (take(&exchange, a).await, take(&exchange, b).await);
    assert_eq!(of_a.len() + of_b.len(), 40);
    let keys = |given: &[Given]| numbers(given).iter().map(|n| n % 20).collect::<BTreeSet<_>>();
    assert!(keys(&of_a).is_disjoint(&keys(&of_b)) && !of_a.is_empty() && !of_b.is_empty());
    assert!(numbers(&of_a).is_sorted() && numbers(&of_b).is_sorted(), "in their order");
    // The same keys again go to the same workers, though the other one is idle.
    let of_one = numbers(&of_a)[0];
    let _second = offer(100 + of_one, 0);
    let idle = tokio::spawn({
        let exchange = exchange.clone();
        async move { exchange.poll(b, 100, Duration::from_secs(5)).await.unwrap().0 }
    });
    assert_eq!(numbers(&take(&exchange, a).await), [100 + of_one]);
    assert!(idle.await.unwrap().is_empty());
    // One that has failed goes to whoever is first.
    let _third = offer(200 + of_one, 1);
    assert_eq!(numbers(&take(&exchange, b).await), [200 + of_one]);
    // What waits for a worker that goes is for the other one.
    let _fourth = offer(300 + of_one, 0);
    tokio::task::yield_now().await;
    exchange.leave(a);
    let mut moved = numbers(&take(&exchange, b).await);
    moved.sort_unstable();
    assert!(moved.contains(&(300 + of_one)) && moved.len() == of_a.len() + 2, "{moved:?}");
    // And a worker that comes again under its name has its keys again.
    let a = join(&exchange, "a", &["f"]);
    let _fifth = offer(400 + of_one, 0);
    assert_eq!(numbers(&take(&exchange, a).await), [400 + of_one]);
}
