//! Promises about stored state: rows, what they cost, and what is pruned.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;

use chacha20::ChaCha20Rng;
use p2panda_encryption::data::{
    Control, Draft, Event, Failure, Group, Members, Payload, Reason, Rekey, open_stored, secret_key,
};
use p2panda_encryption::{LoadError, Member, Message, OperationId, Registry, Row, Wire};
use world::*;

/// A group with everybody's database.
struct World {
    rng: ChaCha20Rng,
    people: Vec<Person>,
    groups: Vec<Group>,
    stores: Vec<Store>,
    /// Bytes of the last message, and what the last store of each wrote.
    sent: usize,
    written: Vec<usize>,
}

impl World {
    fn new(seed: u64, count: usize) -> World {
        World::founded(seed, count, count)
    }

    /// A group of the first of these people.
    fn founded(seed: u64, count: usize, founders: usize) -> World {
        let mut rng = life_rng("rows", seed);
        let people = people(count, 0, &mut rng);
        let new = |person: &Person| Group::new(person.id, Members::default());
        let groups = people.iter().map(new).collect();
        let mut world = World {
            rng,
            people,
            groups,
            stores: vec![Store::default(); count],
            sent: 0,
            written: vec![0; count],
        };
        let ids = world.ids();
        let context = world.people[0].context(START + 1);
        let draft = world.groups[0].create(&ids[..founders], &context, &mut world.rng);
        let create = world.commit(0, draft.unwrap());
        world.share(0, &create);
        world
    }

    fn ids(&self) -> Vec<Member> {
        self.people.iter().map(|person| person.id).collect()
    }

    fn commit(&mut self, author: usize, draft: Draft) -> Message<Payload> {
        let prepared = draft.seal().unwrap();
        let message = Message {
            id: operation(&mut self.rng),
            sender: self.people[author].id,
            dependencies: prepared.dependencies().to_vec(),
            payload: Payload::Control {
                control: prepared.control().clone(),
                directs: prepared.directs().cloned().collect(),
            },
        };
        let mut context = self.people[author].context(START + 1);
        let committed = self.groups[author].commit(prepared, message.id, &mut context);
        committed.unwrap();
        self.sent = message.payload.encode().len();
        self.store(author);
        message
    }

    fn update(&mut self, author: usize) -> Message<Payload> {
        let context = self.people[author].context(START + 1);
        let draft = self.groups[author].update(&context, &mut self.rng);
        self.commit(author, draft.unwrap())
    }

    fn remove(&mut self, author: usize, removed: usize) -> Message<Payload> {
        let removed = self.people[removed].id;
        let context = self.people[author].context(START + 1);
        let draft = self.groups[author].remove(removed, &context, &mut self.rng);
        self.commit(author, draft.unwrap())
    }

    fn send(&mut self, author: usize) -> Message<Payload> {
        let sent = self.groups[author].send(b"panda", &mut self.rng).unwrap();
        Message {
            id: operation(&mut self.rng),
            sender: self.people[author].id,
            dependencies: sent.dependencies,
            payload: sent.payload,
        }
    }

    fn deliver(&mut self, reader: usize, message: &Message<Payload>) -> Vec<Event> {
        self.groups[reader].receive(message.clone()).unwrap();
        let mut context = self.people[reader].context(START + 1);
        let group = &mut self.groups[reader];
        let events = std::iter::from_fn(|| group.poll(&mut context)).collect();
        self.store(reader);
        events
    }

    fn share(&mut self, author: usize, message: &Message<Payload>) {
        for reader in (0..self.groups.len()).filter(|reader| *reader != author) {
            self.deliver(reader, message);
        }
    }

    fn store(&mut self, who: usize) {
        self.written[who] = self.stores[who].write(self.groups[who].changes());
    }

    /// Everybody writes something, so that all know what all have passed.
    fn answer(&mut self) {
        for author in 0..self.groups.len() {
            let sent = self.send(author);
            self.share(author, &sent);
        }
    }

    fn load(&self, who: usize) -> Group {
        Group::load(Members::default(), self.stores[who].rows()).unwrap()
    }
}

#[test]
fn data_opens_with_the_row_of_its_secret_alone() {
    let mut world = World::new(0, 3);
    let sent = world.send(0);
    let Payload::Application(encrypted) = sent.payload else {
        panic!("data");
    };
    let row = world.stores[1].get(&secret_key(&encrypted.secret));
    assert_eq!(*open_stored(row, &encrypted).unwrap(), b"panda");
    let unknown = Failure::UnknownGroupSecret(encrypted.secret);
    assert_eq!(open_stored(None, &encrypted), Err(unknown));
    // The row of another secret is not taken for it.
    let first = encrypted.secret;
    world.update(0);
    let second = world.send(0);
    let Payload::Application(later) = second.payload else {
        panic!("data");
    };
    let row = world.stores[0].get(&secret_key(&first));
    let unknown = Failure::UnknownGroupSecret(later.secret);
    assert_eq!(open_stored(row, &later), Err(unknown));
}

#[test]
fn a_message_writes_at_most_four_times_what_came_or_went() {
    let mut world = World::new(1, 32);
    for round in 0..60 {
        let update = world.update(0);
        let (sent, written) = (world.sent, world.written[0]);
        assert!(written <= 4 * sent, "round {round}: {written} for {sent}");
        let came = message_bytes(&update, &world.people[1].id);
        world.deliver(1, &update);
        let written = world.written[1];
        assert!(written <= 4 * came, "round {round}: {written} for {came}");
        let sent = world.send(1);
        let came = sent.payload.encode().len();
        world.deliver(0, &sent);
        assert!(world.written[0] <= 4 * came, "{}", world.written[0]);
    }
}

/// Size of what one reader needs of a message: the control message and what was sent to it.
fn message_bytes(message: &Message<Payload>, reader: &Member) -> usize {
    let Payload::Control { control, directs } = &message.payload else {
        panic!("control");
    };
    let ours = directs.iter().filter(|direct| direct.recipient == *reader);
    let bytes: usize = ours.map(|direct| direct.encode().len()).sum();
    32 + 32 + 32 * message.dependencies.len() + control.encode().len() + bytes
}

#[test]
fn a_removal_writes_no_row_for_each_secret() {
    let mut world = World::new(2, 4);
    for _ in 0..100 {
        let update = world.update(0);
        world.deliver(1, &update);
    }
    let removal = world.remove(0, 3);
    world.deliver(1, &removal);
    assert!(world.written[1] < 1_000, "{}", world.written[1]);
    assert!(world.written[0] < 4 * world.sent, "{}", world.written[0]);
}

#[test]
fn what_all_have_passed_is_pruned_to_id_and_secret() {
    let mut world = World::new(3, 8);
    let mut sizes = Vec::new();
    for _ in 0..4 {
        for _ in 0..20 {
            let update = world.update(0);
            world.share(0, &update);
            world.answer();
        }
        sizes.push([world.stores[0].bytes(), world.stores[1].bytes()]);
    }
    for pair in sizes.windows(2) {
        for (before, after) in pair[0].iter().zip(&pair[1]) {
            // 33 and 8 bytes of the id, 33 and 40 of the secret.
            assert!(after - before <= 20 * 120, "{before} {after}");
        }
    }
    // Without the old secrets only the ids are left.
    let before = world.stores[1].bytes();
    world.groups[1].keep_newest(4);
    world.store(1);
    assert!(before - world.stores[1].bytes() > 70 * 70);
    assert_eq!(world.load(1).encode(), world.groups[1].encode());
    assert_eq!(world.groups[1].rekey(), Rekey::None);
}

#[test]
fn silent_readers_cost_a_bounded_number_of_keys() {
    let mut world = World::new(4, 4);
    let mut sizes = Vec::new();
    for _ in 0..3 {
        for _ in 0..300 {
            world.update(0);
            world.groups[0].keep_newest(4);
        }
        world.store(0);
        sizes.push(world.stores[0].bytes());
    }
    assert!(sizes[0] < 3 * 256 * 40 + 300 * 60 + 4_000, "{sizes:?}");
    assert!(sizes[2] - sizes[1] < 300 * 60, "{sizes:?}");
}

#[test]
fn a_late_operation_counts_as_a_rotation_of_unknown_holders() {
    let mut world = World::new(5, 4);
    // The last member rotates, and nobody hears of it before it was removed and all have passed that.
    let late = world.update(3);
    let removal = world.remove(0, 3);
    for reader in [1, 2] {
        world.deliver(reader, &removal);
    }
    for _ in 0..3 {
        let update = world.update(0);
        for reader in [1, 2] {
            world.deliver(reader, &update);
        }
        for author in [0, 1, 2] {
            let sent = world.send(author);
            for reader in (0..3).filter(|reader| *reader != author) {
                world.deliver(reader, &sent);
            }
        }
    }
    let eligible = world.groups[1].latest_eligible();
    let events = world.deliver(1, &late);
    assert!(matches!(events[..], [Event::Changed { .. }]), "{events:?}");
    assert_eq!(world.groups[1].latest_eligible(), eligible);
    let secrets = world.groups[1].secrets().len();
    assert!(world.groups[1].rekey() != Rekey::None);
    assert_eq!(world.load(1).encode(), world.groups[1].encode());
    // It is read, and another rotation ends it.
    assert_eq!(secrets, 6);
    let update = world.update(1);
    assert_eq!(world.groups[1].rekey(), Rekey::None);
    world.deliver(0, &late);
    world.deliver(0, &update);
    assert_eq!(world.groups[0].rekey(), Rekey::None);
    let latest = world.groups[0].latest_eligible();
    assert_eq!(latest, world.groups[1].latest_eligible());
}

#[test]
fn pruned_and_unknown_differ() {
    let mut world = World::new(6, 3);
    let mut first = None;
    for _ in 0..5 {
        let update = world.update(0);
        first.get_or_insert(update.id);
        world.share(0, &update);
        world.answer();
    }
    let sender = world.people[1].id;
    let rotation = |id: OperationId, rng: &mut ChaCha20Rng| Message {
        id: operation(rng),
        sender,
        dependencies: vec![id],
        payload: Payload::Control {
            control: Control::Update,
            directs: Vec::new(),
        },
    };
    let unknown = operation(&mut world.rng);
    let waits = rotation(unknown, &mut world.rng);
    assert_eq!(world.groups[0].missing(&waits), [unknown]);
    assert_eq!(world.deliver(0, &waits), []);
    let late = rotation(first.unwrap(), &mut world.rng);
    assert_eq!(world.groups[0].missing(&late), []);
    let events = world.deliver(0, &late);
    assert!(matches!(events[..], [Event::Changed { .. }]), "{events:?}");
    assert_eq!(world.groups[0].rekey(), Rekey::Advised(Reason::Unmerged));
}

/// Data of one member that names others' messages, as 0.7.1 spaces name them.
fn naming(world: &mut World, author: usize, named: &[OperationId]) -> Message<Payload> {
    let mut message = world.send(author);
    message.dependencies = named.to_vec();
    message
}

fn read(events: &[Event]) -> Vec<OperationId> {
    let read = events.iter().map(|event| match event {
        Event::Application { operation, .. } => *operation,
        other => panic!("{other:?}"),
    });
    read.collect()
}

#[test]
fn what_names_data_waits_for_it_also_after_a_restart() {
    let mut world = World::new(10, 3);
    let data = world.send(1);
    let later = naming(&mut world, 2, &[data.id]);
    // First what names it, then the data.
    assert_eq!(world.deliver(0, &later), []);
    assert_eq!(world.groups[0].missing(&later), [data.id]);
    world.groups[0] = world.load(0);
    let events = world.deliver(0, &data);
    assert_eq!(read(&events), [data.id, later.id]);
    // The data, a restart, then what names it.
    world.groups[0] = world.load(0);
    let next = naming(&mut world, 1, &[later.id]);
    assert_eq!(read(&world.deliver(0, &next)), [next.id]);
    assert_eq!(world.load(0), world.groups[0]);
}

#[test]
fn what_names_data_comes_after_what_that_follows() {
    let mut world = World::new(11, 3);
    let update = world.update(0);
    world.deliver(1, &update);
    world.deliver(2, &update);
    let data = world.send(1);
    let again = naming(&mut world, 1, &[data.id]);
    let mut rotation = world.update(2);
    rotation.dependencies = vec![again.id];
    for message in [&rotation, &again, &data] {
        world.deliver(0, message);
    }
    // The rotation has merged the update, and nothing else is a head.
    assert_eq!(world.send(0).dependencies, [rotation.id]);
    assert_eq!(world.groups[0].rekey(), Rekey::None);
    let latest = world.groups[0].latest_eligible();
    assert_eq!(latest, world.groups[2].latest_eligible());
}

#[test]
fn data_with_a_pruned_past_makes_nothing_later_late() {
    let mut world = World::new(12, 3);
    let data = world.send(1);
    world.deliver(0, &data);
    for _ in 0..4 {
        let update = world.update(0);
        world.share(0, &update);
        world.answer();
    }
    let mut rotation = world.update(2);
    rotation.dependencies.push(data.id);
    world.deliver(0, &rotation);
    assert_eq!(world.groups[0].rekey(), Rekey::None);
    let latest = world.groups[0].latest_eligible();
    assert_eq!(latest, world.groups[2].latest_eligible());
}

#[test]
fn forgotten_data_ids_are_neither_early_nor_lost() {
    let mut world = World::new(13, 3);
    let old: Vec<_> = (0..40).map(|_| world.send(1)).collect();
    for data in &old {
        world.deliver(0, data);
    }
    let (full, before) = (world.stores[0].bytes(), world.groups[0].encode().len());
    for _ in 0..40 {
        let data = world.send(1);
        world.deliver(0, &data);
    }
    // Only the numbers of the places grow.
    assert!(world.stores[0].bytes() <= full + 64);
    assert!(world.groups[0].encode().len() <= before + 64);
    // More of them than are known are named at once, and one that nobody has.
    let unknown = operation(&mut world.rng);
    let mut named: Vec<_> = old.iter().map(|data| data.id).collect();
    named.push(unknown);
    let later = naming(&mut world, 2, &named);
    assert_eq!(world.deliver(0, &later), []);
    for data in &old {
        assert_eq!(
            world.groups[0].known(data.id, data.sender, &data.dependencies),
            []
        );
    }
    let sender = world.people[1].id;
    let mut context = world.people[0].context(START + 1);
    assert_eq!(world.groups[0].poll(&mut context), None);
    let missing = operation(&mut world.rng);
    assert_eq!(
        world.groups[0].known(unknown, sender, &[missing]),
        [missing]
    );
    assert_eq!(world.groups[0].known(unknown, sender, &[]), []);
    let event = world.groups[0].poll(&mut context).unwrap();
    assert_eq!(read(&[event]), [later.id]);
}

#[test]
fn others_may_name_our_own_data() {
    let mut world = World::new(14, 2);
    let ours = world.send(0);
    let answer = naming(&mut world, 1, &[ours.id]);
    assert_eq!(world.deliver(0, &answer), []);
    let known = world.groups[0].known(ours.id, ours.sender, &ours.dependencies);
    assert_eq!(known, []);
    let mut context = world.people[0].context(START + 1);
    let event = world.groups[0].poll(&mut context).unwrap();
    assert_eq!(read(&[event]), [answer.id]);
    // It is remembered.
    let answer = naming(&mut world, 1, &[ours.id]);
    assert_eq!(read(&world.deliver(0, &answer)), [answer.id]);
}

#[test]
fn a_newcomer_reads_the_data_that_its_welcome_names() {
    let mut world = World::founded(15, 4, 3);
    let update = world.update(0);
    world.share(0, &update);
    // More than are known by id of one sender.
    let data: Vec<_> = (0..20).map(|_| world.send(1)).collect();
    for data in &data {
        world.deliver(0, data);
    }
    let joins = world.people[3].id;
    let context = world.people[0].context(START + 1);
    let draft = world.groups[0].add(joins, 9, &context, &mut world.rng);
    let mut add = world.commit(0, draft.unwrap().0);
    add.dependencies = data.iter().map(|data| data.id).collect();
    assert_eq!(world.deliver(3, &add), []);
    let mut events = Vec::new();
    for data in &data {
        events.extend(world.deliver(3, data));
    }
    assert_eq!(events.remove(0), Event::Joined { operation: add.id });
    let sent: BTreeSet<_> = data.iter().map(|data| data.id).collect();
    assert_eq!(BTreeSet::from_iter(read(&events)), sent);
    assert_eq!(events.len(), sent.len());
    assert_eq!(world.send(3).dependencies, [add.id]);
    assert_eq!(world.load(3), world.groups[3]);
}

#[test]
fn rows_of_another_version_and_damaged_rows_are_refused() {
    let mut world = World::new(7, 3);
    let fresh: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let load = |store: &Store| Group::<Members>::load(Members::default(), store.rows());
    assert_eq!(
        Group::<Members>::load(Members::default(), fresh).unwrap_err(),
        LoadError::Version
    );
    let mut store = world.stores[0].clone();
    let mut header = store.get(&[0]).unwrap().to_vec();
    header[1] += 1;
    store.insert(vec![0], header);
    assert_eq!(load(&store).unwrap_err(), LoadError::Version);
    for (key, value) in world.stores[0].clone().rows() {
        let mut store = world.stores[0].clone();
        store.insert(key.to_vec(), value[..value.len() - 1].to_vec());
        assert_eq!(load(&store).unwrap_err(), LoadError::Corrupt);
    }
    let mut store = world.stores[0].clone();
    store.insert(vec![255], vec![0]);
    assert_eq!(load(&store).unwrap_err(), LoadError::Corrupt);
    // Nothing has changed since.
    assert_eq!(world.groups[0].changes(), []);
}

#[test]
fn rows_do_not_show_what_they_hold() {
    let row = Row {
        key: vec![16],
        value: Some(vec![77; 32].into()),
    };
    assert_eq!(format!("{row:?}"), "Row([16], Some(32) bytes)");
}

#[test]
fn the_rows_of_some_members_are_a_registry_of_these() {
    let mut world = World::new(8, 3);
    let ids = world.ids();
    let mut store = Store::default();
    store.write(world.people[0].registry.changes());
    let one = store
        .rows()
        .filter(|(key, _)| key[1..33] == ids[1].as_bytes()[..]);
    let registry = Registry::load(one).unwrap();
    assert!(registry.long_term(&ids[1], START + 1).unwrap().is_some());
    assert_eq!(registry.long_term(&ids[2], START + 1), Ok(None));
    assert_eq!(world.people[0].registry.changes(), []);
}
