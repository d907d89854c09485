//! A snapshot as tables, for a terminal. Next: `trace::chrome`.

use std::fmt;
use std::time::Duration;

use crate::pool::PoolStats;
use crate::snapshot::{Snapshot, SourceRow, TaskRow, Timers};

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = "token fd kind trigger interest phase last reports fruitless idle longest registered at";
        let rows = self.sources.iter().map(SourceRow::cells).collect();
        write_table(f, &format!("{} sources", self.sources.len()), head, rows)?;
        let rows = self.tasks.iter().map(TaskRow::cells).collect();
        let head = "token phase polls since longest spawned at";
        write_table(f, &format!("{} tasks", self.tasks.len()), head, rows)?;
        writeln!(f, "{}", self.timers)?;
        for (name, pool) in &self.pools {
            let PoolStats { threads, idle, queued, waiting, running, completed, .. } = pool;
            write!(f, "pool {name}: {threads} threads, {idle} idle; {running} jobs run, ")?;
            writeln!(f, "{queued} queued, {waiting} wait for the queue, {completed} done")?;
        }
        writeln!(f, "{} jobs ready, {} messages unheard", self.ready, self.mail)?;
        writeln!(f, "watchdog {:?}", self.watchdog)?;
        let mut between = "";
        for (name, value) in self.stats.iter() {
            write!(f, "{between}{name} {value}")?;
            between = ", ";
        }
        writeln!(f)
    }
}

impl fmt::Display for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} timers", self.armed)?;
        if let Some(next_in) = self.next_in {
            write!(f, ", the first in {next_in:.1?}")?;
        }
        for (span, count) in self.due_within.iter().filter(|(_, count)| *count > 0) {
            write!(f, "; {count} within {span:?}")?;
        }
        if self.later > 0 { write!(f, "; {} later", self.later) } else { Ok(()) }
    }
}

impl SourceRow {
    fn cells(&self) -> Vec<String> {
        vec![
            format!("{:?}", self.token),
            self.fd.to_string(),
            self.kind.to_string(),
            format!("{:?}", self.trigger),
            format!("{:?}", self.interest),
            format!("{:?}", self.phase),
            format!("{:?}", self.last_readiness),
            self.reports.to_string(),
            self.reports_without_progress.to_string(),
            format!("{:.1?}", self.idle),
            or_dash(self.longest),
            self.registered_at.to_string(),
        ]
    }
}

impl TaskRow {
    fn cells(&self) -> Vec<String> {
        vec![
            format!("{:?}", self.token),
            format!("{:?}", self.phase),
            self.polls.to_string(),
            format!("{:.1?}", self.since),
            or_dash(self.longest),
            self.spawned_at.to_string(),
        ]
    }
}

fn or_dash(longest: Option<Duration>) -> String {
    longest.map_or_else(|| "-".to_owned(), |longest| format!("{longest:.1?}"))
}

/// A title, a line of names and the rows, in columns; the last name may have a space in it.
fn write_table(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    head: &str,
    rows: Vec<Vec<String>>,
) -> fmt::Result {
    writeln!(f, "{title}")?;
    let Some(columns) = rows.first().map(Vec::len) else { return Ok(()) };
    let head: Vec<String> = head.splitn(columns, ' ').map(str::to_owned).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).map(|row| row[column].len());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in [&head].into_iter().chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("  {cell:width$}"));
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}
