//! HTTPS by rustls and hyper, HTTP/1.1 or HTTP/2 as the client likes, on one thread.
//!
//!     cargo run --bin https_on_squall                            asks itself, by both versions
//!     cargo run --bin https_on_squall -- serve 127.0.0.1:8443 cert.pem
//!                                 then: curl --cacert cert.pem https://127.0.0.1:8443/
//!
//! The first prints
//!
//!     listening on 127.0.0.1:34211
//!     200 OK: GET /squall by HTTP/1.1 on Squall
//!     200 OK: GET /squall by HTTP/2.0 on Squall
//!
//! Three layers, each knowing only a trait of the next: hyper reads through `HyperIo` from
//! futures-rustls' stream, and that by futures-io from the socket. The certificate is made at the
//! start and signs itself. HTTP/2 needs an executor for its streams: the reactor's `Handle`.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use futures_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use futures_rustls::{TlsAcceptor, TlsConnector, server::TlsStream};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use rcgen::CertifiedKey;
use squall_interop::{answer, listen};
use squall_reactor::compat::{HyperIo, HyperTimer};
use squall_reactor::net::{TcpListener, TcpStream};
use squall_reactor::{Handle, Reactor, sleep, timeout};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const H1: &[u8] = b"http/1.1";
const H2: &[u8] = b"h2";
/// A client that connects and does not shake hands costs a descriptor for so long.
const HANDSHAKE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let identity =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let mut reactor = Reactor::new()?;
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => reactor.block_on(ask_itself(&identity))?,
        ["serve", addr, certificate] => {
            std::fs::write(certificate, identity.cert.pem())?;
            let acceptor = acceptor(&identity)?;
            reactor.block_on(async { serve(listen(addr)?, acceptor).await })?
        }
        _ => Err("usage: https_on_squall [serve ADDRESS FILE-FOR-THE-CERTIFICATE]".into()),
    }
}

async fn ask_itself(identity: &CertifiedKey<rcgen::KeyPair>) -> Result<()> {
    let listener = listen("127.0.0.1:0")?;
    let (addr, acceptor) = (listener.local_addr()?, acceptor(identity)?);
    Handle::current()?.spawn_detached(async {
        if let Err(error) = serve(listener, acceptor).await {
            eprintln!("the server ended: {error}");
        }
    });
    for version in [H1, H2] {
        get(addr, version, identity, "/squall").await?;
    }
    Ok(())
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) -> Result<()> {
    let handle = Handle::current()?;
    loop {
        let Ok((stream, _peer)) = listener.accept().await else {
            // Out of descriptors, mostly: the connection waits in the kernel's queue.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (handshake, executor) = (acceptor.accept(stream), handle.clone());
        handle.spawn_detached(async move {
            // A client that leaves in the middle is an error here, and none of ours.
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, handshake).await {
                let _ = converse(stream, executor).await;
            }
        });
    }
}

async fn converse(stream: TlsStream<TcpStream>, executor: Handle) -> hyper::Result<()> {
    let h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
    let (stream, service) = (HyperIo::new(stream), service_fn(answer));
    if h2 {
        let mut builder = server::conn::http2::Builder::new(executor);
        return builder.timer(HyperTimer).serve_connection(stream, service).await;
    }
    let mut builder = server::conn::http1::Builder::new();
    builder.timer(HyperTimer).serve_connection(stream, service).await
}

async fn get(
    addr: SocketAddr,
    version: &[u8],
    identity: &CertifiedKey<rcgen::KeyPair>,
    path: &str,
) -> Result<()> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::from(addr.ip());
    let stream = HyperIo::new(connector(identity, version)?.connect(name, stream).await?);
    let uri = format!("https://{addr}{path}");
    let handle = Handle::current()?;
    let response = if version == H2 {
        let handshake = client::conn::http2::handshake(handle.clone(), stream);
        let (mut sender, connection) = handshake.await?;
        handle.spawn_detached(report(connection));
        sender.send_request(Request::get(uri).body(Empty::<Bytes>::new())?).await?
    } else {
        let (mut sender, connection) = client::conn::http1::handshake(stream).await?;
        handle.spawn_detached(report(connection));
        let request = Request::get(path).header("host", addr.to_string());
        sender.send_request(request.body(Empty::<Bytes>::new())?).await?
    };
    print(response).await
}

async fn report(connection: impl Future<Output = hyper::Result<()>>) {
    if let Err(error) = connection.await {
        eprintln!("the connection failed: {error}");
    }
}

async fn print(response: Response<Incoming>) -> Result<()> {
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    print!("{status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}

fn acceptor(identity: &CertifiedKey<rcgen::KeyPair>) -> Result<TlsAcceptor> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der()));
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key)?;
    config.alpn_protocols = vec![H2.to_vec(), H1.to_vec()];
    Ok(Arc::new(config).into())
}

fn connector(identity: &CertifiedKey<rcgen::KeyPair>, version: &[u8]) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.cert.der().clone())?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![version.to_vec()];
    Ok(Arc::new(config).into())
}
