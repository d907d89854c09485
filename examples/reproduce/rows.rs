//! The rows of the table, and what must come out of each.
//!
//! A row is a system, the way it starts, its trigger, its handler and its client.
//! [`Row::expected`] is the mechanism of docs/the-bug.md as one function: nothing in it was fitted
//! to a measurement. [`Row::by_chance`] says where it takes many clients to make an outcome certain
//! that would else be a matter of which worker wakes. Pure. Next: `verdict`.

use std::fmt;
use std::str::FromStr;

use crate::verdict::Verdict;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub system: System,
    pub start: Start,
    pub trigger: Trigger,
    pub handler: Handler,
    pub client: Client,
}

impl Row {
    /// Every combination. The trigger is each system's own; the naive server has both.
    pub fn all(tornado: Option<System>) -> Vec<Row> {
        let mut rows = Vec::new();
        let naive = Trigger::ALL.iter().map(|&trigger| (System::Naive, trigger));
        let others = [(System::Squall, Trigger::Edge)];
        let tornado = tornado.map(|system| (system, Trigger::Level));
        for (system, trigger) in naive.chain(others).chain(tornado) {
            for &start in Start::ALL {
                for &handler in Handler::ALL {
                    for &client in Client::ALL {
                        rows.push(Row { system, start, trigger, handler, client });
                    }
                }
            }
        }
        rows
    }

    /// The rows that tell the story, in its order.
    pub fn story(tornado: Option<System>) -> Vec<Row> {
        use {Client::*, Handler::*, Start::*, System::*, Trigger::*};
        let row = |system, start, trigger, handler, client| Row {
            system,
            start,
            trigger,
            handler,
            client,
        };
        let mut rows = vec![
            // The bug, and that it needs all three: the start, the blocking, the leaving.
            row(Naive, ListenThenFork, Level, Blocks, Leaves),
            row(Naive, ListenThenFork, Level, Blocks, Waits),
            row(Naive, ListenThenFork, Level, Awaits, Leaves),
            row(Naive, ListenThenFork, Level, Awaits, Waits),
            row(Naive, ListenThenFork, Level, Pool, Leaves),
            row(Naive, ListenThenFork, Level, Pool, Waits),
            // The other cure: fork first.
            row(Naive, ForkThenAdd, Level, Blocks, Leaves),
            // Under edge triggering the same mistake hangs.
            row(Naive, ListenThenFork, Edge, Blocks, SendsMore),
            row(Naive, ForkThenAdd, Edge, Blocks, SendsMore),
            // No cure helps the others of a process that blocks.
            row(Naive, OneProcess, Level, Blocks, Leaves),
            row(Squall, ListenThenFork, Edge, Blocks, Leaves),
            row(Squall, ForkThenAdd, Edge, Blocks, Leaves),
            row(Squall, ForkThenAdd, Edge, Awaits, Leaves),
            row(Squall, ForkThenAdd, Edge, Pool, Leaves),
        ];
        if let Some(tornado) = tornado {
            rows.extend([
                row(tornado, ListenThenFork, Level, Blocks, Leaves),
                row(tornado, ListenThenFork, Level, Blocks, Waits),
                row(tornado, ListenThenFork, Level, Awaits, Leaves),
                row(tornado, ListenThenFork, Level, Pool, Leaves),
                row(tornado, ForkThenAdd, Level, Blocks, Leaves),
            ]);
        }
        rows
    }

    /// True if every word of `words` is part of the row's name.
    pub fn matches(&self, words: &str) -> bool {
        let name = self.to_string();
        words.split_whitespace().all(|word| name.contains(word))
    }

    /// The verdicts that the mechanism predicts: usually one, never none.
    pub fn expected(&self) -> &'static [Verdict] {
        use Verdict::*;
        // With two workers a quick request may still reach the stuck one first, and waits.
        const TWO_WORKERS: &[Verdict] = &[Ok, Blocked];
        let shared = self.start == Start::ListenThenFork;
        match (self.system, self.handler, self.client) {
            (System::Squall, ..) if shared => &[Refused],
            // A child gets a fresh loop, and the listener stays behind in the old one.
            (System::Tornado { python }, ..) if shared && python >= (3, 12) => &[Hangs],
            // What ends a pool's job goes through the loop's socket pair, which is made with the
            // loop and so is shared as well: the stranger may read the byte that was meant to wake
            // the owner. Nothing else wakes it if this was the last.
            (System::Tornado { .. }, Handler::Pool, Client::Waits | Client::SendsMore)
                if shared =>
            {
                &[Ok, Hangs]
            }
            _ if shared && self.trigger == Trigger::Level => match (self.handler, self.client) {
                // The stuck worker's socket is readable, and the other is told so for ever.
                (Handler::Blocks, Client::Leaves | Client::SendsMore) => &[Spins],
                (Handler::Blocks, Client::Waits) => TWO_WORKERS,
                // Told as well, but the owner reads it within microseconds.
                (Handler::Awaits | Handler::Pool, _) => &[Ok],
            },
            _ if shared => match (self.handler, self.client) {
                // The one report of the second request goes to the stranger.
                (Handler::Blocks, Client::SendsMore) => &[Hangs],
                // While one worker is stuck, the other hears of everything, so its own is safe; and
                // nobody waits for what is lost.
                (Handler::Blocks, Client::Waits | Client::Leaves) => TWO_WORKERS,
                // Both wait, and a report goes to either: some go to the stranger, and are lost.
                (Handler::Awaits | Handler::Pool, _) => &[Hangs],
            },
            (_, Handler::Blocks, _) if self.start == Start::OneProcess => &[Blocked],
            (_, Handler::Blocks, _) => TWO_WORKERS,
            (_, Handler::Awaits | Handler::Pool, _) => &[Ok],
        }
    }

    /// How many clients ask for the slow handler. Where it blocks one is enough to get a worker
    /// stuck, and a second could get the other stuck as well.
    pub fn slow_clients(&self) -> usize {
        match (self.handler, self.by_chance()) {
            (Handler::Blocks, _) => 1,
            (_, false) => 8,
            (_, true) => 32,
        }
    }

    /// True if the outcome hangs on which of two waiting workers the kernel wakes.
    ///
    /// It wakes the one that came last to its wait, so in calm traffic one worker gets everything,
    /// owns everything and loses nothing. Once both own connections, each report for a connection
    /// of the one that sleeps deeper goes to the other, and is lost. So there must be so many
    /// connections that both own some.
    pub fn by_chance(&self) -> bool {
        self.start == Start::ListenThenFork
            && self.trigger == Trigger::Edge
            && self.handler != Handler::Blocks
    }

    /// How many processes serve.
    pub fn workers(&self) -> usize {
        if self.start == Start::OneProcess { 1 } else { 2 }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { system, start, trigger, handler, client } = self;
        write!(f, "{system} {start} {trigger} {handler} {client}")
    }
}

/// What serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    Naive,
    Squall,
    /// Real Tornado on a Python of this version.
    Tornado {
        python: (u32, u32),
    },
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            System::Naive => "naive",
            System::Squall => "squall",
            System::Tornado { .. } => "tornado",
        })
    }
}

/// Defines an enum of words, with all its values, how each is written, and how it is read.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant),*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($name::$variant => $word),* })
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok($name::$variant),)*
                    _ => Err(format!("{word:?} is not one of {:?}", [$($word),*])),
                }
            }
        }
    };
}

words! {
    /// When the processes come into being.
    Start {
        /// The loop exists and has the listener, then it is forked: the mistake.
        ListenThenFork = "listen-then-fork",
        /// Each worker makes its own loop and adds the listener.
        ForkThenAdd = "fork-then-add",
        /// No fork.
        OneProcess = "one-process"
    }
}

words! {
    /// How the kernel reports.
    Trigger {
        /// As long as it is so.
        Level = "level",
        /// Once when it becomes so.
        Edge = "edge"
    }
}

words! {
    /// How the slow handler spends its time.
    Handler {
        /// It sleeps on the loop's thread.
        Blocks = "blocks",
        /// A timer of the loop.
        Awaits = "awaits",
        /// Another thread sleeps and then wakes the loop.
        Pool = "pool"
    }
}

words! {
    /// What the slow handler's client does meanwhile.
    Client {
        /// It waits for its answer.
        Waits = "waits",
        /// It closes its connection.
        Leaves = "leaves",
        /// It sends a second, quick request and waits for both answers.
        SendsMore = "sends-more"
    }
}
