//! A process with all roles, and requests to its router.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use dtf::embedded::{self, Database, Embedded};
use dtf::tasks::noop::Noop;
use dtf::{Dtf, Ports, TaskHandle};
use dtf_control::NewToken;
use dtf_http::{Access, Announcing, App, TokenRule, router};
use dtf_memory::{MemoryQueues, MemoryShards, MemoryTable, MemoryWakeUp};
use dtf_model::queue::QueueStore;
use dtf_model::token::TokenRole;
use dtf_types::{Exchange, MapParts};
use lrmf_core::clock::Timestamp;
use lrmf_core::{BootClock, Clock, Coordination, MemoryStore};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt;

pub(crate) const HOST: &str = "localhost:7070";

/// A clock whose time of day the test sets; time goes on as in the process.
#[derive(Debug)]
pub(crate) struct SetClock(pub(crate) AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        BootClock.now()
    }

    fn unix_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl SetClock {
    pub(crate) fn forward(&self, span: Duration) {
        self.0.fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

/// Stores without threads of their own, so that time may be paused.
pub(crate) fn in_memory() -> Ports {
    Ports {
        table: Arc::new(MemoryTable::new()),
        queues: Arc::new(MemoryQueues::new(Arc::new(BootClock))),
        shards: Arc::new(MemoryShards::default()),
        wake: Arc::new(MemoryWakeUp::default()),
        coordination: Arc::new(MemoryStore::new()),
    }
}

pub(crate) struct Site {
    pub(crate) dtf: Arc<Dtf>,
    pub(crate) app: App,
    pub(crate) coordination: Arc<dyn Coordination>,
    router: Router,
    _announcing: Announcing,
    queues: Arc<dyn QueueStore>,
    working: Option<AbortOnDropHandle<()>>,
}

/// A response, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) location: Option<String>,
    pub(crate) content_type: String,
    pub(crate) cookie: Option<String>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Status and code of a problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.content_type, "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        (self.status.as_u16(), problem["code"].as_str().unwrap().to_owned())
    }
}

impl Site {
    /// All roles run.
    pub(crate) async fn running() -> Self {
        let site = Self::idle().await;
        site.dtf.start_all().await.unwrap();
        site
    }

    /// No role runs: tasks stay as they were created.
    pub(crate) async fn idle() -> Self {
        Self::with(Arc::new(BootClock), Access::of("127.0.0.1:7070".parse().unwrap())).await
    }

    /// No role runs; every request needs a token, and the clock of the returned handle is the process's.
    pub(crate) async fn guarded() -> (Self, Arc<SetClock>) {
        let clock = Arc::new(SetClock(AtomicU64::new(1_800_000_000_000)));
        let access = Access::of("127.0.0.1:7070".parse().unwrap()).tokens(TokenRule::Always);
        (Self::with(clock.clone(), access).await, clock)
    }

    pub(crate) async fn with(clock: Arc<dyn Clock>, access: Access) -> Self {
        Self::on(embedded::ports(Database::Memory).await.unwrap(), clock, access)
    }

    /// No role runs; on these stores.
    pub(crate) fn on(ports: Ports, clock: Arc<dyn Clock>, access: Access) -> Self {
        let (coordination, config) = (ports.coordination.clone(), Embedded { jobs: 4 }.config());
        let cluster = config.cluster.clone();
        let exchange = Exchange::of_cluster(coordination.clone(), &cluster);
        let queues = ports.queues.clone();
        let map = dtf_types::registration(MapParts {
            exchange: Some(exchange.clone()),
            results: Some(ports.table.clone()),
            items: Some((ports.table.clone(), ports.queues.clone())),
            ..MapParts::default()
        });
        let builder = Dtf::builder(ports).config(config).register(Noop::registration()).register(map);
        let dtf = Arc::new(builder.clock(clock).build().unwrap());
        let app = App::new(dtf.client(), coordination.clone(), &cluster);
        let app = app.with_exchange(exchange.clone(), "one", queues.clone());
        let announcing = dtf_http::announce(dtf.client(), exchange, "one");
        let working = Some(AbortOnDropHandle::new(tokio::spawn(app.work_off())));
        let router = router(app.clone(), access);
        Self { dtf, app, router, _announcing: announcing, queues, coordination, working }
    }

    /// Another process of the cluster, as remote workers meet it: with an exchange in which nothing is offered.
    pub(crate) fn neighbour(&self) -> Self {
        let (dtf, queues, coordination) = (self.dtf.clone(), self.queues.clone(), self.coordination.clone());
        let cluster = Embedded { jobs: 4 }.config().cluster;
        let exchange = Exchange::of_cluster(coordination.clone(), &cluster);
        let access = Access::of("127.0.0.1:7070".parse().unwrap());
        let app = App::new(dtf.client(), coordination.clone(), &cluster);
        let app = app.with_exchange(exchange.clone(), "two", queues.clone());
        let announcing = dtf_http::announce(dtf.client(), exchange, "two");
        let router = router(app.clone(), access);
        Self { dtf, app, router, _announcing: announcing, queues, coordination, working: None }
    }

    /// Leaves actions on many tasks to others from now on.
    pub(crate) fn leave_bulks(&mut self) {
        self.working = None;
    }

    /// Begins an action on many tasks, and waits for its end.
    pub(crate) async fn bulk(&self, body: &Value) -> Value {
        let begun = self.send_json("POST", "/v1/bulk", body).await;
        assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text);
        self.ended(begun.location.as_deref().unwrap()).await
    }

    /// Waits for the end of an action on many tasks.
    pub(crate) async fn ended(&self, handle: &str) -> Value {
        loop {
            let bulk = self.get(handle).await.json();
            if bulk["status"] == "finished" {
                return bulk;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.send(request).await;
        let text = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (location, content_type) = (text(header::LOCATION), text(header::CONTENT_TYPE));
        let cookie = text(header::SET_COOKIE);
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Answer { status, location, content_type: content_type.unwrap_or_default(), cookie, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn send_json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let request = request(method, path).header("content-type", "application/json");
        self.ask(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Sends a request with a token.
    pub(crate) async fn as_bearer(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let request = request(method, path).header("authorization", format!("Bearer {token}"));
        let body = body.map(Value::to_string);
        let request =
            if body.is_some() { request.header("content-type", "application/json") } else { request };
        self.ask(request.body(body.map_or_else(Body::empty, Body::from)).unwrap()).await
    }

    /// Makes a token, beside the API, and returns its text.
    pub(crate) async fn token(&self, role: TokenRole, groups: &[&str]) -> String {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let new = NewToken {
            name: format!("a {}", role.name()),
            role,
            groups,
            types: Vec::new(),
            lifetime: Some(Duration::from_secs(3600)),
            created_by: "the test".to_owned(),
        };
        self.dtf.client().create_token(new).await.unwrap().1
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.ask(request("POST", path).body(Body::empty()).unwrap()).await
    }

    /// Sends a form as a browser does.
    pub(crate) async fn submit(&self, path: &str, fields: &str) -> Answer {
        let request = request("POST", path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", format!("http://{HOST}"))
            .header("sec-fetch-site", "same-origin");
        self.ask(request.body(Body::from(fields.to_owned())).unwrap()).await
    }

    /// Creates a task of type noop with a name, and returns its id.
    pub(crate) async fn create(&self, name: &str, param: Value) -> u64 {
        let created =
            self.send_json("POST", "/v1/tasks", &json!({"type": "noop", "name": name, "param": param})).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        created.json()["id"].as_u64().unwrap()
    }

    pub(crate) fn task(&self, id: u64) -> TaskHandle {
        self.dtf.client().task(dtf::model::TaskId(id))
    }

    /// The number of tasks that there are.
    pub(crate) async fn count(&self) -> usize {
        self.get("/v1/tasks?limit=1000").await.json()["tasks"].as_array().unwrap().len()
    }
}

pub(crate) fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", HOST)
}
