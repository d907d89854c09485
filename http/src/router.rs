//! Routes: a path and a method to a handler.
//!
//! The matching is matchit's, a radix tree. Each route's handler has a type of its own, so it is called
//! through a box: a plain function costs no allocation, an async one boxes its future at each request.
//! A server of one typed handler needs no router and no box. Next: `watch`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::method::Method;
use crate::request::Request;
use crate::response::Response;
use crate::status::StatusCode;

/// Sends each request to the handler of its path and method.
///
/// `{name}` in a path stands for one segment, `{*name}` for the rest; [`Request::param`] gives what
/// stood there. A path that is not known is answered with 404, a method that the path does not have
/// with 405 and `Allow` (RFC 9110, 15.5.6), HEAD as GET without content (9.3.2).
///
/// # Examples
/// ```
/// use squall_http::{Request, Response, Router, Server};
/// use squall_reactor::sleep;
/// use std::time::Duration;
///
/// let router = Router::new()
///     .get("/", async |_: &mut Request<'_>| Response::text("hello\n"))?
///     .get("/wait/{ms}", async |request: &mut Request<'_>| {
///         let ms = request.param("ms").and_then(|ms| ms.parse().ok()).unwrap_or(0);
///         sleep(Duration::from_millis(ms)).await;
///         Response::text("done\n")
///     })?
///     .plain(squall_http::Method::Get, "/path", |request| {
///         Response::text(String::from_utf8_lossy(request.path()).into_owned())
///     })?;
/// let server = Server::new(router.into_handler());
/// # drop(server);
/// # Ok::<(), squall_http::RouteError>(())
/// ```
#[derive(Default)]
pub struct Router {
    routes: Vec<Route>,
    paths: matchit::Router<usize>,
}

/// Why a route could not be added: its pattern is not one, or collides with another.
///
/// # Examples
/// ```
/// use squall_http::{Request, Response, Router};
///
/// let root = async |_: &mut Request<'_>| Response::text("hello\n");
/// let twice = Router::new().get("/{a}", root)?.get("/{b}", root);
/// assert!(twice.is_err());
/// # Ok::<(), squall_http::RouteError>(())
/// ```
#[derive(Debug)]
pub struct RouteError(matchit::InsertError);

#[derive(Default)]
struct Route {
    pattern: String,
    methods: Vec<(Method, Handler)>,
}

enum Handler {
    Plain(Box<dyn Fn(&mut Request<'_>) -> Response>),
    Async(Box<dyn Boxed>),
}

/// An async handler behind a box.
trait Boxed {
    fn call<'a>(
        &'a self,
        request: &'a mut Request<'_>,
    ) -> Pin<Box<dyn Future<Output = Response> + 'a>>;
}

impl<H: AsyncFn(&mut Request<'_>) -> Response> Boxed for H {
    fn call<'a>(
        &'a self,
        request: &'a mut Request<'_>,
    ) -> Pin<Box<dyn Future<Output = Response> + 'a>> {
        Box::pin(self(request))
    }
}

impl Router {
    /// A router without routes: everything is 404.
    pub fn new() -> Self {
        Self::default()
    }

    /// An async handler for GET (and HEAD).
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn get(
        self,
        pattern: &str,
        handler: impl AsyncFn(&mut Request<'_>) -> Response + 'static,
    ) -> Result<Self, RouteError> {
        self.route(Method::Get, pattern, handler)
    }

    /// An async handler for POST.
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn post(
        self,
        pattern: &str,
        handler: impl AsyncFn(&mut Request<'_>) -> Response + 'static,
    ) -> Result<Self, RouteError> {
        self.route(Method::Post, pattern, handler)
    }

    /// An async handler for any method. A later one for the same method and path replaces it.
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn route(
        self,
        method: Method,
        pattern: &str,
        handler: impl AsyncFn(&mut Request<'_>) -> Response + 'static,
    ) -> Result<Self, RouteError> {
        self.add(method, pattern, Handler::Async(Box::new(handler)))
    }

    /// A plain function for any method; it must not block.
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn plain(
        self,
        method: Method,
        pattern: &str,
        handler: impl Fn(&mut Request<'_>) -> Response + 'static,
    ) -> Result<Self, RouteError> {
        self.add(method, pattern, Handler::Plain(Box::new(handler)))
    }

    /// The router as a server's one handler.
    pub fn into_handler(self) -> impl AsyncFn(&mut Request<'_>) -> Response + 'static {
        async move |request: &mut Request<'_>| self.respond(request).await
    }

    /// Answers one request; for a handler that does something before or after.
    pub async fn respond(&self, request: &mut Request<'_>) -> Response {
        match self.find(request) {
            Ok(Handler::Plain(handler)) => handler(request),
            Ok(Handler::Async(handler)) => handler.call(request).await,
            Err(response) => response,
        }
    }

    fn add(mut self, method: Method, pattern: &str, handler: Handler) -> Result<Self, RouteError> {
        let known = self.routes.iter().position(|route| route.pattern == pattern);
        let index = match known {
            Some(index) => index,
            None => {
                self.paths.insert(pattern, self.routes.len()).map_err(RouteError)?;
                self.routes.push(Route { pattern: pattern.to_owned(), methods: Vec::new() });
                self.routes.len() - 1
            }
        };
        let methods = &mut self.routes[index].methods;
        methods.retain(|(taken, _)| *taken != method);
        methods.push((method, handler));
        Ok(self)
    }

    fn find(&self, request: &mut Request<'_>) -> Result<&Handler, Response> {
        let unknown = || Response::error(StatusCode::NOT_FOUND, "nothing is here");
        let path = std::str::from_utf8(request.path()).map_err(|_| unknown())?;
        let found = self.paths.at(path).map_err(|_| unknown())?;
        let route = &self.routes[*found.value];
        let wanted = match request.method() {
            Method::Head if !route.has(Method::Head) => Method::Get,
            method => method,
        };
        let handler = route.methods.iter().find(|(method, _)| *method == wanted);
        let Some((_, handler)) = handler else { return Err(route.not_allowed()) };
        let places = found.params.iter().map(|(name, value)| {
            // The value is a part of the path.
            let start = value.as_ptr() as usize - path.as_ptr() as usize;
            (Rc::from(name), start..start + value.len())
        });
        request.params = places.collect();
        Ok(handler)
    }
}

impl Route {
    fn has(&self, method: Method) -> bool {
        self.methods.iter().any(|(known, _)| *known == method)
    }

    fn not_allowed(&self) -> Response {
        let mut allow: Vec<&str> = self.methods.iter().map(|(method, _)| method.as_str()).collect();
        if self.has(Method::Get) && !self.has(Method::Head) {
            allow.push("HEAD");
        }
        let response = Response::error(StatusCode::METHOD_NOT_ALLOWED, "not with this method");
        response.header("Allow", allow.join(", ")).expect("method names are tokens")
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.routes.iter().map(|route| {
            let methods: Vec<&str> = route.methods.iter().map(|(m, _)| m.as_str()).collect();
            (&route.pattern, methods)
        });
        f.debug_map().entries(routes).finish()
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot add the route: {}", self.0)
    }
}

impl std::error::Error for RouteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
