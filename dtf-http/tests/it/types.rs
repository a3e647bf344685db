//! Types of task that data defines.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::Site;

/// Squares of the numbers below a limit.
fn squares() -> Value {
    json!({
        "description": "squares the numbers below a limit",
        "schema": {
            "type": "object",
            "required": ["below"],
            "additionalProperties": false,
            "properties": {"below": {"type": "integer", "minimum": 0, "description": "the limit"}, "keep": {"type": "boolean"}}
        },
        "template": {
            "source": {"range": {"to": {"$param": "/below"}}},
            "function": {"worker": "square"},
            "sink": {"$param": "/sink", "default": "keep"}
        }
    })
}

async fn define(site: &Site, name: &str, definition: &Value) -> Value {
    let defined = site.send_json("PUT", &format!("/v1/types/{name}"), definition).await;
    assert_eq!(defined.status, StatusCode::OK, "{}", defined.text);
    defined.json()
}

async fn create(site: &Site, task: Value) -> Value {
    let created = site.send_json("POST", "/v1/tasks", &task).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    created.json()
}

/// A worker with the function, until so many items are done.
async fn work(site: &Site, count: usize) {
    let mut body =
        json!({"worker": {"name": "w", "slots": 8}, "functions": ["square"], "most": 100, "wait_ms": 5000});
    let mut done = 0;
    while done < count {
        let work = site.send_json("POST", "/v1/work/poll", &body).await.json();
        let session = work["session"].clone();
        let report = |item: &Value| {
            let n = item["body"].as_u64().unwrap();
            json!({"ticket": item["ticket"], "result": n * n})
        };
        let reports: Vec<_> = work["items"].as_array().unwrap().iter().map(report).collect();
        done += reports.len();
        site.send_json("POST", "/v1/work/report", &json!({"session": session, "reports": reports})).await;
        body = json!({"session": session, "most": 100, "wait_ms": 5000});
    }
    site.send_json("POST", "/v1/work/leave", &json!({"session": body["session"]})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_appears_while_processes_run_has_tasks_at_once() {
    let site = Site::running().await;
    let defined = define(&site, "squares", &squares()).await;
    assert_eq!(
        (&defined["version"], &defined["definition"]["template"]),
        (&json!(1), &squares()["template"])
    );
    let again = define(&site, "squares", &squares()).await;
    assert_eq!(again, defined, "the same definition makes no version");

    let task = create(&site, json!({"type": "squares", "param": {"below": 20}})).await;
    assert_eq!((&task["type"], &task["param"]), (&json!("squares"), &json!({"below": 20})));
    let id = task["id"].as_u64().unwrap();
    // Nobody has the function, and the task says so.
    loop {
        let waits = site.get(&format!("/v1/tasks/{id}")).await.json()["blocked_on"].clone();
        if waits == json!(["a worker with the function square; none that is connected has it"]) {
            break;
        }
        assert_eq!(waits, json!([]));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // A task that was created keeps its definition.
    let other = json!({"template": {"source": {"list": []}, "function": {"worker": "square"}}});
    assert_eq!(define(&site, "squares", &other).await["version"], 2);
    work(&site, 20).await;
    let row = site.task(id).wait().await.unwrap();
    assert_eq!((row.counts.created, row.counts.succeeded), (20, 20));
    let results = site.get(&format!("/v1/tasks/{id}/results")).await.json();
    assert_eq!(results["results"].as_array().unwrap().len(), 20);

    // It is a type like others: listed, filtered by, copied, retried.
    let of_type = site.get("/v1/tasks?type=squares").await.json();
    assert_eq!(of_type["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(site.get("/v1/tasks?type=map:square").await.json()["tasks"], json!([]));
    let unknown = site.get("/v1/tasks?type=cubes").await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", unknown.text);
    let listed = site.get("/v1/types").await.json();
    let names: Vec<_> =
        listed.as_array().unwrap().iter().map(|known| known["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"map") && names.contains(&"squares"), "{names:?}");
    assert_eq!(site.get("/v1/types?after=squares").await.json(), json!([]));
    assert_eq!(
        site.send_json("DELETE", "/v1/types/squares", &json!(null)).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(site.get("/v1/types/squares").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        site.get(&format!("/v1/tasks/{id}")).await.json()["type"],
        "squares",
        "its tasks keep its name"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_do_not_fit_are_refused_with_the_path_of_the_field() {
    let site = Site::running().await;
    define(&site, "squares", &squares()).await;
    for (param, said) in [
        (json!({}), "\"below\" is a required property"),
        (json!({"below": "x"}), "\"x\" is not of type \"integer\" at /below"),
        (json!({"below": -1}), "-1 is less than the minimum of 0 at /below"),
        (json!({"below": 1, "more": 1}), "('more' was unexpected)"),
    ] {
        let refused = site.send_json("POST", "/v1/tasks", &json!({"type": "squares", "param": param})).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(said), "{detail}");
        // The same where a flow or a schedule creates it.
        let flow = json!({"name": "f", "tasks": {"a": {"type": "squares", "param": param}}});
        let refused = site.send_json("POST", "/v1/flows", &flow).await;
        assert!(refused.text.contains("task \\\"a\\\": the parameters do not fit"), "{}", refused.text);
        let task = json!({"type": "squares", "param": param});
        let schedule = json!({"name": "s", "when": "@daily", "task": task});
        let refused = site.send_json("POST", "/v1/schedules", &schedule).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
    }
    assert_eq!(site.get("/v1/tasks").await.json()["tasks"], json!([]), "nothing was created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_cannot_be_is_refused_and_not_kept() {
    let site = Site::running().await;
    let definition = |field: &str, value: Value| {
        let mut definition = squares();
        definition[field] = value;
        definition
    };
    for (name, definition, said) in [
        ("squares", definition("template", json!(null)), "a template that is no object"),
        (
            "squares",
            definition("template", json!({"source": {"list": []}, "function": {"worker": "a b"}})),
            "the name of the function",
        ),
        (
            "squares",
            definition("schema", json!({"type": "objekt"})),
            "the schema of the type squares is none",
        ),
        ("squares", definition("more", json!(1)), "unknown field `more`"),
        ("noop", squares(), "is registered already"),
        ("map:square", squares(), "the name of the type is"),
    ] {
        let refused = site.send_json("PUT", &format!("/v1/types/{name}"), &definition).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}: {}", refused.text);
        assert!(refused.text.contains(said), "{}", refused.text);
    }
    assert_eq!(site.get("/v1/types/squares").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.send_json("DELETE", "/v1/types/noop", &json!(null)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_may_take_parameters_of_a_defined_type_from_a_result() {
    let site = Site::running().await;
    define(&site, "squares", &squares()).await;
    let flow = json!({"name": "f", "tasks": {
        "count": {"type": "map", "param": {"source": {"range": {"to": 3}}, "function": {"worker": "square"}}},
        "then": {"type": "squares", "param": {"below": {"$result": "/items"}}, "after": ["count"]}
    }});
    let created = site.send_json("POST", "/v1/flows", &flow).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    work(&site, 6).await;
    let id = created.json()["id"].as_u64().unwrap();
    loop {
        let flow = site.get(&format!("/v1/flows/{id}")).await.json();
        if flow["counts"]["completed"] == 2 {
            break;
        }
        assert_eq!(flow["counts"]["failed"], 0, "{flow}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let of_type = site.get("/v1/tasks?type=squares").await.json();
    assert_eq!(of_type["tasks"][0]["param"], json!({"below": 3}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_of_a_type_is_made_of_its_schema() {
    let site = Site::running().await;
    define(&site, "squares", &squares()).await;
    let page = site.get("/types/squares").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("below: the limit"), "{}", page.text);
    let form = |below| format!("group=default&name=mine&param.below={below}&param.keep=");
    let refused = site.submit("/types/squares/tasks", &form("x")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text.contains("below is &#34;x&#34;; allowed is a whole number"), "{}", refused.text);
    let created = site.submit("/types/squares/tasks", &form("5")).await;
    assert_eq!(created.status, StatusCode::SEE_OTHER, "{}", created.text);
    let task = site.get("/v1/tasks?type=squares").await.json()["tasks"][0].clone();
    assert_eq!((&task["name"], &task["param"]), (&json!("mine"), &json!({"below": 5})));
    assert_eq!(site.get("/types/cubes").await.status, StatusCode::NOT_FOUND);
}
