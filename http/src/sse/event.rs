//! One event as text: fields, each on a line of its own, and an empty line. Next: `sse::sender`.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// One event, encoded.
///
/// # Examples
/// ```
/// use squall_http::sse::Event;
///
/// let event = Event::new("two\nlines").name("news")?;
/// assert!(event.as_str().contains("data: two\ndata: lines\n"));
/// # Ok::<(), squall_http::sse::LineEnd>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event(String);

/// A name or an id with a line's end in it, which would begin another field; or an id with a NUL,
/// which clients ignore.
///
/// # Examples
/// ```
/// use squall_http::sse::{Event, LineEnd};
///
/// assert_eq!(Event::new("1").id("a\nb"), Err(LineEnd));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineEnd;

impl Event {
    /// An event with these data. Their lines, however they end, are lines at the client.
    pub fn new(data: &str) -> Self {
        let mut text = String::with_capacity(data.len() + "data: \n\n".len());
        let data = data.replace("\r\n", "\n");
        for line in data.split(['\n', '\r']) {
            text.extend(["data: ", line, "\n"]);
        }
        text.push('\n');
        Self(text)
    }

    /// Names the event; the client dispatches it to the listeners of this name.
    ///
    /// # Errors
    /// [`LineEnd`].
    pub fn name(self, name: &str) -> Result<Self, LineEnd> {
        self.field("event", name)
    }

    /// Gives it an id, which a client that comes back sends as `Last-Event-ID`.
    ///
    /// # Errors
    /// [`LineEnd`].
    pub fn id(self, id: &str) -> Result<Self, LineEnd> {
        if id.contains('\0') { Err(LineEnd) } else { self.field("id", id) }
    }

    /// Says how long a client that has lost the connection waits before it comes back.
    #[must_use]
    pub fn retry(self, time: Duration) -> Self {
        Self(format!("retry: {}\n{}", time.as_millis(), self.0))
    }

    /// The event as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn field(self, name: &str, value: &str) -> Result<Self, LineEnd> {
        if value.contains(['\r', '\n']) {
            return Err(LineEnd);
        }
        Ok(Self(format!("{name}: {value}\n{}", self.0)))
    }
}

impl fmt::Display for LineEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or id of an event must not have a line's end, nor an id a NUL")
    }
}

impl Error for LineEnd {}
