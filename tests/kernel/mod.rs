//! What the kernel itself says of a descriptor: /proc/self/fd and /proc/self/fdinfo (proc(5)).

// Each binary compiles this file and uses a part of it.
#![allow(dead_code)]

use std::os::fd::RawFd;

/// An epoll's list: a line for each entry, with descriptor number, mask, token and inode.
///
/// It outlives the numbers: an entry whose descriptor was closed without EPOLL_CTL_DEL while a
/// duplicate lives still stands there. So an open file is known by its inode.
pub fn epoll_list(epoll: RawFd) -> Vec<String> {
    let info = info(epoll);
    info.lines().filter(|line| line.starts_with("tfd:")).map(str::to_owned).collect()
}

/// What the number names: `socket:[INODE]`, `anon_inode:[eventfd]`; `None` if nothing.
pub fn link(fd: RawFd) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// The kernel's page on an open descriptor.
pub fn info(fd: RawFd) -> String {
    std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))
        .expect("an open descriptor has a page in /proc/self/fdinfo")
}
