//! A small, lawful event loop on mio.
//!
//! ```text
//! kernel --readiness--> Poll (mio) --token--> registry (slots, serials) --ready queue--> callbacks, tasks
//! timers (a wheel) --due-------------------------------------------------------^
//! other threads: Remote (channel + eventfd) -----------------------------------^    tasks --run(f)--> Pool
//! ```
//!
//! One thread owns one [`Reactor`]. A turn waits for as long as nothing is due, collects events and
//! remote calls, fires due timers, and runs what is ready, bounded. There are two ways to program it,
//! over the same registry: **callbacks** ([`Handle::register`]), which are what an event loop really
//! is, and **futures** ([`Handle::spawn`], [`net`]), whose wakers are entries in the ready queue.
//!
//! ```
//! use squall_reactor::{Handle, Reactor, net::{TcpListener, TcpStream}, sleep};
//! use std::time::Duration;
//!
//! let mut reactor = Reactor::new()?;
//! let echoed = reactor.block_on(async {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let addr = listener.local_addr()?;
//!     Handle::current()?.spawn_detached(async move {
//!         let Ok((stream, _peer)) = listener.accept().await else { return };
//!         let mut buf = [0; 64];
//!         while let Ok(n @ 1..) = stream.read(&mut buf).await {
//!             sleep(Duration::from_millis(1)).await; // others run meanwhile
//!             if stream.write_all(&buf[..n]).await.is_err() {
//!                 return;
//!             }
//!         }
//!     });
//!     let client = TcpStream::connect(addr).await?;
//!     client.write_all(b"squall").await?;
//!     let mut buf = [0; 64];
//!     let n = client.read(&mut buf).await?;
//!     Ok::<_, std::io::Error>(buf[..n].to_vec())
//! })??;
//! assert_eq!(echoed, b"squall");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The modules stand in reading order: each uses only those before it.
#![deny(unsafe_code)]
#![deny(missing_docs)]

mod token;
mod interest;
mod error;
mod config;
mod stats;
mod spin;
#[cfg(feature = "internals")]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod state;
#[cfg(not(feature = "internals"))]
#[allow(dead_code)] // the simulation asks more questions than the driver
mod state;
mod sys;
mod wakeup;
mod pulse;
mod watchdog;
mod trace;
mod observers;
mod shared;
mod clock;
mod local;
mod hosted;
mod observe;
mod callbacks;
mod executor;
mod driver;
mod registration;
mod handle;
mod remote;
mod reactor;
mod time;
mod io;
mod fd;
mod pipe;
pub mod net;
pub mod pool;
mod signals;
mod child;
pub mod workers;
pub mod snapshot;
#[cfg(any(feature = "futures-io", feature = "hyper"))]
pub mod compat;

pub use child::Child;
pub use config::Config;
pub use error::{Error, Panic, Result};
pub use executor::JoinHandle;
pub use fd::Fd;
pub use handle::{Handle, Timer};
pub use interest::{Answer, Interest, Next, Readiness, Trigger};
pub use io::{Io, Side};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use pool::Pool;
pub use pulse::Work;
pub use reactor::{Builder, Reactor};
pub use registration::{Ready, Registration};
pub use remote::Remote;
pub use signals::Signals;
pub use snapshot::Snapshot;
pub use spin::{SpinPolicy, SpinReport, Spinner};
pub use stats::{Lag, Stats};
pub use sys::source::Source;
pub use time::{Interval, Sleep, interval, sleep, sleep_until, timeout, yield_now};
pub use token::Token;
pub use trace::Trace;
pub use watchdog::StuckReport;

/// The examples of the package's own page compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
