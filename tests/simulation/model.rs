//! The model kernel: a file table, open file descriptions, and an epoll.
//!
//! The one idea is the kernel's: an entry of the epoll belongs to an open file *description* and
//! carries a descriptor's *number*, so it outlives a close while a duplicate lives, here or in a
//! child. From fs/eventpoll.c: a wake-up that an entry's mask lets through puts it into the ready
//! list, and the wait asks each entry of the list anew what is ready. Absent: time, blocking, more
//! than one epoll. Next: `twins`.

use std::collections::{BTreeMap, VecDeque};

use crate::stream::{Family, Stream, Wake};

pub const IN: u32 = 0x1;
pub const PRI: u32 = 0x2;
pub const OUT: u32 = 0x4;
pub const ERR: u32 = 0x8;
pub const HUP: u32 = 0x10;
pub const RDHUP: u32 = 0x2000;
pub const ONESHOT: u32 = 1 << 30;
pub const EDGE: u32 = 1 << 31;
/// EP_PRIVATE_BITS: what is left of a mask that is disarmed.
const PRIVATE: u32 = ONESHOT | EDGE;

/// What a call refuses with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    Again,
    BadFd,
    Exists,
    Invalid,
    NoEntry,
    NotConnected,
    Pipe,
    Reset,
    TooMany,
}

/// An open file description.
pub type FileId = usize;

/// What a description is about.
#[derive(Clone, Debug)]
pub enum Object {
    Stream(Stream),
    /// Connections that wait to be accepted, and how many may.
    Listener {
        queue: VecDeque<Stream>,
        backlog: usize,
    },
    /// eventfd(2): its count; full at `u64::MAX - 1`.
    Counter(u64),
}

#[derive(Debug)]
struct File {
    /// Descriptors, in all processes.
    refs: usize,
    object: Object,
}

/// An entry of the epoll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    file: FileId,
    fd: i32,
    /// The mask; HUP and ERR are always in it unless it is disarmed.
    pub events: u32,
    pub data: u64,
}

/// The kernel, as far as an epoll can see.
#[derive(Debug)]
pub struct Kernel {
    files: Vec<Option<File>>,
    /// Descriptor tables by process; ours is the first.
    tables: Vec<BTreeMap<i32, FileId>>,
    items: Vec<Item>,
    /// The ready list: file and number of each entry.
    ready: VecDeque<(FileId, i32)>,
    /// RLIMIT_NOFILE.
    pub limit: usize,
}

impl Kernel {
    pub fn new(limit: usize) -> Self {
        Self {
            files: Vec::new(),
            tables: vec![BTreeMap::new()],
            items: Vec::new(),
            ready: VecDeque::new(),
            limit,
        }
    }

    // Descriptors.

    /// The lowest free number, as POSIX has it.
    pub fn open(&mut self, object: Object) -> Result<i32, Errno> {
        let fd = self.lowest_free()?;
        let free = self.files.iter().position(Option::is_none);
        let file = free.unwrap_or_else(|| {
            self.files.push(None);
            self.files.len() - 1
        });
        self.files[file] = Some(File { refs: 1, object });
        self.tables[0].insert(fd, file);
        Ok(fd)
    }

    pub fn dup(&mut self, fd: i32) -> Result<i32, Errno> {
        let file = self.file(fd)?;
        let copy = self.lowest_free()?;
        self.hold(file);
        self.tables[0].insert(copy, file);
        Ok(copy)
    }

    /// A child with copies of all our descriptors.
    pub fn fork(&mut self) {
        let table = self.tables[0].clone();
        table.values().for_each(|file| self.hold(*file));
        self.tables.push(table);
    }

    /// Ends a child, if there is one.
    pub fn reap(&mut self, child: usize) {
        if child + 1 < self.tables.len() {
            let table = self.tables.remove(child + 1);
            table.values().for_each(|file| self.release(*file));
        }
    }

    pub fn children(&self) -> usize {
        self.tables.len() - 1
    }

    /// The entries stay while another descriptor of the description lives (epoll(7), question 6).
    pub fn close(&mut self, fd: i32) -> Result<(), Errno> {
        let file = self.tables[0].remove(&fd).ok_or(Errno::BadFd)?;
        self.release(file);
        Ok(())
    }

    pub fn file(&self, fd: i32) -> Result<FileId, Errno> {
        self.tables[0].get(&fd).copied().ok_or(Errno::BadFd)
    }

    pub fn is_open(&self, file: FileId) -> bool {
        self.files.get(file).is_some_and(Option::is_some)
    }

    /// Whether anybody else has a descriptor of what `fd` names.
    pub fn is_shared(&self, fd: i32) -> bool {
        self.file(fd).is_ok_and(|file| self.opened(file).refs > 1)
    }

    pub fn open_files(&self) -> Vec<FileId> {
        (0..self.files.len()).filter(|file| self.is_open(*file)).collect()
    }

    fn lowest_free(&self) -> Result<i32, Errno> {
        let fd = (0..).find(|fd| !self.tables[0].contains_key(fd)).expect("a table is finite");
        if fd as usize >= self.limit { Err(Errno::TooMany) } else { Ok(fd) }
    }

    fn hold(&mut self, file: FileId) {
        self.files[file].as_mut().expect("an open file").refs += 1;
    }

    fn release(&mut self, file: FileId) {
        let opened = self.files[file].as_mut().expect("an open file");
        opened.refs -= 1;
        if opened.refs == 0 {
            self.files[file] = None;
            self.items.retain(|item| item.file != file);
            self.ready.retain(|(ready, _)| *ready != file);
        }
    }

    fn opened(&self, file: FileId) -> &File {
        self.files[file].as_ref().expect("an open file")
    }

    // What is done to files.

    /// What poll(2) says.
    pub fn mask(&self, fd: i32) -> u32 {
        self.file(fd).map_or(0, |file| self.opened(file).object.mask())
    }

    /// What the description is about.
    pub fn object(&self, file: FileId) -> &Object {
        &self.opened(file).object
    }

    pub fn read(&mut self, fd: i32, len: usize) -> Result<usize, Errno> {
        self.read_file(self.file(fd)?, len)
    }

    pub fn write(&mut self, fd: i32, len: usize) -> Result<usize, Errno> {
        self.write_file(self.file(fd)?, len)
    }

    /// A read by whoever has the description.
    pub fn read_file(&mut self, file: FileId, len: usize) -> Result<usize, Errno> {
        let (result, wake) = match self.object_mut(file) {
            Object::Stream(stream) => (stream.read(len), None),
            Object::Counter(count) => match std::mem::take(count) {
                0 => (Err(Errno::Again), None),
                _ => (Ok(8), Some(OUT)),
            },
            Object::Listener { .. } => (Err(Errno::NotConnected), None),
        };
        self.wake(file, wake);
        result
    }

    pub fn write_file(&mut self, file: FileId, len: usize) -> Result<usize, Errno> {
        let (result, wake) = match self.object_mut(file) {
            Object::Stream(stream) => stream.write(len),
            Object::Counter(count) => match count.checked_add(len as u64) {
                None | Some(u64::MAX) => (Err(Errno::Again), None),
                Some(sum) => {
                    *count = sum;
                    (Ok(8), Some(IN))
                }
            },
            Object::Listener { .. } => (Err(Errno::Pipe), None),
        };
        self.wake(file, wake);
        result
    }

    pub fn accept(&mut self, fd: i32) -> Result<i32, Errno> {
        let file = self.file(fd)?;
        // The number is taken first: EMFILE also while the queue is empty (net/socket.c).
        self.lowest_free()?;
        let Object::Listener { queue, .. } = self.object_mut(file) else {
            return Err(Errno::Invalid);
        };
        let stream = queue.pop_front().ok_or(Errno::Again)?;
        self.open(Object::Stream(stream))
    }

    /// Something that a stream's end or its peer does.
    pub fn on_stream<R>(&mut self, file: FileId, f: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        match self.object_mut(file) {
            Object::Stream(stream) => Some(f(stream)),
            _ => None,
        }
    }

    /// The same, where it may wake somebody.
    pub fn change(&mut self, file: FileId, f: impl FnOnce(&mut Stream) -> Wake) {
        if let Some(wake) = self.on_stream(file, f) {
            self.wake(file, wake);
        }
    }

    /// A client connects; a full backlog drops it.
    pub fn connect(&mut self, file: FileId, family: Family, room: usize) {
        if let Object::Listener { queue, backlog } = self.object_mut(file)
            && queue.len() < *backlog
        {
            queue.push_back(Stream::new(family, room));
            self.wake(file, Some(IN | PRI));
        }
    }

    fn object_mut(&mut self, file: FileId) -> &mut Object {
        &mut self.files[file].as_mut().expect("an open file").object
    }

    // The epoll.

    pub fn add(&mut self, fd: i32, events: u32, data: u64) -> Result<(), Errno> {
        let file = self.file(fd)?;
        if self.item(file, fd).is_some() {
            return Err(Errno::Exists);
        }
        self.items.push(Item { file, fd, events: events | HUP | ERR, data });
        self.look(file, fd);
        Ok(())
    }

    pub fn modify(&mut self, fd: i32, events: u32, data: u64) -> Result<(), Errno> {
        let file = self.file(fd)?;
        let item = self.item(file, fd).ok_or(Errno::NoEntry)?;
        (item.events, item.data) = (events | HUP | ERR, data);
        self.look(file, fd);
        Ok(())
    }

    pub fn delete(&mut self, fd: i32) -> Result<(), Errno> {
        let file = self.file(fd)?;
        self.item(file, fd).ok_or(Errno::NoEntry)?;
        self.items.retain(|item| (item.file, item.fd) != (file, fd));
        self.ready.retain(|entry| *entry != (file, fd));
        Ok(())
    }

    /// epoll_wait(2) that does not sleep: at most `max` events, in the kernel's order. What it does
    /// not come to stands first the next time; a level that was reported goes to the back.
    pub fn wait(&mut self, max: usize) -> Vec<(u32, u64)> {
        let mut events = Vec::new();
        for _ in 0..self.ready.len() {
            if events.len() == max {
                break;
            }
            let Some((file, fd)) = self.ready.pop_front() else { break };
            let mask = self.object_mut(file).poll();
            let item = self.item(file, fd).expect("a ready entry is an entry");
            let report = mask & item.events;
            if report == 0 {
                continue;
            }
            events.push((report, item.data));
            if item.events & ONESHOT != 0 {
                item.events &= PRIVATE;
            } else if item.events & EDGE == 0 {
                self.ready.push_back((file, fd));
            }
        }
        events
    }

    /// Whether a wait would return at once.
    pub fn has_events(&self) -> bool {
        self.ready.iter().any(|(file, fd)| self.would_report(*file, *fd))
    }

    /// Whether the next waits will tell something of `fd`.
    pub fn is_pending(&self, fd: i32) -> bool {
        let Ok(file) = self.file(fd) else { return false };
        self.ready.contains(&(file, fd)) && self.would_report(file, fd)
    }

    /// The entry that the description and the number of `fd` name.
    pub fn entry(&self, fd: i32) -> Option<Item> {
        let file = self.file(fd).ok()?;
        self.items.iter().find(|item| (item.file, item.fd) == (file, fd)).copied()
    }

    pub fn items(&self) -> usize {
        self.items.len()
    }

    fn would_report(&self, file: FileId, fd: i32) -> bool {
        let item = self.items.iter().find(|item| (item.file, item.fd) == (file, fd));
        item.is_some_and(|item| self.opened(file).object.mask() & item.events != 0)
    }

    /// ADD and MOD report what is ready already.
    fn look(&mut self, file: FileId, fd: i32) {
        let mask = self.object_mut(file).poll();
        let item = self.item(file, fd).expect("just made");
        if mask & item.events != 0 {
            self.link(file, fd);
        }
    }

    /// ep_poll_callback: each entry of the description whose mask lets the key through, the newest
    /// first (add_wait_queue).
    fn wake(&mut self, file: FileId, wake: Wake) {
        let Some(key) = wake else { return };
        let woken: Vec<i32> = self
            .items
            .iter()
            .rev()
            .filter(|item| item.file == file && item.events & !PRIVATE != 0)
            .filter(|item| key == 0 || item.events & key != 0)
            .map(|item| item.fd)
            .collect();
        woken.into_iter().for_each(|fd| self.link(file, fd));
    }

    fn link(&mut self, file: FileId, fd: i32) {
        if !self.ready.contains(&(file, fd)) {
            self.ready.push_back((file, fd));
        }
    }

    fn item(&mut self, file: FileId, fd: i32) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| (item.file, item.fd) == (file, fd))
    }
}

impl Object {
    /// What poll(2) says.
    pub fn mask(&self) -> u32 {
        match self {
            Self::Stream(stream) => stream.mask(),
            Self::Listener { queue, .. } => u32::from(!queue.is_empty()) * IN,
            Self::Counter(count) => {
                let room = if *count < u64::MAX - 1 { OUT } else { 0 };
                (u32::from(*count > 0) * IN) | room
            }
        }
    }

    fn poll(&mut self) -> u32 {
        match self {
            Self::Stream(stream) => stream.poll(),
            Self::Listener { .. } | Self::Counter(_) => self.mask(),
        }
    }
}
