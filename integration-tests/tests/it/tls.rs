//! All roles over TLS to etcd, the database and Redis, with certificates on both sides; and what is said of wrong ones.

use std::path::{Path, PathBuf};

use crate::authority::Authority;
use integration_tests::stage::{ROLES, Site, refused, said, statement};
use test_servers::servers::{Etcd, MariaDb, Redis};

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Servers that speak TLS only, to clients with a certificate of ours; none where the environment names others.
fn site(ours: &Authority) -> Option<Site> {
    Site::to_harm()?;
    let server = ours.files("127.0.0.1");
    let etcd = Etcd::private_with_tls(&server).unwrap();
    let sql = MariaDb::private_with_tls(&server).unwrap();
    let redis = Redis::private_with_tls(&server).unwrap();
    let mut site = Site::on(etcd, sql, redis);
    statement(&site.sql.url("mysql"), "CREATE USER 'dtf'@'%' REQUIRE X509; GRANT ALL ON dtf.* TO 'dtf'@'%'");
    let url = site.sql.url("dtf").replace("//root@", "//dtf@");
    site.set("DTF_MYSQL_URL", url);
    let client = ours.files("client");
    for server in ["ETCD", "MYSQL", "REDIS"] {
        for (what, path) in [("CA", &client.ca), ("CERT", &client.cert), ("KEY", &client.key)] {
            site.set(&format!("DTF_{server}_{what}"), text(path));
        }
    }
    Some(site)
}

#[test]
fn a_task_runs_over_encrypted_connections_only() {
    let ours = Authority::new();
    let Some(site) = site(&ours) else { return };
    let mut services: Vec<_> = ROLES.iter().map(|role| site.start(&format!("{role}-1"), role)).collect();
    services.iter().for_each(integration_tests::stage::Service::until_ready);
    let task = site.submit(5000, 0, &[]);
    site.balance(&task);
    let doctor = site.run(&["doctor"]);
    assert!(doctor.status.success(), "{}{}", String::from_utf8_lossy(&doctor.stdout), said(&doctor));
    services.iter_mut().for_each(integration_tests::stage::Service::ends_well);
}

#[test]
fn wrong_certificates_are_refused_in_one_line_that_says_which_setting() {
    let ours = Authority::new();
    let Some(site) = site(&ours) else { return };
    assert!(site.run(&["migrate"]).status.success());
    let others = Authority::new();
    let strange: PathBuf = others.files("client").ca;
    let ask =
        |server: &str| -> &[&str] { if server == "etcd" { &["worker", "list"] } else { &["task", "list"] } };
    for server in ["etcd", "mysql", "redis"] {
        let variable = |what: &str| format!("DTF_{}_{what}", server.to_uppercase());
        assert!(site.run(ask(server)).status.success());
        for args in [ask(server), &["serve", "--http-listen", "off"]] {
            // It is not waited for what does not get better by waiting: this ends by itself.
            let line = refused(&site, args, &[(&variable("CA"), text(&strange))]);
            assert!(line.contains("certificate") && line.contains(&format!("{server}.ca")), "{line}");
            // A server that asks for a certificate may hang up before its saying so is read; then it is waited for, as one
            // that is starting up is, and the line says both.
            let deadline = ("DTF_START_DEADLINE", "10s".to_owned());
            let nobody = [(&*variable("CERT"), String::new()), (&*variable("KEY"), String::new()), deadline];
            let line = refused(&site, args, &nobody);
            assert!(line.contains(&format!("{server}.cert")), "{line}");
        }
        let out = site.dtf(ask(server)).env(variable("CA"), "/nonexistent").output().unwrap();
        assert_eq!(out.status.code(), Some(2));
        assert!(said(&out).starts_with(&format!("dtf: {server}.ca names /nonexistent")), "{}", said(&out));
    }
}
