//! Helpers that describe actions on groups.

use p2panda_groups::{
    Access, Action, Admitted, Arguments, GroupId, Groups, Member, Operation, Rules,
};

use crate::replay::process;
use crate::scenario::{self, group, key, name};

pub struct Author<'a>(pub &'a str);

impl Author<'_> {
    pub fn does(&self, id: u64, group: GroupId, dependencies: &[u64], action: Action) -> Operation {
        let dependencies = dependencies.iter().map(|id| scenario::id(*id)).collect();
        let arguments = Arguments {
            group,
            dependencies,
            action,
            nonce: None,
        };
        Operation {
            id: scenario::id(id),
            author: key(self.0),
            arguments,
        }
    }
}

pub fn create(members: &[(&str, Access)]) -> Action {
    let entry = |(name, access): &(&str, Access)| (person(name), *access);
    Action::Create {
        initial_members: members.iter().map(entry).collect(),
    }
}

pub fn person(name: &str) -> Member {
    Member::Individual(key(name))
}

pub fn add(name: &str, access: Access) -> Action {
    Action::Add {
        member: person(name),
        access,
    }
}

pub fn nest(name: &str) -> Action {
    Action::Add {
        member: Member::Group(group(name)),
        access: Access::Read,
    }
}

pub fn remove(name: &str) -> Action {
    Action::Remove {
        member: person(name),
    }
}

pub fn admit(groups: &mut Groups, operation: Operation) -> Admitted {
    process(groups, &operation).unwrap()
}

pub fn members(groups: &Groups, group: GroupId) -> Vec<(String, Access)> {
    let members = groups.now().members(&group).into_iter();
    members.map(|(key, access)| (name(&key), access)).collect()
}

pub fn one() -> GroupId {
    group("1")
}

/// A manages group 1 with B as a reader; operations 0 and 1.
pub fn honest() -> Groups {
    let mut groups = Groups::new(Rules::Hardened);
    admit(
        &mut groups,
        Author("A").does(0, one(), &[], create(&[("A", Access::Manage)])),
    );
    admit(
        &mut groups,
        Author("A").does(1, one(), &[0], add("B", Access::Read)),
    );
    groups
}
