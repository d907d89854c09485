//! Another protocol on the same connection: 101, and then the stream is the handler's (RFC 9110, 7.8).
//!
//! The one idea: after the 101 nothing of HTTP is left. The socket is handed over together with the
//! bytes that had come behind the request, so that nothing is lost and nothing read twice. It
//! stays one of the server's connections: it counts as one, a drain waits for it, and what still
//! runs when the drain's patience ends is dropped. No time limit holds any more; the protocol
//! brings its own. Absent: any protocol; a WebSocket is `examples/interop`'s. Next: `convert`.

use std::fmt;

use squall_reactor::net::TcpStream;

use crate::content::Content;
use crate::error::Error;
use crate::framing::offers_upgrade;
use crate::request::Request;
use crate::response::Response;
use crate::status::StatusCode;

/// Why a connection is not handed over, and, by [`Response::from`], what is answered.
///
/// # Examples
/// ```
/// use squall_http::{Response, StatusCode, upgrade::UpgradeError};
///
/// let response = Response::from(UpgradeError::NotAsked("websocket"));
/// assert!(response.lines().contains("upgrade")); // 426 must name it
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The client has not asked for this protocol, or speaks HTTP/1.0, where Upgrade means nothing:
    /// 426.
    NotAsked(&'static str),
    /// The request's body has not been read to its end, so that nobody knows where the protocol would
    /// begin: 400.
    BodyUnread,
    /// The protocol's name is none: 500.
    Name(Error),
}

impl Request<'_> {
    /// The answer that hands the connection over to `speak`, if the client asks for `protocol`: in an
    /// element of Upgrade, with `upgrade` in Connection, in HTTP/1.1. What `protocol` wants said in
    /// the 101 besides is added to the response.
    ///
    /// `speak` gets the stream and what the client has sent behind its request, which comes before
    /// all that the stream will give. The connection closes when it ends and drops the stream.
    ///
    /// # Errors
    /// [`UpgradeError`], which is a [`Response`], too.
    ///
    /// # Examples
    /// ```
    /// use squall_http::{Request, Response};
    ///
    /// /// Sends back what comes.
    /// async fn echo(request: &mut Request<'_>) -> Response {
    ///     let upgraded = request.upgrade("echo", async |stream, read| {
    ///         let (mut piece, mut buf) = (read, [0; 4096]);
    ///         while stream.write_all(&piece).await.is_ok() {
    ///             match stream.read(&mut buf).await {
    ///                 Ok(n @ 1..) => piece = buf[..n].to_vec(),
    ///                 _ => return,
    ///             }
    ///         }
    ///     });
    ///     upgraded.unwrap_or_else(Response::from)
    /// }
    /// # let _ = squall_http::Server::new(echo);
    /// ```
    pub fn upgrade<F>(&mut self, protocol: &'static str, speak: F) -> Result<Response, UpgradeError>
    where
        F: AsyncFnOnce(TcpStream, Vec<u8>) + 'static,
    {
        if !offers_upgrade(&self.head, protocol) {
            return Err(UpgradeError::NotAsked(protocol));
        }
        if self.body().length() != Some(0) {
            return Err(UpgradeError::BodyUnread);
        }
        let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS);
        response.content = Content::Handover(Box::new(move |stream, read| {
            Box::pin(async move { speak(stream, read).await })
        }));
        response.header("Upgrade", protocol).map_err(UpgradeError::Name)
    }
}

impl From<UpgradeError> for Response {
    fn from(error: UpgradeError) -> Self {
        let text = error.to_string();
        match error {
            // It must name the protocol (RFC 9110, 15.5.22).
            UpgradeError::NotAsked(protocol) => {
                Response::error(StatusCode::UPGRADE_REQUIRED, &text)
                    .header("Upgrade", protocol)
                    .unwrap_or_else(Response::from)
            }
            UpgradeError::BodyUnread => Response::error(StatusCode::BAD_REQUEST, &text),
            UpgradeError::Name(error) => error.into(),
        }
    }
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked(protocol) => write!(f, "this speaks {protocol}; ask for it by Upgrade"),
            Self::BodyUnread => f.write_str("the request's body is not read, and would come first"),
            Self::Name(error) => write!(f, "the protocol's name is none: {error}"),
        }
    }
}

impl std::error::Error for UpgradeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Name(error) => Some(error),
            Self::NotAsked(_) | Self::BodyUnread => None,
        }
    }
}
