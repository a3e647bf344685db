//! The HTTP API and the dashboard of a service.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use dtf_http::{Access, App, Certificate, TlsError, TokenRule};
use dtf_types::Exchange;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::ServeError;
use super::doctor::ServerDoctor;
use crate::config::{Api, Config};
use crate::service::{Dtf, Ports};

/// The reason why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be had.
    #[error("api.listen is {listen}, which cannot be had: {error}; choose another one, or off")]
    Listen {
        /// The address.
        listen: String,
        /// The reason.
        error: io::Error,
    },
    /// The certificate cannot be used.
    #[error("api.cert and api.key cannot be used: {0}")]
    Tls(#[from] TlsError),
}

/// Serves them where the settings say so, for as long as the handle lives.
pub(super) async fn start(
    config: &Config,
    dtf: &Dtf,
    ports: &Ports,
    exchange: Option<Exchange>,
) -> Result<Option<AbortOnDropHandle<()>>, ServeError> {
    let Api { listen, .. } = &config.api;
    if listen == "off" {
        return Ok(None);
    }
    let wrong = |error| ApiError::Listen { listen: listen.clone(), error };
    let listener = TcpListener::bind(listen).await.map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    let certificate = certificate(&config.api)?;
    let access = access(&config.api, address);
    let is_open =
        !address.ip().is_loopback() && certificate.is_none() && config.api.trusted_proxies.is_empty();
    if is_open {
        warn!(%address, "the API is served without TLS: tokens can be read on the way; set api.cert and api.key");
    }
    info!(%address, tls = certificate.is_some(), "the API and the dashboard are served");
    let app = App::new(dtf.client(), ports.coordination.clone(), &config.cluster);
    let app = app.keeping_audit(config.api.audit_retention);
    let app = app.with_doctor(Arc::new(ServerDoctor(config.clone())));
    let announcing =
        exchange.clone().map(|exchange| dtf_http::announce(dtf.client(), exchange, &config.instance));
    let with_exchange =
        |app: App, exchange| app.with_exchange(exchange, &config.instance, ports.queues.clone());
    let app = exchange.into_iter().fold(app, with_exchange);
    let serving = async move {
        let _announcing = announcing;
        let stop = CancellationToken::new();
        let served = match certificate {
            Some(certificate) => dtf_http::serve_tls(listener, certificate, app, access, stop).await,
            None => dtf_http::serve(listener, app, access, stop).await,
        };
        if let Err(error) = served {
            warn!(%error, "the API is no longer served");
        }
    };
    Ok(Some(AbortOnDropHandle::new(tokio::spawn(serving))))
}

fn certificate(api: &Api) -> Result<Option<Arc<Certificate>>, ApiError> {
    if api.cert.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(Certificate::read(Path::new(&api.cert), Path::new(&api.key))?)))
}

fn access(api: &Api, address: SocketAddr) -> Access {
    let is_tls = !api.cert.is_empty() || !api.trusted_proxies.is_empty();
    Access::of(address)
        .tokens(TokenRule::WhereThereAreAny)
        .hosts(api.hosts.iter().cloned())
        .trusting(api.trusted_proxies.iter().filter_map(|proxy| crate::config::network(proxy).ok()))
        .tls(is_tls)
}
