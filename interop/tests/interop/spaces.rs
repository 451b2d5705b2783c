//! An encrypted space next to a published node: nothing of the space reaches that node or passes through
//! it, and neither side is disturbed. The two logs of a space have names, and a published node takes a
//! second log of an author for the first (`logs`).

use interop::{Event, Message, Operation, Options, Ours, Peer, Step, sorted};

use crate::case::{Case, PATIENCE, assert_same};

const OWNER: [u8; 32] = [1; 32];
const MEMBER: [u8; 32] = [2; 32];
const COURIER: [u8; 32] = [3; 32];
const SAID: [&str; 3] = ["one for members", "two for members", "three for members"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_space_does_not_pass_through_a_published_node() {
    let case = Case::new("space");
    let topic = case.topic;
    let owner = ours(&case, "owner", OWNER, &[]).await;
    let member = space_of(&case, &owner, &[owner.peer()]).await;
    for node in [&owner, &member] {
        node.wait_members(topic, 2, PATIENCE).await.unwrap();
    }
    member.close().await.unwrap();

    // While the member is away, only a published node is there.
    let before = owner.dump(topic).await.unwrap();
    for text in SAID {
        owner.publish_text(topic, text).await.unwrap();
    }
    let published = case.published(&[owner.peer()]).await;
    let id = published.peer().node;
    let at_published = published.stream(topic).await.unwrap();
    // What is in a first log crosses the session.
    at_published.publish("in clear").await.unwrap();
    let in_clear = published.dump(topic).await.unwrap();
    assert_eq!(in_clear.len(), 1);
    wait_caught_up(&owner, topic, id).await;
    let held = wait_holds(&owner, topic, &in_clear).await;
    let is_said = |one: &&Operation| one.author == owner.peer().node && !before.contains(one);
    let said: Vec<Operation> = held.iter().filter(is_said).cloned().collect();
    assert!(said.len() >= SAID.len());
    assert_same(&published.dump(topic).await.unwrap(), &in_clear);
    let old_address = owner.peer().addr;
    owner.close().await.unwrap();

    // The member meets the published node alone, and gets what is in first logs.
    let member = ours(&case, "member", MEMBER, &[published.peer()]).await;
    member.subscribe(topic).await.unwrap();
    wait_caught_up(&member, topic, id).await;
    let at_member = wait_holds(&member, topic, &in_clear).await;
    assert!(said.iter().all(|one| !at_member.contains(one)));
    assert_eq!(member.events().read(|events| texts(events, topic)), [""; 0]);

    // From a node of this project all comes as it was stored.
    let mut options = options(&case, "owner", OWNER, &[member.peer()]);
    options.listen = Some(old_address);
    let owner = Ours::open(options).await.unwrap();
    owner.subscribe(topic).await.unwrap();
    assert_eq!(wait_texts(&member, topic, SAID.len()).await, SAID);
    wait_holds(&member, topic, &held).await;

    // The published node was sent nothing that it had to refuse.
    assert_same(&published.dump(topic).await.unwrap(), &in_clear);
    assert_eq!(at_published.refused(), []);
}

/// What is in first logs is kept by all, and no member shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_courier_carries_a_space_next_to_a_published_node() {
    let case = Case::new("space, courier");
    let topic = case.topic;
    let courier = ours(&case, "courier", COURIER, &[]).await;
    courier.subscribe(topic).await.unwrap();
    let published = case.published(&[courier.peer()]).await;
    let at_published = published.stream(topic).await.unwrap();
    courier.publish_text(topic, "by the courier").await.unwrap();
    at_published.publish("by the published").await.unwrap();
    at_published.wait_operations(2, PATIENCE).await.unwrap();
    let in_clear = published.dump(topic).await.unwrap();

    let owner = ours(&case, "owner", OWNER, &[courier.peer()]).await;
    let member = space_of(&case, &owner, &[courier.peer()]).await;
    member.subscribe(topic).await.unwrap();
    for node in [&owner, &member] {
        node.wait_members(topic, 2, PATIENCE).await.unwrap();
        wait_holds(node, topic, &in_clear).await;
    }
    owner.publish_text(topic, SAID[0]).await.unwrap();
    for node in [&owner, &member] {
        assert_eq!(wait_texts(node, topic, 1).await, [SAID[0]]);
    }
    let held = owner.dump(topic).await.unwrap();
    for node in [&courier, &member] {
        wait_holds(node, topic, &held).await;
    }

    // A session sends in the order of arrival: with this the published node has all that it gets.
    courier.publish_text(topic, "the last one").await.unwrap();
    at_published.wait_operations(3, PATIENCE).await.unwrap();
    let at_the_end = published.dump(topic).await.unwrap();
    assert_eq!(at_the_end.len(), 3);
    assert!(in_clear.iter().all(|one| at_the_end.contains(one)));
    assert_eq!(at_published.refused(), []);
}

/// A space of `owner`, and a member that knows `bootstrap` and has been added.
async fn space_of(case: &Case, owner: &Ours, bootstrap: &[Peer]) -> Ours {
    owner.create_space(case.topic).await.unwrap();
    owner.subscribe(case.topic).await.unwrap();
    let member = ours(case, "member", MEMBER, bootstrap).await;
    member.follow_space(case.topic).await.unwrap();
    let id = member.peer().node;
    owner.add_to_space(case.topic, id).await.unwrap();
    member
}

fn options(case: &Case, name: &str, seed: [u8; 32], bootstrap: &[Peer]) -> Options {
    let mut options = case.options(name);
    options.seed = Some(seed);
    options.bootstrap = bootstrap.to_vec();
    options
}

async fn ours(case: &Case, name: &str, seed: [u8; 32], bootstrap: &[Peer]) -> Ours {
    let options = options(case, name, seed, bootstrap);
    Ours::open(options).await.unwrap()
}

/// Waits until a session of our node with another one has sent both what they lacked.
async fn wait_caught_up(node: &Ours, topic: [u8; 32], peer: [u8; 32]) {
    node.wait_step(topic, peer, Step::CaughtUp, PATIENCE)
        .await
        .unwrap();
}

/// Waits until our node holds all of these operations byte for byte, and returns what it holds.
async fn wait_holds(node: &Ours, topic: [u8; 32], wanted: &[Operation]) -> Vec<Operation> {
    loop {
        let held = sorted(node.dump(topic).await.unwrap());
        if wanted.iter().all(|one| held.contains(one)) {
            return held;
        }
        let more = held.len() + 1;
        node.wait_stored(topic, more, PATIENCE).await.unwrap();
    }
}

/// The texts that our node has shown of a topic, in their order. Changes of members have none.
fn texts(events: &[Event], wanted: [u8; 32]) -> Vec<String> {
    let texts = events.iter().filter_map(|event| match event {
        Event::Message {
            topic, operation, ..
        } if *topic == wanted => match Message::decode(operation.body.as_deref()?) {
            Ok(Message::Text(text)) => Some(text),
            _ => None,
        },
        _ => None,
    });
    texts.collect()
}

async fn wait_texts(node: &Ours, topic: [u8; 32], count: usize) -> Vec<String> {
    let shown = |events: &[Event]| {
        let shown = texts(events, topic);
        (shown.len() >= count).then_some(shown)
    };
    let events = node.events();
    events
        .wait("texts at our node", PATIENCE, shown)
        .await
        .unwrap()
}
