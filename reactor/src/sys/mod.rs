//! What a platform must give: the only unsafe code and the only `cfg(target_os)` of the crate.
//!
//! | module | gives |
//! |---|---|
//! | `generation`, `fork` | the generation of this process (law 6) |
//! | `source` | the unsafe marker trait, and who implements it (law 1) |
//! | `selector` | add, modify and delete on mio's epoll (law 4) |
//! | `socket` | nonblocking sockets: accept, send, receive |
//! | `passed` | descriptors that the process was started with |
//! | `sendfile` | from a file to a socket |
//! | `kind` | what a descriptor is: a socket, a pipe, an eventfd (`snapshot`) |
//! | `place`, `thread` | what a watchdog reads: a place in the program, a thread's state |
//! | `listen` | listening sockets with their options (`workers`) |
//! | `alive` | how many reactors and pools live in this process (law 6) |
//! | `process` | fork, wait, signals to others |
//! | `handler` | the signal handler and what it touches |
//! | `signal` | signals as a descriptor |
//! | `exit` | the end of a child as a descriptor |
//! | `timerfd` | an alarm finer than a millisecond |
//! | `cursor` | hyper's read buffer (with the feature) |

#![allow(unsafe_code)]

mod generation;
pub(crate) mod fork;
pub(crate) mod alive;
pub(crate) mod process;
pub(crate) mod listen;
mod handler;
pub(crate) mod signal;
pub(crate) mod exit;
pub(crate) mod source;
pub(crate) mod selector;
pub(crate) mod socket;
pub(crate) mod passed;
pub(crate) mod sendfile;
pub(crate) mod kind;
pub(crate) mod place;
pub(crate) mod thread;
pub(crate) mod timerfd;
#[cfg(feature = "hyper")]
pub(crate) mod cursor;
