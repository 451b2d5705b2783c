//! Limits of a team that take many members or operations to reach.

use p2panda_core::limits::{TEAM_MEMBERS_MAX, TEAM_OPERATIONS_MAX};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Access, Action, Arguments, GroupId, Member, Operation, bound_group_id};

use super::MARK;
use crate::native_world::{Node, nodes};
use crate::{LocalError, Role};

/// Takes an operation of this node in, without publishing it.
fn take_in(node: &mut Node, number: u64, arguments: Arguments) {
    let operation = Operation {
        id: Hash::digest(&number.to_be_bytes()),
        author: node.id,
        arguments,
    };
    node.spaces.groups.process(&operation).unwrap();
}

/// A team that this node manages and others can read.
fn team(node: &mut Node, readers: impl Iterator<Item = Member>) -> GroupId {
    let mut nonce = [7; 32];
    *nonce.last_chunk_mut().unwrap() = *MARK;
    let group = bound_group_id(&node.id, &nonce);
    let mut initial_members = vec![(node.member(), Access::Manage)];
    initial_members.extend(readers.map(|member| (member, Access::Read)));
    let arguments = Arguments {
        group,
        dependencies: Vec::new(),
        action: Action::Create { initial_members },
        nonce: Some(nonce),
    };
    take_in(node, 0, arguments);
    group
}

fn give(node: &mut Node, team: GroupId, member: Member, role: Role) -> Result<(), LocalError> {
    let done = node.try_act(|spaces, desk| spaces.change_team(team, member, Some(role), desk));
    done.map(|_| ())
}

#[test]
fn managers_add_so_many_members_and_no_more() {
    let [mut ada, ben, cay] = nodes();
    let member = |n: usize| {
        let bytes = Hash::digest(&n.to_be_bytes());
        Member::Individual(VerifyingKey::from_bytes_unchecked(*bytes.as_bytes()))
    };
    let team = team(&mut ada, (2..TEAM_MEMBERS_MAX).map(member));
    give(&mut ada, team, ben.member(), Role::Reader).unwrap();
    let one_more = give(&mut ada, team, cay.member(), Role::Reader);
    assert_eq!(one_more, Err(LocalError::TooManyMembers));
    give(&mut ada, team, ben.member(), Role::Editor).unwrap();
}

#[test]
fn nobody_is_added_after_so_many_operations() {
    let [mut ada, ben, cay, dan] = nodes();
    let team = team(&mut ada, [ben.member()].into_iter());
    for number in 2..TEAM_OPERATIONS_MAX as u64 / 2 {
        let member = ben.member();
        let action = match number % 2 {
            0 => Action::Promote {
                member,
                access: Access::Write,
            },
            _ => Action::Demote {
                member,
                access: Access::Read,
            },
        };
        let draft = ada.spaces.groups.draft(&ada.id, &team, action);
        take_in(&mut ada, number, draft.arguments);
    }
    give(&mut ada, team, cay.member(), Role::Reader).unwrap();
    let one_more = give(&mut ada, team, dan.member(), Role::Reader);
    assert_eq!(one_more, Err(LocalError::TooManyMembers));
    give(&mut ada, team, ben.member(), Role::Editor).unwrap();
}
