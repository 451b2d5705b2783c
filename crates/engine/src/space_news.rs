//! Events of spaces, as sentences for people.

use core::fmt;

use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Event, GroupId, Status};
use p2panda_spaces::{InviteError, Refusal, Role};

/// Event in a space. `to_string` gives a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpaceNews {
    /// Members came, went or have another role: who, with the role before and now.
    Members(Vec<(VerifyingKey, Option<Role>, Option<Role>)>),
    /// This node holds secrets of the space from now on.
    Joined,
    /// It is not a member with secrets any more.
    Ejected,
    /// A member says of which person it is a device.
    Introduced {
        /// The member.
        device: VerifyingKey,
        /// Id of the person.
        person: GroupId,
    },
    /// A person asks the owners to remove it.
    AsksToLeave {
        /// The device that said so.
        device: VerifyingKey,
    },
    /// The space has followed: another device of our person is in.
    Linked {
        /// Node id of the device.
        device: VerifyingKey,
    },
    /// The space has followed: a device of our person is out, and what is written from now on is not
    /// sealed to it.
    Revoked {
        /// Node id of the device.
        device: VerifyingKey,
    },
    /// A recovery key of our person became a member of the space, or is no member any more.
    RecoveryKey {
        /// Recovery key.
        key: VerifyingKey,
        /// `true` if its file gives a new device access to the space.
        is_in: bool,
    },
    /// This node admitted somebody who asked by an invite.
    Admitted {
        /// Node id of the newcomer.
        newcomer: VerifyingKey,
        /// Invite that was used.
        invite: VerifyingKey,
    },
    /// Somebody asked by an invite that does not allow it.
    NotAdmitted {
        /// Node id of the newcomer.
        newcomer: VerifyingKey,
        /// Invite that was used.
        invite: VerifyingKey,
        /// Reason for the refusal.
        reason: InviteError,
    },
    /// Something that somebody did about members has no effect, or another one, because others decided
    /// otherwise at the same time.
    Overruled {
        /// The operation on a group.
        operation: Hash,
        /// Author of the operation.
        author: VerifyingKey,
        /// Status of the operation.
        status: Status,
    },
    /// An owner that was removed at the same time took effect away from what others did: two owners in
    /// conflict, or one that claims an old past.
    Overturned {
        /// Operation that caused it.
        operation: Hash,
        /// Number of operations that were here before and have another effect now.
        count: usize,
    },
    /// The last owner is gone: nobody can change who is a member any more.
    Frozen {
        /// The operation after which it is so.
        operation: Hash,
    },
    /// The space can have only so many more secrets; when there are none left, nobody can be removed any
    /// more: make another space in time.
    NearsEnd {
        /// Number of secrets that are left.
        left: usize,
    },
    /// An owner requires a higher suite for the channels of the space. A version that does not support
    /// it can no longer take part.
    SuiteRaised {
        /// The owner.
        by: VerifyingKey,
        /// Least suite from now on.
        suite: u8,
        /// `true` if this version supports what the space requires.
        is_supported: bool,
    },
    /// An owner asks that a secret is replaced by age, or that this ends.
    Rotation {
        /// The owner.
        by: VerifyingKey,
        /// Days after which a secret is replaced; 0: it is not.
        days: u32,
    },
    /// This node made a new secret because the last one was too old.
    RotatedByAge {
        /// Days after which a secret is replaced.
        days: u32,
    },
    /// A control message has no effect, since its author may not do what it says.
    Refused {
        /// Id of the operation.
        operation: Hash,
        /// Author of the operation.
        author: VerifyingKey,
        /// Reason for the refusal.
        refusal: Refusal,
    },
    /// This node did what others lacked.
    Healed {
        /// Members that were handed secrets.
        handed: Vec<VerifyingKey>,
        /// `true` if a new secret was made.
        rotated: bool,
        /// Members that were removed because their invite allowed fewer.
        removed: Vec<VerifyingKey>,
    },
}

impl SpaceNews {
    /// Selects what to report of an event in the graph of groups.
    pub(crate) fn of_groups(event: Event, of_space: Option<GroupId>) -> Option<SpaceNews> {
        match event {
            Event::Overturns {
                operation,
                overturned,
            } if overturned > 0 => Some(SpaceNews::Overturned {
                operation,
                count: overturned,
            }),
            // A person whose devices revoked each other is no space without owners.
            Event::Frozen { operation, group } if Some(group) == of_space => {
                Some(SpaceNews::Frozen { operation })
            }
            _ => None,
        }
    }
}

impl fmt::Display for SpaceNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpaceNews::Members(changes) => sentence_of_members(changes, f),
            SpaceNews::Joined => f.write_str("this node is a member and can read the space"),
            SpaceNews::Ejected => f.write_str("this node can no longer read the space"),
            SpaceNews::Introduced { device, person } => {
                write!(f, "{device} is a device of the person {person}")
            }
            SpaceNews::AsksToLeave { device } => {
                write!(f, "{device} asks to leave with its person")
            }
            SpaceNews::Linked { device } => {
                write!(f, "your device {device} is linked in this space")
            }
            SpaceNews::Revoked { device } => {
                write!(f, "your device {device} is revoked in this space")
            }
            SpaceNews::RecoveryKey { key, is_in: true } => {
                write!(f, "your recovery key {key} can restore this space")
            }
            SpaceNews::RecoveryKey { key, is_in: false } => {
                write!(
                    f,
                    "your recovery key {key} can no longer restore this space"
                )
            }
            SpaceNews::Admitted { newcomer, invite } => {
                write!(f, "this node admitted {newcomer} by the invite {invite}")
            }
            SpaceNews::NotAdmitted {
                newcomer, reason, ..
            } => write!(f, "{newcomer} asks to join: {reason}"),
            SpaceNews::Overruled {
                operation,
                author,
                status,
            } => write!(
                f,
                "the change of members by {author} ({operation}) {status}"
            ),
            SpaceNews::Overturned { operation, count } => write!(
                f,
                "two owners decided against each other: {operation} removes the effect of {count} \
                 other operations"
            ),
            SpaceNews::Frozen { .. } => {
                f.write_str("the last owner is gone: nobody can change members any more")
            }
            SpaceNews::NearsEnd { left } => write!(
                f,
                "the space can make {left} more secrets, the last ones for removals only: create another \
                 space and add its members there"
            ),
            SpaceNews::SuiteRaised {
                by,
                suite,
                is_supported,
            } => {
                write!(f, "{by} requires suite {suite} or higher from now on")?;
                match is_supported {
                    true => Ok(()),
                    false => f.write_str(", which this version does not support; update this node"),
                }
            }
            SpaceNews::Rotation { by, days } => match days {
                0 => write!(f, "{by} ended the rotation of secrets by age"),
                1 => write!(f, "{by} asks for a new secret every day"),
                _ => write!(f, "{by} asks for a new secret every {days} days"),
            },
            SpaceNews::RotatedByAge { days } => match days {
                1 => f.write_str("this node made a new secret: the last one was a day old"),
                _ => write!(
                    f,
                    "this node made a new secret: the last one was {days} days old"
                ),
            },
            SpaceNews::Refused {
                operation,
                author,
                refusal,
            } => write!(f, "{operation} of {author} has no effect: {refusal}"),
            SpaceNews::Healed {
                handed,
                rotated,
                removed,
            } => sentence_of_healing(handed, *rotated, removed, f),
        }
    }
}

type Changes = [(VerifyingKey, Option<Role>, Option<Role>)];

fn sentence_of_members(changes: &Changes, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, (member, before, after)) in changes.iter().enumerate() {
        f.write_str(if at == 0 { "" } else { ", " })?;
        match (before, after) {
            (None, Some(role)) => write!(f, "{member} joined as {role}")?,
            (_, None) => write!(f, "{member} is no longer a member")?,
            (Some(_), Some(role)) => write!(f, "{member} is now {role}")?,
        }
    }
    Ok(())
}

fn sentence_of_healing(
    handed: &[VerifyingKey],
    rotated: bool,
    removed: &[VerifyingKey],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    f.write_str("this node brought the space up to date")?;
    if rotated {
        f.write_str(", made a new secret")?;
    }
    for member in handed {
        write!(f, ", handed secrets to {member}")?;
    }
    for member in removed {
        write!(
            f,
            ", removed {member}, for whom the invite had no place left"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_core::SigningKey;

    use super::*;

    #[test]
    fn each_event_of_a_space_is_a_plain_sentence() {
        let [a, b] = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key());
        let operation = Hash::digest(b"one");
        let came = (a, None, Some(Role::Editor));
        let changed = (b, Some(Role::Editor), Some(Role::Owner));
        let gone = (b, Some(Role::Owner), None);
        let sentences = [
            (
                SpaceNews::Members(vec![came, changed, gone]),
                format!("{a} joined as editor, {b} is now owner, {b} is no longer a member"),
            ),
            (
                SpaceNews::RecoveryKey {
                    key: a,
                    is_in: true,
                },
                format!("your recovery key {a} can restore this space"),
            ),
            (
                SpaceNews::NotAdmitted {
                    newcomer: a,
                    invite: b,
                    reason: InviteError::Expired,
                },
                format!("{a} asks to join: the invite has expired"),
            ),
            (
                SpaceNews::Healed {
                    handed: vec![a],
                    rotated: true,
                    removed: vec![b],
                },
                format!(
                    "this node brought the space up to date, made a new secret, handed secrets to {a}, \
                     removed {b}, for whom the invite had no place left"
                ),
            ),
            (
                SpaceNews::NearsEnd { left: 100 },
                "the space can make 100 more secrets, the last ones for removals only: create another \
                 space and add its members there"
                    .to_owned(),
            ),
            (
                SpaceNews::SuiteRaised {
                    by: a,
                    suite: 2,
                    is_supported: true,
                },
                format!("{a} requires suite 2 or higher from now on"),
            ),
            (
                SpaceNews::SuiteRaised {
                    by: a,
                    suite: 3,
                    is_supported: false,
                },
                format!(
                    "{a} requires suite 3 or higher from now on, which this version does not support; \
                     update this node"
                ),
            ),
            (
                SpaceNews::Rotation { by: a, days: 30 },
                format!("{a} asks for a new secret every 30 days"),
            ),
            (
                SpaceNews::Rotation { by: a, days: 1 },
                format!("{a} asks for a new secret every day"),
            ),
            (
                SpaceNews::Rotation { by: a, days: 0 },
                format!("{a} ended the rotation of secrets by age"),
            ),
            (
                SpaceNews::RotatedByAge { days: 30 },
                "this node made a new secret: the last one was 30 days old".to_owned(),
            ),
            (
                SpaceNews::RotatedByAge { days: 1 },
                "this node made a new secret: the last one was a day old".to_owned(),
            ),
            (
                SpaceNews::Refused {
                    operation,
                    author: a,
                    refusal: Refusal::Role(Some(Role::Reader)),
                },
                format!("{operation} of {a} has no effect: its author was reader"),
            ),
        ];
        for (news, sentence) in sentences {
            assert_eq!(news.to_string(), sentence);
        }
    }
}
