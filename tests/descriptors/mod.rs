//! Descriptors of every kind, made through libc, each as a `File` for its reads.

use std::ffi::{CString, c_int};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

/// eventfd(2): a counter of eight bytes.
pub fn eventfd() -> File {
    // SAFETY: touches no memory.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) })
}

/// timerfd_create(2), and what makes it expire once, a millisecond later.
pub fn timerfd() -> (File, impl FnMut()) {
    // SAFETY: touches no memory.
    let timer = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) });
    let set = timer.try_clone().expect("a duplicate");
    let arm = move || {
        let (once, soon) = (0, 1_000_000);
        let it_interval = libc::timespec { tv_sec: 0, tv_nsec: once };
        let it_value = libc::timespec { tv_sec: 0, tv_nsec: soon };
        let setting = libc::itimerspec { it_interval, it_value };
        let (fd, old) = (set.as_raw_fd(), ptr::null_mut());
        // SAFETY: the setting is only read; the old one is not asked for.
        let set = unsafe { libc::timerfd_settime(fd, 0, &raw const setting, old) };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
    };
    (timer, arm)
}

/// signalfd(2) for one signal, and what sends it to this thread, where it is blocked.
pub fn signalfd(signal: c_int) -> (File, impl FnMut()) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set is initialised.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: the set is initialised and only read.
    let blocked = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut()) };
    assert_eq!(blocked, 0);
    // SAFETY: the set is initialised and only read.
    let fd = unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC) };
    // SAFETY: touches no memory.
    let thread = unsafe { libc::pthread_self() };
    let raise = move || {
        // SAFETY: the test's own thread, which runs this.
        let sent = unsafe { libc::pthread_kill(thread, signal) };
        assert_eq!(sent, 0);
    };
    (owned(fd), raise)
}

/// inotify(7) on a folder: a record for each file that is made.
pub fn inotify(folder: &Path) -> File {
    // SAFETY: touches no memory.
    let watcher = owned(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) });
    let path = CString::new(folder.as_os_str().as_bytes()).expect("a path without a zero");
    // SAFETY: the path ends with a zero byte and is only read.
    let watch = unsafe {
        libc::inotify_add_watch(watcher.as_raw_fd(), path.as_ptr(), libc::IN_CLOSE_WRITE)
    };
    assert!(watch >= 0, "{}", io::Error::last_os_error());
    watcher
}

/// pidfd_open(2).
pub fn pidfd(pid: u32) -> File {
    // SAFETY: touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0_i64) };
    owned(fd as c_int)
}

/// openpty(3): the keyboard's end, and the terminal.
pub fn terminal() -> (File, File) {
    let (mut keyboard, mut terminal) = (-1, -1);
    let (name, modes, size) = (ptr::null_mut(), ptr::null(), ptr::null());
    // SAFETY: both numbers live until the call returns; the rest is not asked for.
    let opened = unsafe { libc::openpty(&raw mut keyboard, &raw mut terminal, name, modes, size) };
    assert_eq!(opened, 0, "{}", io::Error::last_os_error());
    (owned(keyboard), owned(terminal))
}

/// A tun device (Linux's Documentation/networking/tuntap); it needs CAP_NET_ADMIN.
pub fn tun() -> io::Result<File> {
    let device = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: plain numbers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the request lives until the call returns; the kernel writes the name into it.
    let made = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if made < 0 { Err(io::Error::last_os_error()) } else { Ok(device) }
}

/// memfd_create(2): a regular file without a name.
pub fn memory() -> File {
    // SAFETY: the name ends with a zero byte.
    owned(unsafe { libc::memfd_create(c"squall".as_ptr(), libc::MFD_CLOEXEC) })
}

fn owned(fd: c_int) -> File {
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel has just made it, and nobody else knows it.
    unsafe { File::from_raw_fd(fd) }
}
