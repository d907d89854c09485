//! The table, the JSON, and what the table shows in three sentences. Pure.

use std::fmt::Write as _;

use squall_support::table::Table;

use crate::measure::Measured;
use crate::rows::Row;
use crate::verdict::{Observed, Verdict};

/// Below the table.
pub const CLOSING: &str = "\
A worker that shares its epoll instance across a fork is told of sockets that only its sibling \
can read: level-triggered it spins, edge-triggered the report is lost and a client hangs.
Each cure removes that alone (fork before the loop exists, or never block the loop), but a handler \
that blocks still freezes its own worker, so do both; Squall refuses the wrong start outright.
Read on in docs/the-bug.md, then in examples/reproduce/naive.rs, which is the mistake in full, and \
in rows.rs beside it, which says what must come out and why.";

/// The measured rows as a table.
pub fn table(rows: &[Measured]) -> String {
    let mut table = Table::new(&[
        "system",
        "start",
        "trigger",
        "handler",
        "client",
        ">CPU %",
        ">wake-ups/s",
        ">for nothing/s",
        ">quick ms",
        "verdict",
        "expected",
    ]);
    for measured in rows {
        let Row { system, start, trigger, handler, client } = measured.row;
        let cpu: Vec<_> = cpu_percent(measured).iter().map(|cpu| format!("{cpu:.0}")).collect();
        let served = measured.verdict != Verdict::Refused;
        let rate = |rate: f64| if served { thousands(rate) } else { String::new() };
        table.row([
            system.to_string(),
            start.to_string(),
            trigger.to_string(),
            handler.to_string(),
            client.to_string(),
            cpu.join(" "),
            rate(wakeups(measured)),
            rate(idle_wakeups(measured)),
            ping_ms(measured).map_or(String::new(), |ms| format!("{ms:.0}")),
            measured.verdict.to_string(),
            if as_expected(measured) {
                "yes".to_owned()
            } else {
                format!("NO: {}", predicted(measured))
            },
        ]);
    }
    table.to_string()
}

/// The measured rows as a JSON array. `expected` is a single verdict: where the mechanism allows
/// two, the one that came out if it is one of them.
pub fn json(rows: &[Measured]) -> String {
    let mut text = String::from("[");
    for (index, measured) in rows.iter().enumerate() {
        let Row { system, start, trigger, handler, client } = measured.row;
        let cpu: Vec<_> = cpu_percent(measured).iter().map(|cpu| format!("{cpu:.1}")).collect();
        let ping = ping_ms(measured).map_or("null".to_owned(), |ms| format!("{ms:.1}"));
        let verdict = measured.verdict;
        let expected = if as_expected(measured) { verdict } else { measured.row.expected()[0] };
        let _ = write!(
            text,
            "{}\n  {{\"system\": \"{system}\", \"start\": \"{start}\", \"trigger\": \"{trigger}\", \
             \"handler\": \"{handler}\", \"client\": \"{client}\", \"cpu_percent\": [{}], \
             \"wakeups_per_s\": {:.1}, \"idle_wakeups_per_s\": {:.1}, \"ping_ms\": {ping}, \
             \"verdict\": \"{verdict}\", \"expected\": \"{expected}\"}}",
            if index == 0 { "" } else { "," },
            cpu.join(", "),
            wakeups(measured),
            idle_wakeups(measured),
        );
    }
    text.push_str("\n]\n");
    text
}

/// True if the verdict is one that the mechanism predicts.
pub fn as_expected(measured: &Measured) -> bool {
    measured.row.expected().contains(&measured.verdict)
}

/// What the mechanism predicts, in words.
pub fn predicted(measured: &Measured) -> String {
    let words: Vec<_> = measured.row.expected().iter().map(Verdict::to_string).collect();
    words.join(" or ")
}

/// What the verdict was made of, for the one who must find out why it is not the expected one.
pub fn figures(measured: &Measured) -> String {
    let Observed { workers, control, pings, missing } = &measured.observed;
    let mut text = String::new();
    for pace in workers.iter().chain([control]) {
        let _ = write!(text, "hot {:.2} for nothing {:.0}/s, ", pace.hot, pace.idle_wakeups);
    }
    let worst = pings.iter().max_by_key(|ping| ping.wait);
    let _ = write!(text, "the last is the control; missing {missing}, worst {worst:?}");
    text
}

fn cpu_percent(measured: &Measured) -> Vec<f64> {
    measured.observed.workers.iter().map(|worker| worker.cpu * 100.0).collect()
}

fn wakeups(measured: &Measured) -> f64 {
    measured.observed.workers.iter().map(|worker| worker.wakeups).sum()
}

fn idle_wakeups(measured: &Measured) -> f64 {
    measured.observed.workers.iter().map(|worker| worker.idle_wakeups).sum()
}

/// The worst quick request; one that was never answered counts with the time until we gave up.
fn ping_ms(measured: &Measured) -> Option<f64> {
    let waits = measured.observed.pings.iter().map(|ping| ping.wait.as_secs_f64() * 1000.0);
    waits.reduce(f64::max)
}

/// 1234567 as 1,234,567.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
