//! The description of the API.

use std::path::Path;

use serde_json::Value;

use crate::support::Site;

/// Set to write the description down instead of comparing it.
const UPDATE: &str = "UPDATE_OPENAPI";

#[tokio::test]
async fn the_description_is_the_one_that_is_written_down() {
    let described = Site::idle().await.get("/openapi.json").await.json();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&described).unwrap() + "\n").unwrap();
    }
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(
        described, written,
        "the API has changed; run this test with {UPDATE}=1 and look at the difference"
    );
}

#[tokio::test]
async fn each_operation_says_what_it_answers_and_how_it_fails() {
    let described = Site::idle().await.get("/openapi.json").await.json();
    let mut operations = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            let name = format!("{method} {path}");
            assert!(operation["summary"].is_string() && operation["operationId"].is_string(), "{name}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
            assert!(responses.contains_key("default") || path == "/v1/types", "{name}");
        }
    }
    assert_eq!(operations, 68);
}
