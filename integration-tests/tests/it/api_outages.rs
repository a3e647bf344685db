//! The HTTP API and the dashboard on real servers, each of which is down for a while: what is down is said, what does not need it goes on,
//! nothing hangs, and all of it is back with the server. And two services of one cluster, one of which dies.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use integration_tests::stage::{Site, until};
use serde_json::Value;
use test_servers::servers::free_port;

/// The time within which each request is answered: the server has 30 s, the machine may be busy.
const ANSWERED: Duration = Duration::from_secs(120);

struct Api(String);

impl Api {
    /// Sends a request; returns the status and the body of the answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.0).unwrap();
        stream.set_read_timeout(Some(ANSWERED)).unwrap();
        let (host, length) = (&self.0, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{method} {path} hangs: {error}"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "")
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Creates a task of one subtask; returns the status, and the task or the problem.
    fn create(&self) -> (u16, Value) {
        let (status, body) = self.ask("POST", "/v1/tasks", r#"{"type": "noop", "param": {"count": 1}}"#);
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Has a task run to its end.
    fn works(&self) {
        let mut id = None;
        until("a task is created", || {
            let (status, task) = self.create();
            id = task["id"].as_u64().filter(|_| status == 201);
            id.is_some()
        });
        let path = format!("/v1/tasks/{}", id.unwrap());
        until("it is completed", || {
            let (status, body) = self.get(&path);
            status == 200 && body.contains("\"status\":\"completed\"")
        });
    }

    /// The page is shown, and says this.
    fn shows(&self, path: &str, text: &str) {
        until(&format!("{path} says {text:?}"), || {
            let (status, body) = self.get(path);
            assert_eq!(status, 200, "{path}: {body}");
            body.contains(text)
        });
    }

    /// Each of these is answered as it is while nothing is down.
    fn goes_on(&self, paths: &[&str]) {
        for path in paths {
            let (status, body) = self.get(path);
            assert_eq!(status, 200, "{path}: {body}");
        }
    }

    /// Each of these is refused with a problem that can be read.
    fn is_missing(&self, paths: &[&str]) {
        for path in paths {
            let (status, body) = self.get(path);
            assert!(matches!(status, 502..=504), "{path}: {status} {body}");
            assert!(path.starts_with("/v1/") == body.starts_with("{\"code\""), "{path}: {body}");
        }
    }

    /// The server with this name is the one that does not work.
    fn blames(&self, server: &str) {
        until(&format!("{server} is blamed"), || {
            let findings = self.json("/v1/doctor");
            let bad = |finding: &&Value| finding["verdict"] == "bad";
            findings.as_array().unwrap().iter().filter(bad).any(|finding| finding["of"] == server)
        });
        self.shows("/cluster", server);
    }
}

#[test]
fn each_server_is_missed_by_what_needs_it_and_by_nothing_else() {
    let Some(mut site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let api = Api(format!("127.0.0.1:{}", free_port().unwrap()));
    site.set("DTF_API_LISTEN", api.0.clone());
    let _all = site.serve("one", "all");
    api.works();

    site.sql.kill().unwrap();
    api.shows("/", "The tasks cannot be shown");
    api.is_missing(&["/tasks", "/v1/tasks", "/v1/tasks/1", "/v1/groups", "/groups", "/v1/flows"]);
    api.goes_on(&[
        "/workers",
        "/v1/workers",
        "/placement/executor",
        "/cluster",
        "/v1/history",
        "/docs",
        "/login",
    ]);
    let (status, problem) = api.create();
    assert!(matches!(status, 503 | 504) && problem["detail"].as_str().is_some(), "{status} {problem}");
    api.blames("mysql");
    site.sql.restart().unwrap();
    api.works();

    site.redis.kill().unwrap();
    let (status, waiting) = api.create();
    assert_eq!(status, 201, "a task is a row: {waiting}");
    api.goes_on(&[
        "/",
        "/tasks",
        "/v1/tasks",
        "/groups",
        "/workers",
        "/v1/tasks/1",
        "/cluster",
        "/v1/history",
    ]);
    api.blames("redis");
    site.redis.restart().unwrap();
    api.works();
    let path = format!("/v1/tasks/{}", waiting["id"]);
    until("what was created meanwhile is completed", || {
        api.get(&path).1.contains("\"status\":\"completed\"")
    });

    site.etcd.kill().unwrap();
    api.shows("/", "The processes cannot be shown");
    api.is_missing(&["/workers", "/v1/workers", "/placement/executor", "/v1/placement/executor"]);
    api.goes_on(&["/tasks", "/v1/tasks", "/v1/tasks/1", "/groups", "/v1/groups", "/cluster", "/v1/history"]);
    api.blames("etcd");
    site.etcd.restart().unwrap();
    api.works();
    api.goes_on(&["/", "/workers", "/placement/executor", "/cluster"]);
}

#[test]
fn an_action_on_many_tasks_outlives_the_server_that_began_it() {
    const TASKS: u64 = 200;
    let Some(mut site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let address = || format!("127.0.0.1:{}", free_port().unwrap());
    let (one, two) = (Api(address()), Api(address()));
    site.set("DTF_API_LISTEN", one.0.clone());
    let mut first = site.serve("one", "all");
    let second = site.start_with("two", "all", &[("DTF_API_LISTEN", two.0.clone())]);
    second.until_ready();
    let start = r#"{"type": "noop", "name": "later", "param": {"count": 1}, "start_at": 4000000000000}"#;
    for number in 0..TASKS {
        // To either of them, as a balancer does.
        let (status, body) = [&one, &two][number as usize % 2].ask("POST", "/v1/tasks", start);
        assert_eq!(status, 201, "{body}");
    }
    let bulk = format!(r#"{{"action": "cancel", "filter": {{"name": "later"}}, "expect_count": {TASKS}}}"#);
    let (status, begun) = one.ask("POST", "/v1/bulk", &bulk);
    assert_eq!(status, 202, "{begun}");
    let begun: Value = serde_json::from_str(&begun).unwrap();
    first.kill();
    let handle = format!("/v1/bulk/{}", begun["id"].as_str().unwrap());
    let mut last = Value::Null;
    until("the other server ends it", || {
        last = two.json(&handle);
        last["status"] == "finished"
    });
    // A step of it may have been applied twice.
    assert_eq!(last["applied"].as_u64().unwrap() + last["refused_count"].as_u64().unwrap(), TASKS, "{last}");
    let page = two.json("/v1/tasks?name=later&limit=1000");
    let wanted = |task: &&Value| task["control"] == "cancel" || task["status"] == "cancelled";
    assert_eq!(page["tasks"].as_array().unwrap().iter().filter(wanted).count() as u64, TASKS);
}
