//! Plain reads, health, metrics.

use p2panda_rpc::api;
use p2panda_rpc::client::ClientError;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

use crate::support::{ALICE, ROOT};
use crate::world::{TOPIC, World, bearer, in_time};

pub fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

pub fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let line = answer
        .lines()
        .find(|line| line.to_lowercase().starts_with(name))?;
    Some(line.split_once(": ")?.1)
}

pub async fn publish(world: &World, alias: &str, count: usize) {
    let alice = world.client(ALICE).await;
    for number in 0..count {
        alice
            .publish_text(alias, &format!("m{number}"))
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_where_the_next_one_begins_and_when_there_is_none() {
    let world = World::new().await;
    let alias = world.keep().await;
    publish(&world, &alias, 5).await;
    let read = |query: String| {
        let path = format!("/v1/topics/{alias}/messages{query}");
        let world = &world;
        async move { world.get(&path, &bearer(ALICE)).await }
    };
    let (mut after, mut texts, mut pages) = ("-1".to_owned(), Vec::new(), 0);
    loop {
        let answer = read(format!("?after={after}&limit=2")).await;
        let next = header(&answer, "stream-next-offset").unwrap().to_owned();
        assert!(
            next.len() == 20 && (after == "-1" || next > after),
            "{next}"
        );
        let page: Vec<Value> = serde_json::from_str(body(&answer)).unwrap();
        texts.extend(
            page.iter()
                .map(|one| one["text"].as_str().unwrap().to_owned()),
        );
        (after, pages) = (next, pages + 1);
        if header(&answer, "stream-up-to-date") == Some("true") {
            break;
        }
    }
    assert_eq!((texts.join(" ").as_str(), pages), ("m0 m1 m2 m3 m4", 3));
    let nothing = read(format!("?after={after}")).await;
    assert!(nothing.starts_with("HTTP/1.1 204"));
    assert_eq!(header(&nothing, "stream-next-offset"), Some(after.as_str()));
    assert!(read("?after=now".into()).await.starts_with("HTTP/1.1 204"));
    for wrong in [
        "?after=7",
        "?after=x",
        "?live=no",
        "?more=1",
        "?limit=-1",
        "?consumer=%ff",
        "?consumer=x%C3",
    ] {
        assert!(
            read(wrong.into()).await.starts_with("HTTP/1.1 400"),
            "{wrong}"
        );
    }
    let topic = crate::world::TOPIC;
    let secret = world
        .get(&format!("/v1/topics/{topic}/messages"), &bearer(ALICE))
        .await;
    assert!(secret.starts_with("HTTP/1.1 404"), "{secret}");
    world.end().await;
}

/// As if the content up to an offset was deleted because of its age.
fn age(world: &World, until: i64) {
    let file = world.dir.path().join("p2panda.sqlite");
    let connection = rusqlite::Connection::open(file).unwrap();
    let sql = "INSERT INTO aged_topic SELECT id, ?1, ?1 FROM topic";
    assert!(connection.execute(sql, [until]).unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_below_what_retention_deleted_is_gone() {
    let world = World::new().await;
    let alias = world.keep().await;
    publish(&world, &alias, 3).await;
    age(&world, 2);
    let path = |after: &str| format!("/v1/topics/{alias}/messages?after={after}");
    for (after, status) in [
        ("00000000000000000001", 410),
        ("00000000000000000002", 200),
        ("00000000000000000003", 204),
        ("00000000000000000000", 200),
        ("-1", 200),
        ("now", 204),
    ] {
        let answer = world.get(&path(after), &bearer(ALICE)).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{after}: {answer}"
        );
        assert_eq!(answer.contains("\"expired\""), status == 410);
        if status == 410 {
            let next = header(&answer, "stream-next-offset").unwrap();
            let next = world.get(&path(next), &bearer(ALICE)).await;
            assert!(next.starts_with("HTTP/1.1 200"), "{next}");
        }
    }
    let alice = world.client(ALICE).await;
    for (after, is_there) in [(0, true), (1, false), (2, true)] {
        let params = api::ReadParams {
            topic: alias.clone(),
            after,
            limit: None,
            header: false,
        };
        let read = alice.call::<api::MessagesRead>(&params).await;
        assert_eq!(read.is_ok(), is_there, "{after}");
        if let Err(ClientError::Rpc(error)) = read {
            assert_eq!(error.data.after, Some(2), "reading continues after it");
        }
    }
    for (offset, is_there) in [(1, true), (2, false), (3, true)] {
        let params = api::SubscribeParams {
            topics: vec![alias.clone()],
            start: Some(api::Start::Offset(offset)),
            ..api::SubscribeParams::default()
        };
        assert_eq!(alice.messages(params).await.is_ok(), is_there, "{offset}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_at_the_end_goes_on_behind_what_was_deleted() {
    let world = World::new().await;
    let alias = world.keep().await;
    publish(&world, &alias, 3).await;
    // The newest messages were those of others.
    age(&world, 5);
    let end = format!("{:020}", 5);
    let path = format!("/v1/topics/{alias}/messages");
    for after in ["-1", "now"] {
        let query = format!("{path}?after={after}");
        let answer = world.get(&query, &bearer(ALICE)).await;
        assert_eq!(header(&answer, "stream-next-offset"), Some(end.as_str()));
    }
    let query = format!("{path}?after={end}");
    let nothing = world.get(&query, &bearer(ALICE)).await;
    assert!(nothing.starts_with("HTTP/1.1 204"), "{nothing}");
    let mut lines = stream(&world, &format!("{path}?live=sse"), &bearer(ALICE)).await;
    data(&mut lines, "data").await;
    let control = data(&mut lines, "control").await;
    assert_eq!(control["streamNextOffset"], end);
    let params = api::ReadParams {
        topic: alias,
        after: 0,
        limit: None,
        header: false,
    };
    let alice = world.client(ALICE).await;
    let read = alice.call::<api::MessagesRead>(&params).await.unwrap();
    assert_eq!((read.next, read.up_to_date), (5, true));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_answers_with_what_comes() {
    let world = World::new().await;
    let alias = world.keep().await;
    let path = format!("/v1/topics/{alias}/messages?after=now&live=poll");
    let bearer = bearer(ALICE);
    let (answer, ()) = tokio::join!(world.get(&path, &bearer), publish(&world, &alias, 1));
    // Published before the poll was read, it is behind `now`.
    if !answer.starts_with("HTTP/1.1 204") {
        assert!(body(&answer).contains("\"m0\""), "{answer}");
    }
    let path = format!("/v1/topics/{alias}/messages?after=-1&live=poll");
    assert!(body(&world.get(&path, &bearer).await).contains("\"m0\""));
    world.end().await;
}

/// A stream of events that was asked for with these headers.
pub async fn stream(world: &World, path: &str, headers: &str) -> Lines<BufReader<TcpStream>> {
    let authority = world.authority();
    let mut stream = TcpStream::connect(&authority).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(stream).lines()
}

/// The data of the next event of this name.
pub async fn data(lines: &mut Lines<BufReader<TcpStream>>, event: &str) -> Value {
    let mut is_event = false;
    loop {
        let line = in_time(lines.next_line()).await.unwrap().unwrap();
        if line == format!("event: {event}") {
            is_event = true;
        } else if let (true, Some(data)) = (is_event, line.strip_prefix("data: ")) {
            return serde_json::from_str(data).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_has_the_messages_and_where_to_go_on() {
    let world = World::new().await;
    let alias = world.keep().await;
    publish(&world, &alias, 2).await;
    let path = format!("/v1/topics/{alias}/messages?live=sse");
    let mut lines = stream(&world, &path, &bearer(ALICE)).await;
    let first = data(&mut lines, "control").await;
    assert_eq!(first["streamNextOffset"], format!("{:020}", 0));
    let messages = data(&mut lines, "data").await;
    assert_eq!(messages[0]["text"], "m0");
    assert_eq!(messages[1]["text"], "m1");
    let control = data(&mut lines, "control").await;
    assert_eq!(control["upToDate"], true);
    let (live, ()) = tokio::join!(data(&mut lines, "data"), publish(&world, &alias, 1));
    assert_eq!(live[0]["text"], "m0");
    // A browser that connects again goes on where it was, and not where its URL says.
    let headers = format!("{}Last-Event-ID: {:020}\r\n", bearer(ALICE), 2);
    let mut again = stream(&world, &path, &headers).await;
    assert_eq!(data(&mut again, "data").await[0]["offset"], 3);
    world.end().await;
}

/// The code with which a stream of events ends. Nothing follows: the last chunk is empty.
pub async fn ended(lines: &mut Lines<BufReader<TcpStream>>) -> String {
    let said = data(lines, "ended").await;
    assert!(said["message"].is_string(), "{said}");
    while in_time(lines.next_line()).await.unwrap().unwrap() != "0" {}
    said["data"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_ends_with_a_reason() {
    let world = World::new().await;
    let alias = world.keep().await;
    publish(&world, &alias, 2).await;
    let path = format!("/v1/topics/{alias}/messages?live=sse");
    // Each waits for more once it has said that there is nothing.
    let open = async |path: &str| {
        let mut lines = stream(&world, path, &bearer(ALICE)).await;
        while data(&mut lines, "control").await["upToDate"] != true {}
        lines
    };
    let mut aged = open(&path).await;
    age(&world, 4);
    publish(&world, &alias, 3).await;
    assert_eq!(ended(&mut aged).await, "expired");

    let mut left = open(&path).await;
    let params = api::TopicParams {
        topic: alias.clone(),
    };
    let unix = world.unix().await;
    unix.call::<api::TopicLeave>(&params).await.unwrap();
    assert_eq!(ended(&mut left).await, "closed");

    world.keep().await;
    let mut sealed = open(&path).await;
    let spaces = world.node.spaces();
    let settings = p2panda::Settings::with_history();
    let topic = crate::world::TOPIC;
    let space = spaces.create_in(topic, "", settings).await.unwrap();
    space.publish("sealed").await.unwrap();
    assert_eq!(ended(&mut sealed).await, "forbidden");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_events_end_with_the_node() {
    let world = World::new().await;
    let alias = world.keep().await;
    let path = format!("/v1/topics/{alias}/messages?live=sse");
    let mut plain = stream(&world, &path, &bearer(ALICE)).await;
    data(&mut plain, "control").await;
    let named = format!("{path}&consumer=x");
    let mut named = stream(&world, &named, &bearer(ALICE)).await;
    data(&mut named, "control").await;
    let World { node, running, dir } = world;
    let end = async {
        assert_eq!(ended(&mut plain).await, "closed");
        assert_eq!(ended(&mut named).await, "closed");
    };
    tokio::join!(running.shutdown(), end);
    node.shutdown().await.unwrap();
    drop(dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_the_health_of_the_node() {
    let world = World::new().await;
    assert!(world.get("/readyz", "").await.starts_with("HTTP/1.1 200"));
    world.running.drain();
    let hidden = world.get("/readyz", "").await;
    assert!(hidden.starts_with("HTTP/1.1 503"));
    assert_eq!(body(&hidden), "not-ready\n");
    assert_eq!(
        body(&world.get("/readyz", &bearer(ALICE)).await),
        "draining\n"
    );
    assert!(world.get("/healthz", "").await.starts_with("HTTP/1.1 200"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_node_the_rpc_topics_by_alias_and_consumers() {
    // Bytes are counted where there are quotas.
    let quotas = p2panda::Quotas {
        total: Some(1 << 30),
        ..p2panda::Quotas::default()
    };
    let world = World::with_quotas(quotas, |config| config.access.metrics_open = true).await;
    let alias = world.keep().await;
    publish(&world, &alias, 3).await;
    let alice = world.client(ALICE).await;
    let ask = serde_json::json!({"topics": [alias], "consumer": {"name": "x"}, "credit": 1});
    alice.call_raw("messages.subscribe", &ask).await.unwrap();
    let metrics = world.get("/metrics", "").await;
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"));
    let text = body(&metrics);
    assert!(
        text.contains("\np2panda_operations_published_total 3\n"),
        "{text}"
    );
    assert!(text.contains("\np2panda_rpc_requests_total "), "{text}");
    let row = format!("p2panda_topic_operations_waiting{{topic=\"{alias}\"}} 0");
    assert!(text.contains(&row), "{text}");
    assert!(
        text.contains("p2panda_consumer_oldest_age_seconds{consumer=\"alice/x\"}"),
        "{text}"
    );
    let kept = world.node.kept_bytes().await.unwrap().unwrap();
    assert!(kept > 0, "the messages are kept");
    let of_topic = format!("\np2panda_topic_kept_bytes{{topic=\"{alias}\"}} {kept}\n");
    for row in [format!("\np2panda_kept_bytes {kept}\n"), of_topic] {
        assert!(text.contains(&row), "{row}: {text}");
    }
    // The dashboard asks for nothing that there is not.
    let dashboard = include_str!("../../../../packaging/grafana/panda.json");
    let asked = dashboard.split("p2panda_").skip(1);
    for mut name in asked.map(|rest| rest.split(|c: char| c != '_' && !c.is_ascii_alphanumeric())) {
        let name = format!("\np2panda_{}", name.next().unwrap());
        let is_there = |end| text.contains(&format!("{name}{end}"));
        assert!(is_there(" ") || is_there("{"), "{name}");
    }
    assert!(!text.contains(&crate::world::TOPIC.to_string()));
    assert!(!text.contains(&crate::world::TOPIC.log_id().to_string()));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_runs_its_own_code_only() {
    let world = World::new().await;
    for path in ["/ui", "/ui/app.js", "/ui/style.css", "/ui/panda.svg"] {
        let answer = world.get(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        let policy = header(&answer, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
    }
    let status = r#"{"jsonrpc":"2.0","id":1,"method":"node.status"}"#;
    let origin = |authority: &str| format!("{}Origin: http://{authority}\r\n", bearer(ALICE));
    let own = world.post(status, &origin(&world.authority())).await;
    assert!(own.starts_with("HTTP/1.1 200"), "{own}");
    // Another port is another origin: a page of /demo never asks with what the status page has.
    for other in ["127.0.0.1:1", "127.0.0.1", "localhost"] {
        let refused = world.post(status, &origin(other)).await;
        assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_has_ports_and_files_of_its_own() {
    use p2panda_rpc::daemon::{self, Demo};
    let (home, site) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let index = "<html><meta name=\"served-by\" content=\"\" /></html>";
    std::fs::write(site.path().join("index.html"), index).unwrap();
    std::fs::write(site.path().join("chat.js"), "1").unwrap();
    std::fs::write(site.path().join("notes.txt"), "2").unwrap();
    let node = crate::support::builder(home.path()).spawn().await.unwrap();
    let mut config = crate::support::config(home.path());
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.demo = Some(Demo::new(listen.clone(), site.path()));
    let running = daemon::start(node.clone(), config).await.unwrap();
    let (rpc, demo) = (running.tcp_addrs()[0], running.demo_addrs()[0]);
    assert_ne!(rpc.port(), demo.port());
    let get = |path: &'static str| async move {
        use tokio::io::AsyncReadExt;
        let mut stream = TcpStream::connect(demo).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {demo}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    for path in ["/", "/demo", "/demo/", "/demo/?profile=two"] {
        let answer = get(path).await;
        let to = format!("/demo/?node=ws%3A%2F%2F127.0.0.1%3A{}%2Frpc", rpc.port());
        assert_eq!(header(&answer, "location"), Some(&*to), "{path}: {answer}");
    }
    let index = get("/demo/?node=ws%3A%2F%2Fhere").await;
    let id = node.id();
    assert!(
        body(&index).contains(&format!("content=\"{id}\"")),
        "{index}"
    );
    let policy = header(&index, "content-security-policy").unwrap();
    let begin = format!(
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ws://{rpc};"
    );
    assert!(policy.starts_with(&begin), "{policy}");
    assert!(get("/demo/chat.js").await.starts_with("HTTP/1.1 200"));
    for path in [
        "/demo/notes.txt",
        "/demo/..%2fnotes.txt",
        "/demo/../Cargo.toml",
        "/rpc",
        "/ui",
        "/metrics",
    ] {
        let answer = get(path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    running.shutdown().await;
    // Without its page it does not start.
    let mut config = crate::support::config(home.path());
    config.demo = Some(Demo::new(listen, home.path().join("nothing")));
    let failed = daemon::start(node.clone(), config).await;
    assert!(matches!(failed, Err(daemon::StartError::Demo { .. })));
    node.shutdown().await.unwrap();
}

#[test]
fn a_demo_is_as_large_as_its_limits_and_no_larger() {
    use p2panda_core::limits::DEMO_FILES_MAX;
    let site = tempfile::tempdir().unwrap();
    let file = |name: &str| std::fs::write(site.path().join(name), "x").unwrap();
    file("index.html");
    (1..DEMO_FILES_MAX).for_each(|number| file(&format!("{number}.js")));
    assert!(p2panda_rpc::daemon::Demo::check(site.path()).is_ok());
    file("more.js");
    assert!(p2panda_rpc::daemon::Demo::check(site.path()).is_err());
    std::fs::remove_file(site.path().join("more.js")).unwrap();
    let large = std::fs::File::create(site.path().join("1.js")).unwrap();
    let others = DEMO_FILES_MAX as u64 - 1;
    large
        .set_len(p2panda_core::limits::DEMO_BYTES_MAX - others)
        .unwrap();
    assert!(p2panda_rpc::daemon::Demo::check(site.path()).is_ok());
    file("2.js");
    large
        .set_len(p2panda_core::limits::DEMO_BYTES_MAX - others + 1)
        .unwrap();
    assert!(p2panda_rpc::daemon::Demo::check(site.path()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_answers_while_the_node_cannot_store() {
    let world = World::new().await;
    let alias = world.keep().await;
    let root = world.client(ROOT).await;
    let publisher = world.node.publisher(TOPIC).await.unwrap();
    publisher.publish("before").await.unwrap();
    // Somebody else writes to the database.
    let other = rusqlite::Connection::open(world.dir.path().join("p2panda.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let publishing = tokio::spawn(async move { publisher.publish("meanwhile").await });
    let status = async || {
        in_time(root.call::<api::NodeStatus>(&api::Empty {}))
            .await
            .unwrap()
    };
    while status().await.health.state != "waiting" {}
    let params = api::TopicParams { topic: alias };
    let topic = in_time(root.call::<api::TopicStatus>(&params))
        .await
        .unwrap();
    assert_eq!(topic.operations, 1);
    in_time(root.call::<api::PeerList>(&api::Empty {}))
        .await
        .unwrap();
    in_time(root.call::<api::NodeMetrics>(&api::Empty {}))
        .await
        .unwrap();
    other.execute_batch("ROLLBACK").unwrap();
    // It waited, or was refused and is not stored.
    let _ = in_time(publishing).await;
}
