//! Encrypted connections, and certificates on both sides.

use lrmf_core::Coordination;
use lrmf_etcd::{EtcdConfig, EtcdStore, Secret, Tls};

use crate::support::certificates::{Authority, authority, etcd, signed};
use crate::support::patient;

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, others) = (authority(), authority());
    let etcd = etcd(&ours, dir.path());
    let identity = |authority: &Authority| {
        let (certificate, key) = signed(authority, &["member"]);
        Some((certificate, Secret::new(key)))
    };
    let good =
        Tls { authority: Some(ours.pem()), domain: Some("localhost".into()), identity: identity(&ours) };
    let connect = |tls: Tls| {
        let endpoint = format!("https://{}", etcd.endpoint());
        EtcdStore::connect(EtcdConfig { tls: Some(tls), ..patient([endpoint]) })
    };

    let store = connect(good.clone()).await.unwrap();
    store.list("/lrmf/").await.unwrap();

    let stranger = Tls { authority: Some(others.pem()), ..good.clone() };
    assert!(connect(stranger).await.is_err(), "an etcd that another authority vouches for");
    let misnamed = Tls { domain: Some("elsewhere".into()), ..good.clone() };
    assert!(connect(misnamed).await.is_err(), "an etcd of another name");
    let nobody = Tls { identity: None, ..good.clone() };
    assert!(connect(nobody).await.is_err(), "a client without a certificate");
    let impostor = Tls { identity: identity(&others), ..good };
    assert!(connect(impostor).await.is_err(), "a client that another authority vouches for");
    assert!(EtcdStore::connect(patient([etcd.endpoint()])).await.is_err(), "no encryption at all");
}
