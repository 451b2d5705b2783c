//! Every recorded scenario, replayed.

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::Hash;
use p2panda_groups::{Event, Groups, ProcessError, Reason, Rules};
use serde_json::{Value, json};

use crate::file::file;
use crate::oracle::{self, Oracle};
use crate::replay::{process, reached, status_word, tables};
use crate::scenario::{self, Scenario, groups_json, number, scenarios, tables_json};
use crate::story::admit;

#[test]
fn vector_scenarios_hold_for_the_plain_resolver() {
    for scenario in scenarios(&file("groups-scenarios.json")) {
        replay_plainly(&scenario);
    }
}

#[test]
fn vector_random_holds_for_the_plain_resolver() {
    for scenario in scenarios(&file("groups-random.json")) {
        replay_plainly(&scenario);
    }
}

#[test]
fn vector_scenarios_hold() {
    for scenario in scenarios(&file("groups-scenarios.json")) {
        replay(&scenario);
    }
}

#[test]
fn vector_random_holds() {
    for scenario in scenarios(&file("groups-random.json")) {
        replay(&scenario);
    }
}

#[test]
fn vector_hardened_holds_and_reports_each_rule_once() {
    for scenario in scenarios(&file("groups-hardened.json")) {
        let mut diverges = replay_under(&scenario, Rules::Hardened);
        diverges.sort_unstable();
        let expected = &scenario.expected["diverges"];
        assert_eq!(&json!(diverges), expected, "{}", scenario.name);
    }
}

fn replay(scenario: &Scenario) {
    replay_under(scenario, Rules::Reference);
}

/// Hands over and compares; the rules that took something away, by operation.
fn replay_under(scenario: &Scenario, rules: Rules) -> Vec<(u64, String)> {
    let mut groups = Groups::new(rules);
    let mut diverges = Vec::new();
    let outcomes = outcomes(scenario, |operation| {
        process(&mut groups, operation).map(|admitted| {
            for event in admitted.events {
                if let Event::Diverges { operation, rule } = event {
                    diverges.push((number(operation), rule.to_string()));
                }
            }
        })
    });
    let accepted = scenario.operations.iter().map(|operation| operation.id);
    let accepted: Vec<Hash> = accepted.filter(|id| groups.contains(id)).collect();
    let state = |id: &Hash| tables_json(&tables(&groups.at(&[*id]).unwrap()));
    let status = |id: &Hash| json!(outer(&status_word(groups.status(id).unwrap())));
    let now = groups.now();
    let heads: BTreeSet<u64> = groups.heads().into_iter().map(number).collect();
    let found = json!({
        "outcome": outcomes,
        "states": by_id(accepted.iter().map(|id| (number(*id), state(id)))),
        "status": by_id(accepted.iter().map(|id| (number(*id), status(id)))),
        "heads": heads,
        "groups": groups_json(&tables(&now), |group| reached(&now, group)),
    });
    compare(scenario, &found);
    diverges
}

fn replay_plainly(scenario: &Scenario) {
    let mut oracle = Oracle::new(false);
    let outcomes = outcomes(scenario, |operation| oracle.process(operation));
    let all = oracle.all();
    let resolution = oracle.resolve(&all);
    let current = oracle.at_heads(&all, &resolution);
    let ids: Vec<u64> = oracle.ops.iter().map(|node| number(node.op.id)).collect();
    let states = resolution.states.iter();
    let statuses = resolution.statuses.iter();
    let found = json!({
        "outcome": outcomes,
        "states": by_id(states.map(|(op, state)| (ids[*op], tables_json(state)))),
        "status": by_id(statuses.map(|(op, status)| (ids[*op], json!(outer(status))))),
        "heads": oracle.heads(&all).iter().map(|op| ids[*op]).collect::<BTreeSet<_>>(),
        "groups": groups_json(&current, |group| oracle::reached(&current, group)),
    });
    compare(scenario, &found);
}

#[test]
fn vector_malformed_is_judged_and_changes_nothing() {
    let written = file("groups-malformed-scenarios.json");
    let in_words = file("groups-malformed.json");
    let names = |value: &serde_json::Value| -> Vec<String> {
        let cases = value.as_array().unwrap().iter();
        cases
            .map(|case| case["name"].as_str().unwrap().to_string())
            .collect()
    };
    assert_eq!(names(&written["scenarios"]), names(&in_words["malformed"]));
    for case in written["scenarios"].as_array().unwrap() {
        for rules in [Rules::Hardened, Rules::Reference] {
            let mut groups = Groups::new(rules);
            for operation in case["prior"].as_array().unwrap() {
                admit(&mut groups, scenario::operation(operation));
            }
            let before = (tables_json(&tables(&groups.now())), groups.heads());
            if let Some(asked) = case["query"]["members"].as_str() {
                let found = tables(&groups.now());
                let answer_of = |group| reached(&groups.now(), group);
                let answer = &scenario::groups_json(&found, answer_of)[asked];
                for field in ["members", "nested_groups"] {
                    assert_eq!(answer[field], case["required"][field], "{}", case["name"]);
                }
                continue;
            }
            let result = groups.process(&scenario::operation(&case["operation"]));
            let found = match result.unwrap_err() {
                ProcessError::Rejected(Reason::UnknownGroup) => "rejected:unknown_group".into(),
                ProcessError::SelfDependency => "malformed:self_dependency".to_string(),
                ProcessError::MissingDependency(id) => {
                    format!("missing_dependency:{}", scenario::number(id))
                }
                other => panic!("{other}"),
            };
            assert_eq!(found, case["required"], "{}", case["name"]);
            assert_eq!(
                (tables_json(&tables(&groups.now())), groups.heads()),
                before
            );
        }
    }
}

#[test]
fn vector_dependencies_are_those_of_the_rule() {
    for case in file("groups-dependencies.json")["scenarios"]
        .as_array()
        .unwrap()
    {
        let mut groups = Groups::new(Rules::Hardened);
        for operation in case["operations"].as_array().unwrap() {
            admit(&mut groups, scenario::operation(operation));
        }
        for asked in case["asked"].as_array().unwrap() {
            let author = scenario::key(asked["author"].as_str().unwrap());
            let group = scenario::group(asked["group"].as_str().unwrap());
            let action = scenario::action(&asked["action"]);
            let found = groups.dependencies(&author, &group, &action);
            let found: Vec<u64> = found.into_iter().map(number).collect();
            assert_eq!(json!(found), asked["dependencies"], "{}", case["name"]);
        }
    }
}

/// Hands over every operation whose dependencies were accepted.
fn outcomes(
    scenario: &Scenario,
    mut process: impl FnMut(&p2panda_groups::Operation) -> Result<(), String>,
) -> Value {
    let mut refused: BTreeSet<Hash> = BTreeSet::new();
    let mut outcomes = BTreeMap::new();
    for operation in &scenario.operations {
        let ready = !operation
            .arguments
            .dependencies
            .iter()
            .any(|id| refused.contains(id));
        let outcome = match ready.then(|| process(operation)) {
            None => "undeliverable".to_string(),
            Some(Ok(())) => "accepted".to_string(),
            Some(Err(reason)) => format!("rejected:{reason}"),
        };
        if outcome != "accepted" {
            refused.insert(operation.id);
        }
        outcomes.insert(number(operation.id).to_string(), outcome);
    }
    json!(outcomes)
}

fn by_id(pairs: impl Iterator<Item = (u64, Value)>) -> Value {
    Value::Object(pairs.map(|(id, value)| (id.to_string(), value)).collect())
}

/// The files do not name the rule that filtered.
fn outer(status: &str) -> &str {
    if status.starts_with("filtered") {
        "filtered"
    } else {
        status
    }
}

fn compare(scenario: &Scenario, found: &Value) {
    for field in ["outcome", "states", "status", "heads", "groups"] {
        let (found, expected) = (&found[field], &scenario.expected[field]);
        assert_eq!(found, expected, "{field} of {}", scenario.name);
    }
}
