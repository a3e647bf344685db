//! Encrypted connections, and certificates on both sides.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may panic as tests do")]

mod support;

use std::path::Path;

use lrmf_core::Coordination;
use lrmf_etcd::{EtcdConfig, EtcdStore, Secret, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use support::Etcd;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for these names, and its key, as PEM.
fn signed(authority: &Authority, names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// An etcd that shows a certificate for `localhost` and asks for one that the same authority signed.
fn etcd(authority: &Authority, dir: &Path) -> Etcd {
    let (certificate, key) = signed(authority, &["localhost"]);
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let arguments = [
        format!("--cert-file={}", file("server.pem", &certificate)),
        format!("--key-file={}", file("server.key", &key)),
        format!("--trusted-ca-file={}", file("ca.pem", &authority.pem())),
        "--client-cert-auth=true".to_owned(),
    ];
    Etcd::with_tls(&arguments)
}

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
        EtcdStore::connect(EtcdConfig { tls: Some(tls), ..EtcdConfig::new([endpoint]) })
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
    assert!(EtcdStore::connect(EtcdConfig::new([etcd.endpoint()])).await.is_err(), "no encryption at all");
}
