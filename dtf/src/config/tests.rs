//! Refused settings, and the texts of their errors.

use std::time::Duration;

use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Reads a file with this text, and what else there is.
fn read_all(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Effective, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dtf.toml");
    std::fs::write(&path, text).unwrap();
    let sources = Sources { file: Some(path), environment: pairs(environment), flags: pairs(flags) };
    let place = dir.path().display().to_string();
    read(&sources).map_err(|error| error.to_string().replace(&format!("{place}/"), ""))
}

fn refused(text: &str) -> String {
    let said = read_all(text, &[], &[]).unwrap_err();
    assert!(!said.contains('\n'), "{said}");
    said
}

#[test]
fn every_setting_is_one_of_the_configuration() {
    let whole = serde_json::to_value(Config::default()).unwrap();
    for setting in settings::all() {
        // What is not set by default is not shown.
        let unset = [
            "membership.keep_alive",
            "membership.zone",
            "membership.zone_moves_per_minute",
            "start.deadline",
        ];
        let unset = unset.contains(&setting.key);
        let pointer = format!("/{}", setting.key.replace('.', "/"));
        assert!(unset || whole.pointer(&pointer).is_some_and(|value| !value.is_null()), "{}", setting.key);
        assert!(setting.key.matches('.').count() <= 1, "{}", setting.key);
    }
    assert_eq!(read(&Sources::default()).unwrap().config, Config::default());
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let file = "cluster = 'a'\n[executor]\nslots = 1\nwindow = 3\n[etcd]\nendpoints = ['h:1']\n";
    let environment = [("DTF_EXECUTOR_SLOTS", "2"), ("DTF_CLUSTER", "b"), ("DTF_ETCD_ENDPOINTS", "x:1, y:2")];
    let effective = read_all(file, &environment, &[("cluster", "c")]).unwrap();
    let config = &effective.config;
    assert_eq!((config.cluster.as_str(), config.executor.slots, config.executor.window), ("c", 2, 3));
    assert_eq!(config.etcd.endpoints, ["x:1", "y:2"]);
    assert_eq!(effective.origins["cluster"], Origin::Flag("cluster".to_owned()));
    assert_eq!(effective.origins["executor.slots"], Origin::Variable("DTF_EXECUTOR_SLOTS".to_owned()));
    assert!(matches!(effective.origins["executor.window"], Origin::File(_)));
}

#[test]
fn all_is_every_role() {
    let roles = |text: &str| read_all(text, &[], &[]).unwrap().config.role;
    assert_eq!(roles("role = ['all']"), Role::ALL);
    assert_eq!(roles("role = ['executor', 'manager']"), [Role::Manager, Role::Executor]);
    let config = read_all("", &[("DTF_ROLE", "manager,generator")], &[]).unwrap().config;
    assert_eq!(config.role, [Role::Manager, Role::Generator]);
}

#[test]
fn what_is_unknown_is_named_with_the_nearest_that_is_known() {
    for (text, said) in [
        ("[redis]\nulr = 'x'", "dtf.toml: the key redis.ulr is unknown; did you mean redis.url?"),
        ("clutser = 'x'", "dtf.toml: the key clutser is unknown; did you mean cluster?"),
        ("[mysq]\nurl = 'x'", "dtf.toml: the key mysq is unknown; did you mean mysql?"),
        ("[http]\nport = 1", "dtf.toml: the key http.port is unknown; known in http are: listen"),
        ("nonsense = 1", "dtf.toml: the key nonsense is unknown; `dtf config keys` lists what is known"),
    ] {
        assert_eq!(refused(text), said);
    }
    let said = read_all("", &[("DTF_REDIS_ULR", "x")], &[]).unwrap_err();
    assert_eq!(said, "the environment variable DTF_REDIS_ULR is unknown; did you mean DTF_REDIS_URL?");
    // What a container platform sets for a service named dtf.
    assert!(read_all("", &[("DTF_SERVICE_HOST", "10.0.0.1"), ("DTF_PORT", "tcp://x")], &[]).is_ok());
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    for (text, said) in [
        (
            "[executor]\nslots = 'many'",
            "dtf.toml: executor.slots is \"many\"; it takes a whole number from 1 to 10000",
        ),
        ("[executor]\nslots = 0", "dtf.toml: executor.slots is 0; it takes a whole number from 1 to 10000"),
        (
            "[etcd]\nendpoints = 'h:1'",
            "dtf.toml: etcd.endpoints is \"h:1\"; it takes a list of texts, as in [\"a\", \"b\"]",
        ),
        ("etcd = 1", "dtf.toml: etcd is a table; known in etcd are: endpoints, user, "),
        ("x = ", "dtf.toml line 1 is no valid TOML: "),
        (
            "[membership]\nmargin = '9s'",
            "dtf.toml: membership.margin is 9s; it must be above 0 and at most three quarters of ttl",
        ),
        (
            "[executor]\ndrain = '3s'",
            "dtf.toml: executor.drain is 3s; it must be less than membership.margin, 3s",
        ),
        ("[http]\nlisten = '7070'", "dtf.toml: http.listen is \"7070\"; it takes HOST:PORT or off"),
        ("[api]\nlisten = 'everywhere'", "dtf.toml: api.listen is \"everywhere\"; it takes HOST:PORT or off"),
        ("[log]\nformat = 'xml'", "dtf.toml: log.format is \"xml\"; it takes human or json"),
    ] {
        assert!(refused(text).starts_with(said), "{} != {said}", refused(text));
    }
    let said = read_all("", &[("DTF_MEMBERSHIP_TTL", "10")], &[]).unwrap_err();
    assert!(
        said.starts_with("DTF_MEMBERSHIP_TTL (membership.ttl) is \"10\";") && said.contains("\"10s\""),
        "{said}"
    );
    let said = read_all("", &[], &[("http.listen", "x")]).unwrap_err();
    assert!(said.starts_with("--http-listen (http.listen)"), "{said}");
    let missing = Sources { file: Some("/nonexistent/dtf.toml".into()), ..Sources::default() };
    assert!(read(&missing).unwrap_err().to_string().contains("/nonexistent/dtf.toml cannot be read"));
}

#[test]
fn passwords_are_hidden_and_not_taken_as_flags() {
    let file = "[mysql]\nurl = 'mysql://me:s3cret@h/d'\n[redis]\nurl = 'redis://h'\npassword = 's3cret'";
    let effective = read_all(file, &[("DTF_ETCD_PASSWORD", "s3cret")], &[]).unwrap();
    let shown = format!("{:?} {:?}", effective, effective.shown());
    assert!(!shown.contains("s3cret"), "{shown}");
    assert_eq!(effective.config.redis().unwrap().url, "redis://:s3cret@h");
    for (key, value) in [("mysql.url", "mysql://me:s3cret@h/d"), ("redis.url", "redis://:s3cret@h")] {
        let said = read_all("", &[], &[(key, value)]).unwrap_err();
        assert!(said.contains("_PASSWORD or the file") && !said.contains("s3cret"), "{said}");
    }
    // A value of the wrong type, too.
    for text in [
        "[redis]\npassword = ['s3cret']",
        "[mysql]\nurl = ['mysql://me:s3cret@h/d']",
        "[mysql]\nurl = 'mysql://me:s3cret@h'",
    ] {
        assert!(!refused(text).contains("s3cret"), "{}", refused(text));
    }
    assert!(
        settings::all().iter().all(|setting| setting.kind != kind::Kind::Secret || setting.flag().is_none())
    );
}

#[test]
fn servers_that_are_not_named_are_asked_for() {
    let said = Config::default().mysql().unwrap_err().to_string();
    assert_eq!(
        said,
        "mysql.url is not set; name it in the file (--config), as DTF_MYSQL_URL in the environment, or with --mysql-url"
    );
    let config = read_all("[etcd]\nendpoints = ['h:1']\nca = '/nonexistent'", &[], &[]).unwrap().config;
    assert!(
        config
            .etcd()
            .unwrap_err()
            .to_string()
            .starts_with("etcd.ca names /nonexistent, which cannot be read")
    );
}

#[test]
fn a_process_says_what_it_is() {
    let file = "[membership]\nzone = 'a'\ncapacity = 4\nlabels = { rack = 'r1' }";
    let membership = read_all(file, &[], &[]).unwrap().config.membership;
    assert_eq!((membership.zone.as_deref(), membership.capacity), (Some("a"), 4));
    assert_eq!(membership.labels["rack"], "r1");
    let set = read_all(file, &[("DTF_MEMBERSHIP_LABELS", "rack=r2,row=7")], &[]).unwrap().config.membership;
    assert_eq!((set.labels["rack"].as_str(), set.labels["row"].as_str()), ("r2", "7"));
    assert!(refused("[membership]\nlabels = { rack = 1 }").contains("membership.labels is"));
}

/// The README's example file is a configuration, of these settings alone.
#[test]
fn the_example_of_the_readme_is_a_configuration() {
    let readme = include_str!("../../../README.md");
    let example = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let config = read_all(example, &[("DTF_MYSQL_PASSWORD", "x")], &[]).unwrap().config;
    assert_eq!(config.etcd().unwrap().endpoints, ["http://127.0.0.1:2379"]);
    assert_eq!(config.mysql().unwrap().url, "mysql://dtf:x@127.0.0.1:3306/dtf");
    assert_eq!(config.redis().unwrap().url, "redis://127.0.0.1:6379/0");
    assert_eq!(readme.matches("```toml").count(), 1, "another example: read it here too");
}

#[test]
fn certificates_belong_to_tls_and_to_keys() {
    for (text, said) in [
        ("[redis]\nurl = 'redis://h'\nca = 'x'", "dtf.toml: redis.url has to begin with rediss://"),
        (
            "[mysql]\nurl = 'mysql://h/d?ssl-mode=required'\nca = 'x'",
            "dtf.toml: mysql.url says how to use TLS",
        ),
        ("[mysql]\nurl = 'mysql://h/d'\ncert = 'x'", "dtf.toml: mysql.cert and mysql.key go together"),
    ] {
        assert!(refused(text).starts_with(said), "{}", refused(text));
    }
    let config = read_all("[mysql]\nurl = 'mysql://h/d'\nca = '/a b.pem'", &[], &[]).unwrap().config;
    assert_eq!(config.sql().url, "mysql://h/d?ssl-mode=VERIFY_IDENTITY&ssl-ca=%2Fa%20b.pem");
}

#[test]
fn durations_are_text() {
    let config =
        read_all("[start]\ndeadline = '90s'\n[mysql]\ncall_timeout = '250ms'", &[], &[]).unwrap().config;
    assert_eq!(config.start.deadline, Some(Duration::from_secs(90)));
    assert_eq!(config.mysql.call_timeout, Duration::from_millis(250));
}
