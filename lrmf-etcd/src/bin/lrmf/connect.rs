//! From arguments to a group in etcd.

use std::path::Path;
use std::sync::Arc;

use futures::future::join_all;
use lrmf_core::admin::Admin;
use lrmf_core::control::Origin;
use lrmf_core::{BootClock, Clock, CoordinationError, GroupId};
use lrmf_etcd::{ConnectError, Credentials, EtcdConfig, EtcdStore, Secret, Tls};

use crate::args::{Cli, Etcd, Group};
use crate::failure::Failure;
use crate::print;

/// The group that is named, asked by whoever runs the command.
pub(crate) async fn admin(cli: &Cli) -> Result<Admin, Failure> {
    let group = group(&cli.group)?;
    let store = connect(config(&cli.etcd)?).await.map_err(Failure::failed)?;
    let by = ["LRMF_BY", "USER"].into_iter().find_map(|variable| std::env::var(variable).ok());
    let origin = Origin { by, at: BootClock.unix_millis(), note: cli.note.clone() };
    Ok(Admin::new(Arc::new(store), group).asking(origin))
}

/// Connects to those endpoints of the list at which an etcd answers. One that is something else would fail every call that
/// it is asked, although the others know the answer; it is named.
async fn connect(config: EtcdConfig) -> Result<EtcdStore, ConnectError> {
    if config.endpoints.len() < 2 {
        return EtcdStore::connect(config).await;
    }
    let looks = config.endpoints.iter().map(|endpoint| {
        let alone = EtcdConfig { endpoints: vec![endpoint.clone()], ..config.clone() };
        tokio::time::timeout(config.connect_timeout, EtcdStore::connect(alone))
    });
    let mut answering = Vec::new();
    for (endpoint, look) in config.endpoints.iter().zip(join_all(looks).await) {
        match look {
            Ok(Ok(_)) => answering.push(endpoint.clone()),
            // A node may be away.
            Ok(Err(ConnectError::Store(CoordinationError::Unreachable(_)))) | Err(_) => {}
            Ok(Err(error)) => print::say(&format!("{endpoint} is left out: {error}")),
        }
    }
    match answering.is_empty() {
        true => EtcdStore::connect(config).await,
        false => EtcdStore::connect(EtcdConfig { endpoints: answering, ..config }).await,
    }
}

fn group(group: &Group) -> Result<GroupId, Failure> {
    let Group { protocol, biz, tenancy } = group;
    for (part, value) in [("protocol", protocol), ("biz", biz), ("tenancy", tenancy)] {
        if value.is_empty() {
            let variable = part.to_uppercase();
            return Err(Failure::usage(format!(
                "which group? --{part} is missing; name --protocol, --biz and --tenancy, or set LRMF_{variable} and the like"
            )));
        }
    }
    GroupId::new(protocol, biz, tenancy).map_err(Failure::usage)
}

fn config(etcd: &Etcd) -> Result<EtcdConfig, Failure> {
    let credentials = match &etcd.user {
        Some(user) => {
            let password = std::env::var("LRMF_PASSWORD")
                .map_err(|_| Failure::usage("--user needs a password: set LRMF_PASSWORD"))?;
            Some(Credentials { user: user.clone(), password: Secret::new(password) })
        }
        None => None,
    };
    let config = EtcdConfig {
        credentials,
        tls: tls(etcd)?,
        root: etcd.root.clone(),
        // The rest is for the call itself.
        connect_timeout: etcd.timeout / 3,
        request_timeout: etcd.timeout,
        ping_timeout: etcd.timeout,
        ..EtcdConfig::new(&etcd.endpoints)
    };
    config.check().map_err(Failure::usage)?;
    Ok(config)
}

fn tls(etcd: &Etcd) -> Result<Option<Tls>, Failure> {
    let secure = etcd.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
    let identity = match (&etcd.cert, &etcd.cert_key) {
        (Some(cert), Some(key)) => Some((read(cert)?, Secret::new(read(key)?))),
        (None, None) => None,
        _ => return Err(Failure::usage("--cert and --cert-key go together; one of them is missing")),
    };
    let authority = etcd.ca.as_deref().map(read).transpose()?;
    let wanted = secure || authority.is_some() || identity.is_some() || etcd.domain.is_some();
    Ok(wanted.then(|| Tls { authority, domain: etcd.domain.clone(), identity }))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))
}
