//! Spaces are used like topics: typed messages, named consumers, views, ephemeral messages.

use std::collections::BTreeSet;

use p2panda::{Event, Role, SpaceNews};
use serde::{Deserialize, Serialize};

use crate::nodes::{PATIENCE, introduce, network, temporary, until};
use crate::spaces::{has_members, space_of};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
    stars: u32,
}

fn note(text: &str, stars: u32) -> Note {
    let text = text.to_owned();
    Note { text, stars }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_has_types_named_consumers_and_views_as_a_topic_has() {
    let network = network();
    let [a, b] = [temporary(network).await, temporary(network).await];
    let spaces = space_of(&a, &[&b]).await;
    let [space_a, space_b] = [&spaces[0], &spaces[1]].map(|space| space.clone().typed::<Note>());
    let view = spaces[1].view("stars", 1).typed::<Note>();
    let view = view
        .table("CREATE TABLE {view}stars(text TEXT PRIMARY KEY, stars INTEGER NOT NULL)")
        .apply(|step, message| {
            if let Ok(note) = message.value() {
                let (text, stars) = (note.text.clone().into(), i64::from(note.stars).into());
                step.execute("INSERT INTO {view}stars VALUES(?1, ?2)", [text, stars]);
            }
            Ok(())
        });
    let view = view.start().await.unwrap();
    let consumer = spaces[1].consumer("mine").typed::<Note>();
    let mut consumer = consumer.open().await.unwrap();
    space_a.publish(&note("one", 1)).await.unwrap();
    space_a.publish(&note("two", 2)).await.unwrap();
    let mut read = Vec::new();
    while read.len() < 2 {
        let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await;
        let delivery = delivery.expect("it comes in time").unwrap();
        if let Ok(note) = delivery.value() {
            read.push(note.clone());
        }
        delivery.ack().await.unwrap();
    }
    assert_eq!(read, [note("one", 1), note("two", 2)]);
    until("the view has both", || async {
        let rows = view.read(|tables| tables.query("SELECT text FROM stars", []));
        rows.await.unwrap().len() == 2
    })
    .await;
    let (tx, _rx) = space_b.stream().await.unwrap();
    tx.publish(&note("three", 3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_a_space_tell_who_has_stored_its_messages() {
    let network = network();
    let [a, b] = [temporary(network).await, temporary(network).await];
    let spaces = space_of(&a, &[&b]).await;
    let receipt = spaces[0].publish("for members").await.unwrap();
    let stored = tokio::time::timeout(PATIENCE, receipt.stored(1)).await;
    stored.expect("stored in time").unwrap();
    assert_eq!(receipt.held_by(), [b.id()]);
    let tx = a.publisher(spaces[0].topic()).await.unwrap();
    let newest = tx.newest().await.unwrap().expect("it was published");
    assert_eq!((newest.id(), newest.seq()), (receipt.id(), receipt.seq()));
    assert_eq!(newest.held_by(), [b.id()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_messages_of_a_space_are_for_members_alone() {
    let network = network();
    let [a, b, stranger] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    introduce(&stranger, &a);
    let spaces = space_of(&a, &[&b]).await;
    // It holds the topic, and no keys.
    let (clear, mut overheard) = stranger.ephemeral(spaces[0].topic()).await.unwrap();
    let (tx, _rx) = spaces[0].ephemeral().await.unwrap();
    let (_tx, mut rx) = spaces[1].ephemeral().await.unwrap();
    let sending = async {
        loop {
            tx.publish("is typing").await.unwrap();
            clear.publish("not sealed").await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let heard = async {
        let heard = rx.next().await.unwrap();
        assert_eq!(heard.author(), a.id());
        assert_eq!(heard.text().unwrap(), "is typing");
        let sealed = overheard.next().await.unwrap();
        let bytes = sealed.raw();
        assert!(!bytes.windows(6).any(|window| window == b"typing"));
        // What no member has sealed is skipped and counted.
        while b.metrics().network.ephemeral_invalid == 0 {
            assert_eq!(rx.next().await.unwrap().author(), a.id());
        }
    };
    let heard = tokio::time::timeout(PATIENCE, heard);
    tokio::select! {
        heard = heard => heard.expect("it comes in time"),
        () = sending => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_at_a_message_and_why_are_told_by_all_alike() {
    let network = network();
    let [a, b] = [temporary(network).await, temporary(network).await];
    let mut events = b.events();
    let spaces = space_of(&a, &[&b]).await;
    spaces[0].set_role(b.id(), Role::Owner).await.unwrap();
    let is_owner = tokio::time::timeout(PATIENCE, async {
        loop {
            let Some(Event::Space { news, .. }) = events.next().await else {
                continue;
            };
            let SpaceNews::Members(changes) = &news else {
                continue;
            };
            if changes
                .iter()
                .any(|(who, _, now)| *who == b.id() && *now == Some(Role::Owner))
            {
                return news.to_string();
            }
        }
    });
    let sentence = is_owner.await.unwrap();
    assert_eq!(sentence, format!("{} is now owner", b.id()));
    for space in &spaces {
        let why = space.why(b.id()).await.unwrap().unwrap().to_string();
        assert!(why.ends_with(&format!("{} made it owner", a.id())), "{why}");
    }
    // Each message that changed members names those before it.
    let (_tx, mut rx) = spaces[1].stream().await.unwrap();
    let mut before = BTreeSet::new();
    while !before.contains(&2) {
        let message = crate::nodes::next(&mut rx).await;
        if message.change().is_some() {
            let members = spaces[1].members_at(message.id()).await.unwrap();
            before.insert(members.unwrap_or_default().len());
        }
    }
    assert!(before.contains(&1), "{before:?}");
    has_members(&spaces[0], 2).await;
    let mut events = b.events();
    spaces[0].rotate_every(Some(30)).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(Event::Space { news, .. }) = events.next().await
                && matches!(news, SpaceNews::Rotation { .. })
            {
                return news.to_string();
            }
        }
    });
    assert_eq!(
        told.await.unwrap(),
        format!("{} asks for a new secret every 30 days", a.id())
    );
    for space in &spaces {
        let look = space.look().await.unwrap().unwrap();
        assert_eq!(look.rotation_days, Some(30));
        assert!(look.rotates_at.is_some());
        assert_eq!(space.state().await.unwrap().rotation_days, Some(30));
    }
    let refused = spaces[0].rotate_every(Some(3_651)).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a secret is replaced after 3650 days at most"
    );
    spaces[0].rotate_every(None).await.unwrap();
    let look = spaces[0].look().await.unwrap().unwrap();
    assert_eq!((look.rotation_days, look.rotates_at), (None, None));
    spaces[0].raise_suite_floor(2).await.unwrap();
    let refused = spaces[0].raise_suite_floor(3).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a space cannot require suite 3: this version supports suite 2"
    );
    for space in &spaces {
        let look = space.look().await.unwrap().unwrap();
        assert_eq!((look.suite, look.without_suite), (2, Vec::new()));
        assert_eq!(space.state().await.unwrap().suite, Some(2));
    }
    spaces[0].rename("another name").await.unwrap();
    let renamed = || async {
        let state = spaces[1].state().await.unwrap();
        state.name.as_deref() == Some("another name")
    };
    until("all know the name", renamed).await;
}
