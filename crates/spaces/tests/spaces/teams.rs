//! Teams of persons and devices (`docs/protocol/spaces.md#19`).

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::limits::{SPACE_NAME_BYTES_MAX, SPACE_TEAMS_MAX, TEAM_LEVELS_MAX};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{GroupId, Member};
use p2panda_spaces::{LocalError, Pending, Role, Settings, SpaceId};

use crate::native_world::{Node, Topic, heal_all, nodes, sync};

impl Node {
    pub fn team(&mut self) -> GroupId {
        let made = self.try_act(|spaces, desk| spaces.create_team(None, desk));
        made.unwrap().0
    }

    pub fn change_team(
        &mut self,
        team: GroupId,
        member: Member,
        role: Option<Role>,
    ) -> Result<(), LocalError> {
        self.try_act(|spaces, desk| spaces.change_team(team, member, role, desk))?;
        Ok(())
    }

    pub fn follow_team(&mut self, team: GroupId) {
        self.try_do(|spaces, s, desk| spaces.follow_team(s, team, None, desk))
            .unwrap();
    }

    fn call_team(&mut self, team: GroupId, name: &str) -> Result<(), LocalError> {
        self.try_do(|spaces, s, desk| spaces.follow_team(s, team, Some(name), desk))
    }

    /// Adds somebody to a team, and the space follows.
    fn add_to_team(&mut self, team: GroupId, member: Member, role: Role) {
        self.change_team(team, member, Some(role)).unwrap();
        self.follow_team(team);
    }

    fn out_of_team(&mut self, team: GroupId, member: Member) {
        self.change_team(team, member, None).unwrap();
        self.follow_team(team);
    }

    pub fn use_team(&mut self, team: GroupId, role: Role) -> Result<(), LocalError> {
        self.try_do(|spaces, s, desk| spaces.add_team(s, team, role, desk))
    }

    fn end_team(&mut self, team: GroupId) -> Result<(), LocalError> {
        self.try_do(|spaces, s, desk| spaces.remove_team(s, team, desk))
    }

    fn lacks_team(&self, team: GroupId) -> bool {
        self.spaces.lacks_team(&self.s(), &team, None)
    }

    /// The teams by which somebody is a member.
    fn teams_with(&self, member: VerifyingKey) -> Vec<GroupId> {
        let persons = self.spaces.persons(&self.s()).into_iter();
        let has = |devices: &[(VerifyingKey, Role)]| devices.iter().any(|(key, _)| *key == member);
        let mut of = persons.filter(|person| has(&person.devices));
        of.next().map(|person| person.teams).unwrap_or_default()
    }
}

/// A node's part in another space.
#[derive(Default)]
struct Place {
    space: Option<SpaceId>,
    topic: Topic,
    done: BTreeSet<Hash>,
    heights: BTreeMap<VerifyingKey, u64>,
}

/// The node goes on in the other space.
fn switch(node: &mut Node, place: &mut Place) {
    std::mem::swap(&mut node.space, &mut place.space);
    std::mem::swap(&mut node.topic, &mut place.topic);
    std::mem::swap(&mut node.done, &mut place.done);
    std::mem::swap(&mut node.heights, &mut place.heights);
}

/// An owner; one who manages a team in the space; one in the team; one who is not.
fn world() -> ([Node; 4], GroupId) {
    let [mut ada, mut ben, mut cay, dan] = nodes();
    let team = ada.team();
    ada.create(Settings::with_history(), &[]);
    for node in [&mut ben, &mut cay] {
        node.space = ada.space;
    }
    ada.publish("before");
    ada.change_team(team, ben.member(), Some(Role::Owner))
        .unwrap();
    ada.change_team(team, cay.member(), Some(Role::Editor))
        .unwrap();
    ada.use_team(team, Role::Editor).unwrap();
    let mut all = [ada, ben, cay, dan];
    let [ada, ben, cay, _] = &mut all;
    heal_all(&mut [ada, ben, cay]);
    (all, team)
}

#[test]
fn a_team_is_a_member_and_its_changes_reach_the_space() {
    let ([mut ada, mut ben, mut cay, mut dan], team) = world();
    for node in [&ada, &ben, &cay] {
        assert_eq!(
            node.role(ben.id),
            Some(Role::Editor),
            "it manages the team only"
        );
        assert_eq!(node.role(cay.id), Some(Role::Editor));
        assert_eq!(node.role(ada.id), Some(Role::Owner), "the higher one");
        assert_eq!(node.teams_with(cay.id), [team]);
        let teams = node.spaces.teams_of(&node.s());
        assert_eq!(
            (teams.len(), teams[0].id, teams[0].role),
            (1, team, Role::Editor)
        );
        assert_eq!(teams[0].devices.len(), 3);
    }
    assert!(cay.reads("before"));
    // Somebody who owns no space adds somebody.
    dan.space = ada.space;
    let before = ben.topic.ops.len();
    ben.add_to_team(team, dan.member(), Role::Reader);
    assert_eq!(ben.topic.ops.len(), before + 1, "one pointer");
    sync(&mut [&mut ada, &mut ben, &mut cay, &mut dan]);
    assert_eq!(
        ada.role(dan.id),
        Some(Role::Reader),
        "the lower of both roles"
    );
    assert!(dan.reads("before"));
    assert!(matches!(dan.try_publish("no"), Err(LocalError::Role(_))));
    ben.add_to_team(team, dan.member(), Role::Editor);
    sync(&mut [&mut ada, &mut ben, &mut cay, &mut dan]);
    dan.publish("hello");
    // And takes somebody out, with a new secret.
    ben.out_of_team(team, cay.member());
    sync(&mut [&mut ada, &mut ben, &mut cay, &mut dan]);
    ben.publish("without cay");
    sync(&mut [&mut ada, &mut ben, &mut cay, &mut dan]);
    assert!(ada.reads("without cay") && dan.reads("without cay"));
    assert!(!cay.reads("without cay"));
    assert_eq!(cay.role(cay.id), None);
    for node in [&mut ada, &mut ben, &mut dan] {
        assert!(node.is_healthy());
        node.restart();
    }
}

#[test]
fn nothing_is_sealed_before_a_space_follows_its_team() {
    let ([mut ada, mut ben, mut cay, _], team) = world();
    assert!(!ben.lacks_team(team));
    ben.change_team(team, cay.member(), None).unwrap();
    assert!(ben.lacks_team(team));
    assert_eq!(ben.try_publish("too early"), Err(LocalError::HealFirst));
    ben.restart();
    assert!(ben.lacks_team(team), "it is known after a restart");
    ben.follow_team(team);
    assert!(!ben.lacks_team(team));
    ben.publish("without cay");
    sync(&mut [&mut ada, &mut ben, &mut cay]);
    assert!(ada.reads("without cay") && !cay.reads("without cay"));
}

#[test]
fn a_team_in_two_spaces_changes_in_both() {
    let ([mut ada, mut ben, mut cay, mut dan], team) = world();
    let [mut a2, mut b2, mut c2, mut d2]: [Place; 4] = Default::default();
    let first = ada.s();
    for (node, place) in [
        (&mut ada, &mut a2),
        (&mut ben, &mut b2),
        (&mut cay, &mut c2),
    ] {
        switch(node, place);
        node.announce();
    }
    ada.create(Settings::with_history(), &[]);
    let second = ada.s();
    ada.publish("in the second");
    ben.space = Some(second);
    cay.space = Some(second);
    sync(&mut [&mut ada, &mut ben, &mut cay]);
    ada.use_team(team, Role::Reader).unwrap();
    heal_all(&mut [&mut ada, &mut ben, &mut cay]);
    assert!(cay.reads("in the second"));
    assert_eq!(ada.role(cay.id), Some(Role::Reader));
    // A manager changes the team once, and each space hears of it.
    switch(&mut dan, &mut d2);
    dan.announce();
    dan.space = Some(second);
    sync(&mut [&mut ada, &mut ben, &mut cay, &mut dan]);
    ben.change_team(team, dan.member(), Some(Role::Editor))
        .unwrap();
    ben.change_team(team, cay.member(), None).unwrap();
    ben.follow_team(team);
    sync(&mut [&mut ada, &mut ben, &mut cay, &mut dan]);
    assert_eq!(
        (ada.role(dan.id), ada.role(cay.id)),
        (Some(Role::Reader), None)
    );
    assert!(dan.reads("in the second"));
    // What the owner knows from the second makes it heal the first: the manager did not.
    for (node, place) in [
        (&mut ada, &mut a2),
        (&mut ben, &mut b2),
        (&mut dan, &mut d2),
    ] {
        switch(node, place);
    }
    switch(&mut cay, &mut c2);
    assert_eq!((ada.s(), ada.role(cay.id)), (first, Some(Role::Editor)));
    assert!(!ada.is_healthy());
    assert_eq!(ada.try_publish("too early"), Err(LocalError::HealFirst));
    ada.heal();
    ada.publish("in the first");
    dan.space = Some(first);
    heal_all(&mut [&mut ada, &mut ben, &mut cay, &mut dan]);
    assert_eq!(
        (ben.role(dan.id), ben.role(cay.id)),
        (Some(Role::Editor), None)
    );
    assert!(!cay.reads("in the first") && dan.reads("in the first"));
    assert_eq!(ada.spaces.teams(), [team]);
}

#[test]
fn who_is_in_a_team_and_directly_a_member_has_the_higher_role() {
    let ([mut ada, mut ben, mut cay, _], team) = world();
    ada.add(cay.member(), Role::Reader);
    sync(&mut [&mut ada, &mut ben, &mut cay]);
    assert_eq!(ben.role(cay.id), Some(Role::Editor), "by the team");
    ben.out_of_team(team, cay.member());
    sync(&mut [&mut ada, &mut ben, &mut cay]);
    assert_eq!(ada.role(cay.id), Some(Role::Reader), "by itself");
    assert_eq!(ada.teams_with(cay.id), []);
    ben.add_to_team(team, cay.member(), Role::Editor);
    sync(&mut [&mut ada, &mut ben, &mut cay]);
    let me = cay.id;
    ada.remove_member(me).unwrap();
    assert_eq!(ada.role(cay.id), Some(Role::Editor), "the team is left");
    assert_eq!(ada.remove_member(me), Err(LocalError::ByTeam(team)));
    let set = ada.try_do(|spaces, s, desk| spaces.set_member_role(s, me, Role::Reader, desk));
    assert_eq!(set, Err(LocalError::ByTeam(team)));
    let why = ada.spaces.why(&ada.s(), &me).unwrap();
    assert_eq!(why.teams, [team]);
    assert!(
        why.to_string().contains(&format!("by the team {team}")),
        "{why}"
    );
    ada.end_team(team).unwrap();
    assert_eq!((ada.role(cay.id), ada.role(ben.id)), (None, None));
    assert_eq!(ada.end_team(team), Err(LocalError::NoTeam));
    assert_eq!(ada.role(ada.id), Some(Role::Owner));
}

/// The first device of a person manages a team, and the second one is linked.
fn person_with_team() -> ([Node; 3], GroupId, GroupId) {
    let [mut ada, mut ben, mut ben2] = nodes();
    ada.create(Settings::with_history(), &[(ben.member(), Role::Editor)]);
    ben.space = ada.space;
    sync(&mut [&mut ada, &mut ben]);
    let team = ben.team();
    let person = ben.person();
    link(&mut ben, &mut ben2, person);
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    ([ada, ben, ben2], team, person)
}

/// Links a device, and the teams of the person follow.
fn link(old: &mut Node, new: &mut Node, person: GroupId) {
    old.try_link(person, new.id).unwrap();
    let card = old.spaces.card(person).unwrap();
    new.spaces.take_card(&card).unwrap();
    new.space = old.space;
    let changed = old.try_act(|spaces, desk| spaces.tend_own_teams(person, desk));
    for team in changed.unwrap().0 {
        old.follow_team(team);
    }
    old.follow(person);
}

#[test]
fn each_device_of_a_person_manages_its_teams_but_no_revoked_one() {
    let ([mut ada, mut ben, mut ben2], team, person) = person_with_team();
    let managers = |node: &Node| {
        let members = node.spaces.team(&team).unwrap().members.into_iter();
        let manage = members.filter(|(_, role)| *role == Role::Owner);
        manage.map(|(member, _)| member).collect::<BTreeSet<_>>()
    };
    assert_eq!(managers(&ben), [ben.member(), ben2.member()].into());
    assert_eq!(
        ben.spaces.team(&team).unwrap().members.len(),
        3,
        "and the person"
    );
    // The owner has to know the team: it comes by a space that the person owns.
    assert!(matches!(
        ada.use_team(team, Role::Editor),
        Err(LocalError::NoTeam)
    ));
    let me = ben.id;
    ada.try_do(|spaces, s, desk| spaces.set_member_role(s, me, Role::Owner, desk))
        .unwrap();
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    ben.use_team(team, Role::Editor).unwrap();
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    assert!(ben2.spaces.manages(&team));
    ben.try_revoke(person, ben2.id).unwrap();
    let changed = ben.try_act(|spaces, desk| spaces.tend_own_teams(person, desk));
    assert_eq!(changed.unwrap().0, [team]);
    assert_eq!(ben.try_publish("too early"), Err(LocalError::HealFirst));
    ben.follow_team(team);
    ben.follow(person);
    ben.publish("after it was lost");
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!(managers(&ada), [ben.member()].into());
    assert_eq!((ada.role(ben2.id), ben.pending(person)), (None, vec![]));
    assert!(ada.reads("after it was lost") && !ben2.reads("after it was lost"));
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    assert!(ada.is_healthy() && ben.is_healthy());
}

#[test]
fn a_manager_takes_the_person_of_a_device_into_the_team() {
    let [mut ada, mut ben, mut ben2] = nodes();
    ada.create(Settings::with_history(), &[]);
    ben.space = ada.space;
    let team = ada.team();
    ada.change_team(team, ben.member(), Some(Role::Editor))
        .unwrap();
    ada.use_team(team, Role::Editor).unwrap();
    sync(&mut [&mut ada, &mut ben]);
    let person = ben.person();
    assert_eq!(ben.pending(person), [Pending::Introduce]);
    link(&mut ben, &mut ben2, person);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!(ada.role(ben2.id), None);
    assert!(!ada.is_healthy(), "it has to admit the person");
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!(ada.role(ben2.id), Some(Role::Editor));
    assert_eq!(ben.pending(person), []);
    assert_eq!(ada.teams_with(ben2.id), [team]);
    // By the first device, both are out.
    let member = ada.spaces.member_of_team(&team, &ben.id);
    assert_eq!(member, Member::Group(person));
    ada.out_of_team(team, member);
    assert_eq!((ada.role(ben.id), ada.role(ben2.id)), (None, None));
    assert!(ada.is_healthy());
}

/// As two managers, or two devices of one, may do at the same time.
#[test]
fn a_person_taken_in_while_its_device_is_removed_is_out() {
    let ([mut ada, mut ben, mut cay, _], team) = world();
    let person = cay.person();
    cay.follow(person);
    sync(&mut [&mut ben, &mut cay]);
    ben.heal();
    let listed = ben.spaces.member_of_team(&team, &cay.id);
    assert_eq!(listed, Member::Group(person), "it was taken in");
    ada.out_of_team(team, cay.member());
    heal_all(&mut [&mut ada, &mut ben, &mut cay]);
    for node in [&ada, &ben] {
        assert_eq!(node.role(cay.id), None);
        assert_eq!(node.spaces.team(&team).unwrap().devices.len(), 2);
    }
    assert!(ada.is_healthy() && ben.is_healthy());
    ada.publish("without cay");
    sync(&mut [&mut ada, &mut ben, &mut cay]);
    assert!(ben.reads("without cay") && !cay.reads("without cay"));
}

#[test]
fn nobody_is_a_device_of_a_person_that_alone_says_so() {
    let [mut ada, mut ben, eve] = nodes();
    ada.create(Settings::with_history(), &[(ben.member(), Role::Editor)]);
    ben.space = ada.space;
    let person = ben.person();
    ben.try_link(person, eve.id).unwrap();
    sync(&mut [&mut ada, &mut ben]);
    ben.follow(person);
    heal_all(&mut [&mut ada, &mut ben]);
    assert_eq!(ada.spaces.devices(&person).len(), 2);
    assert_eq!(
        ada.spaces.person_known(&ben.id),
        Some(person),
        "it made the group"
    );
    assert_eq!(
        ada.spaces.person_known(&eve.id),
        None,
        "it has said nothing"
    );
    assert_eq!(
        ada.spaces.person_known(&ada.id),
        None,
        "a space is no person"
    );
    assert_eq!(ada.spaces.named(person.as_key()), Member::Group(person));
    assert_eq!(ada.spaces.named(&ben.id), ben.member());
}

#[test]
fn only_managers_change_a_team_and_one_is_left() {
    let ([mut ada, mut ben, mut cay, dan], team) = world();
    let refused = cay.change_team(team, dan.member(), Some(Role::Reader));
    assert_eq!(refused, Err(LocalError::Role(Some(Role::Editor))));
    // A device leaves by itself.
    cay.out_of_team(team, cay.member());
    sync(&mut [&mut ada, &mut ben, &mut cay]);
    assert_eq!(ada.role(cay.id), None);
    ada.out_of_team(team, ben.member());
    assert_eq!(
        ada.change_team(team, ada.member(), None),
        Err(LocalError::LastOwner)
    );
    assert_eq!(
        ada.change_team(team, dan.member(), None),
        Err(LocalError::NotInTeam)
    );
    let group = ada.spaces.group(&ada.s()).unwrap();
    let no_team = ada.change_team(group, dan.member(), Some(Role::Reader));
    assert_eq!(no_team, Err(LocalError::NoTeam));
    assert_eq!(ada.use_team(group, Role::Reader), Err(LocalError::NoTeam));
    assert_eq!(ada.use_team(team, Role::Owner), Err(LocalError::TeamOwner));
}

#[test]
fn managers_that_remove_each_other_are_both_out() {
    let ([mut ada, mut ben, mut cay, _], team) = world();
    let [ours, theirs] = [ada.member(), ben.member()];
    ada.out_of_team(team, theirs);
    ben.out_of_team(team, ours);
    heal_all(&mut [&mut ada, &mut ben, &mut cay]);
    for node in [&ada, &cay] {
        assert!(!node.spaces.manages(&team));
        assert_eq!(node.role(ben.id), None);
        assert_eq!(node.role(ada.id), Some(Role::Owner), "it owns the space");
        assert_eq!(node.role(cay.id), Some(Role::Editor), "it stays");
    }
    let refused = ada.change_team(team, cay.member(), None);
    assert_eq!(refused, Err(LocalError::Role(None)), "nobody can change it");
    ada.end_team(team).unwrap();
    assert_eq!(ada.role(cay.id), None);
}

#[test]
fn a_team_that_nobody_is_left_in_takes_no_direct_member_along() {
    let ([mut ada, mut ben, mut cay, _], team) = world();
    ada.add(cay.member(), Role::Reader);
    ada.out_of_team(team, cay.member());
    sync(&mut [&mut ada, &mut ben, &mut cay]);
    let [ours, theirs] = [ada.member(), ben.member()];
    ada.out_of_team(team, theirs);
    ben.out_of_team(team, ours);
    heal_all(&mut [&mut ada, &mut ben, &mut cay]);
    assert_eq!(ada.spaces.team(&team).unwrap().devices, []);
    assert_eq!(ada.role(cay.id), Some(Role::Reader));
    assert!(ada.is_healthy() && cay.is_healthy());
}

#[test]
fn teams_are_nested_up_to_the_limit_and_never_in_a_circle() {
    let [mut ada, ben] = nodes();
    let teams: Vec<GroupId> = (0..=TEAM_LEVELS_MAX).map(|_| ada.team()).collect();
    for pair in teams.windows(2).take(TEAM_LEVELS_MAX - 1) {
        ada.change_team(pair[0], Member::Group(pair[1]), Some(Role::Editor))
            .unwrap();
    }
    let [last, beyond] = [teams[TEAM_LEVELS_MAX - 1], teams[TEAM_LEVELS_MAX]];
    let deep = ada.change_team(last, Member::Group(beyond), Some(Role::Editor));
    assert_eq!(deep, Err(LocalError::TeamTooDeep));
    let circle = ada.change_team(last, Member::Group(teams[0]), Some(Role::Editor));
    assert_eq!(circle, Err(LocalError::TeamCycle));
    let itself = ada.change_team(last, Member::Group(last), Some(Role::Editor));
    assert_eq!(itself, Err(LocalError::TeamCycle));
    let owner = ada.change_team(beyond, Member::Group(last), Some(Role::Owner));
    assert_eq!(owner, Err(LocalError::TeamOwner));
    ada.change_team(last, ben.member(), Some(Role::Reader))
        .unwrap();
    ada.create(Settings::with_history(), &[]);
    ada.use_team(teams[0], Role::Editor).unwrap();
    assert_eq!(ada.role(ben.id), Some(Role::Reader), "by all of them");
    assert_eq!(ada.teams_with(ben.id).len(), TEAM_LEVELS_MAX);
}

#[test]
fn a_space_has_so_many_teams_and_no_more() {
    let [mut ada, ben] = nodes();
    ada.create(Settings::with_history(), &[]);
    for _ in 0..SPACE_TEAMS_MAX {
        let team = ada.team();
        ada.use_team(team, Role::Reader).unwrap();
    }
    let team = ada.team();
    assert_eq!(
        ada.use_team(team, Role::Reader),
        Err(LocalError::TooManyMembers)
    );
    let known = ada.spaces.teams_of(&ada.s())[0].id;
    ada.use_team(known, Role::Editor).unwrap();
    ada.end_team(known).unwrap();
    ada.use_team(team, Role::Reader).unwrap();
    assert_eq!(ada.role(ben.id), None);
}

#[test]
fn a_manager_names_the_team_for_the_members_of_the_space() {
    let ([mut ada, mut ben, mut cay, _], team) = world();
    let name = |node: &Node| node.spaces.team_name(&node.s(), &team);
    cay.call_team(team, "not mine").unwrap();
    assert_eq!(name(&cay), None, "it does not manage the team");
    let long = "n".repeat(SPACE_NAME_BYTES_MAX + 1);
    let bytes = long.len();
    assert_eq!(
        ben.call_team(team, &long),
        Err(LocalError::NameTooLong { bytes })
    );
    let longest = "n".repeat(SPACE_NAME_BYTES_MAX);
    assert!(ben.spaces.lacks_team(&ben.s(), &team, Some(&longest)));
    ben.call_team(team, &longest).unwrap();
    assert!(!ben.spaces.lacks_team(&ben.s(), &team, Some(&longest)));
    sync(&mut [&mut ada, &mut ben, &mut cay]);
    for node in [&mut ada, &mut ben, &mut cay] {
        assert_eq!(name(node), Some(longest.clone()));
        assert_eq!(node.spaces.teams_of(&node.s())[0].name, name(node));
        node.restart();
        assert_eq!(name(node), Some(longest.clone()));
    }
    ada.call_team(team, "another").unwrap();
    assert_eq!(name(&ada), Some(longest), "it has a name");
}
