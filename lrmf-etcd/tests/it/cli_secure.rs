//! The `lrmf` command on an etcd that wants certificates, and on one that wants a user and a password.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use etcd_client::Permission;
use lrmf_core::smooth::SmoothWorker;
use lrmf_core::{Coordinator, CoordinatorConfig, CoordinatorHandle, FixedTasks, GroupId, InstanceId, Task};
use lrmf_etcd::{Credentials, EtcdConfig, Secret, Tls};

use crate::support::certificates::{authority, etcd, signed};
use crate::support::group::LONG;
use crate::support::{Etcd, connected, patient};

fn lrmf(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lrmf"));
    command.args(["--protocol", "secure", "--biz", "test", "--tenancy", "t"]).args(arguments);
    command
        .env("LRMF_TIMEOUT", "60s")
        .env_remove("LRMF_PASSWORD")
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    command.output().unwrap()
}

fn out(output: &Output) -> &str {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).unwrap()
}

fn refused(output: &Output) -> (i32, &str) {
    let text = std::str::from_utf8(&output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    (output.status.code().unwrap(), text)
}

/// A group for the command to see.
async fn member(config: EtcdConfig) -> CoordinatorHandle {
    let store = Arc::new(connected(config).await);
    Coordinator::builder(store, GroupId::new("secure", "test", "t").unwrap())
        .instance_id(InstanceId::new("a").unwrap())
        .provider(FixedTasks::new([Task::new("x", "")]))
        .worker(SmoothWorker::new(|_| {}))
        .config(CoordinatorConfig { ttl: LONG, ..CoordinatorConfig::default() })
        .start()
        .await
        .unwrap()
}

fn file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_shown_and_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let ours = authority();
    let etcd = etcd(&ours, dir.path());
    let (certificate, key) = signed(&ours, &["operator"]);
    let (cert, cert_key) = (file(dir.path(), "me.pem", &certificate), file(dir.path(), "me.key", &key));
    let (ca, other) = (dir.path().join("ca.pem"), file(dir.path(), "other.pem", &authority().pem()));
    let (ca, endpoint) = (ca.to_str().unwrap(), format!("https://{}", etcd.endpoint()));
    let tls = Tls {
        authority: Some(ours.pem()),
        domain: Some("localhost".into()),
        identity: Some((certificate, Secret::new(key))),
    };
    let member = member(EtcdConfig { tls: Some(tls), ..patient([&endpoint]) }).await;

    let at = ["--endpoints", &endpoint, "--domain", "localhost"];
    let identity = ["--cert", &cert, "--cert-key", &cert_key];
    let good = lrmf(&[&at[..], &identity, &["--ca", ca, "members"]].concat(), &[]);
    assert!(out(&good).contains("1 members"), "{good:?}");
    let variables = [("LRMF_CA", ca), ("LRMF_CERT", &cert), ("LRMF_CERT_KEY", &cert_key)];
    assert!(out(&lrmf(&[&at[..], &["members"]].concat(), &variables)).contains("1 members"));
    // An etcd that somebody else vouches for; no certificate of ours; half of one.
    let stranger = lrmf(&[&at[..], &identity, &["--ca", &other, "members"]].concat(), &[]);
    let nobody = lrmf(&[&at[..], &["--ca", ca, "members"]].concat(), &[]);
    let half = lrmf(&[&at[..], &identity[..2], &["--ca", ca, "members"]].concat(), &[]);
    assert_eq!((refused(&stranger).0, refused(&nobody).0), (1, 1));
    assert!(matches!(refused(&half), (2, text) if text.contains("--cert-key")), "{half:?}");
    member.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_needs_its_password_and_the_permission_for_the_group() {
    let etcd = Etcd::start();
    let mut client = etcd.store().await.client().await.unwrap();
    for (user, permission) in [
        ("root", None),
        ("operator", Some(Permission::read_write("/lrmf/secure/test/t/").with_prefix())),
        ("stranger", Some(Permission::read_write("/lrmf/other/").with_prefix())),
    ] {
        client.user_add(user, "secret", None).await.unwrap();
        client.role_add(user).await.unwrap();
        client.user_grant_role(user, user).await.unwrap();
        if let Some(permission) = permission {
            client.role_grant_permission(user, permission).await.unwrap();
        }
    }
    client.auth_enable().await.unwrap();
    let credentials = Credentials { user: "operator".into(), password: Secret::new("secret") };
    let endpoint = etcd.endpoint();
    let config = EtcdConfig { credentials: Some(credentials), ..patient([&endpoint]) };
    let member = member(config).await;

    let ask = |user: &str, variables: &[(&str, &str)]| {
        lrmf(&["--endpoints", &endpoint, "--user", user, "members"], variables)
    };
    let secret = [("LRMF_PASSWORD", "secret")];
    assert!(out(&ask("operator", &secret)).contains("1 members"));
    assert!(matches!(refused(&ask("operator", &[])), (2, text) if text.contains("LRMF_PASSWORD")));
    assert_eq!(refused(&ask("operator", &[("LRMF_PASSWORD", "wrong")])).0, 1);
    assert_eq!(refused(&ask("stranger", &secret)).0, 1);
    assert_eq!(refused(&lrmf(&["--endpoints", &endpoint, "members"], &[])).0, 1);
    member.close().await;
}
