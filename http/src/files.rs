//! Files of one directory, sent by the kernel from its page cache (see `part`).
//!
//! The one idea: a path is made of the names between the slashes, each decoded by itself, and a name
//! that could mean another place than one below (`..`, a slash, nothing) has no file. What symbolic
//! links do is found out by the kernel: the path's canonical form must lie below the root's.
//! Between that question and the open somebody who may write below the root can swap a directory
//! for a link; openat2(2) with RESOLVE_BENEATH would close the gap, and is left out because it needs
//! unsafe code here. So serve no directory that strangers may write links to. Absent: listings,
//! index pages, entity tags, compressed twins. Next: `upgrade`.

mod path;
mod part;

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use squall_reactor::Pool;
use squall_reactor::net::read_ahead;

use crate::conditional::{Wanted, wanted};
use crate::date::Date;
use crate::error::Error;
use crate::files::part::{Part, WINDOW};
use crate::files::path::{content_type, relative};
use crate::method::Method;
use crate::request::Request;
use crate::response::Response;
use crate::status::StatusCode;

/// The files below one directory.
///
/// # Examples
/// ```
/// use squall_http::{Router, files::Files};
/// use squall_reactor::Pool;
///
/// let pool = Pool::builder().build()?;
/// let files = Files::new("/usr/share/dict", pool);
/// # let files = Files::new(".", Pool::builder().build()?);
/// let router = Router::new().get("/static/{*path}", files?.into_handler("path"))?;
/// # drop(router);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Files {
    /// In canonical form.
    root: PathBuf,
    pool: Pool,
    dotfiles: bool,
}

impl Files {
    /// The files below `root`, except those whose path has a name that begins with a dot.
    ///
    /// # Errors
    /// Those of realpath(3) on `root`.
    pub fn new(root: impl AsRef<Path>, pool: Pool) -> io::Result<Self> {
        Ok(Self { root: root.as_ref().canonicalize()?, pool, dotfiles: false })
    }

    /// Serves names that begin with a dot too: `.well-known`, but also `.git` and `.env`.
    #[must_use]
    pub fn dotfiles(mut self, serve: bool) -> Self {
        self.dotfiles = serve;
        self
    }

    /// A handler that serves the file which the route's parameter names.
    pub fn into_handler(
        self,
        param: &'static str,
    ) -> impl AsyncFn(&mut Request<'_>) -> Response + 'static {
        async move |request: &mut Request<'_>| {
            let path = request.param(param).unwrap_or_default();
            self.respond(request, path.as_bytes()).await
        }
    }

    /// Answers with the file of a percent-encoded path below the root: 200, or 206, 304, 412, 416 as
    /// the request's fields ask, and 404 for all that is not a file that may be served.
    ///
    /// # System calls
    /// In the pool: realpath(3), two stat(2), one open(2), and for each 2 MiB one sendfile(2) to /dev/null,
    /// which brings them into the page cache. On the loop: a sendfile(2) to the socket for what
    /// that has room for. No byte of the content passes through this process.
    ///
    /// # Cancel safety
    /// What has not begun in the pool is cancelled.
    pub async fn respond(&self, request: &Request<'_>, path: &[u8]) -> Response {
        if !matches!(request.method(), Method::Get | Method::Head) {
            let text = "files are read with GET and HEAD";
            let refused = Response::error(StatusCode::METHOD_NOT_ALLOWED, text);
            return refused.header("Allow", "GET, HEAD").unwrap_or_else(Response::from);
        }
        let Some(relative) = relative(path, self.dotfiles) else { return not_found() };
        let (root, name, dotfiles) = (self.root.clone(), relative.clone(), self.dotfiles);
        let is_read = request.method() == Method::Get;
        match self.pool.run(move || Found::open(&root, &name, dotfiles, is_read)).await {
            Ok(Ok(found)) => self.answer(request, &relative, found).unwrap_or_else(Response::from),
            Ok(Err(error)) if is_absence(&error) => not_found(),
            Ok(Err(_)) => Response::error(StatusCode::INTERNAL_SERVER_ERROR, "cannot read it"),
            Err(_) => Response::error(StatusCode::SERVICE_UNAVAILABLE, "the pool takes no work"),
        }
    }

    fn answer(&self, request: &Request<'_>, path: &Path, found: Found) -> Result<Response, Error> {
        let now = unix_seconds(SystemTime::now()).unwrap_or_default();
        // A date of this second could be that of two versions, and a later one must not be sent
        // (RFC 9110, 8.8.2.1 and 8.8.2.2).
        let modified = found.modified.filter(|modified| *modified < now).map(Date::new);
        let (length, fields) = (found.length, request.headers());
        let wanted = wanted(request.method(), fields, modified.as_ref(), length, &Date::new(now));
        let content = |part: Range<u64>| {
            let part = Part::new(found.file, part, &self.pool).warm_to(found.warm_to);
            let response = Response::part(content_type(path), part);
            response.header("X-Content-Type-Options", "nosniff")
        };
        let response = match wanted {
            Wanted::Whole => content(0..length)?.header("Accept-Ranges", "bytes")?,
            Wanted::Part(part) => {
                let place = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                content(part)?.status(StatusCode::PARTIAL_CONTENT).header("Content-Range", place)?
            }
            Wanted::NotModified => Response::new(StatusCode::NOT_MODIFIED),
            Wanted::Failed => {
                let text = "it is not what the request expects";
                return Ok(Response::error(StatusCode::PRECONDITION_FAILED, text));
            }
            Wanted::Unsatisfiable => {
                let text = "it has no byte of this range";
                let response = Response::error(StatusCode::RANGE_NOT_SATISFIABLE, text);
                return response.header("Content-Range", format!("bytes */{length}"));
            }
        };
        match modified {
            Some(date) => response.header("Last-Modified", date.as_bytes()),
            None => Ok(response),
        }
    }
}

/// An open file.
struct Found {
    file: File,
    length: u64,
    /// In seconds since 1970.
    modified: Option<u64>,
    /// So many of its first bytes are in the page cache.
    warm_to: u64,
}

impl Found {
    /// Opens a regular file whose canonical path lies below `root`. It blocks.
    fn open(root: &Path, relative: &Path, dotfiles: bool, is_read: bool) -> io::Result<Self> {
        let real = root.join(relative).canonicalize()?;
        let inside = real.strip_prefix(root).map_err(|_| io::ErrorKind::NotFound)?;
        let is_hidden = inside.iter().any(|name| name.as_bytes().starts_with(b"."));
        // To open a FIFO waits for its writer, so the question comes first.
        if (is_hidden && !dotfiles) || !fs::metadata(&real)?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = File::open(&real)?;
        let facts = file.metadata()?;
        let modified = facts.modified().ok().and_then(unix_seconds);
        // One visit to the pool is enough for most files.
        let warm_to = if is_read { read_ahead(&file, 0, WINDOW as usize)? } else { 0 };
        Ok(Self { length: facts.len(), modified, file, warm_to })
    }
}

fn not_found() -> Response {
    Response::error(StatusCode::NOT_FOUND, "nothing is here")
}

/// Whether there is no such file, as far as a stranger is told.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied | InvalidFilename)
}

fn unix_seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}
