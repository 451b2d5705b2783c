//! The views of an application on the command line.

use p2panda::{Mdns, Node, ViewState};
use serde_json::{Value, json};

use super::world::*;

const TABLE: &str = "CREATE TABLE {view}count(n INTEGER)";

/// The application whose home it is.
async fn application(world: &World) -> Node {
    let node = p2panda::builder()
        .network_id(world.network.parse().unwrap())
        .bind("127.0.0.1:0".parse().unwrap(), None)
        .mdns(Mdns::Off)
        // That of the commands, which look after the same guard file.
        .state_dir(Some(world.path("state").join("p2panda")))
        .data_dir(world.path("home"));
    node.spawn().await.unwrap()
}

/// Starts a version and waits until it answers and has applied all, or cannot.
async fn start(node: &Node, world: &World, version: u32) -> ViewState {
    let topic = world.topic.parse().unwrap();
    let view = node.view("notes", version).topics([topic]).table(TABLE);
    let view = view.apply(|_, _| Ok(())).start().await.unwrap();
    // It waits for the application where the feed lacks something.
    if view.answers().await.is_ok() {
        view.caught_up().await.unwrap();
    }
    view.status().await.unwrap().state
}

/// The lines that a command prints as JSON.
fn lines(world: &World, args: &[&str]) -> Vec<Value> {
    let output = world.at("home", args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines = stdout(&output);
    let lines = lines.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_lacks_messages_says_so_until_that_is_accepted() {
    let world = World::new();
    world.publish("home", "one\ntwo\nthree\n", &["--wait", "0"]);
    let node = application(&world).await;
    assert_eq!(start(&node, &world, 1).await, ViewState::Answers);
    let (tx, _rx) = node.stream(world.topic.parse().unwrap()).await.unwrap();
    tx.prune(Some("snapshot".into())).await.unwrap();
    assert_eq!(
        start(&node, &world, 2).await,
        ViewState::Lacks { entries: 3 }
    );
    node.shutdown().await.unwrap();

    let listed = lines(&world, &["view", "ls", "--json"]);
    assert_eq!(listed.len(), 2);
    let (one, two) = (&listed[0], &listed[1]);
    assert_eq!((&one["state"], one.get("lacks")), (&json!("answers"), None));
    let end = two["end"].as_u64().unwrap();
    let expected = json!({
        "name": "notes", "version": 2, "state": "lacks", "position": end, "end": end,
        "applied": 1, "skipped": 0, "to_come": 0, "lacks": 3
    });
    assert_eq!(*two, expected);
    assert_eq!(lines(&world, &["view", "info", "notes", "--json"]), listed);
    let plain = world
        .at("home", &["view", "info", "notes"])
        .output()
        .unwrap();
    let plain = stdout(&plain);
    let waits = "  waits: 3 messages of the version before are gone; `panda view accept-loss` lets it \
        answer without them\n";
    assert!(plain.ends_with(waits), "{plain}");

    let accepted = lines(&world, &["view", "accept-loss", "notes", "--json"]);
    assert_eq!(
        accepted,
        [json!({ "done": "accept-loss", "name": "notes" })]
    );
    let node = application(&world).await;
    assert_eq!(start(&node, &world, 2).await, ViewState::Answers);
    node.shutdown().await.unwrap();
    let listed = lines(&world, &["view", "ls", "--json"]);
    assert_eq!((listed.len(), &listed[0]["state"]), (1, &json!("answers")));
}
