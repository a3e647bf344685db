//! Databases by name: the same on SQLite and on MariaDB.

use dtf_model::connection::{SqlConnections, SqlError};
use dtf_sql::NamedConnections;
use serde_json::{Value, json};

async fn holds(connections: &NamedConnections) {
    let execute =
        async |statement: &str, values: &[Value]| connections.execute("shop", statement, values).await;
    execute(
        "CREATE TABLE customers (id BIGINT PRIMARY KEY, name VARCHAR(40), weight DOUBLE, seen BIGINT)",
        &[],
    )
    .await
    .unwrap();
    for id in 1..=5 {
        let values = [json!(id), json!(format!("o'Neil {id}; --")), json!(0.5), Value::Null];
        assert_eq!(execute("INSERT INTO customers VALUES (?, ?, ?, ?)", &values).await, Ok(1));
    }
    assert_eq!(execute("UPDATE customers SET seen = ? WHERE id > ?", &[json!(7), json!(3)]).await, Ok(2));
    let query = "SELECT id, name, weight, seen FROM customers WHERE id > ? ORDER BY id LIMIT ?";
    let rows = connections.query("shop", query, &[json!(2), json!(2)], 10).await.unwrap();
    let row = |id: i64, seen: Value| json!({ "id": id, "name": format!("o'Neil {id}; --"), "weight": 0.5, "seen": seen });
    assert_eq!(Value::from(rows), json!([row(3, Value::Null), row(4, json!(7))]));
    assert_eq!(connections.query("shop", query, &[json!(0), json!(5)], 2).await.unwrap().len(), 2);

    for (connection, statement, said) in [
        ("other", "SELECT 1", "no connection \"other\""),
        ("shop", "SELECT nothing FROM customers", "nothing"),
        // The row is there already.
        ("shop", "INSERT INTO customers VALUES (1, NULL, NULL, NULL)", ""),
    ] {
        match connections.execute(connection, statement, &[]).await {
            Err(SqlError::Final(why)) => assert!(why.contains(said), "{statement}: {why}"),
            other => panic!("{statement}: {other:?}"),
        }
    }
    execute("DROP TABLE customers", &[]).await.unwrap();
}

#[tokio::test]
async fn sqlite_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.db");
    std::fs::write(&file, "").unwrap();
    let url = format!("sqlite://{}", file.display());
    let connections = NamedConnections::new([("shop".to_owned(), url)]).unwrap();
    assert_eq!(connections.names(), ["shop"]);
    holds(&connections).await;
    let blob = connections.query("shop", "SELECT x'00' AS b", &[], 1).await.unwrap_err();
    assert!(blob.to_string().contains("the column b is of type BLOB; convert it"), "{blob}");
}

#[cfg(feature = "mysql")]
#[tokio::test]
async fn mariadb_by_name() {
    let server = test_servers::servers::MariaDb::private().unwrap();
    let root = NamedConnections::new([("root".to_owned(), server.url(""))]).unwrap();
    root.execute("root", "CREATE DATABASE shop", &[]).await.unwrap();
    let url = server.url("shop");
    let connections = NamedConnections::new([("shop".to_owned(), url)]).unwrap();
    holds(&connections).await;
    let typed = "SELECT CAST(1.50 AS DECIMAL(10,2)) AS price, CAST(18446744073709551615 AS UNSIGNED) AS most, TRUE AS yes";
    let rows = connections.query("shop", typed, &[], 1).await.unwrap();
    assert_eq!((rows[0]["price"].clone(), rows[0]["most"].clone()), (json!("1.50"), json!(u64::MAX)));
    let time = connections.query("shop", "SELECT NOW() AS at", &[], 1).await.unwrap_err();
    assert!(time.to_string().contains("CAST(at AS CHAR)"), "{time}");
    drop(connections);
    let away = NamedConnections::new([("shop".to_owned(), "mysql://root@127.0.0.1:1/x".to_owned())]).unwrap();
    assert!(matches!(away.execute("shop", "SELECT 1", &[]).await, Err(SqlError::Retryable(_))));
}
