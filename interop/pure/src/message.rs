//! The message scheme: a member of either side.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::convert::Infallible;

use chacha20::ChaCha20Rng;
use p2panda_encryption::HEADER_ELEMENTS_0_7_1;
use p2panda_encryption::data::Rekey;
use p2panda_encryption::message::{
    Config, Control, Draft, Encrypted, Event, Group, OperationError, Outgoing, Payload,
};
use p2panda_encryption::{Context, DirectMessage, Member, Message, OwnKeys, Registry, Wire};
use published_core::cbor::{decode_cbor, encode_cbor};
use published_encryption::Rng;
use published_encryption::key_manager::KeyManager;
use published_encryption::key_registry::KeyRegistry;
use published_encryption::message_scheme::group::GroupConfig;
use published_encryption::message_scheme::{
    self, GroupEvent, GroupOutput, GroupState, MessageGroup,
};
use published_encryption::traits::{
    AckedGroupMembership, ForwardSecureGroupMessage, ForwardSecureMessageContent,
    ForwardSecureOrdering,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::now;
use crate::dice::generator;
use crate::keys::{Book, Keys, Person, people};
use crate::{
    Body, Frame, Kind, Order, OrderError, Ordered, Party, PublishedId, PublishedKey,
    PublishedViews, Received, Refused, ViewsState, World, from_published_id, from_published_key,
    to_published_id, to_published_key,
};

/// People of these kinds, in no group yet.
pub fn world(kinds: &[Kind], seed: u64) -> World {
    let mut rng = generator("message", seed);
    let people = people(kinds, &mut rng);
    let party = |(place, person): (usize, Person)| -> Box<dyn Party> {
        let rng = generator("message party", seed.wrapping_mul(1_000) + place as u64);
        match person.keys {
            Keys::Ours(_) => Box::new(OurParty::new(person, rng)),
            Keys::Published(_) => {
                let views = ViewsState::new(to_published_key(&person.id));
                Box::new(PublishedParty::<PublishedViews>::new(person, views))
            }
        }
    };
    let mut world = World::new(people.into_iter().enumerate().map(party).collect());
    // Nobody opens what was sent before it came, but the messages after name it (12.4).
    world.with_history = true;
    world
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
            group: Group::new(person.id, Default::default(), Config::default()),
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
        let rng = &mut self.rng;
        let done = self.group.commit(prepared, frame.id, &mut context, rng);
        done.map_err(refused)?;
        Ok(frame)
    }

    fn publish(&mut self, outgoing: &Outgoing) -> Frame {
        let frame = our_frame(self.id, outgoing);
        self.group.published(frame.id);
        frame
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
        self.operate(|group, context, rng| group.add(added, context, rng))
    }

    fn remove(&mut self, removed: Member) -> Result<Frame, Refused> {
        self.operate(|group, context, rng| group.remove(removed, context, rng))
    }

    fn update(&mut self) -> Result<Frame, Refused> {
        self.operate(|group, context, rng| group.update(context, rng))
    }

    fn send(&mut self, text: &[u8]) -> Result<Frame, Refused> {
        let sent = self.group.send(text).map_err(refused)?;
        Ok(self.publish(&sent))
    }

    fn receive(&mut self, frame: &Frame) -> Received {
        let mut received = Received::default();
        if let Err(error) = self.group.receive(our_message(frame)) {
            received.failed.push((frame.id, refused(error)));
        }
        loop {
            let mut context = Context::new(&mut self.keys, &mut self.registry, now());
            context.elements_max = Some(HEADER_ELEMENTS_0_7_1);
            match self.group.poll(&mut context, &mut self.rng) {
                None => return received,
                Some(Event::Application { plaintext, .. }) => {
                    received.texts.push(plaintext.to_vec());
                }
                Some(Event::RemovedOurselves { .. }) => received.removed = true,
                Some(Event::Failed {
                    operation, failure, ..
                }) => received.failed.push((operation, refused(failure))),
                Some(Event::Joined { answer, .. } | Event::Changed { answer, .. }) => {
                    let answer = answer.map(|answer| self.publish(&answer));
                    received.answers.extend(answer);
                }
                Some(_) => {}
            }
        }
    }

    fn members(&self) -> BTreeSet<Member> {
        self.group.members().unwrap_or_default()
    }

    fn needs_update(&self) -> bool {
        matches!(self.group.rekey(), Rekey::Required(_))
    }
}

/// What our crate gives out, as bytes.
pub fn our_frame(id: Member, outgoing: &Outgoing) -> Frame {
    let body = match &outgoing.payload {
        Payload::Control { control, directs } => Body::Control {
            control: control.encode().to_vec(),
            directs: directs.iter().map(|d| d.encode().to_vec()).collect(),
        },
        Payload::Application(Encrypted {
            generation,
            ciphertext,
        }) => Body::Message {
            generation: *generation,
            ciphertext: ciphertext.clone(),
        },
    };
    Frame::new(id, outgoing.dependencies.clone(), body)
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
        Body::Message {
            generation,
            ciphertext,
        } => Payload::Application(Encrypted {
            generation: *generation,
            ciphertext: ciphertext.clone(),
        }),
        Body::Data { .. } => unreachable!("a frame of the message scheme"),
    };
    Message {
        id: frame.id,
        sender: frame.sender,
        dependencies: frame.dependencies.clone(),
        payload,
    }
}

/// What a membership for the published group must be.
pub trait Acked:
    AckedGroupMembership<PublishedKey, PublishedId>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
    + 'static
{
}

impl<D> Acked for D where
    D: AckedGroupMembership<PublishedKey, PublishedId>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned
        + 'static
{
}

type Direct<D> = message_scheme::DirectMessage<PublishedKey, PublishedId, D>;

/// The published group with a membership of the application's.
pub type PublishedGroup<D> =
    MessageGroup<PublishedKey, PublishedId, KeyRegistry<PublishedKey>, D, KeyManager, MessageOrder>;

/// Its state.
pub type PublishedState<D> =
    GroupState<PublishedKey, PublishedId, KeyRegistry<PublishedKey>, D, KeyManager, MessageOrder>;

/// A member that runs release 0.7.1.
pub struct PublishedParty<D: Acked> {
    /// Its id.
    pub id: Member,
    /// Its view of the group; none after an error, which consumes it.
    pub state: Option<PublishedState<D>>,
    /// Its randomness.
    pub rng: Rng,
}

impl<D: Acked> PublishedParty<D> {
    /// In no group yet.
    pub fn new(person: Person, members: D::State) -> PublishedParty<D> {
        let (Keys::Published(Some(keys)), Book::Published(Some(registry))) =
            (person.keys, person.book)
        else {
            unreachable!("a person of release 0.7.1");
        };
        let me = to_published_key(&person.id);
        let (order, config) = (Order::new(me, true), GroupConfig::default());
        let state = PublishedGroup::init(me, keys, registry, members, order, config);
        PublishedParty {
            id: person.id,
            state: Some(state),
            rng: Rng::default(),
        }
    }

    fn operate<E: std::error::Error>(
        &mut self,
        operate: impl FnOnce(PublishedState<D>, &Rng) -> Result<Made<D>, E>,
    ) -> Result<Frame, Refused> {
        let state = self.state.take().ok_or(Refused("lost".into()))?;
        let (state, message) = operate(state, &self.rng).map_err(refused)?;
        self.state = Some(state);
        Ok(message.to_frame())
    }
}

type Made<D> = (PublishedState<D>, ChainMessage<D>);

impl<D: Acked> Party for PublishedParty<D> {
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
        self.operate(|state, _| PublishedGroup::send(state, text))
    }

    fn receive(&mut self, frame: &Frame) -> Received {
        let mut received = Received::default();
        let Some(state) = self.state.take() else {
            received.failed.push((frame.id, Refused("lost".into())));
            return received;
        };
        let message = ChainMessage::from_frame(frame);
        match PublishedGroup::receive(state, &message, &self.rng) {
            Ok((state, output)) => {
                self.state = Some(state);
                let events = output
                    .into_iter()
                    .flat_map(|GroupOutput { events, .. }| events);
                for event in events {
                    match event {
                        GroupEvent::Control(message) => received.answers.push(message.to_frame()),
                        GroupEvent::Application { plaintext, .. } => received.texts.push(plaintext),
                        GroupEvent::RemovedOurselves => received.removed = true,
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
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "D: Acked")]
pub struct ChainMessage<D: Acked> {
    id: PublishedId,
    sender: PublishedKey,
    dependencies: Vec<PublishedId>,
    content: ChainContent<D>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "D: Acked")]
#[allow(clippy::large_enum_variant)]
enum ChainContent<D: Acked> {
    Control {
        control: message_scheme::ControlMessage<PublishedKey, PublishedId>,
        directs: Vec<Direct<D>>,
    },
    Application {
        generation: u32,
        ciphertext: Vec<u8>,
    },
}

impl<D: Acked> ChainMessage<D> {
    /// Reads the bytes.
    pub fn from_frame(frame: &Frame) -> ChainMessage<D> {
        let content = match &frame.body {
            Body::Control { control, directs } => ChainContent::Control {
                control: decode_cbor(&control[..]).expect("our control message decodes there"),
                directs: directs
                    .iter()
                    .map(|direct| decode_cbor(&direct[..]))
                    .collect::<Result<_, _>>()
                    .expect("our direct messages decode there"),
            },
            Body::Message {
                generation,
                ciphertext,
            } => ChainContent::Application {
                generation: *generation,
                ciphertext: ciphertext.clone(),
            },
            Body::Data { .. } => unreachable!("a frame of the message scheme"),
        };
        ChainMessage {
            id: to_published_id(&frame.id),
            sender: to_published_key(&frame.sender),
            dependencies: frame.dependencies.iter().map(to_published_id).collect(),
            content,
        }
    }

    /// Writes the bytes.
    pub fn to_frame(&self) -> Frame {
        let body = match &self.content {
            ChainContent::Control { control, directs } => Body::Control {
                control: encode_cbor(control).expect("control messages encode"),
                directs: directs
                    .iter()
                    .map(encode_cbor)
                    .collect::<Result<_, _>>()
                    .expect("direct messages encode"),
            },
            ChainContent::Application {
                generation,
                ciphertext,
            } => Body::Message {
                generation: *generation,
                ciphertext: ciphertext.clone(),
            },
        };
        Frame {
            id: from_published_id(&self.id),
            sender: from_published_key(&self.sender),
            dependencies: self.dependencies.iter().map(from_published_id).collect(),
            body,
        }
    }
}

impl<D: Acked> Ordered for ChainMessage<D> {
    fn id(&self) -> PublishedId {
        self.id
    }

    fn dependencies(&self) -> &[PublishedId] {
        &self.dependencies
    }

    fn is_control(&self) -> bool {
        matches!(self.content, ChainContent::Control { .. })
    }
}

impl<D: Acked> ForwardSecureGroupMessage<PublishedKey, PublishedId, D> for ChainMessage<D> {
    fn id(&self) -> PublishedId {
        self.id
    }

    fn sender(&self) -> PublishedKey {
        self.sender
    }

    fn content(&self) -> ForwardSecureMessageContent<PublishedKey, PublishedId> {
        match &self.content {
            ChainContent::Control { control, .. } => {
                ForwardSecureMessageContent::Control(control.clone())
            }
            ChainContent::Application {
                generation,
                ciphertext,
            } => ForwardSecureMessageContent::Application {
                generation: *generation,
                ciphertext: ciphertext.clone(),
            },
        }
    }

    fn direct_messages(&self) -> Vec<Direct<D>> {
        match &self.content {
            ChainContent::Control { directs, .. } => directs.clone(),
            ChainContent::Application { .. } => Vec::new(),
        }
    }
}

/// [`Order`] behind the published trait.
#[derive(Clone, Debug)]
pub struct MessageOrder;

impl<D: Acked> ForwardSecureOrdering<PublishedKey, PublishedId, D> for MessageOrder {
    type State = Order<ChainMessage<D>>;
    type Error = OrderError;
    type Message = ChainMessage<D>;

    fn next_control_message(
        mut y: Self::State,
        control: &message_scheme::ControlMessage<PublishedKey, PublishedId>,
        directs: &[Direct<D>],
    ) -> Result<(Self::State, ChainMessage<D>), OrderError> {
        let content = ChainContent::Control {
            control: control.clone(),
            directs: directs.to_vec(),
        };
        let message = next(&mut y, content);
        Ok((y, message))
    }

    fn next_application_message(
        mut y: Self::State,
        generation: u32,
        ciphertext: Vec<u8>,
    ) -> Result<(Self::State, ChainMessage<D>), OrderError> {
        let content = ChainContent::Application {
            generation,
            ciphertext,
        };
        let message = next(&mut y, content);
        Ok((y, message))
    }

    fn queue(mut y: Self::State, message: &ChainMessage<D>) -> Result<Self::State, OrderError> {
        y.queue(message);
        Ok(y)
    }

    fn set_welcome(
        mut y: Self::State,
        message: &ChainMessage<D>,
    ) -> Result<Self::State, OrderError> {
        y.join(message);
        Ok(y)
    }

    fn next_ready_message(
        mut y: Self::State,
    ) -> Result<(Self::State, Option<ChainMessage<D>>), OrderError> {
        let message = y.take_ready();
        Ok((y, message))
    }
}

fn next<D: Acked>(order: &mut Order<ChainMessage<D>>, content: ChainContent<D>) -> ChainMessage<D> {
    let message = ChainMessage {
        id: order.name(),
        sender: order.me,
        dependencies: order.dependencies(),
        content,
    };
    order.sent(&message);
    message
}

/// The cheapest membership that is right as long as nobody changes the group at the same time as
/// somebody else: each member sees all members. For benchmarks, where the cost of a membership
/// must not count against the published crate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlainMembership;

/// The state of [`PlainMembership`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PlainState {
    members: HashSet<PublishedKey>,
    adds: HashSet<PublishedId>,
    removals: HashMap<PublishedId, PublishedKey>,
}

impl AckedGroupMembership<PublishedKey, PublishedId> for PlainMembership {
    type State = PlainState;
    type Error = Infallible;

    fn create(_: PublishedKey, members: &[PublishedKey]) -> Result<PlainState, Infallible> {
        Ok(PlainState {
            members: members.iter().copied().collect(),
            ..PlainState::default()
        })
    }

    fn from_welcome(_: PlainState, y_welcome: PlainState) -> Result<PlainState, Infallible> {
        Ok(y_welcome)
    }

    fn add(
        mut y: PlainState,
        _: PublishedKey,
        added: PublishedKey,
        operation: PublishedId,
    ) -> Result<PlainState, Infallible> {
        y.members.insert(added);
        y.adds.insert(operation);
        Ok(y)
    }

    fn remove(
        mut y: PlainState,
        _: PublishedKey,
        removed: &PublishedKey,
        operation: PublishedId,
    ) -> Result<PlainState, Infallible> {
        y.members.remove(removed);
        y.removals.insert(operation, *removed);
        Ok(y)
    }

    fn ack(y: PlainState, _: PublishedKey, _: PublishedId) -> Result<PlainState, Infallible> {
        Ok(y)
    }

    fn members_view(y: &PlainState, _: &PublishedKey) -> Result<HashSet<PublishedKey>, Infallible> {
        Ok(y.members.clone())
    }

    fn is_add(y: &PlainState, operation: PublishedId) -> bool {
        y.adds.contains(&operation)
    }

    fn is_remove(y: &PlainState, operation: PublishedId) -> bool {
        y.removals.contains_key(&operation)
    }
}

fn refused(error: impl std::error::Error) -> Refused {
    Refused(error.to_string())
}
