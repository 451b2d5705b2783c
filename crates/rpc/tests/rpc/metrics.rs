//! Which topics and consumers metrics are about.

use p2panda::Topic;

use crate::http::{body, publish};
use crate::support::ROOT;
use crate::world::{TOPIC, World, bearer};

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_configured_topics_and_stored_ones() {
    let configured = Topic::from_bytes([6; 32]);
    let world = World::with(|config| config.keep = vec![configured]).await;
    let root = world.client(ROOT).await;
    let mut aliases = Vec::new();
    // Nobody keeps the second one.
    for topic in [configured, TOPIC] {
        let params = serde_json::json!({ "topic": topic.to_string() });
        let answer = root.call_raw("topic.alias", &params).await.unwrap();
        let alias = answer["alias"].as_str().unwrap().to_owned();
        publish(&world, &alias, 1).await;
        let ask = serde_json::json!({"topics": [alias], "consumer": {"name": alias}, "credit": 1});
        root.call_raw("messages.subscribe", &ask).await.unwrap();
        aliases.push(alias);
    }
    let metrics = world.get("/metrics", &bearer(ROOT)).await;
    let text = body(&metrics);
    for alias in &aliases {
        for row in [
            format!("\np2panda_topic_operations_waiting{{topic=\"{alias}\"}} 0\n"),
            format!("\np2panda_topic_logs_blocked{{topic=\"{alias}\"}} 0\n"),
            format!("\np2panda_consumer_offsets_behind{{consumer=\"root/{alias}\"}} "),
        ] {
            assert!(text.contains(&row), "{row}: {text}");
        }
    }
    world.end().await;
}
