//! The bytes of messages in the form of 0.7.1 (`docs/protocol/spaces.md#3`).

use p2panda_core::cbor::{self, CborError, Reader};
use p2panda_core::limits::{GROUP_MEMBERS_MAX, OPERATION_BYTES_MAX, SPACE_DEPENDENCIES_MAX};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::data::{Encrypted, SecretId};
use p2panda_encryption::{DecodeError, DirectMessage, LongTermBundle, Wire};
use p2panda_groups::{Action, Arguments, GroupId};
use thiserror::Error;

use crate::SpaceId;

/// Content of a message; its author and id are those of the operation that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpacesArgs {
    /// Keys by which others reach the author first.
    KeyBundle(LongTermBundle),
    /// An operation on a group.
    Auth(Arguments),
    /// An operation on a group takes effect in a space, with the secrets that go with it.
    Membership(Pointer),
    /// Nothing: 0.7.1 defines it, and it carries no secrets.
    Update {
        /// The group of the space.
        group: GroupId,
        /// Id of the space.
        space: SpaceId,
        /// Knowledge of the author about the space.
        dependencies: Vec<Hash>,
    },
    /// Data of the application.
    Application {
        /// Id of the space.
        space: SpaceId,
        /// The sealed data.
        encrypted: Encrypted,
        /// Knowledge of the author about the space.
        dependencies: Vec<Hash>,
    },
}

/// A pointer from a space to an operation on a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The group of the space.
    pub group: GroupId,
    /// Id of the space.
    pub space: SpaceId,
    /// The operation on a group.
    pub auth: Hash,
    /// Secrets, each for one recipient.
    pub directs: Vec<DirectMessage>,
    /// Knowledge of the author about the space.
    pub dependencies: Vec<Hash>,
}

/// Reason why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Not one deterministic CBOR item within the limits, or an item of another type.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// A field is missing.
    #[error("field {0:?} is missing")]
    Missing(&'static str),
    /// A message of an unknown name.
    #[error("an unknown variant")]
    Variant,
    /// Bytes of another length, or numbers that are not bytes.
    #[error("bytes of a wrong length")]
    Bytes,
    /// A key is not a point of the curve.
    #[error("a key is invalid")]
    Key,
    /// More dependencies or direct messages than anybody takes.
    #[error("a list is too long")]
    TooLong,
    /// More bytes than an operation may have.
    #[error("the message is too large")]
    TooLarge,
    /// The operation on a group.
    #[error(transparent)]
    Group(#[from] p2panda_groups::Invalid),
    /// A key bundle or direct message.
    #[error(transparent)]
    Encryption(#[from] DecodeError),
}

type Writer = cbor::Writer;

impl SpacesArgs {
    /// The deterministic CBOR that goes into the header extensions.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(1);
        match self {
            SpacesArgs::KeyBundle(bundle) => {
                w.text("KeyBundle").map(1);
                w.text("key_bundle").raw(&bundle.encode());
            }
            SpacesArgs::Auth(arguments) => write_auth(arguments, &mut w),
            SpacesArgs::Membership(pointer) => write_pointer(pointer, &mut w),
            SpacesArgs::Update {
                group,
                space,
                dependencies,
            } => {
                w.text("SpaceUpdate").map(3);
                w.text("group_id").bytes(group.as_bytes());
                w.text("space_id").bytes(space.as_bytes());
                write_dependencies("space_dependencies", dependencies, &mut w);
            }
            SpacesArgs::Application {
                space,
                encrypted,
                dependencies,
            } => {
                w.text("Application").map(5);
                w.text("nonce").ints(&encrypted.nonce);
                w.text("space_id").bytes(space.as_bytes());
                w.text("ciphertext").ints(&encrypted.ciphertext);
                w.text("group_secret_id").ints(encrypted.secret.as_bytes());
                write_dependencies("space_dependencies", dependencies, &mut w);
            }
        }
        w.into_bytes()
    }

    /// Reads a message. Unknown fields are skipped.
    pub fn decode(bytes: &[u8]) -> Result<SpacesArgs, Invalid> {
        if bytes.len() > OPERATION_BYTES_MAX {
            return Err(Invalid::TooLarge);
        }
        let mut reader = Reader::checked(bytes, cbor::VALUE)?;
        if reader.map()? != 1 {
            return Err(Invalid::Variant);
        }
        match reader.text()? {
            "KeyBundle" => read_bundle(reader.item()?),
            "Auth" => read_auth(reader.item()?),
            "SpaceMembership" => read_pointer(reader.item()?).map(SpacesArgs::Membership),
            "SpaceUpdate" => read_update(reader.item()?),
            "Application" => read_application(reader.item()?),
            _ => Err(Invalid::Variant),
        }
    }

    /// The space that the message is about; none for bundles and operations on groups.
    pub fn space(&self) -> Option<SpaceId> {
        match self {
            SpacesArgs::KeyBundle(_) | SpacesArgs::Auth(_) => None,
            SpacesArgs::Membership(Pointer { space, .. })
            | SpacesArgs::Update { space, .. }
            | SpacesArgs::Application { space, .. } => Some(*space),
        }
    }

    /// Returns what must be processed before the message, in the order of the wire.
    pub fn dependencies(&self) -> Vec<Hash> {
        match self {
            SpacesArgs::KeyBundle(_) => Vec::new(),
            SpacesArgs::Auth(arguments) => arguments.dependencies.clone(),
            SpacesArgs::Membership(pointer) => {
                let auth = std::iter::once(pointer.auth);
                auth.chain(pointer.dependencies.iter().copied()).collect()
            }
            SpacesArgs::Update { dependencies, .. }
            | SpacesArgs::Application { dependencies, .. } => dependencies.clone(),
        }
    }
}

fn write_auth(arguments: &Arguments, w: &mut Writer) {
    let creates = matches!(arguments.action, Action::Create { .. });
    let nonce = arguments.nonce.filter(|_| creates);
    w.text("Auth").map(3 + usize::from(nonce.is_some()));
    if let Some(nonce) = nonce {
        w.text("nonce").bytes(&nonce);
    }
    w.text("group_id").bytes(arguments.group.as_bytes());
    w.text("group_action").raw(&arguments.action.encode());
    write_dependencies("auth_dependencies", &arguments.dependencies, w);
}

fn write_pointer(pointer: &Pointer, w: &mut Writer) {
    w.text("SpaceMembership").map(5);
    w.text("group_id").bytes(pointer.group.as_bytes());
    w.text("space_id").bytes(pointer.space.as_bytes());
    w.text("auth_message_id").bytes(pointer.auth.as_bytes());
    w.text("direct_messages").array(pointer.directs.len());
    for direct in &pointer.directs {
        w.raw(&direct.encode());
    }
    write_dependencies("space_dependencies", &pointer.dependencies, w);
}

fn write_dependencies(name: &str, dependencies: &[Hash], w: &mut Writer) {
    w.text(name).array(dependencies.len());
    for dependency in dependencies {
        w.bytes(dependency.as_bytes());
    }
}

fn read_bundle(map: &[u8]) -> Result<SpacesArgs, Invalid> {
    let [bundle] = fields(map, ["key_bundle"])?;
    let bundle = LongTermBundle::decode(present(bundle, "key_bundle")?)?;
    Ok(SpacesArgs::KeyBundle(bundle))
}

fn read_auth(map: &[u8]) -> Result<SpacesArgs, Invalid> {
    let names = ["nonce", "group_id", "group_action", "auth_dependencies"];
    let [nonce, group, action, dependencies] = fields(map, names)?;
    let action = Action::decode(present(action, "group_action")?)?;
    let creates = matches!(action, Action::Create { .. });
    Ok(SpacesArgs::Auth(Arguments {
        group: read_key(present(group, "group_id")?)?.into(),
        dependencies: read_hashes(present(dependencies, "auth_dependencies")?)?,
        // Peers that do not know the nonce skip it, no matter what it is (`groups.md` 11.3).
        nonce: nonce.filter(|_| creates).and_then(|n| read_32(n).ok()),
        action,
    }))
}

fn read_pointer(map: &[u8]) -> Result<Pointer, Invalid> {
    let names = [
        "group_id",
        "space_id",
        "auth_message_id",
        "direct_messages",
        "space_dependencies",
    ];
    let [group, space, auth, directs, dependencies] = fields(map, names)?;
    let read_direct = |item: &[u8]| Ok(DirectMessage::decode(item)?);
    Ok(Pointer {
        group: read_key(present(group, "group_id")?)?.into(),
        space: read_space(space)?,
        auth: read_32(present(auth, "auth_message_id")?).map(Hash::from_bytes)?,
        directs: read_list(
            present(directs, "direct_messages")?,
            GROUP_MEMBERS_MAX,
            read_direct,
        )?,
        dependencies: read_hashes(present(dependencies, "space_dependencies")?)?,
    })
}

fn read_update(map: &[u8]) -> Result<SpacesArgs, Invalid> {
    let names = ["group_id", "space_id", "space_dependencies"];
    let [group, space, dependencies] = fields(map, names)?;
    Ok(SpacesArgs::Update {
        group: read_key(present(group, "group_id")?)?.into(),
        space: read_space(space)?,
        dependencies: read_hashes(present(dependencies, "space_dependencies")?)?,
    })
}

fn read_application(map: &[u8]) -> Result<SpacesArgs, Invalid> {
    let names = [
        "nonce",
        "space_id",
        "ciphertext",
        "group_secret_id",
        "space_dependencies",
    ];
    let [nonce, space, ciphertext, secret, dependencies] = fields(map, names)?;
    let secret = read_ints(present(secret, "group_secret_id")?)?;
    let secret = secret.try_into().map_err(|_| Invalid::Bytes)?;
    let nonce = read_ints(present(nonce, "nonce")?)?;
    Ok(SpacesArgs::Application {
        space: read_space(space)?,
        encrypted: Encrypted {
            secret: SecretId::from_bytes(secret),
            nonce: nonce.try_into().map_err(|_| Invalid::Bytes)?,
            ciphertext: read_ints(present(ciphertext, "ciphertext")?)?,
        },
        dependencies: read_hashes(present(dependencies, "space_dependencies")?)?,
    })
}

/// The values of the named keys of a map; other keys are skipped.
fn fields<'a, const N: usize>(
    map: &'a [u8],
    names: [&str; N],
) -> Result<[Option<&'a [u8]>; N], Invalid> {
    let mut found = [None; N];
    let mut reader = Reader::new(map, cbor::VALUE);
    for _ in 0..reader.map()? {
        let key = reader.text()?;
        let value = reader.item()?;
        if let Some((_, place)) = names.iter().zip(&mut found).find(|(name, _)| **name == key) {
            *place = Some(value);
        }
    }
    Ok(found)
}

fn present<'a>(field: Option<&'a [u8]>, name: &'static str) -> Result<&'a [u8], Invalid> {
    field.ok_or(Invalid::Missing(name))
}

fn read_32(item: &[u8]) -> Result<[u8; 32], Invalid> {
    let bytes = Reader::new(item, cbor::VALUE).bytes()?;
    bytes.try_into().map_err(|_| Invalid::Bytes)
}

fn read_key(item: &[u8]) -> Result<VerifyingKey, Invalid> {
    VerifyingKey::from_bytes(read_32(item)?).map_err(|_| Invalid::Key)
}

fn read_space(field: Option<&[u8]>) -> Result<SpaceId, Invalid> {
    read_32(present(field, "space_id")?).map(SpaceId::from_bytes)
}

fn read_hashes(item: &[u8]) -> Result<Vec<Hash>, Invalid> {
    let read = |item: &[u8]| read_32(item).map(Hash::from_bytes);
    read_list(item, SPACE_DEPENDENCIES_MAX, read)
}

fn read_list<T>(
    item: &[u8],
    max: usize,
    read: impl Fn(&[u8]) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    let mut reader = Reader::new(item, cbor::VALUE);
    let len = reader.array()?;
    if len > max as u64 {
        return Err(Invalid::TooLong);
    }
    (0..len).map(|_| read(reader.item()?)).collect()
}

/// Bytes that are an array of small numbers.
fn read_ints(item: &[u8]) -> Result<Vec<u8>, Invalid> {
    let mut reader = Reader::new(item, cbor::VALUE);
    let mut bytes = Vec::new();
    for _ in 0..reader.array()? {
        bytes.push(u8::try_from(reader.uint()?).map_err(|_| Invalid::Bytes)?);
    }
    Ok(bytes)
}
