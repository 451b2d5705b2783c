//! The roles of members of a space (`docs/protocol/spaces.md#1`).

use core::fmt;
use core::str::FromStr;

use p2panda_groups::Access;
use thiserror::Error;

/// The role of a member; each includes the lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Stores and forwards, and has no keys.
    Courier,
    /// Reads.
    Reader,
    /// Reads and writes.
    Editor,
    /// Reads, writes and decides who else is a member.
    Owner,
}

impl Role {
    /// All of them, lowest first.
    pub const ALL: [Role; 4] = [Role::Courier, Role::Reader, Role::Editor, Role::Owner];

    /// Returns `true` if a member with this role is given the secrets of the space.
    pub fn has_secrets(self) -> bool {
        self >= Role::Reader
    }

    /// Returns `true` if what a member with this role writes is delivered.
    pub fn may_write(self) -> bool {
        self >= Role::Editor
    }
}

impl From<Access> for Role {
    fn from(access: Access) -> Role {
        match access {
            Access::Pull => Role::Courier,
            Access::Read => Role::Reader,
            Access::Write => Role::Editor,
            Access::Manage => Role::Owner,
        }
    }
}

impl From<Role> for Access {
    fn from(role: Role) -> Access {
        match role {
            Role::Courier => Access::Pull,
            Role::Reader => Access::Read,
            Role::Editor => Access::Write,
            Role::Owner => Access::Manage,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Courier => "courier",
            Role::Reader => "reader",
            Role::Editor => "editor",
            Role::Owner => "owner",
        })
    }
}

/// The text is none of `courier`, `reader`, `editor`, `owner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected courier, reader, editor or owner")]
pub struct RoleParseError;

impl FromStr for Role {
    type Err = RoleParseError;

    /// Knows the four names in lower case only.
    fn from_str(text: &str) -> Result<Role, RoleParseError> {
        let named = |role: &Role| role.to_string() == text;
        Role::ALL.into_iter().find(named).ok_or(RoleParseError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_an_access_and_has_one_name() {
        for role in Role::ALL {
            assert_eq!(Role::from(Access::from(role)), role);
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert_eq!("Owner".parse::<Role>(), Err(RoleParseError));
        let with_secrets = Role::ALL.map(Role::has_secrets);
        assert_eq!(with_secrets, [false, true, true, true]);
        assert_eq!(Role::ALL.map(Role::may_write), [false, false, true, true]);
    }
}
