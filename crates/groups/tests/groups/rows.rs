//! Storing and loading groups.

use std::collections::BTreeMap;

use p2panda_core::Hash;
use p2panda_groups::{
    Access, Action, Groups, LoadError, Operation, ProcessError, Processed, Row, Rules,
};

use crate::oracle::Oracle;
use crate::random::{Dice, graph, shuffled};
use crate::replay::{Expected, process, tables};
use crate::scenario::id;
use crate::story::{Author, add, admit, create, honest, one, remove};

#[derive(Clone, Default)]
struct Store(BTreeMap<Vec<u8>, Vec<u8>>);

impl Store {
    fn keep(&mut self, rows: Vec<Row>) {
        for row in rows {
            match row.value {
                Some(value) => self.0.insert(row.key, value),
                None => self.0.remove(&row.key),
            };
        }
    }

    fn load(&self, rules: Rules) -> Groups {
        Groups::load(rules, &self.0).unwrap()
    }
}

/// Everything that can be asked has the answer of the other.
fn assert_same(a: &Groups, b: &Groups, what: &str) {
    assert_eq!(tables(&a.now()), tables(&b.now()), "{what}");
    assert_eq!(a.heads(), b.heads(), "{what}");
    assert_eq!(a.len(), b.len(), "{what}");
    for operation in a.operations() {
        let id = operation.id;
        assert_eq!(b.get(&id).as_ref(), Some(&operation), "{what}");
        assert_eq!(a.status(&id), b.status(&id), "{what}");
        assert_eq!(a.is_settled(&id), b.is_settled(&id), "{what}");
        let [at, other] = [a, b].map(|groups| tables(&groups.at(&[id]).unwrap()));
        assert_eq!(at, other, "{what}");
        let [view, other] = [a, b].map(|groups| tables(&groups.view_of(&[id]).unwrap()));
        assert_eq!(view, other, "{what}");
        let group = operation.arguments.group;
        assert_eq!(a.heads_of(&[group]), b.heads_of(&[group]), "{what}");
    }
}

#[test]
fn loaded_groups_go_on_after_any_operation() {
    for seed in 30_000..30_400 {
        for rules in [Rules::Hardened, Rules::Reference] {
            let mut oracle = Oracle::new(rules == Rules::Hardened);
            let made = graph(seed, 14, &mut oracle);
            let mut dice = Dice::new(seed);
            let order = shuffled(&made, &mut dice);
            let outcomes = made.iter().map(|(op, outcome)| (op.id, outcome.clone()));
            let expected = Expected::of(&oracle, outcomes.collect());
            let what = format!("{rules:?} seed {seed}");
            let (mut store, mut groups) = (Store::default(), Groups::new(rules));
            for at in order {
                let operation = &made[at].0;
                let outcome = process(&mut groups, operation).map(|_| ());
                assert_eq!(outcome, expected.outcomes[&operation.id], "{what}");
                store.keep(groups.changes());
                assert!(groups.changes().is_empty());
                if dice.percent(30) {
                    let loaded = store.load(rules);
                    if dice.percent(30) {
                        assert_same(&groups, &loaded, &what);
                    }
                    groups = loaded;
                }
            }
            expected.check(&groups, &what);
            expected.check(&store.load(rules), &what);
        }
    }
}

#[test]
fn a_transaction_that_fails_leaves_nothing_behind() {
    for seed in 31_000..31_400 {
        for rules in [Rules::Hardened, Rules::Reference] {
            let mut oracle = Oracle::new(rules == Rules::Hardened);
            let made = graph(seed, 14, &mut oracle);
            let mut dice = Dice::new(seed);
            let order = shuffled(&made, &mut dice);
            let expected = Expected::of(&oracle, BTreeMap::new());
            let what = format!("{rules:?} seed {seed}");
            let (mut store, mut groups) = (Store::default(), Groups::new(rules));
            store.keep(groups.changes());
            let mut done = 0;
            while done < order.len() {
                let batch = &order[done..order.len().min(done + 1 + dice.below(4))];
                let mut written = store.clone();
                groups.begin();
                for at in batch {
                    let _ = process(&mut groups, &made[*at].0);
                    if dice.percent(50) {
                        written.keep(groups.changes());
                    }
                }
                if dice.percent(40) {
                    groups.rollback();
                    let mut again = store.clone();
                    again.keep(groups.changes());
                    assert_eq!(again.0, store.0, "{what}");
                    assert_same(&groups, &store.load(rules), &what);
                    continue;
                }
                groups.commit();
                written.keep(groups.changes());
                (store, done) = (written, done + batch.len());
            }
            expected.check(&groups, &what);
            expected.check(&store.load(rules), &what);
        }
    }
}

#[test]
fn an_operation_writes_itself_only_in_any_group() {
    let mut groups = honest();
    for n in 2..2_000 {
        let operation = Author("A").does(n, one(), &[n - 1], add(&format!("m{n}"), Access::Read));
        let came = operation.encode().len();
        admit(&mut groups, operation);
        if n == 2 {
            groups.changes();
            continue;
        }
        let rows = groups.changes();
        assert_eq!(rows.len(), 1);
        let written: usize = rows
            .iter()
            .map(|row| row.key.len() + row.value.as_ref().unwrap().len())
            .sum();
        assert!(written < came, "{written} for {came}");
    }
}

#[test]
fn damaged_rows_and_those_of_other_rules_are_refused() {
    let mut groups = honest();
    admit(&mut groups, Author("A").does(2, one(), &[1], remove("B")));
    let mut store = Store::default();
    store.keep(groups.changes());
    let load = |store: &Store, rules| Groups::load(rules, &store.0).map(|_| ());
    assert_eq!(load(&store, Rules::Hardened), Ok(()));
    assert_eq!(load(&store, Rules::Reference), Err(LoadError::Rules));
    assert_eq!(load(&Store::default(), Rules::Hardened), Ok(()));
    for key in store.0.keys() {
        let mut lost = store.clone();
        lost.0.remove(key);
        let last = groups.get(&id(2)).unwrap().id;
        let is_last = key.ends_with(last.as_bytes());
        assert_eq!(load(&lost, Rules::Hardened).is_ok(), is_last);
        for len in 0..store.0[key].len() {
            let mut cut = store.clone();
            cut.0.get_mut(key).unwrap().truncate(len);
            assert!(load(&cut, Rules::Hardened).is_err(), "{len}");
        }
        for at in 0..store.0[key].len() {
            let mut other = store.clone();
            other.0.get_mut(key).unwrap()[at] ^= 0x81;
            if let Ok(groups) = Groups::load(Rules::Hardened, &other.0) {
                let _ = (tables(&groups.now()), groups.operations().count());
                assert!(groups.operations().all(|o| groups.status(&o.id).is_some()));
            }
        }
    }
}

#[test]
fn an_operation_may_depend_on_messages_that_are_none() {
    let mut groups = honest();
    admit(
        &mut groups,
        Author("A").does(2, one(), &[1], add("C", Access::Read)),
    );
    let message = Hash::from_bytes([7; 32]);
    let after = Hash::from_bytes([8; 32]);
    let mut operation = Author("A").does(3, one(), &[2], remove("B"));
    operation.arguments.dependencies = vec![after];
    assert_eq!(groups.missing(&operation), [after]);
    assert_eq!(
        groups.process(&operation),
        Err(ProcessError::MissingDependency(after))
    );
    assert!(groups.note_message(after, &[message]).is_err());
    groups.note_message(message, &[id(1), id(2)]).unwrap();
    groups.note_message(after, &[message]).unwrap();
    assert!(groups.missing(&operation).is_empty());
    assert!(matches!(
        groups.process_within(&operation, 0),
        Ok(Processed::Admitted(_))
    ));
    // It stands for what is before it, and comes back as it was.
    assert_eq!(groups.heads_of(&[one()]), [id(3)]);
    assert_eq!(groups.get(&id(3)), Some(operation.clone()));
    let mut store = Store::default();
    store.keep(groups.changes());
    let mut loaded = store.load(Rules::Hardened);
    assert_same(&groups, &loaded, "with messages");
    // A row says for which operations a message stands: those up to the last one.
    let row = store.0.keys().find(|key| key.ends_with(after.as_bytes()));
    let row = row.unwrap().clone();
    for (place, loads) in [(groups.len() - 1, true), (groups.len(), false)] {
        let mut other = store.clone();
        let place = u32::try_from(place).unwrap();
        other.0.insert(row.clone(), place.to_be_bytes().to_vec());
        assert_eq!(Groups::load(Rules::Hardened, &other.0).is_ok(), loads);
    }
    let late = Operation {
        id: id(4),
        ..operation
    };
    assert!(loaded.missing(&late).is_empty());
    // A transaction that fails forgets its messages too.
    loaded.begin();
    let another = Hash::from_bytes([9; 32]);
    loaded.note_message(another, &[id(3)]).unwrap();
    loaded.rollback();
    assert!(loaded.view_of(&[another]).is_err() && loaded.view_of(&[after]).is_ok());
    assert!(loaded.changes().is_empty());
}

#[test]
fn a_group_of_two_thousand_is_the_same_after_loading() {
    let mut groups = Groups::new(Rules::Hardened);
    let start = create(&[("A", Access::Manage), ("B", Access::Manage)]);
    admit(&mut groups, Author("A").does(0, one(), &[], start));
    for n in 1..2_000 {
        let action = match n {
            1 => remove("B"),
            _ => add(&format!("m{n}"), Access::Read),
        };
        admit(&mut groups, Author("A").does(n, one(), &[n - 1], action));
    }
    let mut store = Store::default();
    store.keep(groups.changes());
    let mut loaded = store.load(Rules::Hardened);
    assert_eq!(tables(&loaded.now()), tables(&groups.now()));
    let promote = Action::Promote {
        member: crate::story::person("m7"),
        access: Access::Write,
    };
    let next = Author("A").does(2_000, one(), &[1_999], promote);
    let late = Author("B").does(2_001, one(), &[0], remove("A"));
    for operation in [next, late] {
        let admitted = admit(&mut groups, operation.clone());
        assert_eq!(admit(&mut loaded, operation), admitted);
    }
    assert!(loaded.now().direct_members(&one()).is_empty());
    assert_eq!(tables(&loaded.now()), tables(&groups.now()));
}
