//! Knowledge of content, without anything being kept of a single message
//! (`docs/protocol/spaces.md#9`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::{Hash, VerifyingKey};

use crate::graph::Graph;
use crate::{Role, Verdict};

/// Content messages of one author that follow each other and have the same past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The last control messages of the past.
    pub(crate) past: Vec<Hash>,
    /// The author's role there.
    pub(crate) role: Option<Role>,
    /// Messages with a lower sequence number stand: what was told last.
    pub(crate) stands_below: u64,
}

impl Run {
    pub(crate) fn may_write(&self) -> bool {
        self.role.is_some_and(Role::may_write)
    }

    pub(crate) fn verdict(&self, seq: u64) -> Verdict {
        match (self.may_write(), seq < self.stands_below) {
            (false, _) => Verdict::Unauthorised,
            (true, true) => Verdict::Stands,
            (true, false) => Verdict::Withdrawn,
        }
    }
}

/// The runs of all authors, by the sequence number of their first message.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    pub(crate) of: BTreeMap<VerifyingKey, BTreeMap<u64, Run>>,
    pub(crate) dirty: BTreeSet<(VerifyingKey, u64)>,
}

impl Runs {
    /// The run of a message.
    pub(crate) fn get(&self, author: &VerifyingKey, seq: u64) -> Option<&Run> {
        let runs = self.of.get(author)?;
        runs.range(..=seq).next_back().map(|(_, run)| run)
    }

    pub(crate) fn insert(&mut self, author: VerifyingKey, first: u64, run: Run) {
        self.of.entry(author).or_default().insert(first, run);
        self.dirty.insert((author, first));
    }

    /// Takes over below which number the messages of a run stand; gives the range that changes, and
    /// its verdict now.
    pub(crate) fn judge(
        &mut self,
        author: &VerifyingKey,
        first: u64,
        stands_below: u64,
    ) -> Option<(u64, Option<u64>, Verdict)> {
        let runs = self.of.get_mut(author)?;
        let end = runs.range(first + 1..).next().map(|(next, _)| *next);
        let run = runs.get_mut(&first).filter(|run| run.may_write())?;
        let before = std::mem::replace(&mut run.stands_below, stands_below);
        if before == stands_below {
            return None;
        }
        self.dirty.insert((*author, first));
        let last = end.unwrap_or(u64::MAX);
        let (low, high) = (before.min(stands_below), before.max(stands_below));
        let (low, high) = (low.clamp(first, last), high.clamp(first, last));
        let verdict = match stands_below > before {
            true => Verdict::Stands,
            false => Verdict::Withdrawn,
        };
        let until = (high < u64::MAX).then_some(high);
        (low < high).then_some((low, until, verdict))
    }
}

/// The last ones among control messages of a past.
pub(crate) fn last_of(graph: &Graph, ids: impl IntoIterator<Item = Hash>) -> Vec<Hash> {
    graph.last_of(ids.into_iter().collect())
}
