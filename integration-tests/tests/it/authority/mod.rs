//! Certificates for tests.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use test_servers::servers::TlsFiles;

/// One who signs certificates, and a directory for them.
pub(crate) struct Authority {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) dir: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL goes by names: one that signs itself is not one that signs others.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    /// Files with a certificate for a name, and its key.
    pub(crate) fn files(&self, name: &str) -> TlsFiles {
        let file = |what: &str, text: String| {
            let path = self.dir.path().join(what);
            std::fs::write(&path, text).unwrap();
            path
        };
        let key = KeyPair::generate().unwrap();
        let mut certificate = CertificateParams::new(vec![name.to_owned()]).unwrap();
        certificate.distinguished_name.push(DnType::CommonName, name);
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        TlsFiles {
            ca: self.dir.path().join("ca.pem"),
            cert: file(&format!("{name}.pem"), certificate.pem()),
            key: file(&format!("{name}.key"), key.serialize_pem()),
        }
    }
}
