//! What the kernel itself says of an epoll: its list in /proc/self/fdinfo (proc(5)).
//!
//! The list outlives a descriptor's number: an entry whose descriptor was closed without
//! EPOLL_CTL_DEL while a duplicate lives still stands there. So a file is known by its inode.

use std::os::fd::{AsFd, AsRawFd, RawFd};

/// The inode of an open file; sockets and pipes have one each.
pub fn inode(file: &impl AsFd) -> u64 {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()));
    let link = link.expect("an open descriptor has a link in /proc/self/fd");
    let text = link.to_string_lossy().into_owned();
    let inode = text.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']')?.parse().ok());
    inode.unwrap_or_else(|| panic!("{text} is neither a socket nor a pipe"))
}

/// The inodes of everything that the epoll watches.
pub fn watched(epoll: RawFd) -> Vec<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{epoll}"))
        .expect("an open epoll has a page in /proc/self/fdinfo");
    info.lines()
        .filter(|line| line.starts_with("tfd:"))
        .map(|line| {
            let (_, rest) = line.split_once("ino:").expect("Linux 4.13 and later say the inode");
            let hex = rest.split_whitespace().next().unwrap_or_default();
            u64::from_str_radix(hex, 16).expect("the inode is a hexadecimal number")
        })
        .collect()
}
