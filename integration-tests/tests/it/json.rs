//! Every command says `-o json` as one JSON document on standard output, whatever it is about.

use integration_tests::stage::{Site, said};
use serde_json::Value;

/// Returns the output of a command with `-o json`, and its exit code.
fn document(site: &Site, args: &[&str]) -> (i32, Value) {
    let out = site.run(&[args, &["-o", "json"]].concat());
    let text = String::from_utf8_lossy(&out.stdout);
    let document = serde_json::from_str(&text);
    (
        out.status.code().unwrap(),
        document.unwrap_or_else(|error| panic!("{args:?}: {error}: {text}{}", said(&out))),
    )
}

/// Returns the output of a command that succeeds.
fn good(site: &Site, args: &[&str]) -> Value {
    let (code, document) = document(site, args);
    assert_eq!(code, 0, "{args:?}: {document}");
    document
}

#[test]
fn every_command_prints_one_json_document() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    assert_eq!(good(&site, &["migrate"])["schema"], "up to date");
    let service = site.serve("one", "all");
    let listen = service.listens_at();
    assert_eq!(good(&site, &["health", "--http-listen", listen])["ready"], true);
    assert_eq!(good(&site, &["health", "--live", "--http-listen", listen])["live"], "alive");
    for (args, key) in [
        (&["config", "check"][..], "from"),
        (&["config", "keys"], "what for"),
        (&["doctor"], "verdict"),
        (&["group", "set-quota", "gold", "70"], "quota"),
        (&["group", "list"], "quota"),
        (&["worker", "list"], "parts"),
    ] {
        let rows = good(&site, args);
        let rows = rows.as_array().unwrap();
        assert!(!rows.is_empty() && rows.iter().all(|row| row.get(key).is_some()), "{args:?}: {rows:?}");
    }
    assert_eq!(good(&site, &["worker", "drain", "one"])["drained"], true);
    assert_eq!(good(&site, &["worker", "drain", "one", "--undo"])["drained"], false);
    assert_eq!(good(&site, &["cluster", "show"])["shape"]["shards"], integration_tests::stage::SHARDS);
    assert_eq!(good(&site, &["run", "noop", "--count", "3"])["counts"]["succeeded"], 3);
    tasks(&site);
}

/// The commands about tasks.
fn tasks(site: &Site) {
    let submit = |param: &str| good(site, &["task", "submit", "noop", "--param", param])["task"].to_string();
    let flawed = submit(r#"{"count": 20, "failure_rate": 0.5}"#);
    // Its exit code says that something failed.
    let (code, ended) = document(site, &["task", "watch", &flawed]);
    assert_eq!((code, &ended["status"]), (1, &Value::from("completed")), "{ended}");
    assert_eq!(good(site, &["task", "get", &flawed])["id"].to_string(), flawed);
    let result = good(site, &["task", "result", &flawed]);
    assert_eq!(result["result"]["data"]["subtasks"], 20, "{result}");
    let failures = good(site, &["task", "failures", &flawed]);
    assert!(failures[0]["error"].is_string(), "{failures}");
    let again = good(site, &["task", "retry", &flawed]);
    assert_eq!(again["retry_of"].to_string(), flawed);
    let long = submit(r#"{"count": 100000, "sleep_ms": 1000}"#);
    for steer in ["pause", "resume", "cancel"] {
        let steered = good(site, &["task", steer, &long]);
        assert!(steered.to_string().contains(&long), "{steered}");
    }
    let (code, ended) = document(site, &["task", "watch", &long]);
    assert_eq!((code, &ended["status"]), (130, &Value::from("cancelled")), "{ended}");
    let list = good(site, &["task", "list"]);
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|row| row["id"].to_string()).collect();
    assert!(ids.contains(&long), "{list}");
    let param = r#"{"count": 5}"#;
    let (code, ended) = document(site, &["task", "submit", "noop", "--param", param, "--watch"]);
    assert_eq!((code, &ended["counts"]["succeeded"]), (0, &Value::from(5)), "{ended}");
}
