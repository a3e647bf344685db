//! Passwords are nowhere to be seen: not in logs at any level of our own, not in errors, not in what commands print, not in the arguments of
//! processes, not on the pages of services.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};

use integration_tests::stage::{ROLES, Service, Site, said, statement};
use test_servers::servers::Redis;

/// By server: user, password, and one that is wrong. With signs that mean something in URLs and in JSON.
const ETCD: [&str; 3] = ["root", "s3cret-e/:@\"x", "wr0ng-e/:@x"];
const MYSQL: [&str; 3] = ["dtf", "s3cret-m/:@x", "wr0ng-m/:@x"];
const REDIS: [&str; 3] = ["default", "s3cret-r/:@x", "wr0ng-r/:@x"];

/// Checks that a text has no secret, neither plain nor as URLs have it.
fn assert_discreet(what: &str, text: &str) {
    for secret in ["s3cret", "wr0ng"] {
        assert!(!text.contains(secret), "{what} shows a password: {text}");
    }
}

/// Asks the HTTP interface of etcd for something.
fn etcd(url: &str, path: &str, body: &serde_json::Value) {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let body = body.to_string();
    write!(
        stream,
        "POST /v3/auth/{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A site whose servers ask for passwords.
fn guarded() -> Option<Site> {
    let site = Site::to_harm()?;
    let [user, password, _] = ETCD;
    let url = site.etcd.url();
    etcd(&url, "user/add", &serde_json::json!({ "name": user, "password": password }));
    etcd(&url, "role/add", &serde_json::json!({ "name": "root" }));
    etcd(&url, "user/grant", &serde_json::json!({ "user": user, "role": "root" }));
    etcd(&url, "enable", &serde_json::json!({}));
    let [user, password, _] = MYSQL;
    let grant =
        format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'; GRANT ALL ON dtf.* TO '{user}'@'%'");
    statement(&site.sql.url("mysql"), &grant);
    let mysql = site.sql.url("dtf").replace("//root@", &format!("//{user}@"));
    let redis = Redis::private_with(&["--requirepass", REDIS[1]]).unwrap();
    let mut site = Site { redis, ..site };
    site.set("DTF_ETCD_USER", ETCD[0]);
    site.set("DTF_MYSQL_URL", mysql);
    for (server, [_, password, _]) in [("ETCD", ETCD), ("MYSQL", MYSQL), ("REDIS", REDIS)] {
        site.set(&format!("DTF_{server}_PASSWORD"), password);
    }
    Some(site)
}

fn all_of(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), said(out))
}

/// Returns the output of `ps` for a process.
fn arguments(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

#[test]
fn no_password_is_shown_while_everything_goes_well() {
    let Some(mut site) = guarded() else { return };
    // What dependencies log of themselves is theirs; ours is shown to the last line.
    let ours = "dtf_books,dtf,dtf_model,dtf_sql,dtf_redis,dtf_scheduler,dtf_executor,dtf_collector,lrmf_core,lrmf_etcd";
    let filter: Vec<_> = ours.split(',').map(|name| format!("{name}=trace")).collect();
    site.set("DTF_LOG_FILTER", format!("debug,{}", filter.join(",")));
    let mut services: Vec<_> = ROLES.iter().map(|role| site.start(&format!("{role}-1"), role)).collect();
    services.iter().for_each(Service::until_ready);
    let task = site.submit(2000, 0, &[]);
    site.balance(&task);
    for args in [
        &["config", "check"][..],
        &["config", "check", "-o", "json"],
        &["doctor"],
        &["doctor", "-o", "json"],
        &["worker", "list"],
        &["group", "list"],
        &["migrate"],
        &["task", "get", "1"],
    ] {
        let out = site.dtf(args).env("RUST_LOG", "debug").output().unwrap();
        assert!(out.status.success(), "{args:?} {}", all_of(&out));
        assert_discreet(&args.join(" "), &all_of(&out));
    }
    for service in &mut services {
        let shown = arguments(service.pid());
        assert!(shown.contains("serve"), "{shown}");
        assert_discreet("ps", &shown);
        for page in ["/ready", "/metrics", "/live"] {
            let text = service.page(page).unwrap();
            assert!(!text.is_empty());
            assert_discreet(page, &text);
        }
        service.ends_well();
        let log = service.whole_log();
        assert!(log.contains("\"level\":\"DEBUG\""), "{log}");
        assert_discreet(&service.instance, &log);
    }
}

#[test]
fn no_password_is_shown_when_it_is_wrong_or_in_the_wrong_place() {
    let Some(site) = guarded() else { return };
    assert!(site.run(&["migrate"]).status.success());
    for (server, [user, _, wrong]) in [("ETCD", ETCD), ("MYSQL", MYSQL), ("REDIS", REDIS)] {
        let variable = format!("DTF_{server}_PASSWORD");
        let hint = format!("{}.password, {variable}", server.to_lowercase());
        for args in [&["serve", "--http-listen", "off"][..], &["doctor"]] {
            let out = site.dtf(args).env(&variable, wrong).env("RUST_LOG", "debug").output().unwrap();
            assert_eq!(out.status.code(), Some(1), "{}", all_of(&out));
            assert_discreet(server, &all_of(&out));
            assert!(all_of(&out).contains(&hint), "{server} {args:?}: {}", all_of(&out));
        }
        // In the URL of the file, with a server that is not there, and with something that is no URL.
        let scheme = server.to_lowercase();
        for url in [format!("{scheme}://{user}:s3cret@127.0.0.1:1/dtf"), format!("{user}:s3cret@127.0.0.1")] {
            if server == "ETCD" {
                continue;
            }
            let file = site.file("wrong.toml");
            std::fs::write(&file, format!("[{scheme}]\nurl = \"{url}\"\n")).unwrap();
            let mut command = site.dtf(&["task", "list", "--config", file.to_str().unwrap()]);
            without(&mut command, &[&format!("DTF_{server}_URL"), &variable]);
            let out = command.env("RUST_LOG", "debug").output().unwrap();
            assert!(!out.status.success());
            assert_discreet(&url, &all_of(&out));
        }
    }
    // A flag would be seen by everybody on the machine.
    let out = site.run(&["task", "list", "--mysql-url", "mysql://dtf:s3cret@127.0.0.1/dtf"]);
    assert_eq!(out.status.code(), Some(2), "{}", all_of(&out));
    assert_discreet("a flag", &all_of(&out));
}

fn without(command: &mut Command, variables: &[&str]) {
    for variable in variables {
        command.env_remove(variable);
    }
}
