//! The paths whose instructions are counted. All input is fixed.

use std::collections::BTreeMap;
use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::log::Head;
use p2panda_core::{
    Draft, Hash, Header, Heights, NodeExtensions, Operation, SigningKey, Timestamp, Topic,
};
use p2panda_encryption::data::{Group, GroupSecret, Members, decrypt, encrypt};
use p2panda_encryption::message::{DecryptionRatchet, Ratchet};
use p2panda_encryption::{Context, Lifetime, OwnKeys, Registry, Secret, SecretKey, SuiteConfig};
use p2panda_engine::{Command, Engine, Incoming, NewMessage, Now, Options, Source};
use p2panda_groups::{Access, Action, Arguments, Groups, Member, Rules, bound_group_id};
use p2panda_protocol::frame::{Decoder, Frame};
use p2panda_protocol::sync::message::{Limits, Message, frame_limit};
use p2panda_store::{PageLimits, Reader};
use thiserror::Error;

/// One counted path.
pub struct Path {
    /// Its name in the figures.
    pub name: &'static str,
    /// Number of operations that a run counts.
    pub operations: u64,
    /// Prepares, then does the work inside of [`counted`].
    pub run: fn() -> Result<(), Failure>,
}

/// All paths.
pub const ALL: &[Path] = &[
    path("core-create", SIGNED, core_create),
    path("core-decode-verify", SIGNED, core_decode_verify),
    path("core-decode", MANY, core_decode),
    path("heights-encode", LOGS, heights_encode),
    path("heights-decode", LOGS, heights_decode),
    path("frame-encode", MANY, frame_encode),
    path("frame-decode", MANY, frame_decode),
    path("engine-ingest", MANY, engine_ingest),
    path("engine-publish", SIGNED, engine_publish),
    path("store-log-page", MANY, store_log_page),
    path("store-feed-page", MANY, store_feed_page),
    path("groups-add", MEMBERS, groups_add),
    path("groups-open", STORED, groups_open),
    path("hybrid-update", RECIPIENTS, hybrid_update),
    path("data-encrypt", SIGNED, data_encrypt),
    path("data-decrypt", SIGNED, data_decrypt),
    path("ratchet-seal", SIGNED, ratchet_seal),
    path("ratchet-open", SIGNED, ratchet_open),
];

/// Operations of a path that costs a signature or more each.
const SIGNED: u64 = 20;
/// Operations of a path that does not.
const MANY: u64 = 500;
/// Logs of a state vector.
const LOGS: u64 = 1_000;
/// Members added to a group.
const MEMBERS: u64 = 100;
/// Operations of several groups that are opened from their rows.
const STORED: u64 = 2_000;
/// Number of them in a group.
const STORED_IN_ONE: u64 = 200;
/// Members that an update is sealed for.
const RECIPIENTS: u64 = 16;
/// Bytes of a body.
const BODY_BYTES: usize = 102;
/// Bytes of a message that is encrypted.
const PLAINTEXT_BYTES: usize = 1_024;
const TOPIC: Topic = Topic::from_bytes([1; 32]);

/// Fault of a path; none of it happens unless the code is broken.
#[derive(Debug, Error)]
pub enum Failure {
    #[error(transparent)]
    Draft(#[from] p2panda_core::DraftError),
    #[error(transparent)]
    Operation(#[from] p2panda_core::OperationError),
    #[error(transparent)]
    Header(#[from] p2panda_core::HeaderError),
    #[error(transparent)]
    Cbor(#[from] p2panda_core::cbor::CborError),
    #[error(transparent)]
    Frame(#[from] p2panda_protocol::frame::FrameError),
    #[error(transparent)]
    Message(#[from] p2panda_protocol::sync::message::MessageError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Open(#[from] p2panda_engine::OpenError),
    #[error(transparent)]
    Engine(#[from] p2panda_engine::Corrupt),
    #[error(transparent)]
    Store(#[from] p2panda_store::StoreError),
    #[error(transparent)]
    Groups(#[from] p2panda_groups::ProcessError),
    #[error(transparent)]
    Load(#[from] p2panda_groups::LoadError),
    #[error(transparent)]
    OwnKeys(#[from] p2panda_encryption::OwnKeysError),
    #[error(transparent)]
    Registry(#[from] p2panda_encryption::RegistryError),
    #[error(transparent)]
    Encryption(#[from] p2panda_encryption::data::OperationError),
    #[error(transparent)]
    Deliver(#[from] p2panda_encryption::DeliverError),
    #[error(transparent)]
    Commit(#[from] p2panda_encryption::data::CommitError),
    #[error(transparent)]
    Aead(#[from] p2panda_encryption::aead::AeadError),
    #[error(transparent)]
    Ratchet(#[from] p2panda_encryption::message::RatchetError),
    #[error("{found} of {expected} came out")]
    Incomplete { found: usize, expected: usize },
}

const fn path(name: &'static str, operations: u64, run: fn() -> Result<(), Failure>) -> Path {
    Path {
        name,
        operations,
        run,
    }
}

/// Everything that is counted runs inside of this function, which is found by its name.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

fn core_create() -> Result<(), Failure> {
    let (key, extensions, body) = (key(0), extensions(), body());
    counted(|| {
        for seq in 0..SIGNED as u32 {
            let draft = Draft {
                seq,
                backlink: (seq > 0).then(|| Hash::from_bytes([3; 32])),
                body: Some(&body),
                extensions: Some(&extensions),
            };
            black_box(Operation::create(&key, draft)?);
        }
        Ok(())
    })
}

fn core_decode_verify() -> Result<(), Failure> {
    let operations = encoded(SIGNED)?;
    counted(|| {
        for (header, body) in operations {
            black_box(Operation::decode(header, Some(body))?);
        }
        Ok(())
    })
}

fn core_decode() -> Result<(), Failure> {
    let operations = encoded(MANY)?;
    counted(|| {
        for (header, _) in operations {
            black_box(Header::decode_unverified(header)?);
        }
        Ok(())
    })
}

fn heights_encode() -> Result<(), Failure> {
    let heights = heights();
    counted(|| black_box(heights.encode()));
    Ok(())
}

fn heights_decode() -> Result<(), Failure> {
    let encoded = heights().encode();
    counted(|| black_box(Heights::decode(&encoded)))?;
    Ok(())
}

fn frame_encode() -> Result<(), Failure> {
    let messages = messages()?;
    let mut out = BytesMut::new();
    counted(|| {
        messages
            .iter()
            .try_for_each(|message| message.encode(&mut out))
    })?;
    Ok(())
}

fn frame_decode() -> Result<(), Failure> {
    let mut stream = BytesMut::new();
    for message in messages()? {
        message.encode(&mut stream)?;
    }
    let (mut decoder, mut found) = (Decoder::new(), 0);
    let mut stream = stream.freeze();
    let limits = Limits::default();
    counted(|| {
        while !stream.is_empty() {
            // As much as a QUIC stream brings at once.
            decoder.push(stream.split_to(stream.len().min(1_200)));
            while let Some(frame) = decoder.next(|prefix| frame_limit(prefix, &limits))? {
                if let Frame::Message(payload) = frame {
                    black_box(Message::decode(payload)?);
                    found += 1;
                }
            }
        }
        Ok::<(), Failure>(())
    })?;
    expect(MANY, found)
}

fn engine_ingest() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let mut engine = open(dir.path())?;
    let batch = ingest(log(0, MANY)?);
    let committed = counted(|| engine.process(vec![batch], NOW))?;
    let arrived = committed
        .topics
        .first()
        .and_then(|topic| topic.last_arrival);
    expect(MANY, arrived.unwrap_or(0) as usize)?;
    Ok(engine.close()?)
}

fn engine_publish() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let mut engine = open(dir.path())?;
    let body = body();
    let publish = |_| Command::Publish {
        topic: TOPIC,
        message: NewMessage::new(body.clone()),
        reply: Box::new(|published| drop(black_box(published))),
    };
    // The first message of a topic costs more than those that follow.
    engine.process(vec![publish(0)], NOW)?;
    let commands = (0..SIGNED).map(publish).collect();
    counted(|| engine.process(commands, NOW))?;
    Ok(engine.close()?)
}

fn store_log_page() -> Result<(), Failure> {
    let author = key(0).verifying_key();
    page(|reader| {
        let page = reader.log_page(&TOPIC, &author, None, MANY as u32 - 1, PAGE)?;
        Ok(page.entries.len())
    })
}

fn store_feed_page() -> Result<(), Failure> {
    page(|reader| Ok(reader.feed_page(&TOPIC, 0, PAGE, None)?.entries.len()))
}

fn groups_add() -> Result<(), Failure> {
    let admin = key(0).verifying_key();
    let nonce = [7; 32];
    let group = bound_group_id(&admin, &nonce);
    let operation = |number: u64, dependencies, action, nonce| p2panda_groups::Operation {
        id: Hash::digest(&number.to_le_bytes()),
        author: admin,
        arguments: Arguments {
            group,
            dependencies,
            action,
            nonce,
        },
    };
    let create = Action::Create {
        initial_members: vec![(Member::Individual(admin), Access::Manage)],
    };
    let mut groups = Groups::new(Rules::Hardened);
    groups.process(&operation(0, vec![], create, Some(nonce)))?;
    let members: Vec<_> = (1..=MEMBERS)
        .map(|n| key(n as u32).verifying_key())
        .collect();
    counted(|| {
        for (number, member) in (1..).zip(members) {
            let add = Action::Add {
                member: Member::Individual(member),
                access: Access::Write,
            };
            groups.process(&operation(number, groups.heads(), add, None))?;
        }
        Ok(())
    })
}

/// Groups of which each adds its members one after the other, from rows in the order of their keys.
fn groups_open() -> Result<(), Failure> {
    let admin = key(0).verifying_key();
    let mut groups = Groups::new(Rules::Hardened);
    let mut last = None;
    for number in 0..STORED {
        let place = number % STORED_IN_ONE;
        let nonce = [(number / STORED_IN_ONE) as u8; 32];
        let member = Member::Individual(key(place as u32).verifying_key());
        let (action, dependencies) = match place {
            0 => {
                let initial_members = vec![(member, Access::Manage)];
                (Action::Create { initial_members }, Vec::new())
            }
            _ => {
                let access = Access::Write;
                (Action::Add { member, access }, last.into_iter().collect())
            }
        };
        let operation = p2panda_groups::Operation {
            id: Hash::digest(&number.to_le_bytes()),
            author: admin,
            arguments: Arguments {
                group: bound_group_id(&admin, &nonce),
                dependencies,
                action,
                nonce: (place == 0).then_some(nonce),
            },
        };
        groups.process(&operation)?;
        last = Some(operation.id);
    }
    let rows = groups.changes().into_iter();
    let rows: BTreeMap<_, _> = rows.filter_map(|row| Some((row.key, row.value?))).collect();
    let opened = counted(|| Groups::load(Rules::Hardened, &rows))?;
    expect(STORED, opened.len())
}

/// An update of which every message is hybrid, drafted and sealed for everybody.
fn hybrid_update() -> Result<(), Failure> {
    const AT: u64 = 1_700_000_000;
    let mut rng = ChaCha20Rng::from_seed([9; 32]);
    let mut own = OwnKeys::new(SecretKey::random(&mut rng));
    let (mut registry, mut members) = (Registry::new(), Vec::new());
    for number in 1..=RECIPIENTS as u32 {
        let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
        keys.rotate_hybrid_prekey(Lifetime::starting(AT, 1_000), &mut rng);
        let member = key(number).verifying_key();
        registry.add_hybrid(member, keys.hybrid_bundle(AT)?.clone(), AT)?;
        members.push(member);
    }
    let mut config = SuiteConfig::new([7; 32]);
    config.hybrid_every = 1;
    let me = key(0).verifying_key();
    let mut group = Group::new(me, Members::default()).with_suites(config);
    let mut context = Context::new(&mut own, &mut registry, AT);
    let prepared = group.create(&members, &context, &mut rng)?.seal()?;
    group.commit(prepared, Hash::digest(b"create"), &mut context)?;
    let sealed = counted(|| Ok::<_, Failure>(group.update(&context, &mut rng)?.seal()?))?;
    expect(RECIPIENTS, sealed.directs().count())
}

fn data_encrypt() -> Result<(), Failure> {
    let secret = GroupSecret::new(Secret::from_bytes([5; 32]), 1);
    let plaintext = [0x61; PLAINTEXT_BYTES];
    counted(|| {
        for number in 0..SIGNED as u8 {
            black_box(encrypt(&secret, &[number; 24], &plaintext)?);
        }
        Ok(())
    })
}

fn data_decrypt() -> Result<(), Failure> {
    let secret = GroupSecret::new(Secret::from_bytes([5; 32]), 1);
    let nonce = [9; 24];
    let ciphertext = encrypt(&secret, &nonce, &[0x61; PLAINTEXT_BYTES])?;
    counted(|| {
        for _ in 0..SIGNED {
            black_box(decrypt(&secret, &nonce, &ciphertext)?);
        }
        Ok(())
    })
}

fn ratchet_seal() -> Result<(), Failure> {
    let mut ratchet = Ratchet::new(Secret::from_bytes([6; 32]));
    let plaintext = [0x61; PLAINTEXT_BYTES];
    counted(|| {
        for _ in 0..SIGNED {
            black_box(ratchet.seal(&plaintext)?);
        }
        Ok(())
    })
}

fn ratchet_open() -> Result<(), Failure> {
    let mut sender = Ratchet::new(Secret::from_bytes([6; 32]));
    let sealed = (0..SIGNED).map(|_| sender.seal(&[0x61; PLAINTEXT_BYTES]));
    let sealed: Vec<_> = sealed.collect::<Result<_, _>>()?;
    let mut ratchet = DecryptionRatchet::new(Secret::from_bytes([6; 32]));
    counted(|| {
        for (generation, ciphertext) in &sealed {
            black_box(ratchet.open(*generation, ciphertext, 1_000, 1_000)?);
        }
        Ok(())
    })
}

const NOW: Now = Now {
    wall: Timestamp::from_micros(1_700_000_000_000_000),
    elapsed_us: 0,
};
const PAGE: PageLimits = PageLimits {
    rows: MANY as usize,
    bytes: 1 << 20,
};

/// Counts one page of a directory that holds a log, with a reader that is warm.
fn page(read: impl Fn(&Reader) -> Result<usize, Failure>) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let mut engine = open(dir.path())?;
    engine.process(vec![ingest(log(0, MANY)?)], NOW)?;
    let reader = engine.readers().open()?;
    read(&reader)?;
    let found = counted(|| read(&reader))?;
    expect(MANY, found)?;
    drop(reader);
    Ok(engine.close()?)
}

fn open(dir: &std::path::Path) -> Result<Engine, Failure> {
    let options = Options {
        key: Some(key(u32::MAX)),
        ..Options::default()
    };
    Ok(Engine::open(dir, options, NOW)?)
}

fn ingest(operations: Vec<Operation>) -> Command {
    Command::Ingest {
        topic: TOPIC,
        source: Source::Import { id: 0 },
        operations: operations.into_iter().map(Incoming::Valid).collect(),
        reply: None,
    }
}

fn log(author: u32, operations: u64) -> Result<Vec<Operation>, Failure> {
    let (key, extensions, body) = (key(author), extensions(), body());
    let mut head: Option<Head> = None;
    let mut next = |seq| {
        let draft = Draft {
            seq,
            backlink: head.map(|head| head.id),
            body: Some(&body),
            extensions: Some(&extensions),
        };
        let operation = Operation::create(&key, draft)?;
        head = Some(Head::of(&operation.header));
        Ok(operation)
    };
    (0..operations as u32).map(&mut next).collect()
}

fn encoded(operations: u64) -> Result<Vec<(Bytes, Bytes)>, Failure> {
    let parts = |operation: Operation| {
        let body = operation.body.unwrap_or_default();
        (operation.header.as_bytes().clone(), body)
    };
    Ok(log(0, operations)?.into_iter().map(parts).collect())
}

fn messages() -> Result<Vec<Message>, Failure> {
    let operations = encoded(MANY)?.into_iter();
    let message = |(header, body)| Message::Operation {
        header,
        body: Some(body),
    };
    Ok(operations.map(message).collect())
}

fn heights() -> Heights {
    let mut heights = Heights::new();
    for number in 0..LOGS as u32 {
        heights.raise(key(number).verifying_key(), TOPIC.log_id(), number);
    }
    heights
}

fn extensions() -> Vec<u8> {
    NodeExtensions::new(TOPIC.log_id(), NOW.wall).encode()
}

/// A CBOR byte string.
fn body() -> Bytes {
    let mut body = vec![0x61; BODY_BYTES];
    body.splice(..2, [0x58, BODY_BYTES as u8 - 2]);
    body.into()
}

fn key(number: u32) -> SigningKey {
    let mut seed = [7; 32];
    if let Some(first) = seed.first_chunk_mut() {
        *first = number.to_le_bytes();
    }
    SigningKey::from_bytes(&seed)
}

fn expect(expected: u64, found: usize) -> Result<(), Failure> {
    let expected = expected as usize;
    match found == expected {
        true => Ok(()),
        false => Err(Failure::Incomplete { found, expected }),
    }
}
