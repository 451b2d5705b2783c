//! Information that published bytes reveal to an observer (`docs/protocol/spaces.md#11`).

use p2panda_groups::Member;
use p2panda_spaces::{Log, Role, Settings};

use crate::native_world::{Node, nodes, ops, sync};

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|part| part == needle)
}

#[test]
fn published_bytes_name_no_space_group_role_or_content() {
    let [mut a, mut b] = nodes();
    // Who only reads, and whose keys came some other way.
    let silent = Node::new(77);
    let bundle = silent.keys.hybrid_bundle(silent.now).unwrap().clone();
    for node in [&mut a, &mut b] {
        let (now, bundle) = (node.now, bundle.clone());
        node.registry.add_hybrid(silent.id, bundle, now).unwrap();
    }
    let inner = [(a.member(), Role::Owner), (silent.member(), Role::Reader)];
    let person = a.try_act(|spaces, desk| spaces.create_group(&inner, desk));
    let (person, _) = person.unwrap();
    let members = [
        (b.member(), Role::Editor),
        (Member::Group(person), Role::Reader),
    ];
    let s = a.create(Settings::with_history(), &members);
    a.publish("what nobody else may read");
    sync(&mut [&mut a, &mut b]);
    a.set_role(b.member(), Role::Reader);
    a.set_role(b.member(), Role::Owner);
    a.try_do(|spaces, s, desk| spaces.rotate(s, desk)).unwrap();
    sync(&mut [&mut a, &mut b]);
    b.publish("an answer");
    b.remove(Member::Group(person));
    b.add(silent.member(), Role::Reader);
    sync(&mut [&mut a, &mut b]);
    let group = a.spaces.group(&s).unwrap();

    let mut secret: Vec<Vec<u8>> = vec![s.as_bytes().to_vec()];
    secret.push(group.as_bytes().to_vec());
    secret.push(person.as_bytes().to_vec());
    secret.push(silent.id.as_bytes().to_vec());
    secret.push(silent.keys.identity_key().as_bytes().to_vec());
    secret.push(bundle.signed_prekey.key.as_bytes().to_vec());
    secret.push(bundle.xwing.as_bytes()[..32].to_vec());
    for text in [
        "what nobody else",
        "an answer",
        "Manage",
        "Write",
        "Read",
        "Pull",
    ] {
        secret.push(text.as_bytes().to_vec());
    }
    for text in [
        "Create",
        "Add",
        "Remove",
        "Promote",
        "Demote",
        "Individual",
        "Group",
    ] {
        secret.push(text.as_bytes().to_vec());
    }
    for text in [
        "initial_members",
        "recipient",
        "TwoParty",
        "Welcome",
        "space",
        "owner",
    ] {
        secret.push(text.as_bytes().to_vec());
    }
    for op in a.spaces.groups().operations() {
        secret.push(op.id.as_bytes().to_vec());
    }
    let published = ops(&a);
    assert!(published.len() > 8 && published.iter().any(|op| op.log == Log::Content));
    for op in &published {
        for needle in &secret {
            let found = contains(&op.body, needle);
            assert!(!found, "{} in {op:?}", String::from_utf8_lossy(needle));
        }
        // Authors' keys are in headers; bodies name nobody.
        for author in [&a.id, &b.id] {
            assert!(!contains(&op.body, author.as_bytes()));
        }
    }
    // The search finds what is there.
    assert!(a.spaces.groups().operations().count() > 4);
    let bundle = a.keys.hybrid_bundle(a.now).unwrap();
    let key = bundle.identity_key.as_bytes();
    assert!(published.iter().any(|op| contains(&op.body, key)));
}
