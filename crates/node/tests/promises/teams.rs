//! Teams that are one member of several spaces.

use p2panda::{Error, Node, Role, Space, SpaceError};

use crate::nodes::{at, introduce, network, temporary, until};
use crate::persons::{has_followed, link};
use crate::spaces::{cannot_open, has_members, is_out, said};

async fn follows(node: &Node, owner: &Node, space: &Space) -> Space {
    introduce(node, owner);
    node.spaces().follow(space.topic()).await.unwrap()
}

async fn role_of(space: &Space, node: &Node) -> Option<Role> {
    let members = space.members().await.unwrap().into_iter();
    let mut of = members.filter(|(key, _)| *key == node.id());
    of.next().map(|(_, role)| role)
}

async fn has_role(space: &Space, node: &Node, role: Option<Role>) {
    until("the role is known", || async {
        role_of(space, node).await == role
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_team_reaches_each_space_it_is_in() {
    let network = network();
    let [a, b, c, d] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    let team = a.teams().create("night shift").await.unwrap();
    team.add(b.id(), Role::Owner).await.unwrap();
    team.add(c.id(), Role::Editor).await.unwrap();
    let mut spaces = Vec::new();
    for (name, role) in [("ward", Role::Editor), ("archive", Role::Reader)] {
        let space = a.spaces().create(name).await.unwrap();
        space.add(&team, role).await.unwrap();
        let of_b = follows(&b, &a, &space).await;
        let of_c = follows(&c, &b, &space).await;
        let of_d = follows(&d, &b, &space).await;
        for space in [&space, &of_b, &of_c] {
            has_members(space, 3).await;
        }
        spaces.push([space, of_b, of_c, of_d]);
    }
    let look = spaces[0][2].look().await.unwrap().unwrap();
    assert_eq!((look.teams.len(), look.teams[0].id), (1, team.id()));
    assert_eq!(look.teams[0].devices.len(), 3);
    until("members know its name", || async {
        let look = spaces[1][2].look().await.unwrap().unwrap();
        look.teams[0].name.as_deref() == Some("night shift")
    })
    .await;
    let why = spaces[0][0].why(c.id()).await.unwrap().unwrap();
    assert!(
        why.to_string()
            .contains(&format!("by the team {}", team.id()))
    );

    // Who manages it changes it once.
    let team_of_b = b.teams().get(team.id()).await.unwrap().unwrap();
    team_of_b.add(d.id(), Role::Editor).await.unwrap();
    team_of_b.remove(c.id()).await.unwrap();
    until("all spaces have followed", || async {
        team_of_b.look().await.unwrap().unwrap().pending.is_empty()
    })
    .await;
    for (space, role) in spaces.iter().zip([Role::Editor, Role::Reader]) {
        for of in [&space[0], &space[1], &space[3]] {
            has_role(of, &d, Some(role)).await;
            has_role(of, &c, None).await;
        }
        let (_tx, mut rx) = space[3].stream().await.unwrap();
        let tx = space[0].publisher().await.unwrap();
        let receipt = tx.publish("without c").await.unwrap();
        assert_eq!(said(&mut rx).await.text().unwrap(), "without c");
        cannot_open(&c, receipt.id()).await;
        is_out(&space[2], &c).await;
        let refused = space[2].publisher().await.unwrap().publish("me too").await;
        assert!(refused.is_err());
    }
    // Couriers, readers and editors are teams; owners are not.
    let refused = spaces[0][0].add(&team, Role::Owner).await;
    assert!(matches!(refused, Err(Error::Space(SpaceError::Space(_)))));
    spaces[0][0].remove(&team).await.unwrap();
    has_role(&spaces[0][1], &b, None).await;
    assert_eq!(role_of(&spaces[1][0], &b).await, Some(Role::Reader));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_in_a_team_has_its_devices_there_but_no_revoked_one() {
    let network = network();
    let [a, b, b2] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    let team = a.teams().create("").await.unwrap();
    team.add(b.id(), Role::Editor).await.unwrap();
    let space = a.spaces().create("ward").await.unwrap();
    space.add(&team, Role::Editor).await.unwrap();
    let of_b = follows(&b, &a, &space).await;
    has_members(&of_b, 2).await;
    introduce(&b2, &a);
    link(&b, &b2).await;
    // The manager takes its person in.
    has_role(&space, &b2, Some(Role::Editor)).await;
    has_followed(&b).await;
    let look = team.look().await.unwrap().unwrap();
    let person = b.person().id().await.unwrap().unwrap();
    assert!(look.members.contains(&(person.into(), Role::Editor)));
    b.person().revoke_device(b2.id()).await.unwrap();
    has_role(&space, &b2, None).await;
    // By a device, the person is meant.
    team.remove(b.id()).await.unwrap();
    has_role(&space, &b, None).await;
    assert_eq!(space.members().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_changes_and_is_followed_after_a_restart() {
    let network = network();
    let dir = tempfile::tempdir().unwrap();
    let b = temporary(network).await;
    let a = at(network, dir.path()).await;
    let team = a.teams().create("crew").await.unwrap();
    let space = a.spaces().create("ward").await.unwrap();
    space.add(&team, Role::Reader).await.unwrap();
    let of_b = follows(&b, &a, &space).await;
    let topic = space.topic();
    team.add(b.id(), Role::Reader).await.unwrap();
    has_members(&of_b, 2).await;
    let id = team.id();
    a.shutdown().await.unwrap();

    let a = at(network, dir.path()).await;
    introduce(&b, &a);
    let team = a.teams().get(id).await.unwrap().unwrap();
    let look = team.look().await.unwrap().unwrap();
    assert_eq!(look.name.as_deref(), Some("crew"));
    assert_eq!((look.spaces, look.is_manager), (vec![topic], true));
    team.remove(b.id()).await.unwrap();
    let space = a.spaces().get(topic).await.unwrap().unwrap();
    has_role(&space, &b, None).await;
    until("it has followed", || async {
        team.look().await.unwrap().unwrap().pending.is_empty()
    })
    .await;
    let last = team.remove(a.id()).await;
    assert!(
        matches!(last, Err(Error::Space(_))),
        "nobody could change it"
    );
}
