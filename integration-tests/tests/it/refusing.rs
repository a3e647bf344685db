//! Servers that answer and refuse writes: readiness shows it, and so does `dtf doctor`.

use integration_tests::stage::{Service, Site, let_etcd_refuse, until};

/// Looks at a service and at what the doctor says, while a server refuses writes and after.
fn is_shown(site: &Site, service: &Service, server: &str, refuse: impl Fn(bool)) {
    let doctor = || {
        let out = site.run(&["doctor"]);
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    refuse(true);
    until("it is not ready", || {
        service.report().is_some_and(|report| report["refused_by"][0]["server"] == server)
    });
    assert!(!service.is_ready());
    let (code, text) = doctor();
    let bad = format!("{:<8} {server:<6} it takes no writes", "BAD");
    assert!(code == Some(1) && text.contains(&bad), "{text}");
    refuse(false);
    until("it is ready", || service.is_ready());
    let (code, text) = doctor();
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_server_that_refuses_writes_is_shown_until_it_takes_them_again() {
    let Some(mut site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    // Whoever may change everything may write to a read-only database, too.
    site.change("CREATE USER app@'%'");
    site.change("GRANT ALL ON dtf.* TO app@'%'");
    site.user = "app".to_owned();
    let service = site.serve("one", "all");
    is_shown(&site, &service, "redis", |refuse| {
        site.redis.ask(&["CONFIG", "SET", "maxmemory", if refuse { "1" } else { "0" }]).unwrap();
    });
    is_shown(&site, &service, "mysql", |refuse| {
        site.change(if refuse { "SET GLOBAL read_only = 1" } else { "SET GLOBAL read_only = 0" });
    });
    is_shown(&site, &service, "etcd", |refuse| let_etcd_refuse(&site.etcd.url(), refuse));
    site.balance(&site.submit(20, 0, &[]));
}
