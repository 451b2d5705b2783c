//! Operations signed by the client.

use p2panda::{Hash, Quotas, SigningKey, Timestamp};
use p2panda_core::{Draft, EphemeralMessage, Header, HybridTimestamp, NodeExtensions, Operation};
use p2panda_rpc::api::{self, Code, Expected, LogNextParams, SubmitParams};
use p2panda_rpc::client::{Client, ClientError, Credential, NoteStream};
use p2panda_rpc::daemon::Unknown;

use crate::support::{ALICE, BOB};
use crate::world::{TOPIC, World, failed, in_time};

/// A device with a key of its own, which only asks the node where its log continues.
struct Device {
    key: SigningKey,
    client: Client,
    alias: String,
}

impl Device {
    async fn next(&self) -> Expected {
        let params = LogNextParams {
            topic: self.alias.clone(),
            author: self.key.verifying_key(),
            log: None,
        };
        let next = self.client.call::<api::LogNext>(&params).await.unwrap();
        assert_eq!(next.log_id, TOPIC.log_id());
        next.expected
    }

    fn sign(&self, at: Expected, body: &[u8]) -> SubmitParams {
        let extensions = NodeExtensions::new(TOPIC.log_id(), Timestamp::from_micros(1));
        let extensions = extensions.encode();
        let draft = Draft {
            seq: at.seq,
            backlink: at.backlink,
            body: Some(body),
            extensions: Some(&extensions),
        };
        let header = Header::sign(&self.key, draft).unwrap();
        SubmitParams {
            topic: self.alias.clone(),
            header: header.as_bytes().clone().into(),
            body: Some(body.to_vec().into()),
        }
    }

    async fn submit(&self, params: &SubmitParams) -> Result<api::SubmitResult, ClientError> {
        self.client.call::<api::OperationSubmit>(params).await
    }
}

async fn device(world: &World) -> Device {
    Device {
        key: SigningKey::from_bytes(&[6; 32]),
        client: world.client(ALICE).await,
        alias: world.keep().await,
    }
}

fn error(outcome: Result<api::SubmitResult, ClientError>) -> p2panda_rpc::api::RpcError {
    match outcome.unwrap_err() {
        ClientError::Rpc(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_elsewhere_is_told_of_a_quota() {
    let quotas = Quotas {
        author: Some(1_500),
        ..Quotas::default()
    };
    let world = World::with_quotas(quotas, |_| {}).await;
    let device = device(&world).await;
    let body = |letter: u8| [&[0x79, 0x03, 0xe8][..], &[letter; 1_000]].concat();
    let first = device.sign(device.next().await, &body(b'a'));
    device.submit(&first).await.unwrap();
    let kept = world.node.kept_bytes().await.unwrap();
    let next = device.next().await;
    let second = device.sign(next, &body(b'b'));
    // However often it asks: the place stays free, and nothing is kept.
    for _ in 0..3 {
        let error = error(device.submit(&second).await);
        assert_eq!(error.kind(), Code::Quota);
        assert_eq!(error.data.reason.as_deref(), Some("quota"));
        assert!(error.data.hint.is_some());
        assert_eq!(device.next().await, next);
    }
    assert_eq!(world.node.kept_bytes().await.unwrap(), kept);
    assert!(device.submit(&first).await.unwrap().duplicate);
    // One that fits is taken.
    device.submit(&device.sign(next, b"\x63two")).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_written_elsewhere_says_where_it_goes_on() {
    let world = World::new().await;
    let device = device(&world).await;
    let start = device.next().await;
    assert_eq!(
        start,
        Expected {
            seq: 0,
            backlink: None
        }
    );
    let first = device.sign(start, b"\x63one");
    let stored = device.submit(&first).await.unwrap();
    assert!(!stored.duplicate);
    let next = device.next().await;
    assert_eq!(
        next,
        Expected {
            seq: 1,
            backlink: Some(stored.id)
        }
    );
    // The answer was lost: the same once more.
    assert!(device.submit(&first).await.unwrap().duplicate);
    device.submit(&device.sign(next, b"\x63two")).await.unwrap();
    let now = device.next().await;
    // Another tab had the same place, a gap, and a place behind another entry.
    let wrong = [
        device.sign(next, b"\x65other"),
        device.sign(Expected { seq: 7, ..now }, b"\x63gap"),
        device.sign(
            Expected {
                seq: 2,
                backlink: Some(Hash::digest(b"x")),
            },
            b"\x61x",
        ),
    ];
    for wrong in &wrong {
        let error = error(device.submit(wrong).await);
        assert_eq!(
            (error.kind(), error.data.expected),
            (Code::LogMoved, Some(now))
        );
    }
    // Two tabs at once make no fork of it.
    assert!(world.node.topic(TOPIC).forks().await.unwrap().is_empty());
    let messages = world
        .node
        .topic(TOPIC)
        .messages(0, 10, 10_000)
        .await
        .unwrap();
    let texts: Vec<_> = messages
        .iter()
        .map(|message| message.text().unwrap())
        .collect();
    assert_eq!(texts, ["one", "two"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_a_log_are_submitted_without_waiting() {
    let world = World::new().await;
    let device = device(&world).await;
    let mut at = device.next().await;
    let mut all = Vec::new();
    for _ in 0..40 {
        let one = device.sign(at, b"\x61x");
        let header = Header::decode(one.header.0.clone()).unwrap();
        at = Expected {
            seq: at.seq + 1,
            backlink: Some(header.id()),
        };
        all.push(one);
    }
    let answers = all.iter().map(|one| device.submit(one));
    for answer in futures_util::future::join_all(answers).await {
        assert!(!answer.unwrap().duplicate);
    }
    assert_eq!(device.next().await, at);
    assert!(world.node.topic(TOPIC).forks().await.unwrap().is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_breaks_a_rule_is_refused_with_its_reason() {
    let world = World::new().await;
    let device = device(&world).await;
    let start = device.next().await;
    let good = device.sign(start, b"\x63one");
    let mut forged = good.clone();
    let mut header = forged.header.0.to_vec();
    *header.last_mut().unwrap() ^= 1;
    forged.header = header.into();
    let mut other_body = good.clone();
    other_body.body = Some(b"\x63two".to_vec().into());
    let other_topic = {
        let extensions = NodeExtensions::new(
            p2panda::Topic::from_bytes([1; 32]).log_id(),
            Timestamp::from_micros(1),
        );
        let extensions = extensions.encode();
        let draft = Draft {
            body: Some(b"\x61x"),
            extensions: Some(&extensions),
            ..Draft::default()
        };
        let header = Header::sign(&device.key, draft).unwrap();
        SubmitParams {
            topic: device.alias.clone(),
            header: header.as_bytes().clone().into(),
            body: Some(b"\x61x".to_vec().into()),
        }
    };
    let cases = [
        (forged, "undecodable"),
        (other_body, "payload-mismatch"),
        (other_topic, "wrong-topic"),
    ];
    for (params, reason) in cases {
        let error = error(device.submit(&params).await);
        assert_eq!(error.kind(), Code::RefusedOperation);
        assert_eq!(error.data.reason.as_deref(), Some(reason));
    }
    let mut without = good.clone();
    without.body = None;
    assert_eq!(failed(device.submit(&without).await), Code::InvalidParams);
    device.submit(&good).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_kept_takes_nothing_from_elsewhere() {
    let world = World::new().await;
    let device = device(&world).await;
    let params = device.sign(device.next().await, b"\x63one");
    world.node.topic(TOPIC).keep(false).await.unwrap();
    assert_eq!(failed(device.submit(&params).await), Code::Forbidden);
    world.end().await;
}

/// This many operations of a subscription, in as many notifications as they come in.
async fn stored(client: &Client, notes: &mut NoteStream, count: usize) -> Vec<api::StoredView> {
    let mut operations = Vec::new();
    while operations.len() < count {
        let note = in_time(notes.next()).await.unwrap().unwrap();
        let api::Note::Operations(note) = note else {
            panic!("another notification: {note:?}")
        };
        let credit = api::CreditParams {
            subscription: note.subscription,
            bytes: note.bytes,
        };
        client.call::<api::MessagesCredit>(&credit).await.unwrap();
        operations.extend(note.operations);
    }
    operations
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_come_whole_and_go_on_behind_an_arrival() {
    let world = World::new().await;
    let device = device(&world).await;
    let bob = world.client(BOB).await;
    let all = api::OperationsParams {
        topic: device.alias.clone(),
        ..api::OperationsParams::default()
    };
    let mut live = bob.operations(&all).await.unwrap();
    let first = device.sign(device.next().await, b"\x63one");
    device.submit(&first).await.unwrap();
    // One without a message is not a message, but it is an operation.
    let params = serde_json::json!({"topic": device.alias, "message": {"prune": true}});
    device.client.call_raw("publish", &params).await.unwrap();
    let large = vec![b'x'; 100_000];
    let second = device.sign(
        device.next().await,
        &[b"\x7a\x00\x01\x86\xa0", &large[..]].concat(),
    );
    device.submit(&second).await.unwrap();
    let seen = stored(&bob, &mut live, 3).await;
    assert_eq!(
        (&seen[0].header, &seen[0].body),
        (&first.header, &first.body)
    );
    assert_eq!(
        (&seen[2].header, &seen[2].body),
        (&second.header, &second.body)
    );
    assert_eq!(seen[1].body, None);
    for operation in &seen {
        let body = operation.body.clone().map(|body| body.0);
        Operation::decode(operation.header.0.clone(), body).unwrap();
    }
    let behind = api::OperationsParams {
        after: seen[0].arrival,
        ..all
    };
    let mut again = bob.operations(&behind).await.unwrap();
    assert_eq!(stored(&bob, &mut again, 2).await, seen[1..]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_message_signed_elsewhere_reaches_clients() {
    let world = World::new().await;
    let device = device(&world).await;
    let bob = world.client(BOB).await;
    let mut heard = bob.ephemeral(&device.alias).await.unwrap();
    let time = HybridTimestamp::new(1, 0);
    let message = EphemeralMessage::seal(&device.key, time, b"\x62hi").unwrap();
    let submit = async |client: &Client, message: &[u8]| {
        let params = api::EphemeralSubmitParams {
            topic: device.alias.clone(),
            message: message.to_vec().into(),
        };
        client.call::<api::EphemeralSubmit>(&params).await
    };
    let mut forged = message.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(failed(submit(&device.client, &forged).await), Code::Invalid);
    assert_eq!(failed(submit(&bob, &message).await), Code::Forbidden);
    submit(&device.client, &message).await.unwrap();
    let note = in_time(heard.next()).await.unwrap().unwrap();
    let api::Note::Ephemeral(note) = note else {
        panic!("another notification: {note:?}")
    };
    assert_eq!(note.author, device.key.verifying_key());
    assert_eq!(note.message.unwrap().0, message);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_rooms_a_key_brings_topics_up_to_the_limit() {
    let world = World::with(|config| {
        config.access.unknown_keys = Unknown::Rooms { topics_max: 2 };
    })
    .await;
    let kept = world.keep().await;
    let credential = Credential::Key(Box::new(SigningKey::from_bytes(&[6; 32])), None);
    let client = Client::websocket(&world.url(), credential).await.unwrap();
    let status = async |topic: String| {
        let params = api::TopicParams { topic };
        client.call::<api::TopicStatus>(&params).await
    };
    // An alias is no knowledge of the topic.
    assert_eq!(failed(status(kept).await), Code::Forbidden);
    status(TOPIC.to_string()).await.unwrap();
    let own = p2panda::Topic::from_bytes([6; 32]);
    status(own.to_string()).await.unwrap();
    assert!(world.node.kept_topics(None).await.unwrap().contains(&own));
    let more = p2panda::Topic::from_bytes([7; 32]);
    assert_eq!(failed(status(more.to_string()).await), Code::Limit);
    world.end().await;
}
