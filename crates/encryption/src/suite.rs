//! Suites of channels, and the settings of a group that has the hybrid one
//! (`docs/protocol/encryption-hybrid.md`).

use p2panda_core::limits::HYBRID_EVERY_DEFAULT;

use crate::Member;
use crate::two_party::KeyUsed;
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, bytes_array, tuple};
use crate::x25519::PublicKey;
use crate::xwing::XWingPublic;

/// Key agreement of two members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Suite {
    /// X25519 only: what is recorded today can be read by a quantum computer of later.
    #[default]
    Classic,
    /// X25519 and ML-KEM-768.
    Hybrid,
}

impl Suite {
    /// As bundles name it; a receiver skips those it does not know.
    pub const fn number(self) -> u8 {
        match self {
            Suite::Classic => 1,
            Suite::Hybrid => 2,
        }
    }
}

/// Setting that makes all channels of a group hybrid: members that do not speak the suite are not
/// reached, and nothing of the classic suite is accepted. Not for groups with 0.7.1 members, which
/// could not read its control messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SuiteConfig {
    /// Names the group, the same for all its members; every ciphertext is bound to it.
    pub group: [u8; 32],
    /// One in this many messages of a channel is hybrid, next to those that removals need: 16 by
    /// default. 1 makes every message hybrid, and eight times as large as the others
    /// (`docs/protocol/encryption-hybrid.md#5.5`).
    pub hybrid_every: u32,
}

impl SuiteConfig {
    /// With the default of messages that are hybrid.
    pub fn new(group: [u8; 32]) -> SuiteConfig {
        SuiteConfig {
            group,
            hybrid_every: HYBRID_EVERY_DEFAULT,
        }
    }
}

impl Wire for SuiteConfig {
    fn write(&self, w: &mut Writer) {
        w.array(2).bytes(&self.group);
        w.uint(self.hybrid_every.into());
    }

    fn read(r: &mut Reader<'_>) -> Result<SuiteConfig, DecodeError> {
        tuple(r, 2, |r| {
            Ok(SuiteConfig {
                group: bytes_array(r)?,
                hybrid_every: r.uint()?.try_into().map_err(|_| DecodeError::Range)?,
            })
        })
    }
}

/// One direction of a channel of one group: what every message of it is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) group: [u8; 32],
    pub(crate) sender: Member,
    pub(crate) recipient: Member,
}

impl Link {
    pub(crate) fn info(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.array(5)
            .text("p2panda 2sm")
            .uint(Suite::Hybrid.number().into());
        w.bytes(&self.group)
            .item(&self.sender)
            .item(&self.recipient);
        w.into_bytes().to_vec()
    }
}

/// The associated data of a first message.
pub(crate) fn first_aad(
    (sender, recipient): (&PublicKey, &PublicKey),
    (prekey, xwing): (&PublicKey, &XWingPublic),
    onetime: Option<u64>,
) -> Vec<u8> {
    let mut w = Writer::default();
    w.array(6).text("first").item(sender).item(recipient);
    w.item(prekey).item(xwing);
    match onetime {
        Some(id) => w.uint(id),
        None => w.null(),
    };
    w.into_bytes().to_vec()
}

/// The associated data of a hybrid message: the labels of the X25519 key and of the X-Wing key.
pub(crate) fn hybrid_aad(key_used: &KeyUsed, xwing_used: &KeyUsed) -> Vec<u8> {
    let mut w = Writer::default();
    w.array(3).text("hybrid").item(key_used).item(xwing_used);
    w.into_bytes().to_vec()
}

/// The associated data of a chained message.
pub(crate) fn chained_aad(key_used: &KeyUsed) -> Vec<u8> {
    let mut w = Writer::default();
    w.array(2).text("chained").item(key_used);
    w.into_bytes().to_vec()
}
