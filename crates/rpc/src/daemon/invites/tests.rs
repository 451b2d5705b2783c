#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use p2panda::SigningKey;

use super::*;

const NOW: Duration = Duration::from_secs(1_000);
const TEXT: &str = "p2panda rpc login 1\n";

fn key(seed: u8) -> VerifyingKey {
    SigningKey::from_bytes(&[seed; 32]).verifying_key()
}

fn params() -> AccessInviteParams {
    serde_json::from_value(serde_json::json!({"topics": [], "name": "friends"})).unwrap()
}

fn topics(count: u8) -> BTreeSet<Topic> {
    (0..count)
        .map(|seed| Topic::from_bytes([seed; 32]))
        .collect()
}

fn make(invites: &Invites, params: &AccessInviteParams) -> Result<AccessCode, Code> {
    let made = invites.create(key(9), params, topics(1), NOW);
    made.map(|(_, code)| code).map_err(|error| error.kind())
}

/// Returns the proof of a client with this key.
fn shows(seed: u8, code: Option<&AccessCode>) -> KeyProof {
    let proof = |code: &AccessCode| InviteProof {
        id: HEXLOWER.encode(&code.id),
        proof: invite_proof(&code.secret, TEXT, &key(seed)).to_vec().into(),
    };
    KeyProof {
        key: key(seed),
        nonce: Vec::new().into(),
        expires: 0,
        signature: Vec::new().into(),
        invite: code.map(proof),
    }
}

fn comes(invites: &Invites, proof: &KeyProof, now: Duration) -> bool {
    invites.admit(proof, TEXT, now).is_ok()
}

#[test]
fn an_invite_admits_as_many_keys_as_it_says_and_they_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let invites = Invites::open(dir.path()).unwrap();
    let params = AccessInviteParams {
        uses: 2,
        ..params()
    };
    let code = make(&invites, &params).unwrap();
    assert!(!comes(&invites, &shows(1, None), NOW));
    assert!(comes(&invites, &shows(1, Some(&code)), NOW));
    // The same key uses it once.
    assert!(comes(&invites, &shows(1, Some(&code)), NOW));
    assert!(comes(&invites, &shows(2, Some(&code)), NOW));
    assert!(!comes(&invites, &shows(3, Some(&code)), NOW));
    // Unchanged after a crash.
    drop(invites);
    let invites = Invites::open(dir.path()).unwrap();
    assert!(!comes(&invites, &shows(3, Some(&code)), NOW));
    let admitted = invites.admit(&shows(1, None), TEXT, NOW).unwrap();
    assert_eq!(admitted.scopes().texts(), INVITE_SCOPES);
    assert_eq!(admitted.topics, topics(1));
    // Revoked, also for keys that were admitted.
    invites.revoke("friends").unwrap();
    assert!(!comes(&invites, &shows(1, None), NOW));
    assert!(!comes(&invites, &shows(1, Some(&code)), NOW));
    assert_eq!(
        invites.revoke("friends").unwrap_err().kind(),
        Code::NotFound
    );
    assert!(Invites::open(dir.path()).unwrap().all().is_empty());
}

#[test]
fn an_invite_ends_and_those_who_came_stay() {
    let dir = tempfile::tempdir().unwrap();
    let invites = Invites::open(dir.path()).unwrap();
    let params = AccessInviteParams {
        uses: 3,
        expires_seconds: 60,
        ..params()
    };
    let code = make(&invites, &params).unwrap();
    let end = NOW + Duration::from_secs(60);
    assert!(comes(&invites, &shows(1, Some(&code)), end));
    let late = end + Duration::from_secs(1);
    assert!(!comes(&invites, &shows(2, Some(&code)), late));
    assert!(comes(&invites, &shows(1, None), late));
}

#[test]
fn a_forged_proof_is_none_nor_one_of_another_key_text_or_node() {
    let dir = tempfile::tempdir().unwrap();
    let invites = Invites::open(dir.path()).unwrap();
    let code = make(&invites, &params()).unwrap();
    let forged = AccessCode {
        secret: [0; 32],
        ..code.clone()
    };
    assert!(!comes(&invites, &shows(1, Some(&forged)), NOW));
    let unknown = AccessCode {
        id: [0; 8],
        ..code.clone()
    };
    assert!(!comes(&invites, &shows(1, Some(&unknown)), NOW));
    let right = shows(1, Some(&code));
    // A replayed proof of another client.
    let stolen = KeyProof {
        key: key(2),
        ..right.clone()
    };
    assert!(!comes(&invites, &stolen, NOW));
    assert!(
        invites
            .admit(&right, "p2panda rpc login 1\nnode: other\n", NOW)
            .is_err()
    );
    let mut short = right.clone();
    short.invite.as_mut().unwrap().proof.0.truncate(31);
    assert!(!comes(&invites, &short, NOW));
    // Another node does not know the invite.
    let elsewhere = tempfile::tempdir().unwrap();
    assert!(!comes(
        &Invites::open(elsewhere.path()).unwrap(),
        &right,
        NOW
    ));
    assert!(invites.all()[0].keys.is_empty());
    assert!(comes(&invites, &right, NOW));
}

#[test]
fn what_an_invite_can_be_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let invites = Invites::open(dir.path()).unwrap();
    let refused = |params: &AccessInviteParams| make(&invites, params) == Err(Code::Invalid);
    let days = RPC_INVITE_VALID_MAX.as_secs();
    let name = |count| Some("x".repeat(count));
    let (uses_max, base) = (RPC_INVITE_USES_MAX, params());
    for wrong in [
        AccessInviteParams {
            uses: 0,
            ..base.clone()
        },
        AccessInviteParams {
            uses: uses_max + 1,
            ..base.clone()
        },
        AccessInviteParams {
            expires_seconds: 0,
            ..base.clone()
        },
        AccessInviteParams {
            expires_seconds: days + 1,
            ..base.clone()
        },
        AccessInviteParams {
            name: name(0),
            ..base.clone()
        },
        AccessInviteParams {
            name: name(RPC_INVITE_NAME_BYTES_MAX + 1),
            ..base.clone()
        },
        AccessInviteParams {
            name: Some("a b".to_owned()),
            ..base.clone()
        },
        AccessInviteParams {
            scopes: Vec::new(),
            ..base.clone()
        },
        AccessInviteParams {
            scopes: vec!["admin".to_owned()],
            ..base.clone()
        },
    ] {
        assert!(refused(&wrong), "{wrong:?}");
    }
    for count in [0, RPC_INVITE_TOPICS_MAX as u8 + 1] {
        assert!(invites.create(key(9), &base, topics(count), NOW).is_err());
    }
    let largest = AccessInviteParams {
        uses: uses_max,
        expires_seconds: days,
        name: name(RPC_INVITE_NAME_BYTES_MAX),
        ..base.clone()
    };
    let most = topics(RPC_INVITE_TOPICS_MAX as u8);
    invites.create(key(9), &largest, most, NOW).unwrap();
    assert!(refused(&largest), "the name is taken");
}

#[test]
fn a_node_has_so_many_invites_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let invites = Invites::open(dir.path()).unwrap();
    let params = AccessInviteParams {
        name: None,
        ..params()
    };
    let code = make(&invites, &params).unwrap();
    let mut stored = invites.stored.lock();
    let one = stored.invites[0].clone();
    let more = (1..RPC_INVITES_MAX).map(|number| Invite {
        name: format!("x{number}"),
        id: format!("{number:016x}"),
        ..one.clone()
    });
    stored.invites.extend(more);
    drop(stored);
    assert_eq!(make(&invites, &params), Err(Code::Limit));
    invites.revoke(&HEXLOWER.encode(&code.id)).unwrap();
    make(&invites, &params).unwrap();
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let invites = Invites::open(dir.path()).unwrap();
    make(&invites, &params()).unwrap();
    let mode = std::fs::metadata(dir.path().join(FILE))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    std::fs::write(dir.path().join(FILE), "{").unwrap();
    assert!(Invites::open(dir.path()).is_err());
}
