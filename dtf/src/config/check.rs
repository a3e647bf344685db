//! The conditions that settings must satisfy together.

use dtf_model::Role;
use dtf_model::plugin::MAX_SUBTASK_TIMEOUT;
use lrmf_core::InstanceId;
use lrmf_core::config::text;

use super::Origin;
use super::network;
use super::read::Effective;
use super::settings::{self, Setting};

/// A configuration that cannot be used, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    pub(crate) fn plain(words: String) -> Self {
        Self(words)
    }

    /// An error of a setting, with its origin.
    pub(crate) fn new(setting: &Setting, origin: &Origin, why: &str) -> Self {
        let key = setting.key;
        match origin {
            Origin::Default => Self(format!("{key} {why}")),
            Origin::File(_) => Self(format!("{origin}: {key} {why}")),
            Origin::Variable(_) | Origin::Flag(_) => Self(format!("{origin} ({key}) {why}")),
        }
    }
}

/// Checks the ranges that depend on each other.
pub(super) fn check(effective: &Effective) -> Result<(), ConfigError> {
    let config = &effective.config;
    let refuse = |key: &str, why: String| match settings::find(key) {
        Some(setting) => {
            let origin = effective.origins.get(setting.key).cloned().unwrap_or_default();
            Err(ConfigError::new(&setting, &origin, &why))
        }
        None => Err(ConfigError::plain(format!("{key} {why}"))),
    };
    if let Err(error) = Role::Manager.group(&config.cluster) {
        return refuse("cluster", format!("cannot be used: {error}"));
    }
    if let Err(error) = InstanceId::new(&config.instance) {
        return refuse("instance", format!("cannot be used: {error}"));
    }
    if config.role.is_empty() {
        return refuse("role", "names no role; write all, or some of them".to_owned());
    }
    if let Err(error) = config.membership.check() {
        return refuse(
            &format!("membership.{}", error.setting),
            format!("is {}; {}", error.value, error.allowed),
        );
    }
    if config.plugins.max_subtask_timeout < MAX_SUBTASK_TIMEOUT {
        let (most, least) = (text::show(config.plugins.max_subtask_timeout), text::show(MAX_SUBTASK_TIMEOUT));
        let why = format!("is {most}; it must be at least {least}, which every type may have");
        return refuse("plugins.max_subtask_timeout", why);
    }
    if config.executor.drain >= config.membership.margin {
        let (drain, margin) = (text::show(config.executor.drain), text::show(config.membership.margin));
        return refuse(
            "executor.drain",
            format!("is {drain}; it must be less than membership.margin, {margin}"),
        );
    }
    if !config.etcd.endpoints.is_empty()
        && let Err(error) = config.etcd_without_files().check()
    {
        return refuse("etcd.endpoints", format!("cannot be used: {error}"));
    }
    if !config.mysql.url.is_empty()
        && let Err(error) = config.sql().check()
    {
        return refuse("mysql.url", format!("cannot be used: {error}"));
    }
    if !config.redis.url.is_empty()
        && let Err(error) = config.redis_without_files().check()
    {
        return refuse("redis.url", format!("cannot be used: {error}"));
    }
    let secret = config.executor.http_secret.expose();
    if !secret.is_empty() && secret.parse::<dtf_webhook::Secret>().is_err() {
        return refuse("executor.http_secret", dtf_webhook::SecretError.to_string());
    }
    for (section, cert, key) in [
        ("etcd", &config.etcd.cert, &config.etcd.key),
        ("mysql", &config.mysql.cert, &config.mysql.key),
        ("redis", &config.redis.cert, &config.redis.key),
        ("api", &config.api.cert, &config.api.key),
    ] {
        if cert.is_empty() != key.is_empty() {
            let why = format!("and {section}.key go together; set both or none");
            return refuse(&format!("{section}.cert"), why);
        }
    }
    for (key, networks) in [
        ("api.trusted_proxies", &config.api.trusted_proxies),
        ("webhook.allowed_networks", &config.webhook.allowed_networks),
    ] {
        if let Some(wrong) = networks.iter().find(|text| network(text).is_err()) {
            let why = format!("has {wrong:?}; it takes addresses and networks, as in 10.0.0.7, 10.0.0.0/8");
            return refuse(key, why);
        }
    }
    let certified = |ca: &str, cert: &str| !ca.is_empty() || !cert.is_empty();
    let (mysql, redis) = (&config.mysql, &config.redis);
    if certified(&redis.ca, &redis.cert) && !redis.url.expose().starts_with("rediss://") {
        return refuse("redis.url", "has to begin with rediss://, as certificates are given".to_owned());
    }
    if certified(&mysql.ca, &mysql.cert) && mysql.url.expose().contains("ssl-") {
        let why = "says how to use TLS, as do mysql.ca and mysql.cert; say it in one place";
        return refuse("mysql.url", why.to_owned());
    }
    for (key, listen) in [("http.listen", &config.http.listen), ("api.listen", &config.api.listen)] {
        let port = listen.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        if listen != "off" && port.is_none_or(|port| port.parse::<u16>().is_err()) {
            return refuse(key, format!("is {listen:?}; it takes HOST:PORT or off"));
        }
    }
    Ok(())
}
