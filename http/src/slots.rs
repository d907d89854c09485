//! Free lists: what a batch of requests needs, taken at its first byte and given back when idle.
//!
//! The future of an exchange lives in a pinned slot, which is set and emptied (`Pin::set`) and never
//! freed while the list is short; so a request allocates nothing, and an idle connection holds
//! neither a buffer nor the handler's future. Next: `deadline`.

use std::cell::RefCell;
use std::pin::Pin;

use crate::buffer::ReadBuffer;
use crate::chunked::ChunkDecoder;
use crate::content::Handover;
use crate::encode::HeaderLines;
use crate::head::HeadParser;
use crate::limits::Limits;

/// Slots and workspaces beyond this are freed: a burst does not hold its memory for ever.
const MAX_FREE: usize = 256;
/// An output buffer that grew beyond this is freed with its content.
const MAX_OUT_BYTES: usize = 128 << 10;

/// What one exchange works with.
pub(crate) struct Workspace {
    pub(crate) buffer: ReadBuffer,
    pub(crate) parser: HeadParser,
    pub(crate) decoder: ChunkDecoder,
    /// Answers that have not been sent.
    pub(crate) out: Vec<u8>,
    pub(crate) lines: TypedLines,
    /// Who takes the connection over after this exchange.
    pub(crate) handover: Option<Handover>,
}

/// Content-Type with a response's own lines behind it. Most answers of a server have the type of the
/// one before and no more lines, and then nothing is built.
#[derive(Debug, Default)]
pub(crate) struct TypedLines {
    lines: HeaderLines,
    /// The type that the lines consist of, if of nothing else.
    only: Option<&'static str>,
}

impl TypedLines {
    /// The lines for this type and these.
    pub(crate) fn typed(&mut self, media_type: &'static str, own: &HeaderLines) -> &HeaderLines {
        let own_is_empty = own.as_bytes().is_empty();
        if !own_is_empty || !self.only.is_some_and(|only| std::ptr::eq(only, media_type)) {
            self.lines.clear();
            // A media type that no header may hold is left out.
            let _ = self.lines.append("Content-Type", media_type);
            self.lines.append_all(own);
            self.only = own_is_empty.then_some(media_type);
        }
        &self.lines
    }
}

/// A pinned place for a future.
pub(crate) type Slot<F> = Pin<Box<Option<F>>>;

/// The free lists of a server.
pub(crate) struct Slots<F> {
    slots: RefCell<Vec<Slot<F>>>,
    // Boxed, because each exchange moves its workspace in and out.
    #[allow(clippy::vec_box)]
    spaces: RefCell<Vec<Box<Workspace>>>,
}

impl<F> Slots<F> {
    pub(crate) fn new() -> Self {
        Self { slots: RefCell::default(), spaces: RefCell::default() }
    }

    /// An empty slot.
    pub(crate) fn take_slot(&self) -> Slot<F> {
        self.slots.borrow_mut().pop().unwrap_or_else(|| Box::pin(None))
    }

    /// A workspace with nothing in it.
    pub(crate) fn take_space(&self, limits: &Limits) -> Box<Workspace> {
        let space = self.spaces.borrow_mut().pop();
        space.unwrap_or_else(|| {
            Box::new(Workspace {
                buffer: ReadBuffer::new(limits.max_head_bytes),
                parser: HeadParser::new(),
                decoder: ChunkDecoder::new(),
                out: Vec::new(),
                lines: TypedLines::default(),
                handover: None,
            })
        })
    }

    /// Takes a slot back; the future in it is dropped in place.
    pub(crate) fn give_slot(&self, mut slot: Slot<F>) {
        slot.set(None);
        let mut slots = self.slots.borrow_mut();
        if slots.len() < MAX_FREE {
            slots.push(slot);
        }
    }

    /// Takes a workspace back.
    pub(crate) fn give_space(&self, mut space: Box<Workspace>) {
        space.parser.clear();
        space.out.clear();
        space.handover = None;
        let clean = space.buffer.is_empty() && space.out.capacity() <= MAX_OUT_BYTES;
        let mut spaces = self.spaces.borrow_mut();
        if clean && spaces.len() < MAX_FREE {
            spaces.push(space);
        }
    }
}
