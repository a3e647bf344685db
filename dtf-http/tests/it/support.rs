//! A process with all roles, and requests to its router.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use dtf::embedded::{self, Database, Embedded};
use dtf::tasks::noop::Noop;
use dtf::{Dtf, TaskHandle};
use dtf_http::{Access, App, router};
use serde_json::{Value, json};
use tower::ServiceExt;

pub(crate) const HOST: &str = "localhost:7070";

pub(crate) struct Site {
    pub(crate) dtf: Dtf,
    router: Router,
}

/// A response, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) location: Option<String>,
    pub(crate) content_type: String,
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
        let ports = embedded::ports(Database::Memory).await.unwrap();
        let (coordination, config) = (ports.coordination.clone(), Embedded { jobs: 4 }.config());
        let cluster = config.cluster.clone();
        let builder = Dtf::builder(ports).config(config).register_task_type(Noop::registration()).unwrap();
        let dtf = builder.build().unwrap();
        let app = App::new(dtf.client(), coordination, &cluster);
        let router = router(app, Access::loopback("127.0.0.1:7070".parse().unwrap()));
        Self { dtf, router }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.send(request).await;
        let text = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (location, content_type) = (text(header::LOCATION), text(header::CONTENT_TYPE));
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Answer { status, location, content_type: content_type.unwrap_or_default(), text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn send_json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let request = request(method, path).header("content-type", "application/json");
        self.ask(request.body(Body::from(body.to_string())).unwrap()).await
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
