//! `vectors/spaces-teams.json`: the create of a team, and what managers say of its name.

use p2panda_groups::{Action, Member};
use serde_json::{Value, json};

use super::is_team;
use crate::native_world::{Node, Op, nodes, ops, sync};
use crate::recorded::{hex, is_recorded};
use crate::sealed::{Body, Note, Structure, open};
use crate::{Log, Role, Settings};

fn note(note: &Note) -> Value {
    match note {
        Note::Team(team, name) => json!(["team", hex(team.as_bytes()), name]),
        _ => json!(["other"]),
    }
}

/// The control messages that say something, each with the operations that it carries.
fn messages(node: &Node) -> Vec<Value> {
    let control = ops(node).into_iter().filter(|op| op.log == Log::Control);
    control.filter_map(|op| message(node, &op)).collect()
}

fn message(node: &Node, op: &Op) -> Option<Value> {
    let space = node.s();
    let Ok(Body::Control(envelope)) = Body::decode(&op.body) else {
        return None;
    };
    let (_, native) = node.spaces.native(&space).unwrap();
    let key = native.ring.get(&envelope.key).unwrap();
    let bound = ("control", &space, &op.author);
    let plain = open(key, &envelope.nonce, bound, &envelope.sealed).unwrap();
    let structure = Structure::decode(&plain).unwrap();
    assert_eq!(structure.encode(), plain);
    (!structure.notes.is_empty()).then(|| {
        json!({
            "space": hex(space.as_bytes()),
            "author": hex(op.author.as_bytes()),
            "structure_key": hex(key.as_bytes()),
            "body": hex(&op.body),
            "plaintext": hex(&plain),
            "notes": structure.notes.iter().map(note).collect::<Vec<_>>(),
        })
    })
}

/// A group by its create, as it was signed, and whether it is a team.
fn creates(node: &Node) -> Vec<Value> {
    let (all, now) = (
        node.spaces.groups().operations(),
        node.spaces.groups().now(),
    );
    let creates = all.filter(|op| matches!(op.arguments.action, Action::Create { .. }));
    let create = |op: p2panda_groups::Operation| {
        let group = op.arguments.group;
        json!({
            "signed": hex(&node.spaces.signed[&op.id]),
            "operation": hex(op.id.as_bytes()),
            "author": hex(op.author.as_bytes()),
            "nonce": op.arguments.nonce.map(|nonce| hex(&nonce)),
            "group": hex(group.as_bytes()),
            "is_team": is_team(&now, &group),
        })
    };
    creates.map(create).collect()
}

fn made() -> Value {
    let [mut ada, mut ben] = nodes();
    let made = ada.try_act(|spaces, desk| spaces.create_team(None, desk));
    let team = made.unwrap().0;
    let member: Member = ben.member();
    ada.try_act(|spaces, desk| spaces.change_team(team, member, Some(Role::Owner), desk))
        .unwrap();
    ada.create(Settings::with_history(), &[]);
    ben.space = ada.space;
    ada.try_do(|spaces, s, desk| spaces.add_team(s, team, Role::Editor, desk))
        .unwrap();
    sync(&mut [&mut ada, &mut ben]);
    ben.try_do(|spaces, s, desk| spaces.follow_team(s, team, Some("night shift"), desk))
        .unwrap();
    sync(&mut [&mut ada, &mut ben]);
    let name = ada.spaces.team_name(&ada.s(), &team);
    assert_eq!(name.as_deref(), Some("night shift"));
    json!({
        "format": "docs/protocol/spaces.md 14.5",
        "generator": "crates/spaces/src/team/vector_tests.rs",
        "creates": creates(&ada),
        "messages": messages(&ada),
    })
}

#[test]
fn teams_have_the_bytes_of_the_vector() {
    let made = made();
    is_recorded("spaces-teams.json", &made);
    let teams = made["creates"].as_array().unwrap().iter();
    let teams = teams.map(|create| create["is_team"].as_bool());
    assert_eq!(teams.collect::<Vec<_>>(), [Some(true), Some(false)]);
}
