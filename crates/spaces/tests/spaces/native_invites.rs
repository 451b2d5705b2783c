//! Invites (`docs/protocol/spaces.md#16`).

use p2panda_core::VerifyingKey;
use p2panda_core::limits::{
    SPACE_INVITE_OWNERS_MAX, SPACE_NAME_BYTES_MAX, TICKET_INVITE_BYTES_MAX,
};
use p2panda_encryption::Context;
use p2panda_spaces::{
    Deed, Glance, Invalid, Invite, InviteError, LocalError, Log, Role, Settings, SpaceId,
};

use crate::native_world::{NOW, Node, heal_all, nodes, ops, sync};
use crate::persons_claimed::claim;

const LATER: u64 = NOW + 3_600;

pub fn offer(owner: &mut Node, role: Role, uses: u64) -> Invite {
    let space = owner.s();
    let made = owner.try_act(|spaces, desk| spaces.offer(space, (role, uses, LATER), desk));
    // What goes through a link.
    let bytes = made.unwrap().encode();
    Invite::decode(&bytes).unwrap()
}

/// Asks to be admitted.
pub fn request(node: &mut Node, invite: &Invite) {
    node.space = Some(invite.space);
    let context = Context::new(&mut node.keys, &mut node.registry, node.now);
    let body = invite.request(&node.id, &context, &mut node.rng);
    node.forge(Log::Control, vec![], body.unwrap());
    node.pump();
}

/// The requests that a node can open.
fn requests(node: &mut Node) -> Vec<(SpaceId, VerifyingKey, VerifyingKey)> {
    let mut found = Vec::new();
    for op in ops(node).iter().filter(|op| op.log == Log::Control) {
        let mut context = Context::new(&mut node.keys, &mut node.registry, node.now);
        let space = node.space;
        let glance = node
            .spaces
            .glance(space, &op.author, &op.body, &mut context);
        if let Ok(Glance::Request { space, invite }) = glance {
            found.push((space, invite, op.author));
        }
    }
    found
}

/// Lets in anyone who asked.
pub fn admit_all(node: &mut Node) -> Vec<Result<(), LocalError>> {
    let asked = requests(node);
    let admit = |(_, invite, newcomer): (SpaceId, _, _)| {
        node.try_do(|spaces, s, desk| spaces.admit_newcomer(s, invite, newcomer, desk))
    };
    asked.into_iter().map(admit).collect()
}

#[test]
fn an_invited_member_never_meets_the_owner() {
    let [mut owner, mut between, mut newcomer] = nodes();
    owner.create(Settings::with_history(), &[]);
    owner.publish("before");
    let invite = offer(&mut owner, Role::Editor, 1);
    request(&mut newcomer, &invite);
    // Only the third node sees both, and it is not a member.
    sync(&mut [&mut newcomer, &mut between]);
    assert_eq!(requests(&mut between), []);
    sync(&mut [&mut between, &mut owner]);
    let asked = requests(&mut owner);
    assert_eq!(
        asked,
        [(invite.space, invite.key.verifying_key(), newcomer.id)]
    );
    assert_eq!(admit_all(&mut owner), [Ok(())]);
    sync(&mut [&mut between, &mut owner]);
    sync(&mut [&mut newcomer, &mut between]);
    assert!(newcomer.reads("before"));
    assert_eq!(newcomer.members()[&newcomer.id], Role::Editor);
    // Who came by which invite is seen by all.
    for node in [&owner, &newcomer] {
        let invites = node.spaces.invites(&invite.space);
        let state = &invites[&invite.key.verifying_key()];
        assert_eq!(state.admitted[0].1, newcomer.id);
    }
    let again = admit_all(&mut owner);
    assert_eq!(again, [Err(LocalError::Invite(InviteError::AlreadyIn))]);
}

#[test]
fn an_invite_is_bounded_in_uses_time_and_revocable() {
    let [mut owner, mut first, mut second, mut third] = nodes();
    owner.create(Settings::with_history(), &[]);
    let once = offer(&mut owner, Role::Reader, 1);
    request(&mut first, &once);
    request(&mut second, &once);
    sync(&mut [&mut owner, &mut first, &mut second]);
    let mut admitted = admit_all(&mut owner);
    admitted.sort_by_key(Result::is_err);
    assert_eq!(
        admitted,
        [Ok(()), Err(LocalError::Invite(InviteError::UsedUp))]
    );

    let late = offer(&mut owner, Role::Reader, 9);
    request(&mut third, &late);
    sync(&mut [&mut owner, &mut third]);
    owner.now = LATER + 1;
    let space = owner.s();
    let try_third = |owner: &mut Node| {
        let (invite, newcomer) = (late.key.verifying_key(), third.id);
        owner.try_act(|spaces, desk| spaces.admit_newcomer(space, invite, newcomer, desk))
    };
    let expired = try_third(&mut owner).unwrap_err();
    assert_eq!(expired, LocalError::Invite(InviteError::Expired));
    owner.now = LATER;
    let key = late.key.verifying_key();
    owner
        .try_act(|spaces, desk| spaces.revoke(space, key, desk))
        .unwrap();
    owner.restart();
    let revoked = try_third(&mut owner).unwrap_err();
    assert_eq!(revoked, LocalError::Invite(InviteError::Revoked));
}

#[test]
fn of_surplus_admissions_the_first_ids_stay() {
    let [mut a, mut b, mut c, mut d] = nodes();
    a.create(Settings::with_history(), &[(b.member(), Role::Owner)]);
    sync(&mut [&mut a, &mut b]);
    let invite = offer(&mut a, Role::Editor, 1);
    assert_eq!(invite.owners, [a.id, b.id]);
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    for newcomer in [&mut c, &mut d] {
        newcomer.space = Some(invite.space);
        let context = Context::new(&mut newcomer.keys, &mut newcomer.registry, NOW);
        let body = invite.request(&newcomer.id, &context, &mut newcomer.rng);
        newcomer.forge(Log::Control, vec![], body.unwrap());
    }
    sync(&mut [&mut a, &mut c]);
    sync(&mut [&mut b, &mut d]);
    assert_eq!(admit_all(&mut a), [Ok(())]);
    assert_eq!(admit_all(&mut b), [Ok(())]);
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    assert_eq!(a.members().len(), 4);
    assert!(!a.is_healthy() && !b.is_healthy());
    let came = &a.spaces.invites(&invite.space)[&invite.key.verifying_key()];
    let (stays, goes) = (came.admitted[0].1, came.admitted[1].1);
    heal_all(&mut [&mut a, &mut b]);
    assert_eq!(a.members(), b.members());
    assert!(a.members().contains_key(&stays) && !a.members().contains_key(&goes));
    a.publish("later");
    sync(&mut [&mut a, &mut b, &mut c, &mut d]);
    let reads = |id| {
        [&c, &d]
            .into_iter()
            .find(|n| n.id == id)
            .unwrap()
            .reads("later")
    };
    assert!(reads(stays) && !reads(goes));
    // An owner that means it adds the other one as well.
    let member = p2panda_groups::Member::Individual(goes);
    a.add(member, Role::Reader);
    sync(&mut [&mut a, &mut b]);
    heal_all(&mut [&mut a, &mut b]);
    assert!(a.members().contains_key(&goes));
}

#[test]
fn a_request_that_somebody_else_signs_again_lets_nobody_in() {
    let [mut owner, mut newcomer, mut thief] = nodes();
    owner.create(Settings::with_history(), &[]);
    let invite = offer(&mut owner, Role::Editor, 1);
    request(&mut newcomer, &invite);
    let stolen = ops(&newcomer);
    let stolen = stolen.iter().rev().find(|op| op.author == newcomer.id);
    let body = stolen.unwrap().body.clone();
    thief.forge(Log::Control, vec![], body);
    sync(&mut [&mut owner, &mut thief]);
    assert_eq!(requests(&mut owner), []);
    // Nor does a key that was never offered.
    let mut forged = invite.clone();
    forged.key = thief.key.clone();
    request(&mut thief, &forged);
    sync(&mut [&mut owner, &mut thief]);
    assert_eq!(
        admit_all(&mut owner),
        [Err(LocalError::Invite(InviteError::Unknown))]
    );
}

#[test]
fn an_invite_that_admits_nobody_is_not_made() {
    let [mut a] = nodes();
    a.create(Settings::with_history(), &[]);
    let space = a.s();
    let made = a.try_act(|spaces, desk| spaces.offer(space, (Role::Editor, 0, LATER), desk));
    assert_eq!(made.unwrap_err(), LocalError::NoUses);
    assert!(a.spaces.invites(&space).is_empty());
}

#[test]
fn a_refused_role_is_named_in_words() {
    let said = LocalError::Role(Some(Role::Editor)).to_string();
    let editor = "our role (editor) does not allow this; ask an owner of the space";
    assert_eq!(said, editor);
    let said = LocalError::Role(None).to_string();
    assert_eq!(
        said,
        "we are not a member of the space; ask an owner of the space"
    );
}

#[test]
fn only_owners_offer_and_let_in() {
    let [mut a, mut b, mut c] = nodes();
    a.create(Settings::with_history(), &[(b.member(), Role::Editor)]);
    let invite = offer(&mut a, Role::Editor, 1);
    sync(&mut [&mut a, &mut b]);
    let (space, key) = (b.s(), invite.key.verifying_key());
    let role = Some(Role::Editor);
    let made = b.try_act(|spaces, desk| spaces.offer(space, (Role::Owner, 1, LATER), desk));
    assert_eq!(made.unwrap_err(), LocalError::Role(role));
    let done = b.try_act(|spaces, desk| spaces.admit_newcomer(space, key, c.id, desk));
    assert_eq!(done.unwrap_err(), LocalError::Role(role));
    request(&mut c, &invite);
    sync(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(admit_all(&mut a), [Ok(())]);
}

#[test]
fn an_invite_names_one_owner_or_two() {
    let [mut a] = nodes();
    a.create(Settings::with_history(), &[]);
    let invite = offer(&mut a, Role::Editor, 1);
    let with = |owners: usize| {
        let owners = vec![a.id; owners];
        let invite = Invite {
            owners,
            ..invite.clone()
        };
        Invite::decode(&invite.encode()).map(drop)
    };
    assert_eq!(with(0), Err(Invalid::Variant));
    assert_eq!(with(1), Ok(()));
    assert_eq!(with(SPACE_INVITE_OWNERS_MAX), Ok(()));
    assert_eq!(with(SPACE_INVITE_OWNERS_MAX + 1), Err(Invalid::TooLong));
    let largest = Invite {
        owners: vec![a.id; SPACE_INVITE_OWNERS_MAX],
        ..invite.clone()
    };
    assert!(largest.encode().len() <= TICKET_INVITE_BYTES_MAX);
}

#[test]
fn members_know_the_name_of_a_space_and_all_know_the_same() {
    let [mut a, mut b, mut c] = nodes();
    a.create(Settings::with_history(), &[(b.member(), Role::Owner)]);
    let call = |node: &mut Node, name: &str| {
        let space = node.s();
        node.try_act(|spaces, desk| spaces.set_name(space, name, desk))
    };
    let name = |node: &Node| node.spaces.name(&node.s());
    assert_eq!(name(&a), None);
    call(&mut a, "first").unwrap();
    call(&mut a, "second").unwrap();
    sync(&mut [&mut a, &mut b]);
    assert_eq!(name(&b).as_deref(), Some("second"));
    call(&mut a, "of a").unwrap();
    call(&mut b, "of b").unwrap();
    assert_eq!(name(&b).as_deref(), Some("of b"));
    sync(&mut [&mut a, &mut b]);
    assert_eq!(name(&a), name(&b), "of two at the same time all take one");
    b.restart();
    assert_eq!(name(&a), name(&b));
    // A newcomer learns it, and only owners decide.
    let newcomer = c.member();
    sync(&mut [&mut a, &mut c]);
    a.add(newcomer, Role::Editor);
    sync(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(name(&c), name(&a));
    let role = Some(Role::Editor);
    assert_eq!(call(&mut c, "mine"), Err(LocalError::Role(role)));
    let long = "n".repeat(SPACE_NAME_BYTES_MAX);
    let bytes = SPACE_NAME_BYTES_MAX + 1;
    let refused = call(&mut a, &format!("{long}n")).unwrap_err();
    assert_eq!(refused, LocalError::NameTooLong { bytes });
    assert_eq!(refused.to_string(), "the name has 257 bytes; 256 fit");
    assert_eq!(call(&mut a, &long), Ok(()));
    assert_eq!(name(&a), Some(long));
}

#[test]
fn why_a_member_is_in_names_the_decider_and_the_invite() {
    let [mut a, mut b, mut c] = nodes();
    a.create(Settings::with_history(), &[(b.member(), Role::Owner)]);
    sync(&mut [&mut a, &mut b, &mut c]);
    let invite = offer(&mut b, Role::Reader, 1);
    request(&mut c, &invite);
    sync(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(admit_all(&mut b), [Ok(())]);
    sync(&mut [&mut a, &mut b, &mut c]);
    let space = a.s();
    let why = |node: &Node, who: &VerifyingKey| node.spaces.why(&space, who).unwrap();
    let of_c = why(&a, &c.id);
    assert_eq!(of_c.role, Some(Role::Reader));
    assert_eq!(of_c.invite, Some(invite.key.verifying_key()));
    let decided: Vec<_> = of_c
        .decided
        .iter()
        .map(|one| (one.author, &one.deed))
        .collect();
    assert_eq!(decided, [(b.id, &Deed::Add(Role::Reader))]);
    assert_eq!(of_c, why(&c, &c.id), "all members say the same");
    let key = invite.key.verifying_key();
    let sentence = format!(
        "{} is reader: {} added it as reader, by the invite {key}",
        c.id, b.id
    );
    assert_eq!(of_c.to_string(), sentence);
    let of_a = why(&c, &a.id).to_string();
    assert_eq!(
        of_a,
        format!("{} is owner: {} created the space", a.id, a.id)
    );
    a.remove(c.member());
    sync(&mut [&mut a, &mut b]);
    let gone = why(&b, &c.id).to_string();
    assert_eq!(
        gone,
        format!("{} is no longer a member: {} removed it", c.id, a.id)
    );
    let stranger = p2panda_core::SigningKey::from_bytes(&[99; 32]).verifying_key();
    let never = why(&b, &stranger).to_string();
    assert_eq!(never, format!("{stranger} was never a member"));
}

#[test]
fn a_member_added_again_by_hand_came_by_no_invite() {
    let [mut a, mut c] = nodes();
    a.create(Settings::with_history(), &[]);
    let invite = offer(&mut a, Role::Reader, 1);
    request(&mut c, &invite);
    sync(&mut [&mut a, &mut c]);
    assert_eq!(admit_all(&mut a), [Ok(())]);
    sync(&mut [&mut a, &mut c]);
    a.remove(c.member());
    a.add(c.member(), Role::Editor);
    let why = a.spaces.why(&a.s(), &c.id).unwrap();
    assert_eq!((why.role, why.invite), (Some(Role::Editor), None));
    assert_eq!(
        why.to_string(),
        format!("{} is editor: {} added it as editor", c.id, a.id)
    );
}

#[test]
fn of_two_owners_who_remove_each_other_the_sentence_says_so() {
    let [mut a, mut b] = nodes();
    a.create(Settings::with_history(), &[(b.member(), Role::Owner)]);
    sync(&mut [&mut a, &mut b]);
    let (ma, mb) = (a.member(), b.member());
    a.remove(mb);
    b.remove(ma);
    sync(&mut [&mut a, &mut b]);
    let space = a.s();
    for (node, gone, by) in [(&a, &b, &a), (&a, &a, &b)] {
        let why = node.spaces.why(&space, &gone.id).unwrap().to_string();
        assert!(why.contains("is no longer a member"), "{why}");
        assert!(why.contains(&format!("{} removed it", by.id)), "{why}");
        // Each removal says whom it removed.
        let other = format!("{} removed {}", gone.id, by.id);
        assert!(why.contains(&other), "{why}");
    }
}

/// Otherwise a member could keep somebody at a lower role, of whom it knows the key.
#[test]
fn a_newcomer_whose_key_a_member_lists_is_admitted_as_any() {
    let [mut owner, mut eve, mut newcomer] = nodes();
    owner.create(Settings::with_history(), &[(eve.member(), Role::Reader)]);
    eve.space = owner.space;
    sync(&mut [&mut owner, &mut eve]);
    claim(&mut eve, &[newcomer.id]);
    sync(&mut [&mut owner, &mut eve]);
    owner.heal();
    assert_eq!(owner.members()[&newcomer.id], Role::Reader, "by the other");
    let invite = offer(&mut owner, Role::Editor, 1);
    request(&mut newcomer, &invite);
    sync(&mut [&mut newcomer, &mut owner, &mut eve]);
    assert_eq!(admit_all(&mut owner), [Ok(())]);
    sync(&mut [&mut newcomer, &mut owner, &mut eve]);
    assert_eq!(newcomer.members()[&newcomer.id], Role::Editor);
    let again = Err(LocalError::Invite(InviteError::AlreadyIn));
    assert_eq!(admit_all(&mut owner), [again]);
}
