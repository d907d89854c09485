//! The model kernel against the real one: the same random operations on both, the same reports.
//!
//! A descriptor N of the model is number `BASE + N` here, so that numbers are reused alike; a child
//! is a second set of duplicates, because what counts is that they hold the description. Sockets
//! change at once on this machine; where TCP needs a moment, poll(2) says when it is over.

use std::collections::{HashMap, VecDeque};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::model::{EDGE, Errno, FileId, IN, Kernel, ONESHOT, OUT, Object, PRI, RDHUP};
use crate::rng::Rng;
use crate::stream::{Family, Stream};

const BASE: i32 = 400;
const LIMIT: usize = 10;
/// Nobody fills a real buffer here.
const ROOM: usize = 100_000;

/// Runs `steps` random operations on both kernels; panics where they differ.
pub fn compare(seed: u64, steps: usize, trace: bool) -> Compared {
    let mut both = Both::new(seed, trace);
    for _ in 0..steps {
        both.step();
        both.report();
    }
    both.compared
}

/// What the two were seen to agree on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compared {
    pub operations: usize,
    pub waits: usize,
    pub reports: usize,
}

impl Compared {
    pub fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.waits += other.waits;
        self.reports += other.reports;
    }
}

struct Both {
    rng: Rng,
    model: Kernel,
    epoll: OwnedFd,
    ours: HashMap<i32, OwnedFd>,
    children: Vec<Vec<OwnedFd>>,
    peers: HashMap<FileId, OwnedFd>,
    clients: HashMap<FileId, VecDeque<OwnedFd>>,
    data: u64,
    compared: Compared,
    trace: bool,
}

impl Both {
    fn new(seed: u64, trace: bool) -> Self {
        // SAFETY: it takes no pointer.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        Self {
            rng: Rng::new(seed),
            model: Kernel::new(LIMIT),
            epoll: owned(epoll),
            ours: HashMap::new(),
            children: Vec::new(),
            peers: HashMap::new(),
            clients: HashMap::new(),
            data: 0,
            compared: Compared::default(),
            trace,
        }
    }

    fn step(&mut self) {
        self.compared.operations += 1;
        let fd = self.rng.below(LIMIT) as i32;
        match self.rng.below(20) {
            0 | 1 => self.open(),
            2 => self.descriptors(fd),
            3..=6 => self.control(fd),
            7..=11 => self.ourselves(fd),
            _ => self.peer(fd),
        }
        self.settle();
    }

    /// One wait on both.
    fn report(&mut self) {
        let max = if self.rng.chance(30) { self.rng.upto(3) } else { 32 };
        let modelled = self.model.wait(max);
        let reported = epoll_wait(&self.epoll, max);
        self.say(|| format!("wait({max}) = {modelled:x?}"));
        assert_eq!(modelled, reported, "the model's reports, and the kernel's");
        self.compared.waits += 1;
        self.compared.reports += reported.len();
    }

    fn open(&mut self) {
        let (object, real, peer) = match self.rng.below(5) {
            0 | 1 => {
                let (near, far) = tcp_pair();
                (Object::Stream(Stream::new(Family::Tcp, ROOM)), near, Some(far))
            }
            2 => {
                let (near, far) = UnixStream::pair().expect("a pair");
                (Object::Stream(Stream::new(Family::Unix, ROOM)), near.into(), Some(far.into()))
            }
            3 => {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
                let object = Object::Listener { queue: VecDeque::new(), backlog: 8 };
                (object, listener.into(), None)
            }
            _ => {
                // SAFETY: it takes no pointer.
                let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
                (Object::Counter(0), owned(fd), None)
            }
        };
        let Ok(fd) = self.model.open(object) else { return };
        self.say(|| format!("open {fd}"));
        nonblocking(&real);
        self.ours.insert(fd, place(&real, BASE + fd));
        let file = self.model.file(fd).expect("just opened");
        self.clients.remove(&file);
        self.peers.remove(&file);
        if let Some(peer) = peer {
            nonblocking(&peer);
            self.peers.insert(file, peer);
        }
    }

    fn descriptors(&mut self, fd: i32) {
        match self.rng.below(6) {
            0 | 1 => {
                let copy = self.model.dup(fd);
                self.say(|| format!("dup {fd} = {copy:?}"));
                if let Ok(copy) = copy {
                    let real = place(&self.ours[&fd], BASE + copy);
                    self.ours.insert(copy, real);
                }
            }
            2 if self.children.len() < 3 => {
                self.say(|| "fork".to_owned());
                self.model.fork();
                let copies = self.ours.values().map(|real| real.try_clone().expect("a copy"));
                self.children.push(copies.collect());
            }
            3 if !self.children.is_empty() => {
                self.say(|| "reap".to_owned());
                self.model.reap(0);
                drop(self.children.remove(0));
            }
            _ => {
                self.say(|| format!("close {fd}"));
                assert_eq!(self.model.close(fd).is_ok(), self.ours.remove(&fd).is_some());
            }
        }
        let gone: Vec<_> =
            self.peers.keys().filter(|file| !self.model.is_open(**file)).copied().collect();
        gone.iter().for_each(|file| drop(self.peers.remove(file)));
    }

    fn control(&mut self, fd: i32) {
        let mut events = self.rng.pick(&[IN | RDHUP, OUT, IN | OUT | RDHUP, IN | PRI, PRI, 0]);
        events |= self.rng.pick(&[0, EDGE, EDGE, ONESHOT, EDGE | ONESHOT]);
        self.data += 1;
        let data = self.data;
        let (call, modelled) = match self.rng.below(5) {
            0..=2 => (libc::EPOLL_CTL_ADD, self.model.add(fd, events, data)),
            3 => (libc::EPOLL_CTL_MOD, self.model.modify(fd, events, data)),
            _ => (libc::EPOLL_CTL_DEL, self.model.delete(fd)),
        };
        let mut event = libc::epoll_event { events, u64: data };
        let (epoll, fd) = (self.epoll.as_raw_fd(), BASE + fd);
        // SAFETY: `event` lives until the call returns.
        let real = unsafe { libc::epoll_ctl(epoll, call, fd, &raw mut event) };
        self.say(|| format!("epoll_ctl({call}, {}, {events:x}, {data}) = {modelled:?}", fd - BASE));
        assert_eq!(modelled, answer(real as isize).map(drop));
    }

    fn ourselves(&mut self, fd: i32) {
        let Ok(file) = self.model.file(fd) else { return };
        let real = self.ours[&fd].as_raw_fd();
        let len = self.rng.upto(4);
        match (self.model.object(file), self.rng.below(10)) {
            (Object::Listener { .. }, _) => self.accept(fd, file),
            (Object::Counter(count), choice) => {
                let fill = (u64::MAX - 1 - count) as usize;
                let add = if choice < 3 && fill > 0 { fill } else { len };
                let write = choice < 6;
                let modelled =
                    if write { self.model.write(fd, add) } else { self.model.read(fd, 8) };
                self.say(|| format!("counter {fd}, {add}, {write} = {modelled:?}"));
                let mut word = (add as u64).to_ne_bytes();
                let word = word.as_mut_ptr().cast();
                // SAFETY: `word` has eight bytes.
                let written = || unsafe { libc::write(real, word, 8) };
                // SAFETY: `word` has eight bytes, and they may be written.
                let read = || unsafe { libc::read(real, word, 8) };
                assert_eq!(modelled, answer(if write { written() } else { read() }));
            }
            (Object::Stream(_), 0..=4) => {
                let modelled = self.model.read(fd, len);
                self.say(|| format!("read {fd}, {len} = {modelled:?}"));
                assert_eq!(modelled, receive(real, len, 0));
            }
            (Object::Stream(stream), 5) if stream.family == Family::Tcp => {
                let modelled = self.model.on_stream(file, Stream::read_urgent).expect("a stream");
                self.say(|| format!("read_urgent {fd} = {modelled:?}"));
                assert_eq!(modelled, receive(real, 1, libc::MSG_OOB));
            }
            (Object::Stream(_), 6) if self.rng.chance(20) => {
                self.say(|| format!("shutdown {fd}"));
                self.model.change(file, Stream::shutdown);
                self.peers.get(&file).into_iter().for_each(acknowledge_at_once);
                // SAFETY: it takes no pointer.
                let _not_connected = unsafe { libc::shutdown(real, libc::SHUT_WR) };
            }
            (Object::Stream(_), 7) if self.rng.chance(30) => {
                let modelled = self.model.on_stream(file, Stream::take_error).expect("a stream");
                self.say(|| format!("take_error {fd} = {modelled:?}"));
                assert_eq!(modelled, take_error(real));
            }
            (Object::Stream(stream), _) => {
                if stream.sent(usize::MAX) > 40 {
                    return;
                }
                let modelled = self.model.write(fd, len);
                self.say(|| format!("write {fd}, {len} = {modelled:?}"));
                assert_eq!(modelled, send(real, len, 0));
            }
        }
    }

    fn accept(&mut self, fd: i32, file: FileId) {
        let modelled = self.model.accept(fd);
        self.say(|| format!("accept {fd} = {modelled:?}"));
        if modelled == Err(Errno::TooMany) {
            return; // this process may open more than the model's
        }
        let (listener, null) = (self.ours[&fd].as_raw_fd(), std::ptr::null_mut());
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no address is asked for.
        let real = unsafe { libc::accept4(listener, null, std::ptr::null_mut(), flags) };
        assert_eq!(modelled.map(drop), answer(real as isize).map(drop));
        if let Ok(fd) = modelled {
            self.ours.insert(fd, place(&owned(real), BASE + fd));
            let client = self.clients.get_mut(&file).and_then(VecDeque::pop_front);
            let accepted = self.model.file(fd).expect("just accepted");
            self.peers.insert(accepted, client.expect("a client"));
        }
    }

    fn peer(&mut self, fd: i32) {
        let Ok(file) = self.model.file(fd) else { return };
        let len = self.rng.upto(4);
        match self.model.object(file) {
            Object::Listener { queue, .. } if queue.len() < 4 => {
                self.say(|| format!("connect to {fd}"));
                self.model.connect(file, Family::Tcp, ROOM);
                let listener = TcpListener::from(self.ours[&fd].try_clone().expect("a copy"));
                let addr = listener.local_addr().expect("an address");
                let client = OwnedFd::from(TcpStream::connect(addr).expect("connects"));
                nonblocking(&client);
                self.clients.entry(file).or_default().push_back(client);
            }
            Object::Listener { .. } | Object::Counter(_) => {}
            Object::Stream(stream) if stream.peer_is_gone() => {}
            Object::Stream(stream) => {
                let (family, finished) = (stream.family, stream.peer_has_finished());
                let sent = stream.sent(len);
                self.peer_of_stream(fd, file, family, finished, sent, len);
            }
        }
    }

    fn peer_of_stream(
        &mut self,
        fd: i32,
        file: FileId,
        family: Family,
        finished: bool,
        sent: usize,
        len: usize,
    ) {
        let peer = self.peers[&file].as_raw_fd();
        match self.rng.below(12) {
            0..=5 if !finished => {
                self.say(|| format!("peer of {fd} writes {len}"));
                self.model.change(file, |stream| stream.peer_writes(len));
                assert_eq!(send(peer, len, 0), Ok(len));
            }
            6 if !finished && family == Family::Tcp => {
                self.say(|| format!("peer of {fd} urges"));
                let mut had = 0;
                self.model.change(file, |stream| {
                    had = stream.unread();
                    let wake = stream.peer_urges();
                    had = stream.unread() - had;
                    wake
                });
                if had == 1 {
                    assert_eq!(send(peer, 1, libc::MSG_OOB), Ok(1));
                }
            }
            7 | 8 if sent > 0 => {
                self.say(|| format!("peer of {fd} reads {len} writes"));
                self.model.change(file, |stream| stream.peer_reads(len));
                assert_eq!(receive(peer, sent, 0), Ok(sent));
            }
            9 if !finished && self.rng.chance(50) => {
                self.say(|| format!("peer of {fd} finishes"));
                self.model.change(file, Stream::peer_finishes);
                // SAFETY: it takes no pointer.
                let shut = unsafe { libc::shutdown(peer, libc::SHUT_WR) };
                assert_eq!(shut, 0);
            }
            10 if self.rng.chance(30) => {
                self.say(|| format!("peer of {fd} closes"));
                self.model.change(file, Stream::peer_closes);
                drop(self.peers.remove(&file));
            }
            11 if self.rng.chance(30) => {
                self.say(|| format!("peer of {fd} resets"));
                self.model.change(file, Stream::peer_resets);
                linger_0(peer);
                drop(self.peers.remove(&file));
            }
            _ => {}
        }
    }

    /// Until poll(2) says on each descriptor what the model says.
    fn settle(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        for (fd, real) in &self.ours {
            let modelled = self.model.mask(*fd);
            let file = self.model.file(*fd).expect("ours");
            let peer = self.peers.get(&file);
            let real = real.as_raw_fd();
            while poll(real) != modelled || !has_come(self.model.object(file), real, peer) {
                let said = poll(real);
                assert!(Instant::now() < until, "poll({fd}): {modelled:x}, the kernel {said:x}");
                std::thread::yield_now();
            }
        }
    }

    fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{}", line());
        }
    }
}

/// Whether what one end of a connection has sent is with the other.
fn has_come(object: &Object, real: RawFd, peer: Option<&OwnedFd>) -> bool {
    match object {
        Object::Stream(stream) if stream.family == Family::Tcp && !stream.peer_is_gone() => {
            let peer = peer.expect("a peer").as_raw_fd();
            let TcpInfo { state, arrived, .. } = tcp_info(real);
            // An end of ours is acknowledged a little later, and that wakes everybody once more.
            let acknowledged = !UNACKNOWLEDGED.contains(&state);
            let arrived = arrived >= stream.arrived() as u64;
            acknowledged && arrived && unread(peer) == stream.sent(usize::MAX)
        }
        Object::Listener { queue, .. } => tcp_info(real).queue as usize == queue.len(),
        Object::Stream(stream) if stream.family == Family::Tcp => {
            !UNACKNOWLEDGED.contains(&tcp_info(real).state)
        }
        Object::Stream(_) | Object::Counter(_) => true,
    }
}

/// FIN_WAIT1, LAST_ACK, CLOSING.
const UNACKNOWLEDGED: [u8; 3] = [4, 9, 11];

/// What TCP_INFO tells.
struct TcpInfo {
    state: u8,
    /// Bytes that have arrived.
    arrived: u64,
    /// A listener's queue.
    queue: u32,
}

fn tcp_info(fd: RawFd) -> TcpInfo {
    let (mut info, mut len) = ([0u8; 136], 136u32);
    let (value, len) = (info.as_mut_ptr().cast(), &raw mut len);
    // SAFETY: `value` and `len` name a buffer and its size; the kernel fills as much of it.
    let got = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, value, len) };
    assert_eq!(got, 0);
    // tcpi_state, tcpi_bytes_received, tcpi_unacked (linux/tcp.h)
    let arrived = u64::from_ne_bytes(info[128..].try_into().expect("eight bytes"));
    let queue = u32::from_ne_bytes(info[24..28].try_into().expect("four bytes"));
    TcpInfo { state: info[0], arrived, queue }
}

/// FIONREAD.
fn unread(fd: RawFd) -> usize {
    let mut n: i32 = 0;
    let to = &raw mut n;
    // SAFETY: `to` names an int.
    let got = unsafe { libc::ioctl(fd, libc::FIONREAD, to) };
    assert_eq!(got, 0);
    n as usize
}

fn epoll_wait(epoll: &OwnedFd, max: usize) -> Vec<(u32, u64)> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 32];
    let (epoll, buffer) = (epoll.as_raw_fd(), events.as_mut_ptr());
    // SAFETY: the buffer has room for 32 events, and `max` is at most 32.
    let n = unsafe { libc::epoll_wait(epoll, buffer, max as i32, 0) };
    events[..usize::try_from(n).expect("a wait")].iter().map(|e| (e.events, e.u64)).collect()
}

fn poll(fd: RawFd) -> u32 {
    let events = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP;
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: `entry` is one entry and lives until the call returns.
    let n = unsafe { libc::poll(&raw mut entry, 1, 0) };
    assert!(n >= 0);
    u32::from(entry.revents.cast_unsigned())
}

fn tcp_pair() -> (OwnedFd, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let far = TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
    let (near, _) = listener.accept().expect("accepts");
    for stream in [&near, &far] {
        stream.set_nodelay(true).expect("no delay");
    }
    (near.into(), far.into())
}

fn receive(fd: RawFd, len: usize, flags: i32) -> Result<usize, Errno> {
    let mut bytes = [0; 256];
    let buffer = bytes[..len].as_mut_ptr().cast();
    // SAFETY: the buffer has `len` bytes.
    answer(unsafe { libc::recv(fd, buffer, len, flags) })
}

fn send(fd: RawFd, len: usize, flags: i32) -> Result<usize, Errno> {
    let bytes = [0; 256];
    let buffer = bytes[..len].as_ptr().cast();
    // SAFETY: the buffer has `len` bytes.
    answer(unsafe { libc::send(fd, buffer, len, flags | libc::MSG_NOSIGNAL) })
}

fn take_error(fd: RawFd) -> Option<Errno> {
    let (mut error, mut len) = (0i32, size_of::<i32>() as u32);
    let (value, len) = ((&raw mut error).cast(), &raw mut len);
    // SAFETY: `value` and `len` name an int and its size.
    let got = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, value, len) };
    assert_eq!(got, 0);
    (error != 0).then(|| errno(error))
}

/// Else the end that is coming is acknowledged 40 ms later.
fn acknowledge_at_once(fd: &OwnedFd) {
    let on = 1i32;
    let (fd, value, len) = (fd.as_raw_fd(), (&raw const on).cast(), size_of::<i32>() as u32);
    // SAFETY: `value` names an int.
    let _unix = unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, value, len) };
}

fn linger_0(fd: RawFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let (value, len) = ((&raw const linger).cast(), size_of::<libc::linger>() as u32);
    // SAFETY: `value` names a linger of `len` bytes.
    let set = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, value, len) };
    assert_eq!(set, 0);
}

fn nonblocking(fd: &OwnedFd) {
    // SAFETY: it takes no pointer.
    let set = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(set, 0);
}

/// A duplicate with that number.
fn place(fd: &OwnedFd, number: RawFd) -> OwnedFd {
    // SAFETY: it takes no pointer; nobody else in this process uses the numbers from `BASE`.
    owned(unsafe { libc::dup3(fd.as_raw_fd(), number, libc::O_CLOEXEC) })
}

fn owned(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call that gave the number gave it to us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn answer(result: isize) -> Result<usize, Errno> {
    usize::try_from(result)
        .map_err(|_| errno(std::io::Error::last_os_error().raw_os_error().unwrap_or_default()))
}

fn errno(number: i32) -> Errno {
    match number {
        libc::EAGAIN => Errno::Again,
        libc::EBADF => Errno::BadFd,
        libc::EEXIST => Errno::Exists,
        libc::EINVAL => Errno::Invalid,
        libc::ENOENT => Errno::NoEntry,
        libc::ENOTCONN => Errno::NotConnected,
        libc::EPIPE => Errno::Pipe,
        libc::ECONNRESET => Errno::Reset,
        number => panic!("{}", std::io::Error::from_raw_os_error(number)),
    }
}
