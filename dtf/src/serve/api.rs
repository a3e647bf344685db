//! The HTTP API and the dashboard of a service.

use dtf_http::App;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::ServeError;
use super::connect::only_executes;
use crate::config::Config;
use crate::service::{Dtf, Ports};

/// Serves them where the settings say so, for as long as the handle lives.
pub(super) async fn start(
    config: &Config,
    dtf: &Dtf,
    ports: &Ports,
) -> Result<Option<AbortOnDropHandle<()>>, ServeError> {
    let listen = &config.api.listen;
    if listen == "off" {
        return Ok(None);
    }
    let wrong = |error| ServeError::Api { listen: listen.clone(), error };
    if only_executes(config) {
        warn!(
            "api.listen is set, and this process only executes: it has no connection to the tasks, and serves no API"
        );
        return Ok(None);
    }
    let listener = TcpListener::bind(listen).await.map_err(|error| wrong(error.into()))?;
    let address = listener.local_addr().map_err(|error| wrong(error.into()))?;
    if !address.ip().is_loopback() {
        return Err(wrong(dtf_http::ServeError::NotLoopback(address)));
    }
    info!(%address, "the API and the dashboard are served");
    let app = App::new(dtf.client(), ports.coordination.clone(), &config.cluster);
    let serving = async move {
        if let Err(error) = dtf_http::serve(listener, app, CancellationToken::new()).await {
            warn!(%error, "the API is no longer served");
        }
    };
    Ok(Some(AbortOnDropHandle::new(tokio::spawn(serving))))
}
