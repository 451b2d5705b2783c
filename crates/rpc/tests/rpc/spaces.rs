//! Encrypted spaces by the RPC, from outside.

use p2panda_rpc::api::{
    self, Code, ConsumerSettings, Empty, NewMessage, Note, PublishParams, SpaceRole, Start,
    SubscribeParams, TopicParams,
};
use p2panda_rpc::client::Client;
use serde_json::{Value, json};

use crate::support::{ALICE, BOB, ROOT, SAM};
use crate::world::{World, bearer, code, failed, in_time};

async fn create(client: &Client, name: &str) -> api::SpaceView {
    let params = api::SpaceCreateParams {
        name: name.into(),
        ..api::SpaceCreateParams::default()
    };
    client.call::<api::SpaceCreate>(&params).await.unwrap()
}

fn of(topic: &str) -> TopicParams {
    TopicParams {
        topic: topic.to_owned(),
    }
}

fn says(topic: &str, text: &str) -> PublishParams {
    PublishParams {
        topic: topic.to_owned(),
        message: NewMessage {
            content: Some(text.into()),
            ..NewMessage::default()
        },
        wait: None,
    }
}

fn all(topic: &str) -> SubscribeParams {
    SubscribeParams {
        topics: vec![topic.to_owned()],
        start: Some(Start::Beginning),
        ..SubscribeParams::default()
    }
}

/// The first text that somebody who reads from the beginning is given.
async fn first_text(client: &Client, topic: &str) -> String {
    let mut messages = client.space_messages(all(topic)).await.unwrap();
    loop {
        let message = in_time(messages.next()).await.unwrap().unwrap();
        if let Some(text) = message.text {
            return text;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_with_a_key_per_message_is_read_again() {
    let world = World::new().await;
    let sam = world.client(SAM).await;
    let params = api::SpaceCreateParams {
        name: "Brief".into(),
        scheme: api::SpaceScheme::Message,
        ..api::SpaceCreateParams::default()
    };
    let made = sam.call::<api::SpaceCreate>(&params).await.unwrap();
    sam.call::<api::SpacePublish>(&says(&made.topic, "once"))
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(first_text(&sam, &made.topic).await, "once");
    }
    assert_eq!(made.scheme, Some(api::SpaceScheme::Message));
    let listed = sam.call::<api::SpaceList>(&Empty {}).await.unwrap();
    let of = |space: &api::SpaceView| (space.topic.clone(), space.scheme);
    let listed: Vec<_> = listed.spaces.iter().map(of).collect();
    assert_eq!(listed, [of(&made)]);
    let other = create(&sam, "Kept").await;
    assert_eq!(other.scheme, Some(api::SpaceScheme::Data));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_is_made_changed_and_read_by_its_scopes() {
    let world = World::new().await;
    let sam = world.client(SAM).await;
    let made = create(&sam, "Berlin crew").await;
    assert_eq!(made.role, Some(SpaceRole::Owner));
    assert_eq!(made.name.as_deref(), Some("Berlin crew"));
    let (topic, owner) = (made.topic.as_str(), world.node.id());
    let mut events = sam.space_events(topic).await.unwrap();
    let listed = sam.call::<api::SpaceList>(&Empty {}).await.unwrap();
    assert_eq!(listed.spaces, std::slice::from_ref(&made));

    let member = p2panda::SigningKey::from_bytes(&[3; 32]).verifying_key();
    let role = |role| api::SpaceRoleParams {
        topic: topic.to_owned(),
        member,
        role,
    };
    sam.call::<api::SpaceAdd>(&role(SpaceRole::Reader))
        .await
        .unwrap();
    sam.call::<api::SpaceSetRole>(&role(SpaceRole::Editor))
        .await
        .unwrap();
    let note = in_time(events.next()).await.unwrap().unwrap();
    let Note::Event(event) = note else {
        panic!("{note:?}")
    };
    assert_eq!(
        (event.event.as_str(), event.topic.as_deref()),
        ("space", Some(topic))
    );
    assert!(event.detail.unwrap().contains(&member.to_string()));
    let asked = api::SpaceMembersParams {
        topic: topic.to_owned(),
        at: None,
    };
    let members = sam.call::<api::SpaceMembers>(&asked).await.unwrap();
    let roles = members.members.iter().map(|one| (one.member, one.role));
    let roles: Vec<_> = roles.collect();
    let mut expected = vec![(owner, SpaceRole::Owner), (member, SpaceRole::Editor)];
    expected.sort_by_key(|(member, _)| *member);
    assert_eq!(roles, expected);
    assert!(members.known);
    assert_eq!((made.suite, members.suite), (Some(2), Some(2)));
    let without: Vec<_> = members.members.iter().filter(|one| one.no_keys).collect();
    assert_eq!(without.len(), 1, "the member has published no keys");
    assert_eq!(without[0].member, member);
    let left = members.secrets_left.unwrap();
    assert!((1_000..10_000).contains(&left), "{left}");
    let spaces = sam.call::<api::SpaceList>(&Empty {}).await.unwrap();
    assert_eq!(spaces.spaces[0].secrets_left, Some(left));
    let why = api::SpaceMemberParams {
        topic: topic.to_owned(),
        member,
    };
    let why = sam.call::<api::SpaceWhy>(&why).await.unwrap();
    assert_eq!(why.role, Some(SpaceRole::Editor));
    assert_eq!(
        why.decided
            .last()
            .map(|one| (one.author, one.deed.as_str())),
        Some((owner, "role"))
    );

    let invite = api::SpaceInviteParams {
        topic: topic.to_owned(),
        role: SpaceRole::Reader,
        uses: 2,
        expires_seconds: Some(60),
        contact: true,
    };
    let useless = api::SpaceInviteParams {
        uses: 0,
        ..invite.clone()
    };
    let refused = failed(sam.call::<api::SpaceInvite>(&useless).await);
    assert_eq!(refused, Code::Invalid);
    let invited = sam.call::<api::SpaceInvite>(&invite).await.unwrap();
    let ticket: p2panda::Ticket = invited.ticket.parse().unwrap();
    assert!(ticket.invite().is_some());
    assert_eq!(ticket.contacts()[0].node, owner);
    let revoke = api::SpaceRevokeParams {
        topic: topic.to_owned(),
        invite: invited.invite,
    };
    sam.call::<api::SpaceRevoke>(&revoke).await.unwrap();
    let invites = sam.call::<api::SpaceInvites>(&of(topic)).await.unwrap();
    let one = &invites.invites[0];
    assert_eq!(
        (one.invite, one.uses, one.role, one.revoked),
        (invited.invite, 2, SpaceRole::Reader, true)
    );

    sam.call::<api::SpacePublish>(&says(topic, "hi"))
        .await
        .unwrap();
    let mut messages = sam.space_messages(all(topic)).await.unwrap();
    loop {
        let message = in_time(messages.next()).await.unwrap().unwrap();
        if message.change.is_none() {
            assert_eq!(message.text.as_deref(), Some("hi"));
            break;
        }
    }
    let remove = api::SpaceRemoveParams {
        topic: topic.to_owned(),
        members: vec![member],
    };
    sam.call::<api::SpaceRemove>(&remove).await.unwrap();
    let rename = api::SpaceRenameParams {
        topic: topic.to_owned(),
        name: "Crew".into(),
    };
    sam.call::<api::SpaceRename>(&rename).await.unwrap();
    let raise = |suite| api::SpaceRaiseSuiteParams {
        topic: topic.to_owned(),
        suite,
    };
    sam.call::<api::SpaceRaiseSuite>(&raise(2)).await.unwrap();
    let refused = failed(sam.call::<api::SpaceRaiseSuite>(&raise(3)).await);
    assert_eq!(refused, Code::Invalid);
    sam.call::<api::SpaceRotate>(&of(topic)).await.unwrap();
    let every = |days| api::SpaceRotateEveryParams {
        topic: topic.to_owned(),
        days,
    };
    let refused = failed(sam.call::<api::SpaceRotateEvery>(&every(3_651)).await);
    assert_eq!(refused, Code::Invalid);
    for (days, expected) in [(30, Some(30)), (0, None)] {
        sam.call::<api::SpaceRotateEvery>(&every(days))
            .await
            .unwrap();
        let members = sam.call::<api::SpaceMembers>(&asked).await.unwrap();
        let listed = sam.call::<api::SpaceList>(&Empty {}).await.unwrap();
        let shown = (members.rotation_days, listed.spaces[0].rotation_days);
        assert_eq!(shown, (expected, expected));
        assert_eq!(members.rotates_at.is_some(), expected.is_some());
    }
    sam.call::<api::SpaceHeal>(&of(topic)).await.unwrap();
    let lacking = sam.call::<api::SpaceLacking>(&of(topic)).await.unwrap();
    assert!(lacking.members.is_empty());
    let last = failed(sam.call::<api::SpaceLeave>(&of(topic)).await);
    assert_eq!(last, Code::Invalid);
    let listed = sam.call::<api::SpaceList>(&Empty {}).await.unwrap();
    assert_eq!(listed.spaces[0].name.as_deref(), Some("Crew"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_of_a_space_needs_its_scope() {
    let world = World::new().await;
    let sam = world.client(SAM).await;
    let topic = create(&sam, "").await.topic;
    sam.call::<api::SpacePublish>(&says(&topic, "secret"))
        .await
        .unwrap();
    // Scope `read` shows what everybody sees who has the topic.
    let alice = world.client(ALICE).await;
    let read = api::ReadParams {
        topic: topic.clone(),
        after: 0,
        limit: None,
        header: false,
    };
    let refused = failed(alice.call::<api::MessagesRead>(&read).await);
    assert_eq!(refused, Code::Forbidden);
    let refused = failed(alice.messages(all(&topic)).await.map(drop));
    assert_eq!(refused, Code::Forbidden);
    let by_consumer = SubscribeParams {
        consumer: Some(ConsumerSettings::named("x")),
        ..all(&topic)
    };
    let refused = failed(alice.messages(by_consumer).await.map(drop));
    assert_eq!(refused, Code::Forbidden);
    let refused = failed(alice.ephemeral(&topic).await.map(drop));
    assert_eq!(refused, Code::Forbidden);
    let refused = failed(alice.space_events(&topic).await.map(drop));
    assert_eq!(refused, Code::Forbidden);
    for live in ["", "?live=poll", "?live=sse"] {
        let path = format!("/v1/topics/{topic}/messages{live}");
        let answer = world.get(&path, &bearer(BOB)).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(!answer.contains("secret"), "{answer}");
    }
    let answer = world
        .get(&format!("/v1/topics/{topic}/messages"), &bearer(SAM))
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("secret"),
        "{answer}"
    );
    let methods: [(&str, Value); 4] = [
        ("space.create", json!({})),
        ("space.list", json!({})),
        ("space.leave", json!({"topic": topic})),
        ("space.members", json!({"topic": topic})),
    ];
    for (method, params) in methods {
        let refused = failed(alice.call_raw(method, &params).await);
        assert_eq!(refused, Code::Forbidden, "{method}");
    }
    // The sealed operations are what any node has that keeps the topic.
    let operations = api::OperationsParams {
        topic: topic.clone(),
        ..api::OperationsParams::default()
    };
    alice.operations(&operations).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_when_its_topic_becomes_a_space() {
    let world = World::new().await;
    let topic = world.keep().await;
    let alice = world.client(ALICE).await;
    let mut plain = alice.messages(all(&topic)).await.unwrap();
    let mut consumer = alice
        .messages(SubscribeParams {
            consumer: Some(ConsumerSettings::named("x")),
            ..all(&topic)
        })
        .await
        .unwrap();
    alice.publish_text(&topic, "in clear").await.unwrap();
    for stream in [&mut plain, &mut consumer] {
        let message = in_time(stream.next()).await.unwrap().unwrap();
        assert_eq!(message.text.as_deref(), Some("in clear"));
    }
    let spaces = world.node.spaces();
    let settings = p2panda::Settings::with_history();
    let space = spaces.create_in(crate::world::TOPIC, "", settings).await;
    space.unwrap().publish("sealed").await.unwrap();
    for stream in [&mut plain, &mut consumer] {
        let ended = in_time(stream.next()).await.unwrap_err();
        assert_eq!(ended.code(), Code::Forbidden);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_for_members_never_goes_out_in_clear() {
    let world = World::new().await;
    let topic = world.keep().await;
    let sam = world.client(SAM).await;
    let refused = failed(sam.call::<api::SpacePublish>(&says(&topic, "secret")).await);
    assert_eq!(refused, Code::NotFound);
    let refused = failed(sam.space_messages(all(&topic)).await.map(drop));
    assert_eq!(refused, Code::NotFound);
    let read = json!({"topic": topic});
    let page = sam.call_raw("messages.read", &read).await.unwrap();
    assert_eq!(page["messages"], json!([]));
    for (params, expected) in [
        (json!({}), "invalid-params"),
        (json!({"ticket": "panda:aa"}), "invalid-params"),
        (json!({"ticket": "a", "topic": topic}), "invalid-params"),
        (json!({"topic": "t0123456789abcdef"}), "unknown-topic"),
    ] {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "space.join", "params": params});
        let answer = world.line(&request.to_string()).await;
        assert_eq!(code(&answer), expected, "{answer}");
    }
    let root = world.client(ROOT).await;
    let follow = api::SpaceJoinParams {
        topic: Some(topic.clone()),
        ..api::SpaceJoinParams::default()
    };
    let followed = root.call::<api::SpaceJoin>(&follow).await.unwrap();
    assert_eq!((followed.role, followed.joining), (None, false));
    // No member yet: there is nothing to seal it with.
    let refused = failed(sam.call::<api::SpacePublish>(&says(&topic, "secret")).await);
    assert_eq!(refused, Code::Invalid);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_with_an_own_key_says_so() {
    let world = World::new().await;
    let sam = world.client(SAM).await;
    let params = api::SpaceCreateParams {
        own_key: true,
        ..api::SpaceCreateParams::default()
    };
    let made = sam.call::<api::SpaceCreate>(&params).await.unwrap();
    let plain = create(&sam, "Ward").await;
    assert!(made.own_key.is_some() && plain.own_key.is_none());
    let asked = api::SpaceMembersParams {
        topic: made.topic.clone(),
        at: None,
    };
    let members = sam.call::<api::SpaceMembers>(&asked).await.unwrap();
    assert_eq!(Some(members.members[0].member), made.own_key);
    // No peer is asked whether it has stored it; it is published.
    let publish = PublishParams {
        wait: Some(api::Wait {
            stored: 1,
            timeout_ms: 60_000,
        }),
        ..says(&made.topic, "hi")
    };
    let published = sam.call::<api::SpacePublish>(&publish).await.unwrap();
    assert!(!published.waited);
    assert_eq!(first_text(&sam, &made.topic).await, "hi");
    // Where the node acts with its node id it cannot act with a key of its own too.
    let follow = api::SpaceJoinParams {
        topic: Some(plain.topic.clone()),
        own_key: true,
        ..api::SpaceJoinParams::default()
    };
    let refused = failed(sam.call::<api::SpaceJoin>(&follow).await);
    assert_eq!(refused, Code::Invalid);
    let listed = sam.call::<api::SpaceList>(&Empty {}).await.unwrap();
    let mut own = listed.spaces.iter().filter_map(|space| space.own_key);
    assert_eq!((own.next(), own.next()), (made.own_key, None));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_is_made_changed_and_added_to_a_space() {
    let world = World::new().await;
    let sam = world.client(SAM).await;
    let space = create(&sam, "Ward").await;
    let named = api::TeamCreateParams {
        name: "night shift".into(),
    };
    let made = sam.call::<api::TeamCreate>(&named).await.unwrap();
    assert!(made.manages && made.spaces.is_empty());
    assert_eq!(made.name.as_deref(), Some("night shift"));
    let member = p2panda::SigningKey::from_bytes(&[3; 32]).verifying_key();
    let add = api::TeamAddParams {
        team: made.team,
        member,
        role: SpaceRole::Editor,
    };
    sam.call::<api::TeamAdd>(&add).await.unwrap();
    let role = |role| api::SpaceRoleParams {
        topic: space.topic.clone(),
        member: made.team,
        role,
    };
    let refused = failed(sam.call::<api::SpaceAdd>(&role(SpaceRole::Owner)).await);
    assert_eq!(refused, Code::Invalid);
    sam.call::<api::SpaceAdd>(&role(SpaceRole::Reader))
        .await
        .unwrap();
    let asked = api::SpaceMembersParams {
        topic: space.topic.clone(),
        at: None,
    };
    let members = sam.call::<api::SpaceMembers>(&asked).await.unwrap();
    let one = members.members.iter().find(|one| one.member == member);
    let one = one.unwrap();
    assert_eq!(
        (one.role, &one.teams[..]),
        (SpaceRole::Reader, &[made.team][..])
    );
    let team = &members.teams[0];
    assert_eq!((team.team, team.role), (made.team, SpaceRole::Reader));
    assert!(team.devices.contains(&member));
    let why = api::SpaceMemberParams {
        topic: space.topic.clone(),
        member,
    };
    let why = sam.call::<api::SpaceWhy>(&why).await.unwrap();
    assert_eq!(why.teams, [made.team]);
    let listed = sam.call::<api::TeamList>(&Empty {}).await.unwrap();
    assert_eq!(listed.teams[0].spaces, std::slice::from_ref(&space.topic));
    let remove = api::TeamRemoveParams {
        team: made.team,
        member,
    };
    sam.call::<api::TeamRemove>(&remove).await.unwrap();
    let members = sam.call::<api::SpaceMembers>(&asked).await.unwrap();
    assert_eq!(members.members.len(), 1);
    let unknown = api::TeamRemoveParams {
        team: member,
        member,
    };
    let refused = failed(sam.call::<api::TeamRemove>(&unknown).await);
    assert_eq!(refused, Code::NotFound);
    let alice = world.client(ALICE).await;
    let refused = failed(alice.call::<api::TeamCreate>(&named).await);
    assert_eq!(refused, Code::Forbidden);
    world.end().await;
}
