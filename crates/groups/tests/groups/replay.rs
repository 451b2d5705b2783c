//! Puts the crate and the oracle side by side.

use std::collections::BTreeMap;

use p2panda_core::Hash;
use p2panda_groups::{
    Access, Admitted, Filter, GroupId, Groups, Member, NoEffect, Operation, ProcessError,
    Processed, Reason, Status, View,
};

use crate::oracle::{self, Oracle, Tables};

/// Hands an operation over; the error is the word of the vector files.
pub fn process(groups: &mut Groups, operation: &Operation) -> Result<Admitted, String> {
    match groups.process(operation) {
        Ok(Processed::Admitted(admitted)) => Ok(admitted),
        Ok(other) => panic!("a small graph is never put off: {other:?}"),
        Err(error) => Err(error_word(error)),
    }
}

pub fn error_word(error: ProcessError) -> String {
    match error {
        ProcessError::Duplicate => "duplicate".into(),
        ProcessError::SelfDependency => "self_dependency".into(),
        ProcessError::MissingDependency(_) => "missing_dependency".into(),
        ProcessError::ManagerGroup => "manager_groups_not_allowed".into(),
        ProcessError::Rejected(reason) => reason_word(reason).into(),
        ProcessError::Limit(limit) => format!("{limit:?}"),
        other => panic!("a new word is needed for {other:?}"),
    }
}

fn reason_word(reason: Reason) -> &'static str {
    match reason {
        Reason::UnrecognisedActor => "unrecognised_actor",
        Reason::InactiveActor => "inactive_actor",
        Reason::InsufficientAccess => "insufficient_access",
        Reason::AlreadyAdded => "already_added",
        Reason::AlreadyRemoved => "already_removed",
        Reason::UnrecognisedMember => "unrecognised_member",
        Reason::InactiveMember => "inactive_member",
        Reason::GroupCycle => "group_cycle",
        Reason::UnknownGroup => "unknown_group",
        other => panic!("a new word is needed for {other:?}"),
    }
}

pub fn status_word(status: Status) -> String {
    match status {
        Status::Applied => "applied".into(),
        Status::Filtered {
            rule: Filter::Author,
            by,
        } => format!("filtered:F1:{by}"),
        Status::Filtered {
            rule: Filter::Add,
            by,
        } => format!("filtered:F2:{by}"),
        Status::ForcedRemoval => "forced_removal".into(),
        Status::NoEffect(NoEffect::Hardened(rule)) => format!("no_effect:hardened({rule})"),
        Status::NoEffect(NoEffect::Reason(reason)) => format!("no_effect:{}", reason_word(reason)),
        other => panic!("a new word is needed for {other:?}"),
    }
}

/// All tables of a view as the oracle keeps them.
pub fn tables(view: &View<'_>) -> Tables {
    let table = |group: GroupId| {
        let records = view.records(&group).into_iter();
        let entries = records.map(|r| (r.member, (r.memberships, r.access, r.changes)));
        (group, entries.collect())
    };
    view.groups().into_iter().map(table).collect()
}

pub fn reached(view: &View<'_>, group: GroupId) -> BTreeMap<Member, Access> {
    let members = view.members(&group).into_iter();
    let nested = view.nested_groups(&group).into_iter();
    let individuals = members.map(|(key, access)| (Member::Individual(key), access));
    individuals
        .chain(nested.map(|(group, access)| (Member::Group(group), access)))
        .collect()
}

/// Final verdict of the oracle.
pub struct Expected {
    pub outcomes: BTreeMap<Hash, Result<(), String>>,
    statuses: BTreeMap<Hash, String>,
    states: BTreeMap<Hash, Tables>,
    current: Tables,
    heads: Vec<Hash>,
}

impl Expected {
    pub fn of(oracle: &Oracle, outcomes: BTreeMap<Hash, Result<(), String>>) -> Expected {
        let all = oracle.all();
        let resolution = oracle.resolve(&all);
        let id = |op: &usize| oracle.ops[*op].op.id;
        let mut heads: Vec<Hash> = oracle.heads(&all).iter().map(id).collect();
        heads.sort_unstable();
        Expected {
            outcomes,
            current: oracle.at_heads(&all, &resolution),
            statuses: resolution
                .statuses
                .iter()
                .map(|(op, s)| (id(op), s.clone()))
                .collect(),
            states: resolution
                .states
                .into_iter()
                .map(|(op, s)| (id(&op), s))
                .collect(),
            heads,
        }
    }

    /// Everything that can be asked has the oracle's answer.
    pub fn check(&self, groups: &Groups, what: &str) {
        assert_eq!(groups.heads(), self.heads, "heads of {what}");
        assert_eq!(groups.len(), self.statuses.len(), "operations of {what}");
        for (id, status) in &self.statuses {
            let found = status_word(groups.status(id).unwrap());
            assert_eq!(&found, status, "status of {id} of {what}");
        }
        for (id, state) in &self.states {
            let found = tables(&groups.at(&[*id]).unwrap());
            assert_eq!(&found, state, "state at {id} of {what}");
        }
        let now = groups.now();
        assert_eq!(tables(&now), self.current, "current state of {what}");
        for group in self.current.keys() {
            let expected = oracle::reached(&self.current, *group);
            assert_eq!(
                reached(&now, *group),
                expected,
                "members of {group} of {what}"
            );
            for (member, access) in &expected {
                if let Member::Individual(key) = member {
                    assert_eq!(
                        now.access(group, key),
                        Some(*access),
                        "access of {key} of {what}"
                    );
                }
            }
        }
    }
}
