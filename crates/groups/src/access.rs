//! The access of a member.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

/// Access level of a member of a group; each includes the lower ones
/// (`docs/protocol/groups.md#2`).
///
/// Only [`Access::Manage`] has a meaning inside this crate. The others are for the layers above:
/// encryption, for instance, gives no secrets to members that may only pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// May sync.
    Pull,
    /// May read.
    Read,
    /// May write.
    Write,
    /// May change the group.
    Manage,
}

impl Access {
    /// All of them, lowest first.
    pub const ALL: [Access; 4] = [Access::Pull, Access::Read, Access::Write, Access::Manage];
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Pull => "pull",
            Access::Read => "read",
            Access::Write => "write",
            Access::Manage => "manage",
        })
    }
}

impl FromStr for Access {
    type Err = AccessParseError;

    /// Knows the four names in lower case only.
    fn from_str(text: &str) -> Result<Access, AccessParseError> {
        Access::ALL
            .into_iter()
            .find(|access| access.to_string() == text)
            .ok_or(AccessParseError)
    }
}

/// The text is none of `pull`, `read`, `write`, `manage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected pull, read, write or manage")]
pub struct AccessParseError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_lower_case_only() {
        for access in Access::ALL {
            assert_eq!(access.to_string().parse(), Ok(access));
        }
        assert_eq!("Manage".parse::<Access>(), Err(AccessParseError));
    }
}
