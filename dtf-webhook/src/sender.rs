//! Requests, bounded in every respect.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Url};
use tokio::sync::Semaphore;

use crate::address::AddressRule;
use crate::resolver::{Permitted, Private};
use crate::signature::Signed;

/// The number of hosts that are remembered with nothing under way.
const HOSTS: usize = 1024;
/// The longest `Retry-After` that is believed.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// The settings of a [`Sender`].
#[derive(Clone, Debug)]
pub struct SenderConf {
    /// The addresses that requests may go to. Default: the public internet.
    pub addresses: AddressRule,
    /// The time for one request, from its connection to the last byte of the answer. Default 15 s.
    pub timeout: Duration,
    /// The most requests under way to one host and port. Default 8.
    pub per_host: usize,
    /// The most bytes of an answer's body that are read. Default 64 KiB.
    pub most_bytes: usize,
}

impl Default for SenderConf {
    fn default() -> Self {
        Self {
            addresses: AddressRule::PUBLIC,
            timeout: Duration::from_secs(15),
            per_host: 8,
            most_bytes: 64 * 1024,
        }
    }
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// The address.
    pub url: Url,
    /// Headers beside those of the signature and the length.
    pub headers: HeaderMap,
    /// The body; may be empty.
    pub body: Bytes,
    /// The signature, where the receiver is to know the sender by it.
    pub signed: Option<Signed>,
    /// The most bytes of the answer's body that are read, where they are more than the sender's settings say.
    pub most_bytes: usize,
}

/// An answer, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The time after which the receiver wants to be asked again, where it says so in seconds; a day at most.
    pub retry_after: Option<Duration>,
    /// The body, or as much of it as is read.
    pub body: Bytes,
    /// True if the body is longer.
    pub is_cut: bool,
}

impl Answer {
    /// Returns true if the receiver has accepted the request: 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns true if the same request may succeed later: 408, 425, 429 and 500 to 599.
    pub fn is_temporary(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500..=599)
    }
}

/// A request that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The address cannot be one of a request.
    #[error(
        "{0:?} is no address for requests: it has to begin with http:// or https:// and a host, without a user"
    )]
    Url(String),
    /// The address is in a private network.
    #[error("{0} is in a private network: the operators have to allow it")]
    Private(String),
    /// Whether the receiver has got it is unknown.
    #[error("{0}")]
    NoAnswer(String),
    /// The program was built without TLS.
    #[error("this program was built without TLS: it sends to http:// addresses only")]
    NoTls,
}

/// Checks that requests can be sent to an address, as far as that can be seen without resolving its name.
///
/// # Errors
/// It is none.
pub fn check_url(text: &str) -> Result<Url, SendError> {
    let wrong = || SendError::Url(text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_http = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    if !is_http || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong());
    }
    Ok(url)
}

/// Sends requests. Clones share connections and limits.
#[derive(Clone)]
pub struct Sender {
    client: Client,
    conf: Arc<SenderConf>,
    hosts: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

impl Sender {
    /// A sender with these settings.
    ///
    /// # Errors
    /// The TLS library cannot be set up.
    pub fn new(conf: SenderConf) -> Result<Self, SendError> {
        #[cfg(feature = "tls")]
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Whoever was faster has installed one as well.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let client = Client::builder()
            .dns_resolver(Arc::new(Permitted(conf.addresses.clone())))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(conf.timeout)
            .user_agent(concat!("dtf/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| SendError::NoAnswer(told(&error)))?;
        Ok(Self { client, conf: Arc::new(conf), hosts: Arc::default() })
    }

    /// The most requests under way to one host and port.
    pub fn per_host(&self) -> usize {
        self.conf.per_host.max(1)
    }

    /// Sends a request, as soon as fewer than allowed are under way to its host.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send(&self, outgoing: Outgoing) -> Result<Answer, SendError> {
        let url = check_url(outgoing.url.as_str())?;
        self.permit(&url)?;
        if url.scheme() == "https" && cfg!(not(feature = "tls")) {
            return Err(SendError::NoTls);
        }
        let host = self.host(&url);
        // It is never closed.
        let _under_way = host.acquire().await;
        let mut headers = outgoing.headers;
        if let Some(signed) = &outgoing.signed {
            sign(&mut headers, signed)?;
        }
        let request = self.client.request(outgoing.method, url.clone()).headers(headers).body(outgoing.body);
        let mut response = request.send().await.map_err(|error| failed(&url, &error))?;
        let mut answer = Answer {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
            body: Bytes::new(),
            is_cut: false,
        };
        let (mut body, most_bytes) = (Vec::new(), self.conf.most_bytes.max(outgoing.most_bytes));
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&url, &error))? {
            let room = most_bytes - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                answer.is_cut = true;
                break;
            }
        }
        answer.body = body.into();
        Ok(answer)
    }

    /// Names are asked about when they are resolved; addresses never are.
    fn permit(&self, url: &Url) -> Result<(), SendError> {
        let host = url.host_str().unwrap_or_default();
        let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        match address {
            Some(address) if !self.conf.addresses.permits(address) => {
                Err(SendError::Private(host.to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn host(&self, url: &Url) -> Arc<Semaphore> {
        let name =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= HOSTS {
            hosts.retain(|_, under_way| Arc::strong_count(under_way) > 1);
        }
        hosts.entry(name).or_insert_with(|| Arc::new(Semaphore::new(self.per_host()))).clone()
    }
}

fn sign(headers: &mut HeaderMap, signed: &Signed) -> Result<(), SendError> {
    let timestamp = signed.timestamp.to_string();
    for (name, value) in [
        ("webhook-id", &signed.id),
        ("webhook-timestamp", &timestamp),
        ("webhook-signature", &signed.signatures),
    ] {
        let value = HeaderValue::from_str(value)
            .map_err(|_| SendError::NoAnswer(format!("{name} cannot be {value:?}")))?;
        headers.insert(name, value);
    }
    Ok(())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

fn failed(url: &Url, error: &reqwest::Error) -> SendError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<Private>() {
            return SendError::Private(url.host_str().unwrap_or_default().to_owned());
        }
        cause = error.source();
    }
    if error.is_timeout() {
        return SendError::NoAnswer("no answer in time".to_owned());
    }
    SendError::NoAnswer(told(error))
}

/// The innermost cause: what is around it repeats the address.
fn told(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
