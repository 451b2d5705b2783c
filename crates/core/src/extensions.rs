//! The extensions that a node puts into its operations
//! (`docs/protocol/operations.md#7`).

use alloc::vec::Vec;

use thiserror::Error;

use crate::cbor::{self, CborError, Kind, Reader, Writer};
use crate::limits::DEPENDENCIES_MAX;
use crate::{Hash, LogId, LogName, Timestamp, VerifyingKey};

/// The only version of the format.
const VERSION: u16 = 1;
/// The only variant we know.
const BASIC: u16 = 0;
/// Elements where the log has a name; it is the last of them.
const NAMED_ELEMENTS: usize = 7;

/// Log of an operation, its time, whether it prunes and what it follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeExtensions {
    /// The log: [`Topic::log_id`](crate::Topic::log_id), or
    /// [`Topic::named_log_id`](crate::Topic::named_log_id) if it has a name.
    pub log_id: LogId,
    /// The author's wall clock when the operation was made; not checked.
    pub timestamp: Timestamp,
    /// `true` if everybody may delete the entries of this log before this one.
    pub prune: bool,
    /// Heads of other logs of this topic that the author had seen, the most recently ordered first
    /// when encoding; decoded they are sorted by author and log.
    pub deps: Vec<Dependency>,
    /// The name of the log, if it is not the first one of its author in the topic.
    pub name: Option<LogName>,
}

/// An operation of another log that comes before this one in causal order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dependency {
    /// Author of the operation. Not checked to be a point of the curve.
    pub author: VerifyingKey,
    /// The log, if it is not the first one of its author in the topic.
    pub log: Option<LogId>,
    /// Its position in the log.
    pub seq: u32,
    /// Id of the operation.
    pub id: Hash,
}

/// Reason why a header's extensions are not those that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExtensionsError {
    /// The header has extensions where none are defined.
    #[error("the header has extensions where none are expected")]
    UnexpectedExtensions,
    /// The header has no extensions.
    #[error("the header has no extensions")]
    MissingExtensions,
    /// The extensions have another shape.
    #[error("the header's extensions have an unexpected shape")]
    DecodingExtensions,
    /// The extensions name a version or variant that is not ours; a later release may read them.
    #[error("unknown extensions version {version}, variant {variant:?}")]
    UnknownExtensions {
        /// The version found.
        version: u16,
        /// The variant found, if there is one where version 1 has it.
        variant: Option<u16>,
    },
}

impl NodeExtensions {
    /// Extensions that neither prune nor depend on anything.
    pub fn new(log_id: LogId, timestamp: Timestamp) -> NodeExtensions {
        NodeExtensions {
            log_id,
            timestamp,
            prune: false,
            deps: Vec::new(),
            name: None,
        }
    }

    /// Encodes to one CBOR item.
    ///
    /// Of [`NodeExtensions::deps`] it keeps the first [`DEPENDENCIES_MAX`], one per log, and
    /// sorts them. Without dependencies the element is left out, or null where a name follows.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64);
        let deps = self.sorted_deps();
        writer.array(match (self.name, deps.is_empty()) {
            (Some(_), _) => NAMED_ELEMENTS,
            (None, false) => 6,
            (None, true) => 5,
        });
        writer.uint(u64::from(VERSION)).uint(u64::from(BASIC));
        writer.bytes(self.log_id.as_bytes());
        writer.uint(self.timestamp.as_micros()).bool(self.prune);
        if !deps.is_empty() {
            writer.map(1).text("deps").array(deps.len());
        }
        for dependency in &deps {
            dependency.write(&mut writer);
        }
        if let Some(name) = &self.name {
            if deps.is_empty() {
                writer.null();
            }
            writer.bytes(name.as_bytes());
        }
        writer.into_bytes()
    }

    /// Decodes one CBOR item.
    ///
    /// Elements after the known ones are accepted, and a sixth or seventh element that is not our list
    /// of dependencies or our name is ignored: a later version may put something else there.
    pub fn decode(item: &[u8]) -> Result<NodeExtensions, ExtensionsError> {
        let reader = Reader::checked(item, cbor::HEADER);
        let mut elements = Elements::open(reader?)?;
        let version = elements.u16()?;
        if version != VERSION {
            let variant = elements.u16().ok();
            return Err(ExtensionsError::UnknownExtensions { version, variant });
        }
        let variant = elements.u16()?;
        if variant != BASIC {
            let variant = Some(variant);
            return Err(ExtensionsError::UnknownExtensions { version, variant });
        }
        let log_id = LogId::from_bytes(fixed(elements.next()?.bytes()?)?);
        let timestamp = Timestamp::from_micros(elements.next()?.uint()?);
        let prune = elements.next()?.bool()?;
        let (deps, name) = elements.deps_and_name()?;
        Ok(NodeExtensions {
            log_id,
            timestamp,
            prune,
            deps,
            name,
        })
    }

    /// The label of the log, which represents its author: the author itself for the first log
    /// (`docs/protocol/operations.md#4`).
    pub fn label(&self, author: &VerifyingKey) -> VerifyingKey {
        match self.name {
            None => *author,
            Some(_) => self.log_id.label(author).in_place_of_author(),
        }
    }

    /// Returns `true` if an item cannot have a name, which the first byte of nearly all shows.
    pub(crate) fn is_short(item: &[u8]) -> bool {
        matches!(item.first(), Some(0x80..=0x86))
    }

    fn sorted_deps(&self) -> Vec<Dependency> {
        let mut deps: Vec<Dependency> = Vec::new();
        for dependency in &self.deps {
            if deps.len() == DEPENDENCIES_MAX {
                break;
            }
            let same = |other: &Dependency| other.log_key() == dependency.log_key();
            if !deps.iter().any(same) {
                deps.push(*dependency);
            }
        }
        deps.sort_unstable();
        deps
    }
}

impl Dependency {
    /// Returns the label that represents the author where logs of a topic are distinguished
    /// (`docs/protocol/operations.md#4`).
    pub fn label(&self) -> VerifyingKey {
        match &self.log {
            None => self.author,
            Some(log) => log.label(&self.author).in_place_of_author(),
        }
    }

    fn log_key(&self) -> (VerifyingKey, Option<LogId>) {
        (self.author, self.log)
    }

    fn write(&self, writer: &mut Writer) {
        writer.array(if self.log.is_some() { 4 } else { 3 });
        writer.bytes(self.author.as_bytes());
        writer.uint(u64::from(self.seq)).bytes(self.id.as_bytes());
        if let Some(log) = &self.log {
            writer.bytes(log.as_bytes());
        }
    }
}

impl From<CborError> for ExtensionsError {
    fn from(_: CborError) -> ExtensionsError {
        ExtensionsError::DecodingExtensions
    }
}

/// The elements that were not read yet. Tags on them mean nothing and are skipped.
struct Elements<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> Elements<'a> {
    fn open(mut reader: Reader<'a>) -> Result<Elements<'a>, CborError> {
        pass_tags(&mut reader)?;
        Ok(Elements {
            left: reader.array()?,
            reader,
        })
    }

    fn next(&mut self) -> Result<&mut Reader<'a>, CborError> {
        self.left = self.left.checked_sub(1).ok_or(CborError::Eof)?;
        pass_tags(&mut self.reader)?;
        Ok(&mut self.reader)
    }

    /// The sixth and seventh element, as far as they are there and have our shapes.
    fn deps_and_name(&mut self) -> Result<(Vec<Dependency>, Option<LogName>), CborError> {
        let Ok(reader) = self.next() else {
            return Ok((Vec::new(), None));
        };
        let mut ahead = reader.clone();
        let deps = match deps(&mut ahead) {
            Ok(deps) => {
                *reader = ahead;
                deps
            }
            Err(_) => {
                reader.skip()?;
                Vec::new()
            }
        };
        let name = self.next().ok().and_then(|reader| reader.bytes().ok());
        let name = name.and_then(|name| name.try_into().ok());
        Ok((deps, name.map(LogName::from_bytes)))
    }

    fn u16(&mut self) -> Result<u16, CborError> {
        u16::try_from(self.next()?.uint()?).map_err(|_| CborError::Type)
    }
}

fn pass_tags(reader: &mut Reader<'_>) -> Result<(), CborError> {
    while reader.peek()? == Kind::Tag {
        reader.tag()?;
    }
    Ok(())
}

/// `{"deps": [[author, seq, id], [author, seq, id, log id], …]}`, one to sixteen, sorted, one per log.
fn deps(reader: &mut Reader<'_>) -> Result<Vec<Dependency>, CborError> {
    if reader.map()? != 1 || reader.text()? != "deps" {
        return Err(CborError::Type);
    }
    let count = usize::try_from(reader.array()?).map_err(|_| CborError::TooLong)?;
    if count == 0 || count > DEPENDENCIES_MAX {
        return Err(CborError::TooLong);
    }
    let mut deps: Vec<Dependency> = Vec::with_capacity(count);
    for _ in 0..count {
        let dependency = dependency(reader)?;
        if deps
            .last()
            .is_some_and(|last| last.log_key() >= dependency.log_key())
        {
            return Err(CborError::NonDeterministic);
        }
        deps.push(dependency);
    }
    Ok(deps)
}

fn dependency(reader: &mut Reader<'_>) -> Result<Dependency, CborError> {
    let elements = reader.array()?;
    if !(3..=4).contains(&elements) {
        return Err(CborError::Type);
    }
    Ok(Dependency {
        author: VerifyingKey::from_bytes_unchecked(fixed(reader.bytes()?)?),
        seq: u32::try_from(reader.uint()?).map_err(|_| CborError::Type)?,
        id: Hash::from_bytes(fixed(reader.bytes()?)?),
        log: match elements {
            4 => Some(LogId::from_bytes(fixed(reader.bytes()?)?)),
            _ => None,
        },
    })
}

fn fixed(bytes: &[u8]) -> Result<[u8; 32], CborError> {
    bytes.try_into().map_err(|_| CborError::Type)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloc::vec;

    use super::*;

    fn dependency(author: u8) -> Dependency {
        Dependency {
            author: VerifyingKey::from_bytes_unchecked([author; 32]),
            log: None,
            seq: u32::from(author),
            id: Hash::digest(&[author]),
        }
    }

    fn with_deps(deps: Vec<Dependency>) -> NodeExtensions {
        let extensions = NodeExtensions::new(LogId::from_bytes([7; 32]), Timestamp::from_micros(5));
        NodeExtensions { deps, ..extensions }
    }

    #[test]
    fn dependencies_come_back_sorted() {
        let encoded = with_deps(vec![dependency(3), dependency(1), dependency(2)]).encode();
        let decoded = NodeExtensions::decode(&encoded).unwrap();
        assert_eq!(decoded.deps, [dependency(1), dependency(2), dependency(3)]);
        assert_eq!(decoded.encode(), encoded);
    }

    #[test]
    fn the_sixteen_most_recent_dependencies_are_kept() {
        let sixteen = with_deps((0..16).rev().map(dependency).collect()).encode();
        assert_eq!(NodeExtensions::decode(&sixteen).unwrap().deps.len(), 16);
        let more = with_deps((0..20).rev().map(dependency).collect()).encode();
        let kept: Vec<Dependency> = (4..20).map(dependency).collect();
        assert_eq!(NodeExtensions::decode(&more).unwrap().deps, kept);
    }

    #[test]
    fn one_dependency_per_author_is_kept() {
        let older = Dependency {
            seq: 0,
            ..dependency(1)
        };
        let encoded = with_deps(vec![dependency(1), older]).encode();
        assert_eq!(
            NodeExtensions::decode(&encoded).unwrap().deps,
            [dependency(1)]
        );
    }

    fn basic_and(element: &Writer) -> Vec<u8> {
        let mut writer = Writer::new();
        writer
            .array(6)
            .uint(1)
            .uint(0)
            .bytes(&[7; 32])
            .uint(5)
            .bool(false);
        writer.raw(element.as_bytes());
        writer.into_bytes()
    }

    fn dependencies(deps: &[Dependency]) -> Writer {
        let mut writer = Writer::new();
        writer.map(1).text("deps").array(deps.len());
        for dependency in deps {
            writer.array(3).bytes(dependency.author.as_bytes());
            writer
                .uint(u64::from(dependency.seq))
                .bytes(dependency.id.as_bytes());
        }
        writer
    }

    #[test]
    fn a_sixth_element_of_another_shape_is_ignored() {
        let good = basic_and(&dependencies(&[dependency(1)]));
        assert_eq!(
            NodeExtensions::decode(&good).unwrap(),
            with_deps(vec![dependency(1)])
        );
        let seventeen: Vec<Dependency> = (0..17).map(dependency).collect();
        let mut others = vec![
            dependencies(&[]),
            dependencies(&[dependency(2), dependency(1)]),
            dependencies(&[dependency(1), dependency(1)]),
            dependencies(&seventeen),
        ];
        let mut other = |write: fn(&mut Writer) -> &mut Writer| {
            let mut writer = Writer::new();
            write(&mut writer);
            others.push(writer);
        };
        other(|writer| writer.null());
        other(|writer| writer.map(0));
        other(|writer| writer.map(1).text("deps").uint(1));
        other(|writer| writer.map(1).text("dept").array(0));
        other(|writer| {
            writer
                .map(1)
                .text("deps")
                .array(1)
                .array(3)
                .uint(1)
                .uint(1)
                .uint(1)
        });
        other(|writer| writer.map(1).text("deps").array(1).array(1).bytes(&[1; 32]));
        for element in others {
            let decoded = NodeExtensions::decode(&basic_and(&element));
            assert_eq!(decoded, Ok(with_deps(vec![])), "{element:02x?}");
        }
    }

    #[test]
    fn dependencies_on_several_logs_of_an_author_are_kept() {
        let log = |byte| Dependency {
            log: Some(LogId::from_bytes([byte; 32])),
            ..dependency(1)
        };
        let encoded =
            with_deps(vec![log(9), dependency(2), log(8), dependency(1), log(9)]).encode();
        let decoded = NodeExtensions::decode(&encoded).unwrap();
        let sorted = [dependency(1), log(8), log(9), dependency(2)];
        assert_eq!(decoded.deps, sorted);
        assert_eq!(decoded.encode(), encoded);
        assert_ne!(log(8).label(), log(9).label());
        assert_eq!(dependency(1).label(), dependency(1).author);
    }

    #[test]
    fn the_name_of_a_log_comes_back_with_and_without_dependencies() {
        for deps in [vec![], vec![dependency(1)]] {
            let named = NodeExtensions {
                name: Some(LogName::from_bytes([3; 32])),
                ..with_deps(deps)
            };
            let encoded = named.encode();
            assert_eq!(NodeExtensions::decode(&encoded), Ok(named));
            assert!(!NodeExtensions::is_short(&encoded));
        }
        assert!(NodeExtensions::is_short(&with_deps(vec![]).encode()));
        assert!(NodeExtensions::is_short(
            &with_deps(vec![dependency(1)]).encode()
        ));
    }

    #[test]
    fn a_seventh_element_of_another_shape_is_no_name() {
        let mut writer = Writer::new();
        writer.array(7).uint(1).uint(0).bytes(&[7; 32]).uint(5);
        writer.bool(false).null().bytes(&[1; 31]);
        let decoded = NodeExtensions::decode(writer.as_bytes());
        assert_eq!(decoded, Ok(with_deps(vec![])));
    }
}
