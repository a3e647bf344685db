//! Actions on many tasks.

use serde_json::json;

use crate::support::Site;

#[tokio::test]
async fn an_action_is_counted_first_and_applied_to_exactly_those() {
    let site = Site::idle().await;
    for name in ["a-1", "a-2", "b-1"] {
        site.create(name, json!({"count": 1})).await;
    }
    let bulk = async |body| site.send_json("POST", "/v1/bulk", &body).await;
    let filter = json!({"name_prefix": "a-"});
    let dry = bulk(json!({"action": "cancel", "filter": filter, "dry_run": true})).await.json();
    assert_eq!(dry, json!({"selected": 2, "applied": 0, "refused": [], "refused_count": 0}));

    site.create("a-3", json!({"count": 1})).await;
    let changed = bulk(json!({"action": "cancel", "filter": filter, "expect_count": 2})).await;
    assert_eq!(changed.problem(), (409, "count_differs".to_owned()));

    let done = bulk(json!({"action": "cancel", "filter": filter, "expect_count": 3})).await.json();
    assert_eq!(done["applied"], json!(3));
    let controls: Vec<_> = site.get("/v1/tasks").await.json()["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["control"].clone())
        .collect();
    assert_eq!(controls, [json!("cancel"), json!("run"), json!("cancel"), json!("cancel")]);

    let refused = bulk(json!({"action": "pause", "filter": filter})).await.json();
    assert_eq!((&refused["applied"], &refused["refused_count"]), (&json!(0), &json!(3)), "{refused}");
}

#[tokio::test]
async fn a_filter_is_mandatory_and_has_no_pages() {
    let site = Site::idle().await;
    site.create("a", json!({"count": 1})).await;
    for filter in
        [json!({}), json!({"limit": 5}), json!({"status": "created", "cursor": 3}), json!({"colour": "red"})]
    {
        let (status, _) = site
            .send_json("POST", "/v1/bulk", &json!({"action": "cancel", "filter": filter}))
            .await
            .problem();
        assert_eq!(status, 422, "{filter}");
    }
    assert_eq!(site.send_json("POST", "/v1/bulk", &json!({"action": "cancel"})).await.problem().0, 422);
    assert_eq!(site.get("/v1/tasks").await.json()["tasks"][0]["control"], json!("run"));
}
