//! What both sides know: durations, addresses, chance, planted faults, and what was wrong.

use std::io::{self, BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// Worker 0 lives as long as the soak, so its memory tells of leaks; worker 1 is killed.
pub const WORKERS: usize = 2;
/// The worker that is killed.
pub const VICTIM: usize = 1;
/// What has not happened after this time does not happen: a client without an answer, a call that was
/// not run. Above every fault's length and the supervisor's delays.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Something that must not happen, in words.
#[derive(Debug, Clone)]
pub struct Wrong(pub String);

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub rounds: u64,
    /// The length of a round's load.
    pub load: Duration,
    pub clients: u64,
    pub seed: u64,
    pub plant: Plant,
}

impl Plan {
    /// Rounds of 4 to 30 s of load; coming to rest takes about 4 s more.
    pub fn new(seconds: u64, clients: u64, seed: u64, plant: Plant) -> Self {
        let load = (seconds / 20).clamp(4, 30);
        let rounds = (seconds / (load + 5)).max(1);
        Self { rounds, load: Duration::from_secs(load), clients, seed, plant }
    }
}

/// A fault planted into the server, so that one can see it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    Nothing,
    /// Bodies are never freed.
    Memory,
    /// Now and then a pipe is never closed.
    Descriptor,
    /// A callback never reads what it is told of.
    Spin,
    /// Now and then a request is never answered.
    Answer,
    /// A task waits for a wake-up that nobody sends.
    Wake,
}

impl Plant {
    const ALL: [Self; 6] =
        [Self::Nothing, Self::Memory, Self::Descriptor, Self::Spin, Self::Answer, Self::Wake];

    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Memory => "memory",
            Self::Descriptor => "descriptor",
            Self::Spin => "spin",
            Self::Answer => "answer",
            Self::Wake => "wake",
        }
    }
}

impl FromStr for Plant {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|plant| plant.name() == text).ok_or(())
    }
}

/// Where the server listens: one address for clients, shared by the workers, and one for questions
/// to each worker.
#[derive(Debug, Clone)]
pub struct Address {
    pub public: SocketAddr,
    pub asked: Vec<SocketAddr>,
}

impl Address {
    /// Reads the server's first line.
    pub fn read(from: impl Read) -> io::Result<Self> {
        let mut line = String::new();
        BufReader::new(from).read_line(&mut line)?;
        let parsed: Option<Vec<SocketAddr>> =
            line.split_whitespace().map(|word| word.parse().ok()).collect();
        match parsed.as_deref() {
            Some([public, asked @ ..]) if asked.len() == WORKERS => {
                Ok(Self { public: *public, asked: asked.to_vec() })
            }
            _ => Err(io::Error::other(format!("its first line is {line:?}"))),
        }
    }
}

/// Chance with a seed (splitmix64).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64, of: u64) -> Self {
        Self(seed.wrapping_add(of.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `end` without `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Up to so many milliseconds, in microseconds.
    pub fn up_to_ms(&mut self, ms: u64) -> Duration {
        Duration::from_micros(self.below(ms * 1000))
    }
}

pub fn seed_of_the_day() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |time| time.as_secs())
}
