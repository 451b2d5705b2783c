//! Invites into spaces, between real nodes.

use std::time::Duration;

use p2panda::{Error, Event, InviteError, Node, Role, SpaceNews, Ticket};

use crate::nodes::{introduce, network, temporary, until};
use crate::spaces::{has_members, said};

/// Waits for the next event of a space for which something holds.
async fn told(events: &mut p2panda::Events, is_it: impl Fn(&SpaceNews) -> bool) -> SpaceNews {
    let waited = tokio::time::timeout(crate::nodes::PATIENCE, async {
        loop {
            match events.next().await.expect("the node runs") {
                Event::Space { news, .. } if is_it(&news) => return news,
                _ => {}
            }
        }
    });
    waited.await.expect("it is told in time")
}

/// Sends a ticket through a chat, as text.
fn as_text(ticket: &Ticket) -> Ticket {
    ticket.to_string().parse().unwrap()
}

async fn three() -> [Node; 3] {
    let network = network();
    let nodes = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    // Only the one in the middle knows both.
    introduce(&nodes[0], &nodes[1]);
    introduce(&nodes[2], &nodes[1]);
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_works_through_a_node_that_has_no_keys() {
    let [owner, courier, newcomer] = three().await;
    let space = owner.spaces().create("Berlin crew").await.unwrap();
    let topic = space.topic();
    courier.topic(topic).keep(true).await.unwrap();
    space.publish("said before anybody came").await.unwrap();
    let invite = space.invite(Role::Editor).await.unwrap();
    let mut events = owner.events();

    let joining = newcomer
        .spaces()
        .join(&as_text(&invite.ticket))
        .await
        .unwrap();
    assert!(joining.state().await.unwrap().is_joining);
    let (_tx, mut rx) = joining.stream().await.unwrap();
    assert_eq!(
        said(&mut rx).await.text().unwrap(),
        "said before anybody came"
    );
    let admitted = told(&mut events, |news| {
        matches!(news, SpaceNews::Admitted { .. })
    })
    .await;
    let (newcomer_id, invite_id) = (newcomer.id(), invite.id);
    let expected = SpaceNews::Admitted {
        newcomer: newcomer_id,
        invite: invite_id,
    };
    assert_eq!(admitted, expected);
    let state = joining.state().await.unwrap();
    assert_eq!(state.name.as_deref(), Some("Berlin crew"));
    assert_eq!((state.role, state.is_joining), (Some(Role::Editor), false));

    // Who joined by which invite is seen by all members, and by nobody else.
    for space in [&space, &joining] {
        let invites = space.invites().await.unwrap();
        assert_eq!(invites.len(), 1);
        assert_eq!((invites[0].id, invites[0].by), (invite.id, owner.id()));
        assert_eq!(invites[0].came, [newcomer.id()]);
        let why = space.why(newcomer.id()).await.unwrap().unwrap();
        assert_eq!(why.invite, Some(invite.id));
    }
    let mut kept = Vec::new();
    for operation in courier.topic(topic).operations(0).await.unwrap() {
        kept.extend(operation.header.to_vec());
        kept.extend(operation.body.unwrap_or_default().to_vec());
    }
    let secrets = [
        b"Berlin crew".to_vec(),
        b"said before".to_vec(),
        invite.id.as_bytes().to_vec(),
    ];
    for secret in secrets {
        let found = kept.windows(secret.len()).any(|window| window == secret);
        assert!(!found, "{}", String::from_utf8_lossy(&secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_a_revoked_and_an_expired_invite_let_nobody_in() {
    let [owner, second, third] = three().await;
    introduce(&third, &owner);
    let space = owner.spaces().create("").await.unwrap();
    let mut events = owner.events();
    let invite = |uses, expires| {
        let invite = space.invite(Role::Reader).uses(uses);
        async move { invite.expires(Duration::from_secs(expires)).await.unwrap() }
    };
    let (once, expired, revoked) = (
        invite(1, 3_600).await,
        invite(9, 0).await,
        invite(9, 3_600).await,
    );
    space.revoke(revoked.id).await.unwrap();
    second.spaces().join(&once.ticket).await.unwrap();
    has_members(&space, 2).await;
    // Its time is over in the second after.
    until("it has expired", || async {
        let invites = space.invites().await.unwrap();
        let expired = invites.iter().find(|it| it.id == expired.id).unwrap();
        std::time::SystemTime::now() > expired.expires + Duration::from_secs(1)
    })
    .await;
    let cases = [
        (&once, InviteError::UsedUp),
        (&expired, InviteError::Expired),
        (&revoked, InviteError::Revoked),
    ];
    for (invite, reason) in cases {
        let joining = third.spaces().join(&invite.ticket).await.unwrap();
        let is_it = |news: &SpaceNews| matches!(news, SpaceNews::NotAdmitted { .. });
        let refused = told(&mut events, is_it).await;
        let expected = SpaceNews::NotAdmitted {
            newcomer: third.id(),
            invite: invite.id,
            reason,
        };
        assert_eq!(refused, expected);
        assert!(joining.state().await.unwrap().is_joining);
    }
    assert_eq!(space.members().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_without_invite_or_of_another_network_are_refused() {
    let [owner, other, _] = three().await;
    let space = owner.spaces().create("").await.unwrap();
    let plain = Ticket::new(space.topic()).in_network(owner.network_id());
    let refused = other.spaces().join(&plain).await;
    assert!(matches!(refused, Err(Error::NoInvite)), "{refused:?}");
    let garbage = plain.clone().with_invite(b"no invite").unwrap();
    let refused = other.spaces().join(&garbage).await;
    assert!(matches!(refused, Err(Error::NoInvite)), "{refused:?}");
    let invite = space.invite(Role::Editor).await.unwrap();
    let elsewhere = temporary(network()).await;
    let refused = elsewhere.spaces().join(&invite.ticket).await;
    assert!(matches!(refused, Err(Error::OtherNetwork)), "{refused:?}");
    assert!(other.spaces().list().await.unwrap().is_empty());
}
