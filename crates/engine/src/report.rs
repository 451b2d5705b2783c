//! The result of a batch, summed up.

use p2panda_store::RejectReason;

use crate::answer::Outcome;

/// The result of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestReport {
    /// Stored now.
    pub stored: usize,
    /// Stored before, with a body filled in now or not, or pruned before.
    pub duplicates: usize,
    /// Kept in memory until their predecessors arrive.
    pub early: usize,
    /// Refused; a row says why.
    pub rejected: usize,
    /// Among the refused: with a wrong signature, a wrong body or no header at all.
    pub invalid: usize,
    /// Among the stored: the first of a log that is new here.
    pub new_logs: usize,
    /// Of blocked logs, and therefore not kept.
    pub blocked: usize,
    /// Early and without room; they must be sent again.
    pub dropped: usize,
}

impl IngestReport {
    /// Of the outcomes of one command.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut report = Self::default();
        for outcome in outcomes {
            match outcome {
                Outcome::Stored { new_log, .. } => {
                    report.stored += 1;
                    report.new_logs += usize::from(*new_log);
                }
                Outcome::Early => report.early += 1,
                Outcome::Blocked => report.blocked += 1,
                Outcome::Dropped => report.dropped += 1,
                Outcome::Rejected(reason) => {
                    report.rejected += 1;
                    report.invalid += usize::from(is_invalid(*reason));
                }
                _ => report.duplicates += 1,
            }
        }
        report
    }

    /// Adds up two reports.
    pub fn add(&mut self, other: Self) {
        self.stored += other.stored;
        self.duplicates += other.duplicates;
        self.early += other.early;
        self.rejected += other.rejected;
        self.invalid += other.invalid;
        self.new_logs += other.new_logs;
        self.blocked += other.blocked;
        self.dropped += other.dropped;
    }
}

fn is_invalid(reason: RejectReason) -> bool {
    matches!(
        reason,
        RejectReason::InvalidSignature | RejectReason::Undecodable | RejectReason::PayloadMismatch
    )
}

/// The answers to a batch that was queued in parts.
#[derive(Debug)]
pub struct PartAnswers {
    parts: usize,
    report: IngestReport,
}

impl PartAnswers {
    /// To this many parts.
    pub fn new(parts: usize) -> Self {
        let report = IngestReport::default();
        Self { parts, report }
    }

    /// Adds the answer to one part; the last one makes the report complete.
    pub fn add(&mut self, outcomes: &[Outcome]) -> Option<IngestReport> {
        self.report.add(IngestReport::of(outcomes));
        self.parts = self.parts.saturating_sub(1);
        (self.parts == 0).then_some(self.report)
    }
}
