//! Reports without progress: what spins (law 12).
//!
//! It counts, for each source, the reports in a row that achieved nothing. Progress is what the
//! owner did (bytes, a connection, a new error, the first end of file), not how often the wait
//! returned, so a busy server raises nothing. Next: `mod`.

/// The detector's memory for one source.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detector {
    /// Reports since the registration.
    pub reports: u32,
    /// Reports in a row without progress.
    pub idle_reports: u32,
}

/// What one report came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It achieved something.
    Progress,
    /// It achieved nothing; that may happen.
    Idle,
    /// It achieved nothing for the threshold-th time in a row: name the source. Said once in each
    /// threshold's worth of reports.
    Spins,
}

impl Detector {
    /// Counts one report that achieved something, or did not.
    pub fn judge(&mut self, progress: bool, threshold: u32) -> Verdict {
        self.reports = self.reports.saturating_add(1);
        if progress {
            self.idle_reports = 0;
            return Verdict::Progress;
        }
        self.idle_reports = self.idle_reports.saturating_add(1);
        if self.idle_reports.is_multiple_of(threshold.max(1)) {
            Verdict::Spins
        } else {
            Verdict::Idle
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_12_only_reports_in_a_row_count_and_each_threshold_is_said_once() {
        let mut detector = Detector::default();
        for _ in 0..10 {
            assert_eq!(detector.judge(false, 3), Verdict::Idle);
            assert_eq!(detector.judge(false, 3), Verdict::Idle);
            assert_eq!(detector.judge(true, 3), Verdict::Progress);
        }
        let said: Vec<_> = (0..7).map(|_| detector.judge(false, 3)).collect();
        let spins = said.iter().filter(|v| **v == Verdict::Spins).count();
        assert_eq!((spins, said[2], said[5]), (2, Verdict::Spins, Verdict::Spins));
        assert_eq!(detector.reports, 37);
    }
}
