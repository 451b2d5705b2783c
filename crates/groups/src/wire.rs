//! The bytes of actions, arguments and operations (`docs/protocol/groups.md#11`).

use p2panda_core::cbor::{self, CborError, Limits, Reader, Writer};
use p2panda_core::limits::{GROUP_MEMBERS_MAX, HEADER_DEPTH_MAX, HEADER_LENGTH_MAX};
use p2panda_core::{Hash, VerifyingKey};
use thiserror::Error;

use crate::{Access, Action, Arguments, Member, Operation};

/// The bounds of arguments, wherever they are carried (`docs/protocol/groups.md#11`).
const LIMITS: Limits = Limits {
    length_max: GROUP_MEMBERS_MAX as u64,
    depth_max: HEADER_DEPTH_MAX,
};

/// Reason why bytes are not an action, arguments or operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The bytes are not one deterministic CBOR item within the limits.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// A field is missing.
    #[error("a field is missing")]
    Missing,
    /// An action, member or access of an unknown name.
    #[error("an unknown variant")]
    Variant,
    /// An access with conditions; only `null` is understood.
    #[error("an access has conditions")]
    Conditions,
    /// A hash is not 32 bytes long.
    #[error("a hash has a wrong length")]
    Hash,
    /// A key is not a point of the curve or not 32 bytes long.
    #[error("a key is invalid")]
    Key,
}

impl Action {
    /// The deterministic CBOR of the action.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        write_action(&mut writer, self);
        writer.into_bytes()
    }

    /// Reads an action with at most as many elements as a group may have members.
    pub fn decode(bytes: &[u8]) -> Result<Action, Invalid> {
        whole(bytes, LIMITS, read_action)
    }
}

impl Arguments {
    /// The deterministic CBOR that goes into the header extensions.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let nonce = self.creating_nonce();
        writer.map(3 + usize::from(nonce.is_some()));
        write_nonce(&mut writer, nonce);
        writer.text("action");
        write_action(&mut writer, &self.action);
        self.write_tail(&mut writer);
        writer.into_bytes()
    }

    /// Reads arguments with at most as many elements in a list as a group may have members.
    /// Unknown fields are skipped.
    pub fn decode(bytes: &[u8]) -> Result<Arguments, Invalid> {
        whole(bytes, LIMITS, read_arguments)
    }

    /// True if no list is longer than a header allows, so that the arguments can stand in header
    /// extensions and be sent to peers with the published release.
    ///
    /// Where it is false, create the group with fewer members and add the others, or carry the
    /// arguments in the body.
    pub fn fits_header(&self) -> bool {
        let entries = match &self.action {
            Action::Create { initial_members } => initial_members.len(),
            _ => 0,
        };
        self.dependencies.len().max(entries) as u64 <= HEADER_LENGTH_MAX
    }

    fn write_tail(&self, writer: &mut Writer) {
        writer.text("group_id").bytes(self.group.as_bytes());
        writer.text("dependencies").array(self.dependencies.len());
        for dependency in &self.dependencies {
            writer.bytes(dependency.as_bytes());
        }
    }

    fn creating_nonce(&self) -> Option<[u8; 32]> {
        let creates = matches!(self.action, Action::Create { .. });
        self.nonce.filter(|_| creates)
    }
}

impl Operation {
    /// The deterministic CBOR of the storage form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let nonce = self.arguments.creating_nonce();
        writer.map(5 + usize::from(nonce.is_some()));
        writer.text("id").bytes(self.id.as_bytes());
        write_nonce(&mut writer, nonce);
        writer.text("action");
        write_action(&mut writer, &self.arguments.action);
        writer.text("author").bytes(self.author.as_bytes());
        self.arguments.write_tail(&mut writer);
        writer.into_bytes()
    }

    /// Reads the storage form, whose size only memory limits: it is for our own database.
    pub fn decode(bytes: &[u8]) -> Result<Operation, Invalid> {
        whole(bytes, cbor::VALUE, |item| {
            let [id, author] = fields(item, ["id", "author"])?;
            Ok(Operation {
                id: read_hash(present(id)?)?,
                author: read_key(present(author)?)?,
                arguments: read_arguments(item)?,
            })
        })
    }
}

impl Access {
    /// Reads an access. Conditions other than `null` are [`Invalid::Conditions`].
    pub fn decode(bytes: &[u8]) -> Result<Access, Invalid> {
        whole(bytes, cbor::HEADER, read_access)
    }

    /// The name on the wire.
    fn name(self) -> &'static str {
        match self {
            Access::Pull => "Pull",
            Access::Read => "Read",
            Access::Write => "Write",
            Access::Manage => "Manage",
        }
    }
}

/// An item of which the whole was checked before.
#[derive(Clone, Copy)]
struct Item<'a> {
    bytes: &'a [u8],
    limits: Limits,
}

impl<'a> Item<'a> {
    fn reader(self) -> Reader<'a> {
        Reader::new(self.bytes, self.limits)
    }

    fn next(self, reader: &mut Reader<'a>) -> Result<Item<'a>, Invalid> {
        let bytes = reader.item()?;
        Ok(Item { bytes, ..self })
    }
}

fn whole<'a, T>(
    bytes: &'a [u8],
    limits: Limits,
    read: impl FnOnce(Item<'a>) -> Result<T, Invalid>,
) -> Result<T, Invalid> {
    cbor::check(bytes, limits)?;
    read(Item { bytes, limits })
}

/// The values of the named keys of a map; other keys are skipped.
fn fields<'a, const N: usize>(
    map: Item<'a>,
    names: [&str; N],
) -> Result<[Option<Item<'a>>; N], Invalid> {
    let mut found = [None; N];
    let mut reader = map.reader();
    for _ in 0..reader.map()? {
        let key = reader.text()?;
        let value = map.next(&mut reader)?;
        if let Some((_, place)) = names.iter().zip(&mut found).find(|(name, _)| **name == key) {
            *place = Some(value);
        }
    }
    Ok(found)
}

fn present(field: Option<Item<'_>>) -> Result<Item<'_>, Invalid> {
    field.ok_or(Invalid::Missing)
}

/// A map of one pair: the name of a variant and what it holds.
fn variant(item: Item<'_>) -> Result<(&str, Item<'_>), Invalid> {
    let mut reader = item.reader();
    if reader.map()? != 1 {
        return Err(Invalid::Variant);
    }
    let name = reader.text()?;
    Ok((name, item.next(&mut reader)?))
}

fn read_arguments(item: Item<'_>) -> Result<Arguments, Invalid> {
    let names = ["nonce", "action", "group_id", "dependencies"];
    let [nonce, action, group, dependencies] = fields(item, names)?;
    let action = read_action(present(action)?)?;
    let creates = matches!(action, Action::Create { .. });
    Ok(Arguments {
        group: read_key(present(group)?)?.into(),
        dependencies: read_array(present(dependencies)?, read_hash)?,
        // Peers that do not know the nonce skip it, no matter what it is. So what is not a nonce must
        // not make the operation invalid here.
        nonce: nonce.filter(|_| creates).and_then(read_nonce),
        action,
    })
}

fn read_nonce(item: Item<'_>) -> Option<[u8; 32]> {
    item.reader().bytes().ok()?.try_into().ok()
}

fn read_action(item: Item<'_>) -> Result<Action, Invalid> {
    let (name, content) = variant(item)?;
    if name == "Create" {
        let [members] = fields(content, ["initial_members"])?;
        let initial_members = read_array(present(members)?, read_pair)?;
        return Ok(Action::Create { initial_members });
    }
    let [member, access] = fields(content, ["member", "access"])?;
    let read_member = || read_member(present(member)?);
    let read_access = || read_access(present(access)?);
    Ok(match name {
        "Add" => Action::Add {
            member: read_member()?,
            access: read_access()?,
        },
        "Remove" => Action::Remove {
            member: read_member()?,
        },
        "Promote" => Action::Promote {
            member: read_member()?,
            access: read_access()?,
        },
        "Demote" => Action::Demote {
            member: read_member()?,
            access: read_access()?,
        },
        _ => return Err(Invalid::Variant),
    })
}

fn read_array<'a, T>(
    item: Item<'a>,
    read: impl Fn(Item<'a>) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    let mut reader = item.reader();
    let mut values = Vec::new();
    for _ in 0..reader.array()? {
        values.push(read(item.next(&mut reader)?)?);
    }
    Ok(values)
}

fn read_pair(item: Item<'_>) -> Result<(Member, Access), Invalid> {
    let mut reader = item.reader();
    if reader.array()? != 2 {
        return Err(Invalid::Cbor(CborError::Type));
    }
    let member = read_member(item.next(&mut reader)?)?;
    let access = read_access(item.next(&mut reader)?)?;
    Ok((member, access))
}

fn read_member(item: Item<'_>) -> Result<Member, Invalid> {
    match variant(item)? {
        ("Individual", key) => Ok(Member::Individual(read_key(key)?)),
        ("Group", key) => Ok(Member::Group(read_key(key)?.into())),
        _ => Err(Invalid::Variant),
    }
}

fn read_access(item: Item<'_>) -> Result<Access, Invalid> {
    let [level, conditions] = fields(item, ["level", "conditions"])?;
    let level = present(level)?.reader().text()?;
    if present(conditions)?.reader().null().is_err() {
        return Err(Invalid::Conditions);
    }
    Access::ALL
        .into_iter()
        .find(|access| access.name() == level)
        .ok_or(Invalid::Variant)
}

fn read_key(item: Item<'_>) -> Result<VerifyingKey, Invalid> {
    VerifyingKey::try_from(item.reader().bytes()?).map_err(|_| Invalid::Key)
}

fn read_hash(item: Item<'_>) -> Result<Hash, Invalid> {
    Hash::try_from(item.reader().bytes()?).map_err(|_| Invalid::Hash)
}

fn write_nonce(writer: &mut Writer, nonce: Option<[u8; 32]>) {
    if let Some(nonce) = nonce {
        writer.text("nonce").bytes(&nonce);
    }
}

fn write_action(writer: &mut Writer, action: &Action) {
    writer.map(1);
    match action {
        Action::Create { initial_members } => {
            writer.text("Create").map(1).text("initial_members");
            writer.array(initial_members.len());
            for (member, access) in initial_members {
                writer.array(2);
                write_member(writer, member);
                write_access(writer, *access);
            }
        }
        Action::Add { member, access } => write_change(writer, "Add", member, Some(*access)),
        Action::Remove { member } => write_change(writer, "Remove", member, None),
        Action::Promote { member, access } => {
            write_change(writer, "Promote", member, Some(*access));
        }
        Action::Demote { member, access } => write_change(writer, "Demote", member, Some(*access)),
    }
}

fn write_change(writer: &mut Writer, name: &str, member: &Member, access: Option<Access>) {
    writer.text(name).map(1 + usize::from(access.is_some()));
    if let Some(access) = access {
        writer.text("access");
        write_access(writer, access);
    }
    writer.text("member");
    write_member(writer, member);
}

fn write_member(writer: &mut Writer, member: &Member) {
    let (name, key) = match member {
        Member::Individual(key) => ("Individual", key),
        Member::Group(group) => ("Group", group.as_key()),
    };
    writer.map(1).text(name).bytes(key.as_bytes());
}

fn write_access(writer: &mut Writer, access: Access) {
    writer.map(2).text("level").text(access.name());
    writer.text("conditions").null();
}
