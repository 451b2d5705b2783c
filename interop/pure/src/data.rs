//! The data scheme: a member of either side.

use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;

use chacha20::ChaCha20Rng;
use p2panda_encryption::HEADER_ELEMENTS_0_7_1;
use p2panda_encryption::data::{
    Control, Draft, Encrypted, Event, Group, OperationError, Payload, Rekey, SecretId, Sent,
};
use p2panda_encryption::{Context, DirectMessage, Member, Message, OwnKeys, Registry, Wire};
use published_core::cbor::{decode_cbor, encode_cbor};
use published_encryption::Rng;
use published_encryption::data_scheme::{self, EncryptionGroup, GroupOutput};
use published_encryption::key_manager::KeyManager;
use published_encryption::key_registry::KeyRegistry;
use published_encryption::traits::{
    GroupMembership, GroupMessage, GroupMessageContent, Ordering as PublishedOrdering,
};
use serde::{Deserialize, Serialize};

use crate::clock::now;
use crate::dice::generator;
use crate::keys::{Book, Keys, Person, people};
use crate::{
    Body, Frame, Kind, Order, OrderError, Ordered, Party, PublishedId, PublishedKey, Received,
    Refused, World, from_published_id, from_published_key, to_published_id, to_published_key,
};

/// Secrets that fit into a first welcome for a 0.7.1 peer.
const SECRETS_MAX: usize = 4;

/// People of these kinds, in no group yet.
pub fn world(kinds: &[Kind], seed: u64) -> World {
    let mut rng = generator("data", seed);
    let people = people(kinds, &mut rng);
    let party = |(place, person): (usize, Person)| -> Box<dyn Party> {
        let rng = generator("data party", seed.wrapping_mul(1_000) + place as u64);
        match person.keys {
            Keys::Ours(_) => Box::new(OurParty::new(person, rng)),
            Keys::Published(_) => Box::new(PublishedParty::new(person)),
        }
    };
    World::new(people.into_iter().enumerate().map(party).collect())
}

/// A member that runs this project's crate.
pub struct OurParty {
    /// Its id.
    pub id: Member,
    /// Its view of the group.
    pub group: Group,
    /// Its secrets.
    pub keys: OwnKeys,
    /// What it knows of others.
    pub registry: Registry,
    /// Its randomness.
    pub rng: ChaCha20Rng,
}

impl OurParty {
    /// In no group yet.
    pub fn new(person: Person, rng: ChaCha20Rng) -> OurParty {
        let (Keys::Ours(keys), Book::Ours(registry)) = (person.keys, person.book) else {
            unreachable!("a person of this project");
        };
        OurParty {
            id: person.id,
            group: Group::new(person.id, Default::default()),
            keys,
            registry,
            rng,
        }
    }

    fn operate(
        &mut self,
        draft: impl FnOnce(&Group, &Context<'_>, &mut ChaCha20Rng) -> Result<Draft, OperationError>,
    ) -> Result<Frame, Refused> {
        let mut context = Context::new(&mut self.keys, &mut self.registry, now());
        context.elements_max = Some(HEADER_ELEMENTS_0_7_1);
        let draft = draft(&self.group, &context, &mut self.rng).map_err(refused)?;
        let prepared = draft.seal().map_err(refused)?;
        let body = Body::Control {
            control: prepared.control().encode().to_vec(),
            directs: prepared.directs().map(|d| d.encode().to_vec()).collect(),
        };
        let frame = Frame::new(self.id, prepared.dependencies().to_vec(), body);
        let done = self.group.commit(prepared, frame.id, &mut context);
        done.map_err(refused)?;
        Ok(frame)
    }
}

impl Party for OurParty {
    fn id(&self) -> Member {
        self.id
    }

    fn create(&mut self, members: &[Member]) -> Result<Frame, Refused> {
        self.operate(|group, context, rng| group.create(members, context, rng))
    }

    fn add(&mut self, added: Member) -> Result<Frame, Refused> {
        self.operate(|group, context, rng| {
            let (draft, _) = group.add(added, SECRETS_MAX, context, rng)?;
            Ok(draft)
        })
    }

    fn remove(&mut self, removed: Member) -> Result<Frame, Refused> {
        self.operate(|group, context, rng| group.remove(removed, context, rng))
    }

    fn update(&mut self) -> Result<Frame, Refused> {
        self.operate(|group, context, rng| group.update(context, rng))
    }

    fn send(&mut self, text: &[u8]) -> Result<Frame, Refused> {
        let sent = self.group.send(text, &mut self.rng).map_err(refused)?;
        Ok(our_frame(self.id, &sent))
    }

    fn receive(&mut self, frame: &Frame) -> Received {
        let mut received = Received::default();
        if let Err(error) = self.group.receive(our_message(frame)) {
            received.failed.push((frame.id, refused(error)));
        }
        let mut context = Context::new(&mut self.keys, &mut self.registry, now());
        context.elements_max = Some(HEADER_ELEMENTS_0_7_1);
        while let Some(event) = self.group.poll(&mut context) {
            match event {
                Event::Application { plaintext, .. } => received.texts.push(plaintext.to_vec()),
                Event::RemovedOurselves { .. } => received.removed = true,
                Event::Failed {
                    operation, failure, ..
                } => received.failed.push((operation, refused(failure))),
                _ => {}
            }
        }
        received
    }

    fn members(&self) -> BTreeSet<Member> {
        self.group.members().unwrap_or_default()
    }

    fn needs_update(&self) -> bool {
        matches!(self.group.rekey(), Rekey::Required(_))
    }
}

/// What our crate seals, as bytes.
pub fn our_frame(id: Member, sent: &Sent) -> Frame {
    let Payload::Application(Encrypted {
        secret,
        nonce,
        ciphertext,
    }) = &sent.payload
    else {
        unreachable!("sending gives application data");
    };
    let body = Body::Data {
        secret: *secret.as_bytes(),
        nonce: *nonce,
        ciphertext: ciphertext.clone(),
    };
    Frame::new(id, sent.dependencies.clone(), body)
}

/// A frame as this project's crate takes it.
pub fn our_message(frame: &Frame) -> Message<Payload> {
    let payload = match &frame.body {
        Body::Control { control, directs } => Payload::Control {
            control: Control::decode(control).expect("their control message decodes"),
            directs: directs
                .iter()
                .map(|direct| DirectMessage::decode(direct).expect("their direct message decodes"))
                .collect(),
        },
        Body::Data {
            secret,
            nonce,
            ciphertext,
        } => Payload::Application(Encrypted {
            secret: SecretId::from_bytes(*secret),
            nonce: *nonce,
            ciphertext: ciphertext.clone(),
        }),
        Body::Message { .. } => unreachable!("a frame of the data scheme"),
    };
    Message {
        id: frame.id,
        sender: frame.sender,
        dependencies: frame.dependencies.clone(),
        payload,
    }
}

/// The published group with a plain membership.
pub type PublishedGroup = EncryptionGroup<
    PublishedKey,
    PublishedId,
    KeyRegistry<PublishedKey>,
    PublishedMembers,
    KeyManager,
    DataOrder,
>;

/// Its state.
pub type PublishedState = data_scheme::GroupState<
    PublishedKey,
    PublishedId,
    KeyRegistry<PublishedKey>,
    PublishedMembers,
    KeyManager,
    DataOrder,
>;

/// A member that runs release 0.7.1.
pub struct PublishedParty {
    /// Its id.
    pub id: Member,
    /// Its view of the group; none after an error, which consumes it.
    pub state: Option<PublishedState>,
    /// Its randomness.
    pub rng: Rng,
}

impl PublishedParty {
    /// In no group yet.
    pub fn new(person: Person) -> PublishedParty {
        let (Keys::Published(Some(keys)), Book::Published(Some(registry))) =
            (person.keys, person.book)
        else {
            unreachable!("a person of release 0.7.1");
        };
        let me = to_published_key(&person.id);
        let order = Order::new(me, false);
        let members = MembersState::default();
        PublishedParty {
            id: person.id,
            state: Some(PublishedGroup::init(me, keys, registry, members, order)),
            rng: Rng::default(),
        }
    }

    fn operate<E: std::error::Error>(
        &mut self,
        operate: impl FnOnce(PublishedState, &Rng) -> Result<(PublishedState, DataMessage), E>,
    ) -> Result<Frame, Refused> {
        let state = self.state.take().ok_or(Refused("lost".into()))?;
        let (state, message) = operate(state, &self.rng).map_err(refused)?;
        self.state = Some(state);
        Ok(message.to_frame())
    }
}

impl Party for PublishedParty {
    fn id(&self) -> Member {
        self.id
    }

    fn create(&mut self, members: &[Member]) -> Result<Frame, Refused> {
        let members = members.iter().map(to_published_key).collect();
        self.operate(|state, rng| PublishedGroup::create(state, members, rng))
    }

    fn add(&mut self, added: Member) -> Result<Frame, Refused> {
        self.operate(|state, rng| PublishedGroup::add(state, to_published_key(&added), rng))
    }

    fn remove(&mut self, removed: Member) -> Result<Frame, Refused> {
        self.operate(|state, rng| PublishedGroup::remove(state, to_published_key(&removed), rng))
    }

    fn update(&mut self) -> Result<Frame, Refused> {
        self.operate(PublishedGroup::update)
    }

    fn send(&mut self, text: &[u8]) -> Result<Frame, Refused> {
        self.operate(|state, rng| PublishedGroup::send(state, text, rng))
    }

    fn receive(&mut self, frame: &Frame) -> Received {
        let mut received = Received::default();
        let Some(state) = self.state.take() else {
            received.failed.push((frame.id, Refused("lost".into())));
            return received;
        };
        match PublishedGroup::receive(state, &DataMessage::from_frame(frame)) {
            Ok((state, outputs)) => {
                self.state = Some(state);
                for output in outputs {
                    match output {
                        GroupOutput::Control(message) => received.answers.push(message.to_frame()),
                        GroupOutput::Application { plaintext } => received.texts.push(plaintext),
                        GroupOutput::Removed => received.removed = true,
                    }
                }
            }
            Err(error) => received.failed.push((frame.id, refused(error))),
        }
        received
    }

    fn members(&self) -> BTreeSet<Member> {
        let members = self.state.as_ref().map(PublishedGroup::members);
        let members = members.and_then(Result::ok).unwrap_or_default();
        members.iter().map(from_published_key).collect()
    }

    fn needs_update(&self) -> bool {
        false
    }
}

/// A message as the published crate takes it.
#[derive(Clone, Debug)]
pub struct DataMessage {
    id: PublishedId,
    sender: PublishedKey,
    dependencies: Vec<PublishedId>,
    content: DataContent,
}

#[derive(Clone, Debug)]
enum DataContent {
    Control {
        control: data_scheme::ControlMessage<PublishedKey>,
        directs: Vec<data_scheme::DirectMessage<PublishedKey, PublishedId, PublishedMembers>>,
    },
    Application {
        secret: [u8; 32],
        nonce: [u8; 24],
        ciphertext: Vec<u8>,
    },
}

impl DataMessage {
    /// Reads the bytes.
    pub fn from_frame(frame: &Frame) -> DataMessage {
        let content = match &frame.body {
            Body::Control { control, directs } => DataContent::Control {
                control: decode_cbor(&control[..]).expect("our control message decodes there"),
                directs: directs
                    .iter()
                    .map(|direct| decode_cbor(&direct[..]))
                    .collect::<Result<_, _>>()
                    .expect("our direct messages decode there"),
            },
            Body::Data {
                secret,
                nonce,
                ciphertext,
            } => DataContent::Application {
                secret: *secret,
                nonce: *nonce,
                ciphertext: ciphertext.clone(),
            },
            Body::Message { .. } => unreachable!("a frame of the data scheme"),
        };
        DataMessage {
            id: to_published_id(&frame.id),
            sender: to_published_key(&frame.sender),
            dependencies: frame.dependencies.iter().map(to_published_id).collect(),
            content,
        }
    }

    /// Writes the bytes.
    pub fn to_frame(&self) -> Frame {
        let dependencies = self.dependencies.iter().map(from_published_id).collect();
        let body = match &self.content {
            DataContent::Control { control, directs } => Body::Control {
                control: encode_cbor(control).expect("control messages encode"),
                directs: directs
                    .iter()
                    .map(encode_cbor)
                    .collect::<Result<_, _>>()
                    .expect("direct messages encode"),
            },
            DataContent::Application {
                secret,
                nonce,
                ciphertext,
            } => Body::Data {
                secret: *secret,
                nonce: *nonce,
                ciphertext: ciphertext.clone(),
            },
        };
        Frame {
            id: from_published_id(&self.id),
            sender: from_published_key(&self.sender),
            dependencies,
            body,
        }
    }
}

impl Ordered for DataMessage {
    fn id(&self) -> PublishedId {
        self.id
    }

    fn dependencies(&self) -> &[PublishedId] {
        &self.dependencies
    }

    fn is_control(&self) -> bool {
        matches!(self.content, DataContent::Control { .. })
    }
}

impl GroupMessage<PublishedKey, PublishedId, PublishedMembers> for DataMessage {
    fn id(&self) -> PublishedId {
        self.id
    }

    fn sender(&self) -> PublishedKey {
        self.sender
    }

    fn content(&self) -> GroupMessageContent<PublishedKey> {
        match &self.content {
            DataContent::Control { control, .. } => GroupMessageContent::Control(control.clone()),
            DataContent::Application {
                secret,
                nonce,
                ciphertext,
            } => GroupMessageContent::Application {
                group_secret_id: *secret,
                nonce: *nonce,
                ciphertext: ciphertext.clone(),
            },
        }
    }

    fn direct_messages(
        &self,
    ) -> Vec<data_scheme::DirectMessage<PublishedKey, PublishedId, PublishedMembers>> {
        match &self.content {
            DataContent::Control { directs, .. } => directs.clone(),
            DataContent::Application { .. } => Vec::new(),
        }
    }
}

/// [`Order`] behind the published trait.
#[derive(Clone, Debug)]
pub struct DataOrder;

impl PublishedOrdering<PublishedKey, PublishedId, PublishedMembers> for DataOrder {
    type State = Order<DataMessage>;
    type Error = OrderError;
    type Message = DataMessage;

    fn next_control_message(
        mut y: Self::State,
        control: &data_scheme::ControlMessage<PublishedKey>,
        directs: &[data_scheme::DirectMessage<PublishedKey, PublishedId, PublishedMembers>],
    ) -> Result<(Self::State, DataMessage), OrderError> {
        let content = DataContent::Control {
            control: control.clone(),
            directs: directs.to_vec(),
        };
        let message = next(&mut y, content);
        Ok((y, message))
    }

    fn next_application_message(
        mut y: Self::State,
        secret: data_scheme::GroupSecretId,
        nonce: published_encryption::crypto::xchacha20::XAeadNonce,
        ciphertext: Vec<u8>,
    ) -> Result<(Self::State, DataMessage), OrderError> {
        let content = DataContent::Application {
            secret,
            nonce,
            ciphertext,
        };
        let message = next(&mut y, content);
        Ok((y, message))
    }

    fn queue(mut y: Self::State, message: &DataMessage) -> Result<Self::State, OrderError> {
        y.queue(message);
        Ok(y)
    }

    fn set_welcome(mut y: Self::State, message: &DataMessage) -> Result<Self::State, OrderError> {
        y.join(message);
        Ok(y)
    }

    fn next_ready_message(
        mut y: Self::State,
    ) -> Result<(Self::State, Option<DataMessage>), OrderError> {
        let message = y.take_ready();
        Ok((y, message))
    }
}

fn next(order: &mut Order<DataMessage>, content: DataContent) -> DataMessage {
    let message = DataMessage {
        id: order.name(),
        sender: order.me,
        dependencies: order.dependencies(),
        content,
    };
    order.sent(&message);
    message
}

/// Membership from the control messages, in the form that welcomes carry.
#[derive(Clone, Debug)]
pub struct PublishedMembers;

/// The state of [`PublishedMembers`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MembersState {
    members: BTreeSet<PublishedKey>,
}

impl GroupMembership<PublishedKey, PublishedId> for PublishedMembers {
    type State = MembersState;
    type Error = Infallible;

    fn create(_: PublishedKey, members: &[PublishedKey]) -> Result<MembersState, Infallible> {
        let members = members.iter().copied().collect();
        Ok(MembersState { members })
    }

    fn from_welcome(me: PublishedKey, mut y: MembersState) -> Result<MembersState, Infallible> {
        // The welcome names those who were there before (10.2).
        y.members.insert(me);
        Ok(y)
    }

    fn add(
        mut y: MembersState,
        _: PublishedKey,
        added: PublishedKey,
        _: PublishedId,
    ) -> Result<MembersState, Infallible> {
        y.members.insert(added);
        Ok(y)
    }

    fn remove(
        mut y: MembersState,
        _: PublishedKey,
        removed: &PublishedKey,
        _: PublishedId,
    ) -> Result<MembersState, Infallible> {
        y.members.remove(removed);
        Ok(y)
    }

    fn members(y: &MembersState) -> Result<HashSet<PublishedKey>, Infallible> {
        Ok(y.members.iter().copied().collect())
    }
}

fn refused(error: impl std::error::Error) -> Refused {
    Refused(error.to_string())
}
