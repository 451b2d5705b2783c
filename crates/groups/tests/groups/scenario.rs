//! The scenario format of the vector files.

use std::collections::BTreeMap;

use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Access, Action, Arguments, GroupId, Member, Operation};
use serde_json::{Value, json};

use crate::oracle::Tables;

pub struct Scenario {
    pub name: String,
    pub operations: Vec<Operation>,
    pub expected: Value,
}

pub fn scenarios(file: &Value) -> Vec<Scenario> {
    let scenarios: Vec<_> = file["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .map(Scenario::of)
        .collect();
    assert_eq!(scenarios.len() as u64, file["scenario_count"]);
    let operations: usize = scenarios
        .iter()
        .map(|scenario| scenario.operations.len())
        .sum();
    assert_eq!(operations as u64, file["operation_count"]);
    scenarios
}

impl Scenario {
    pub fn of(value: &Value) -> Scenario {
        Scenario {
            name: value["name"].as_str().unwrap().into(),
            operations: value["operations"]
                .as_array()
                .unwrap()
                .iter()
                .map(operation)
                .collect(),
            expected: value["expected"].clone(),
        }
    }
}

/// The operations of an array in scenario format.
pub fn operation(value: &Value) -> Operation {
    let dependencies = value["dependencies"].as_array().unwrap();
    Operation {
        id: id(value["id"].as_u64().unwrap()),
        author: key(value["author"].as_str().unwrap()),
        arguments: Arguments {
            group: group(value["group"].as_str().unwrap()),
            dependencies: dependencies
                .iter()
                .map(|id_| id(id_.as_u64().unwrap()))
                .collect(),
            action: action(&value["action"]),
            nonce: value["nonce"].as_str().map(unhex),
        },
    }
}

/// The number as a hash that still shows it.
pub fn id(number: u64) -> Hash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Hash::from_bytes(bytes)
}

pub fn number(id: Hash) -> u64 {
    u64::from_be_bytes(id.as_bytes()[..8].try_into().unwrap())
}

/// 32 bytes of 64 digits.
fn unhex(text: &str) -> [u8; 32] {
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}

/// A short name as a key that still shows it; 64 digits as the key that they are.
pub fn key(name: &str) -> VerifyingKey {
    if name.len() == 64 {
        return VerifyingKey::from_bytes_unchecked(unhex(name));
    }
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    VerifyingKey::from_bytes_unchecked(bytes)
}

pub fn name(key: &VerifyingKey) -> String {
    if key.as_bytes()[31] != 0 {
        return key.to_string();
    }
    let bytes = key.as_bytes().iter().copied().take_while(|byte| *byte != 0);
    String::from_utf8(bytes.collect()).unwrap_or_else(|_| key.to_string())
}

pub fn group(name: &str) -> GroupId {
    key(name).into()
}

pub fn member_name(member: &Member) -> String {
    match member {
        Member::Individual(key) => format!("individual:{}", name(key)),
        Member::Group(group) => format!("group:{}", name(group.as_key())),
    }
}

pub fn action(value: &Value) -> Action {
    let member = || member(&value["member"]);
    let access = || access(&value["access"]);
    match value["type"].as_str().unwrap() {
        "create" => {
            let initial = value["initial_members"].as_array().unwrap();
            let entry = |value: &Value| {
                (
                    self::member(&value["member"]),
                    self::access(&value["access"]),
                )
            };
            Action::Create {
                initial_members: initial.iter().map(entry).collect(),
            }
        }
        "add" => Action::Add {
            member: member(),
            access: access(),
        },
        "remove" => Action::Remove { member: member() },
        "promote" => Action::Promote {
            member: member(),
            access: access(),
        },
        "demote" => Action::Demote {
            member: member(),
            access: access(),
        },
        other => panic!("unknown action {other}"),
    }
}

fn member(value: &Value) -> Member {
    match value["individual"].as_str() {
        Some(name) => Member::Individual(key(name)),
        None => Member::Group(group(value["group"].as_str().unwrap())),
    }
}

fn access(value: &Value) -> Access {
    value.as_str().unwrap().parse().unwrap()
}

/// All tables of a state as the files write them.
pub fn tables_json(tables: &Tables) -> Value {
    let mut groups = BTreeMap::new();
    for (group, table) in tables {
        let entries: BTreeMap<_, _> = table
            .iter()
            .map(|(member, (m, access, a))| {
                (member_name(member), json!([m, access.to_string(), a]))
            })
            .collect();
        groups.insert(name(group.as_key()), entries);
    }
    json!(groups)
}

/// Returns what the files say about each group in the end.
pub fn groups_json(
    tables: &Tables,
    reached: impl Fn(GroupId) -> BTreeMap<Member, Access>,
) -> Value {
    let mut groups = BTreeMap::new();
    for (group, table) in tables {
        let direct = table.iter().filter(|(_, entry)| entry.0 % 2 == 1);
        let root: BTreeMap<_, _> = direct
            .map(|(member, entry)| (member_name(member), entry.1.to_string()))
            .collect();
        let (mut members, mut nested) = (BTreeMap::new(), BTreeMap::new());
        for (member, access) in reached(*group) {
            let into = match member {
                Member::Individual(_) => &mut members,
                Member::Group(_) => &mut nested,
            };
            into.insert(name(member.key()), access.to_string());
        }
        let pairs = |map: BTreeMap<String, String>| json!(map.into_iter().collect::<Vec<_>>());
        groups.insert(
            name(group.as_key()),
            json!({
                "root_members": pairs(root),
                "members": pairs(members),
                "nested_groups": pairs(nested),
            }),
        );
    }
    json!(groups)
}
