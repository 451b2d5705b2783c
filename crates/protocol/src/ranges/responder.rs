//! The side that answers. It remembers nothing of earlier questions (`docs/protocol/ranges.md#5`).

use p2panda_core::{Heads, Prefix};

use super::RangesError;
use super::message::{Asked, Has, Split, Told};
use super::reconcile::Reconcile;

impl Reconcile {
    /// An answer for each fingerprint, list and bare question, in the order of the question.
    pub(super) fn answer(
        &mut self,
        asked: &[Asked],
        heads: &mut Heads,
    ) -> Result<Vec<Told>, RangesError> {
        let mut told = Vec::new();
        for Asked { range, has } in asked {
            match has {
                None => told.push(Told::Has(self.has(range, heads)?)),
                Some(Has::Few(listed)) => {
                    let behind = self.findings.listed(range, listed, heads)?;
                    told.push(Told::Behind(behind));
                }
                Some(Has::Many(split)) => self.answer_split(range, split, heads, &mut told)?,
            }
        }
        Ok(told)
    }

    fn answer_split(
        &mut self,
        range: &Prefix,
        split: &Split,
        heads: &mut Heads,
        told: &mut Vec<Told>,
    ) -> Result<(), RangesError> {
        let base = range.join(&split.path).ok_or(RangesError::Range)?;
        self.findings.lacks_beside(range, &base, heads)?;
        for (number, part) in (0..).zip(&split.parts) {
            let range = base.child(split.bits, number).ok_or(RangesError::Range)?;
            match part {
                None => self.findings.lacks_all(&range, heads)?,
                Some(fingerprint) => {
                    self.findings.spend(1, heads)?;
                    told.push(if self.is_equal(&range, fingerprint, heads) {
                        Told::Equal
                    } else {
                        Told::Has(self.has(&range, heads)?)
                    });
                }
            }
        }
        Ok(())
    }
}
