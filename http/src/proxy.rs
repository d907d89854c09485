//! Behind a proxy: who the client really is, from the fields of the proxies that are trusted.
//!
//! A field that tells where a request came from is a claim of whoever sent it, and anybody can send
//! it. It is believed for one reason: a proxy of ours stands at the other end of the connection and
//! wrote it. So the list is read from its right end, the one that our own proxy wrote, for as long
//! as the next hop is trusted too; what stands further left was written by strangers and is not even
//! parsed. And of the three families of fields one alone is read, the one that the proxy sets: it
//! passes on what it does not set, forged or not. Tornado's `xheaders=True` believes both families
//! that it knows, from anybody. Absent: the PROXY protocol. Next: `access_log`.

mod network;
mod field;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use crate::grammar::is_authority;
use crate::headers::Fields;
use crate::proxy::field::{
    Element, address, from_the_right, node, split_last, split_last_unquoted,
};
use crate::proxy::network::Network;
use crate::request::Request;

pub use crate::proxy::network::NetworkError;

/// The proxies whose word is taken, and the fields that they set.
///
/// # Examples
/// ```
/// use squall_http::proxy::{Family, TrustedProxies};
/// use squall_http::{Request, Response, Server};
///
/// let proxies = TrustedProxies::new(["127.0.0.1", "10.0.0.0/8"], Family::XForwarded)?;
/// let server = Server::new(async move |request: &mut Request<'_>| {
///     let client = proxies.client(request);
///     Response::text(format!("{} by {}\n", client.ip, client.scheme))
/// });
/// # drop(server);
/// # Ok::<(), squall_http::proxy::NetworkError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    family: Family,
}

/// The fields that a proxy sets. It must set all of a family's that its clients could forge.
///
/// # Examples
/// ```
/// use squall_http::proxy::{Family, TrustedProxies};
///
/// let proxies = TrustedProxies::new(["10.0.0.0/8", "::1"], Family::Forwarded)?;
/// # drop(proxies);
/// # Ok::<(), squall_http::proxy::NetworkError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `X-Forwarded-For`, a list to which each hop adds the address that it saw;
    /// `X-Forwarded-Proto` and `X-Forwarded-Host`, of which the last value counts: the one that the
    /// hop before us wrote.
    XForwarded,
    /// `X-Real-Ip` and `X-Scheme`: one value each, by the hop before us. On two lines neither counts.
    XRealIp,
    /// `Forwarded` (RFC 7239): a list, in which scheme and host stand beside the address.
    Forwarded,
}

/// Where a request came from.
///
/// # Examples
/// ```
/// use squall_http::proxy::TrustedProxies;
/// use squall_http::{Request, Response};
///
/// async fn hello(proxies: &TrustedProxies, request: &mut Request<'_>) -> Response {
///     let client = proxies.client(request);
///     Response::text(format!("{} by {:?}\n", client.ip, client.scheme))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// The first address from the right that is not a trusted proxy's; if a list ends or cannot be
    /// read before there is one, the last address that was known.
    pub ip: IpAddr,
    /// The scheme that it used; http if nobody trusted said another.
    pub scheme: Scheme,
    /// The host that it asked for; the request's own if nobody trusted said another.
    pub host: Option<Cow<'a, [u8]>>,
}

/// How a client spoke to the first of the trusted hops.
///
/// # Examples
/// ```
/// use squall_http::proxy::Scheme;
///
/// assert_eq!(Scheme::default(), Scheme::Http); // until somebody trusted says another
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    #[default]
    Http,
    /// With TLS.
    Https,
}

impl TrustedProxies {
    /// Trusts these networks (`10.0.0.0/8`, `2001:db8::/32`) and addresses.
    ///
    /// # Errors
    /// [`NetworkError`] for what is neither, and for a network with bits set behind its prefix
    /// (`10.0.0.1/8`): one of its two halves is a mistake.
    pub fn new<'n>(
        networks: impl IntoIterator<Item = &'n str>,
        family: Family,
    ) -> Result<Self, NetworkError> {
        let networks = networks.into_iter().map(str::parse::<Network>).collect::<Result<_, _>>()?;
        Ok(Self { networks, family })
    }

    /// The client of a request.
    pub fn client<'a>(&self, request: &Request<'a>) -> Client<'a> {
        self.resolve(request.peer_addr().ip(), request.host(), request.headers())
    }

    /// The client of a request with these fields, for `host`, from `peer`. It is a pure function.
    pub fn resolve<'a>(
        &self,
        peer: IpAddr,
        host: Option<&'a [u8]>,
        fields: Fields<'a>,
    ) -> Client<'a> {
        let ip = peer.to_canonical();
        let host = host.map(Cow::Borrowed);
        let client = Client { ip, scheme: Scheme::Http, host };
        match self.family {
            _ if !self.trusts(ip) => client,
            Family::XForwarded => self.x_forwarded(client, fields),
            Family::XRealIp => x_real_ip(client, fields),
            Family::Forwarded => self.forwarded(client, fields),
        }
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(ip))
    }

    fn x_forwarded<'a>(&self, mut client: Client<'a>, fields: Fields<'a>) -> Client<'a> {
        for element in from_the_right(fields, "X-Forwarded-For", split_last) {
            let Some(ip) = address(element) else { break };
            client.ip = ip;
            if !self.trusts(ip) {
                break;
            }
        }
        let last = |name| from_the_right(fields, name, split_last).next();
        client.scheme = last("X-Forwarded-Proto").and_then(scheme).unwrap_or_default();
        if let Some(host) = last("X-Forwarded-Host").filter(|host| is_authority(host)) {
            client.host = Some(Cow::Borrowed(host));
        }
        client
    }

    fn forwarded<'a>(&self, mut client: Client<'a>, fields: Fields<'a>) -> Client<'a> {
        let own_host = client.host.clone();
        for text in from_the_right(fields, "Forwarded", split_last_unquoted) {
            let Some(element) = Element::parse(text) else { break };
            // What an element says of scheme and host is of the same hop as its address.
            client.scheme = element.proto.as_deref().and_then(scheme).unwrap_or_default();
            let host = element.host.filter(|host| is_authority(host));
            client.host = host.or_else(|| own_host.clone());
            // `unknown` and `_hidden` are nobody's address.
            let Some(ip) = element.node.as_deref().and_then(node) else { break };
            client.ip = ip;
            if !self.trusts(ip) {
                break;
            }
        }
        client
    }
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn x_real_ip<'a>(mut client: Client<'a>, fields: Fields<'a>) -> Client<'a> {
    let only = |name| {
        let mut all = fields.all(name);
        all.next().filter(|_| all.next().is_none())
    };
    client.ip = only("X-Real-Ip").and_then(address).unwrap_or(client.ip);
    client.scheme = only("X-Scheme").and_then(scheme).unwrap_or_default();
    client
}

fn scheme(text: &[u8]) -> Option<Scheme> {
    match text {
        text if text.eq_ignore_ascii_case(b"http") => Some(Scheme::Http),
        text if text.eq_ignore_ascii_case(b"https") => Some(Scheme::Https),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
