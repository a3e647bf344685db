//! TLS: a certificate that is renewed, and clients that never finish their handshake.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dtf::Dtf;
use dtf::embedded::{self, Database, Embedded};
use dtf_http::{Access, App, Certificate, serve_tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a new certificate and its key, and returns the certificate as a client sees it.
fn renew(authority: &Authority, cert: &Path, key: &Path) -> Vec<u8> {
    let pair = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&pair, authority).unwrap();
    std::fs::write(cert, certificate.pem()).unwrap();
    std::fs::write(key, pair.serialize_pem()).unwrap();
    certificate.der().to_vec()
}

/// Asks for the types, and returns the server's certificate and the response.
async fn ask(address: SocketAddr, authority: &Authority) -> (Vec<u8>, String) {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let seen = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let request =
        format!("GET /v1/types HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n", address.port());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    // The server closes the connection, with or without saying so.
    drop(stream.read_to_string(&mut response).await);
    (seen, response)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_served_and_a_silent_client_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let authority = authority();
    assert!(Certificate::read(&cert, &key).is_err(), "there are no files yet");
    let first = renew(&authority, &cert, &key);
    let certificate = Arc::new(Certificate::read(&cert, &key).unwrap());

    let ports = embedded::ports(Database::Memory).await.unwrap();
    let coordination = ports.coordination.clone();
    let dtf = Dtf::builder(ports).config(Embedded { jobs: 1 }.config()).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = App::new(dtf.client(), coordination, "default");
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve_tls(listener, certificate, app, Access::of(address), stop.clone()));

    let _silent = TcpStream::connect(address).await.unwrap();
    let (seen, response) = ask(address, &authority).await;
    assert!(seen == first && response.starts_with("HTTP/1.1 200"), "{response}");

    std::fs::write(&cert, "no certificate").unwrap();
    assert_eq!(ask(address, &authority).await.0, first, "the former one stays");
    let second = renew(&authority, &cert, &key);
    let renewed = async {
        while ask(address, &authority).await.0 != second {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), renewed).await.expect("it is read again within seconds");
    stop.cancel();
    server.await.unwrap().unwrap();
}
