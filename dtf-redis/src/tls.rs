//! Certificates, as the client takes them.

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, RedisResult, TlsCertificates};

use crate::config::RedisConfig;

/// Returns the certificates of the connections; `None` where they are not encrypted.
pub(crate) fn certificates(config: &RedisConfig) -> Option<TlsCertificates> {
    if !config.is_encrypted() {
        return None;
    }
    // The client takes what the process has chosen, and panics where it has chosen nothing and there are several. Whoever
    // chose before is right too.
    drop(rustls::crypto::ring::default_provider().install_default());
    let identity = config.tls.identity.as_ref();
    Some(TlsCertificates {
        client_tls: identity.map(|(certificate, key)| ClientTlsConfig {
            client_cert: certificate.clone().into_bytes(),
            client_key: key.clone().into_bytes(),
        }),
        root_cert: config.tls.authority.clone().map(String::into_bytes),
    })
}

/// An address with the settings' certificates.
pub(crate) fn with_certificates(config: &RedisConfig, info: ConnectionInfo) -> RedisResult<ConnectionInfo> {
    match (certificates(config), info.addr()) {
        (Some(certificates), ConnectionAddr::TcpTls { .. }) => {
            Ok(Client::build_with_tls(info, certificates)?.get_connection_info().clone())
        }
        _ => Ok(info),
    }
}
