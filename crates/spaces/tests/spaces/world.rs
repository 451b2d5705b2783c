//! A few devices that hand each other messages.

use std::collections::{BTreeMap, BTreeSet};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::limits::PRE_KEY_LIFETIME_DEFAULT_S;
use p2panda_core::{Hash, SigningKey, VerifyingKey};
use p2panda_encryption::{Context, Lifetime, OwnKeys, Registry, SecretKey};
use p2panda_groups::Member;
use p2panda_spaces::{
    Desk, Event, LocalError, Message, ProcessError, Role, SpaceId, Spaces, SpacesArgs, Verdict,
};

pub const NOW: u64 = 1_790_000_000;

/// The space of most tests.
pub const S: SpaceId = SpaceId::from_bytes([7; 32]);

pub struct Device {
    pub id: VerifyingKey,
    pub spaces: Spaces,
    pub keys: OwnKeys,
    pub registry: Registry,
    pub rng: ChaCha20Rng,
    pub now: u64,
    /// Messages of the peer, in its order.
    pub has: Vec<Message>,
    pub events: Vec<Event>,
    pub stored: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Content that the application shows.
    pub shown: BTreeMap<Hash, String>,
}

impl Device {
    pub fn new(seed: u8) -> Device {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let id = SigningKey::from_bytes(&[seed; 32]).verifying_key();
        let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
        let lifetime = Lifetime::starting(NOW, PRE_KEY_LIFETIME_DEFAULT_S);
        keys.rotate_prekey(lifetime, &mut rng);
        Device {
            id,
            spaces: Spaces::new(id),
            keys,
            registry: Registry::new(),
            rng,
            now: NOW,
            has: Vec::new(),
            events: Vec::new(),
            stored: BTreeMap::new(),
            shown: BTreeMap::new(),
        }
    }

    pub fn member(&self) -> Member {
        Member::Individual(self.id)
    }

    /// Does something, and keeps the messages that were signed.
    pub fn act<T>(
        &mut self,
        act: impl FnOnce(
            &mut Spaces,
            &mut Desk<'_, '_, ChaCha20Rng, &mut dyn FnMut(&SpacesArgs) -> Hash>,
        ) -> Result<T, LocalError>,
    ) -> Result<T, LocalError> {
        let (author, mut count) = (self.id, self.has.len());
        let has = &mut self.has;
        let mut forge = |args: &SpacesArgs| {
            count += 1;
            let header = [author.as_bytes(), &count.to_be_bytes()[..], &args.encode()].concat();
            let id = Hash::digest(&header);
            let args = args.clone();
            has.push(Message { id, author, args });
            id
        };
        let mut context = Context::new(&mut self.keys, &mut self.registry, self.now);
        let mut desk = Desk {
            context: &mut context,
            rng: &mut self.rng,
            forge: &mut forge as &mut dyn FnMut(&SpacesArgs) -> Hash,
        };
        act(&mut self.spaces, &mut desk)
    }

    /// Does something that works.
    pub fn does(
        &mut self,
        act: impl FnOnce(
            &mut Spaces,
            &mut Desk<'_, '_, ChaCha20Rng, &mut dyn FnMut(&SpacesArgs) -> Hash>,
        ) -> Result<Vec<Event>, LocalError>,
    ) {
        let events = self.act(act).unwrap();
        self.take(events);
    }

    pub fn create(&mut self, members: &[(Member, Role)]) {
        self.does(|spaces, desk| spaces.create_space(S, members, desk));
    }

    pub fn add(&mut self, member: Member, role: Role) {
        self.does(|spaces, desk| spaces.add(S, member, role, desk));
    }

    pub fn remove(&mut self, member: Member) {
        self.does(|spaces, desk| spaces.remove(S, member, desk));
    }

    pub fn set_role(&mut self, member: Member, role: Role) {
        self.does(|spaces, desk| spaces.set_role(S, member, role, desk));
    }

    pub fn heal(&mut self) {
        self.does(|spaces, desk| spaces.heal(S, desk));
    }

    pub fn try_publish(&mut self, text: &str) -> Result<Hash, LocalError> {
        let id = self.act(|spaces, desk| spaces.publish(S, text.as_bytes(), desk))?;
        self.shown.insert(id, text.to_string());
        Ok(id)
    }

    pub fn publish(&mut self, text: &str) -> Hash {
        self.try_publish(text).unwrap()
    }

    pub fn try_process(&mut self, message: &Message) -> Result<(), ProcessError> {
        if self.has.iter().any(|known| known.id == message.id) {
            return Ok(());
        }
        let mut context = Context::new(&mut self.keys, &mut self.registry, self.now);
        let events = self.spaces.process(message, &mut context)?;
        self.has.push(message.clone());
        self.take(events);
        Ok(())
    }

    fn take(&mut self, events: Vec<Event>) {
        for event in &events {
            match event {
                Event::Opened { message, data, .. } => {
                    let text = String::from_utf8(data.to_vec()).unwrap();
                    let before = self.shown.insert(*message, text);
                    assert_eq!(before, None, "shown twice");
                }
                Event::Verdict {
                    space,
                    message,
                    verdict,
                    ..
                } => self.correct(*space, *message, *verdict),
                _ => {}
            }
        }
        self.events.extend(events);
    }

    fn correct(&mut self, space: SpaceId, message: Hash, verdict: Verdict) {
        if verdict != Verdict::Stands {
            assert!(self.shown.remove(&message).is_some());
            return;
        }
        let known = self.has.iter().find(|known| known.id == message).unwrap();
        let SpacesArgs::Application { encrypted, .. } = &known.args else {
            panic!("no data");
        };
        let data = self.spaces.open(&space, encrypted).unwrap();
        let text = String::from_utf8(data.to_vec()).unwrap();
        self.shown.insert(message, text);
    }

    /// Does something that may fail.
    pub fn try_act(
        &mut self,
        act: impl FnOnce(
            &mut Spaces,
            &mut Desk<'_, '_, ChaCha20Rng, &mut dyn FnMut(&SpacesArgs) -> Hash>,
        ) -> Result<Vec<Event>, LocalError>,
    ) -> Result<(), LocalError> {
        let done = self.act(act);
        let before = self.spaces.events();
        self.take(before);
        self.take(done?);
        Ok(())
    }

    /// Heals where the device is in the space.
    pub fn heal_if_member(&mut self) {
        if self.spaces.group(&S).is_some() {
            self.heal();
        }
    }

    /// Signs a message that the library would not make, and does not process it.
    pub fn forge(&mut self, args: SpacesArgs) -> Hash {
        let (author, count) = (self.id, self.has.len() + 1);
        let header = [author.as_bytes(), &count.to_be_bytes()[..], &args.encode()].concat();
        let id = Hash::digest(&header);
        self.has.push(Message { id, author, args });
        id
    }

    /// Stores what has changed and continues from what is stored.
    pub fn restart(&mut self) {
        for row in self.spaces.changes() {
            match row.value {
                Some(value) => self.stored.insert(row.key, value.to_vec()),
                None => self.stored.remove(&row.key),
            };
        }
        self.spaces = Spaces::load(self.id, &self.stored).unwrap();
        assert!(
            self.spaces.changes().is_empty(),
            "nothing is to be stored again"
        );
    }

    pub fn members(&self) -> BTreeMap<VerifyingKey, Role> {
        self.spaces.members(&S).into_iter().collect()
    }

    pub fn is_healthy(&mut self) -> bool {
        let context = Context::new(&mut self.keys, &mut self.registry, self.now);
        self.spaces
            .health(&S, &context)
            .is_none_or(|health| health.is_good())
    }

    pub fn reads(&self, text: &str) -> bool {
        self.shown.values().any(|shown| shown == text)
    }

    pub fn refusals(&self) -> usize {
        let refused = |event: &&Event| matches!(event, Event::Refused { .. });
        self.events.iter().filter(refused).count()
    }
}

/// Devices that know each other's keys.
pub fn devices<const N: usize>() -> [Device; N] {
    let mut devices: [Device; N] = std::array::from_fn(|at| Device::new(at as u8 + 1));
    for device in &mut devices {
        device
            .act(|spaces, desk| spaces.publish_keys(desk))
            .unwrap();
    }
    let mut all: Vec<&mut Device> = devices.iter_mut().collect();
    sync(&mut all);
    devices
}

/// Everybody gets what the others have.
pub fn sync(devices: &mut [&mut Device]) {
    let all: Vec<Vec<Message>> = devices.iter().map(|device| device.has.clone()).collect();
    for device in devices {
        deliver(device, all.iter().flatten());
    }
}

/// Hands messages over, each when what it names is there.
pub fn deliver<'m>(device: &mut Device, messages: impl IntoIterator<Item = &'m Message>) {
    let known: BTreeSet<Hash> = device.has.iter().map(|message| message.id).collect();
    let mut waiting: Vec<&Message> = messages.into_iter().collect();
    waiting.retain(|message| !known.contains(&message.id));
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|message| match device.try_process(message) {
            Ok(()) => false,
            Err(ProcessError::Missing(_)) => true,
            // What is not allowed never is; what depends on it never comes.
            Err(ProcessError::Group(_)) => false,
            Err(error) => panic!("{error}"),
        });
        if waiting.len() == before {
            return;
        }
    }
}

/// One heals after the other, until nothing is left to do.
pub fn heal_all(devices: &mut [&mut Device]) {
    for _ in 0..2 {
        for at in 0..devices.len() {
            devices[at].heal();
            sync(devices);
        }
    }
}
