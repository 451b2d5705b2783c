//! Groups: the published state machine, and operations as bytes between the two sides.

use std::collections::BTreeMap;

use p2panda_core::VerifyingKey;
use p2panda_groups::{Access, GroupId, Groups, Member, Operation, View};
use published_auth::group::resolver::StrongRemove;
use published_auth::group::{GroupCrdt, GroupCrdtState, GroupMember};
use published_auth::{AccessLevel, GroupsOperation};
use published_core::cbor::{decode_cbor, encode_cbor};

use crate::{PublishedId, PublishedKey, from_published_key, to_published_key};

/// The published state.
pub type State = GroupCrdtState<PublishedKey, PublishedId, GroupsOperation, ()>;

type Resolver = StrongRemove<PublishedKey, PublishedId, GroupsOperation, ()>;

/// The published state machine with its only resolver.
pub type Crdt = GroupCrdt<PublishedKey, PublishedId, GroupsOperation, (), Resolver>;

/// The operation as the published crate reads it from our bytes.
pub fn to_published(operation: &Operation) -> GroupsOperation {
    decode_cbor(&operation.encode()[..]).expect("our operations decode there")
}

/// The operation as we read it from the published crate's bytes.
pub fn from_published(operation: &GroupsOperation) -> Operation {
    let bytes = encode_cbor(operation).expect("operations encode");
    Operation::decode(&bytes).expect("their operations decode here")
}

/// Members, direct or reached through other groups, with their access.
pub type Accesses = BTreeMap<Member, Access>;

/// What one side says of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The direct members.
    pub direct: Accesses,
    /// All individuals.
    pub individuals: Accesses,
    /// All nested groups.
    pub nested: Accesses,
}

impl Answer {
    /// What we say now.
    pub fn ours(groups: &Groups, group: &GroupId) -> Answer {
        Answer::of_view(&groups.now(), group)
    }

    /// What we say at some operations.
    pub fn of_view(view: &View<'_>, group: &GroupId) -> Answer {
        let individual = |(key, access)| (Member::Individual(key), access);
        let nested = |(group, access)| (Member::Group(group), access);
        Answer {
            direct: view.direct_members(group).into_iter().collect(),
            individuals: view.members(group).into_iter().map(individual).collect(),
            nested: view.nested_groups(group).into_iter().map(nested).collect(),
        }
    }

    /// What the published crate says now.
    pub fn published(state: &State, group: &GroupId) -> Answer {
        let group = to_published_key(group.as_key());
        let direct = state.root_members(group).into_iter();
        let individuals = state.members(group).into_iter();
        let nested = state.groups(group).into_iter();
        Answer {
            direct: direct.map(|(who, a)| (member(&who), access(&a))).collect(),
            individuals: individuals
                .map(|(key, a)| (Member::Individual(key_of(&key)), access(&a)))
                .collect(),
            nested: nested
                .map(|(key, a)| (Member::Group(key_of(&key).into()), access(&a)))
                .collect(),
        }
    }
}

fn key_of(key: &PublishedKey) -> VerifyingKey {
    from_published_key(key)
}

fn member(member: &GroupMember<PublishedKey>) -> Member {
    match member {
        GroupMember::Individual(key) => Member::Individual(key_of(key)),
        GroupMember::Group(key) => Member::Group(key_of(key).into()),
    }
}

fn access(access: &published_auth::Access) -> Access {
    match access.level {
        AccessLevel::Pull => Access::Pull,
        AccessLevel::Read => Access::Read,
        AccessLevel::Write => Access::Write,
        AccessLevel::Manage => Access::Manage,
    }
}
