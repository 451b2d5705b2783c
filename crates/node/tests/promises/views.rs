//! Tables that follow from messages: exactly once, rebuilt, and with anything going wrong in them.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use p2panda::{
    Change, ConsumerError, ConsumerFilter, Error, ErrorKind, Event, Node, Row, SigningKey,
    StopReason, Topic, Value, View, ViewError, ViewStart, ViewState,
};

use crate::changes::change;
use crate::nodes::{PATIENCE, at, network, next, temporary, topic, until};

const NOTES: &str = "CREATE TABLE {view}note(offset INTEGER PRIMARY KEY, text TEXT NOT NULL)";
const INSERT: &str = "INSERT INTO {view}note VALUES(?1, ?2)";

/// Notes by offset. What begins with an exclamation mark is refused.
fn notes(node: &Node, topic: Topic, version: u32) -> ViewStart {
    node.view("notes", version)
        .topics([topic])
        .table(NOTES)
        .apply(|step, message| {
            let text = message.text()?;
            if text.starts_with('!') {
                return Err(text.to_owned().into());
            }
            step.execute(INSERT, [(message.offset() as i64).into(), text.into()]);
            Ok(())
        })
}

async fn texts(view: &View) -> Vec<String> {
    let rows = view.read(|tables| tables.query("SELECT text FROM note ORDER BY offset", []));
    let rows = rows.await.unwrap();
    rows.iter()
        .map(|row| row.text(0).unwrap().to_owned())
        .collect()
}

/// Longer than anything takes; reaching it is a failure.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("in time")
}

async fn stop_of(view: &View) -> (StopReason, u64) {
    match in_time(view.caught_up()).await {
        Err(Error::View(ViewError::Stopped(stop))) => (stop.reason, stop.offset),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_resumes_after_a_restart_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let node = at(network, dir.path()).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    tx.publish("before").await.unwrap();
    let view = notes(&node, topic, 1).start().await.unwrap();
    in_time(view.caught_up()).await.unwrap();
    assert_eq!(texts(&view).await, ["before"]);
    for number in 0..60 {
        tx.publish(format!("live {number}")).await.unwrap();
    }
    in_time(view.caught_up()).await.unwrap();
    let all = texts(&view).await;
    assert_eq!(all.len(), 61);
    let again = notes(&node, topic, 1).start().await.unwrap_err();
    assert!(matches!(again, Error::View(ViewError::Runs)));
    assert_eq!(again.kind(), ErrorKind::Invalid);
    node.shutdown().await.unwrap();
    assert!(matches!(view.read(|_| Ok(())).await, Err(Error::Closed)));
    assert!(matches!(view.caught_up().await, Err(Error::Closed)));

    let node = at(network, dir.path()).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    tx.publish("after").await.unwrap();
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    let view = node.view("notes", 1).topics([topic]).table(NOTES);
    let view = view.apply(move |step, message| {
        count.fetch_add(1, Ordering::SeqCst);
        step.execute(
            INSERT,
            [(message.offset() as i64).into(), message.text()?.into()],
        );
        Ok(())
    });
    let view = view.start().await.unwrap();
    in_time(view.caught_up()).await.unwrap();
    assert_eq!(called.load(Ordering::SeqCst), 1);
    assert_eq!(texts(&view).await.len(), 62);
    let status = view.status().await.unwrap();
    assert_eq!(status.state, ViewState::Answers);
    assert_eq!((status.applied, status.skipped, status.to_come), (62, 0, 0));
    assert_eq!(status.position, status.end);
    view.delete().await.unwrap();
    assert!(matches!(
        view.status().await,
        Err(Error::View(ViewError::Unknown))
    ));
    assert!(matches!(
        view.read(|_| Ok(())).await,
        Err(Error::View(ViewError::Unknown))
    ));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_several_topics_come_in_one_order() {
    let node = temporary(network()).await;
    let topics = [topic(), topic(), topic()];
    let mut publishers = Vec::new();
    for topic in topics {
        publishers.push(node.stream(topic).await.unwrap().0);
    }
    let ordered = |version| {
        let table =
            "CREATE TABLE {view}entry(place INTEGER PRIMARY KEY, offset INTEGER, topic BLOB)";
        let view = node.view("ordered", version).topics(topics).table(table);
        view.apply(|step, message| {
            let insert = "INSERT INTO {view}entry(offset, topic) VALUES(?1, ?2)";
            let topic = step.topic().as_bytes().to_vec();
            step.execute(insert, [(message.offset() as i64).into(), topic.into()]);
            Ok(())
        })
    };
    let live = ordered(1).start().await.unwrap();
    for number in 0..240 {
        publishers[number % 2].publish("short").await.unwrap();
        if number % 20 == 0 {
            publishers[2].publish("rare").await.unwrap();
        }
    }
    in_time(live.caught_up()).await.unwrap();
    let all = "SELECT * FROM entry ORDER BY place";
    let before = live.read(|tables| tables.query(all, [])).await.unwrap();
    assert_eq!(before.len(), 252);
    let offsets: Vec<_> = before.iter().map(|row| row.integer(1).unwrap()).collect();
    assert!(offsets.is_sorted());
    let rebuilt = ordered(2).start().await.unwrap();
    in_time(rebuilt.answers()).await.unwrap();
    let after = rebuilt.read(|tables| tables.query(all, [])).await.unwrap();
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_fails_panics_or_never_returns_stops_alone() {
    let node = temporary(network()).await;
    let topic = topic();
    let mut events = node.events();
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let good = notes(&node, topic, 1).start().await.unwrap();
    let released = Arc::new(AtomicBool::new(false));
    let holds = Arc::clone(&released);
    let view =
        |name: &'static str, what: Box<dyn Fn() -> bool + Send + Sync>, sql: &'static str| {
            let view = node.view(name, 1).topics([topic]).table(NOTES);
            let view = view.apply(move |step, message| {
                let text = message.text()?;
                step.execute(INSERT, [(message.offset() as i64).into(), text.into()]);
                if text == "bad" {
                    if !what() {
                        return Err("refused".into());
                    }
                    step.execute(sql, []);
                }
                Ok(())
            });
            view.start()
        };
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        INSERT INTO {view}note SELECT i + 1000000000, 'n' FROM n";
    let no_return = move || {
        while !holds.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    };
    let views = [
        (
            view("refuses", Box::new(|| false), "").await,
            StopReason::Refused,
        ),
        (
            view("panics", Box::new(|| panic!("on purpose")), "").await,
            StopReason::Panicked,
        ),
        (
            view("stays", Box::new(no_return), "").await,
            StopReason::NoReturn,
        ),
        (
            view("fails", Box::new(|| true), "INSERT INTO nothing VALUES(1)").await,
            StopReason::Statement,
        ),
        (
            view("reaches", Box::new(|| true), "DELETE FROM operation").await,
            StopReason::Forbidden,
        ),
        (
            view("spins", Box::new(|| true), endless).await,
            StopReason::TooLong,
        ),
        (
            view("twice", Box::new(|| true), "DELETE FROM {view}note; COMMIT").await,
            StopReason::Forbidden,
        ),
        (
            view(
                "ends",
                Box::new(|| true),
                "INSERT OR ROLLBACK INTO {view}note
            SELECT * FROM {view}note",
            )
            .await,
            StopReason::Statement,
        ),
    ];
    for text in ["first", "bad", "third"] {
        tx.publish(text).await.unwrap();
    }
    in_time(good.caught_up()).await.unwrap();
    assert_eq!(texts(&good).await, ["first", "bad", "third"]);
    for (view, reason) in &views {
        let view = view.as_ref().unwrap();
        let (stopped, offset) = stop_of(view).await;
        assert_eq!(stopped, *reason, "{view:?}");
        assert_eq!(texts(view).await, ["first"], "{view:?}");
        let status = view.status().await.unwrap();
        let ViewState::Stopped(stop) = status.state else {
            panic!("{status:?}");
        };
        assert_eq!((stop.reason, stop.offset), (*reason, offset));
        assert_eq!((status.applied, status.to_come), (1, 2));
        // It stops there again, and behind it where it is skipped.
        view.resume().await.unwrap();
        assert_eq!(stop_of(view).await, (*reason, offset), "{view:?}");
        view.skip().await.unwrap();
        in_time(view.caught_up()).await.unwrap();
        assert_eq!(texts(view).await, ["first", "third"], "{view:?}");
        assert_eq!(view.status().await.unwrap().skipped, 1);
        assert!(matches!(
            view.resume().await,
            Err(Error::View(ViewError::NotStopped))
        ));
    }
    // Each was told twice, and the node and its other view continue.
    let mut told = 0;
    while told < 2 * views.len() {
        if let Event::ViewStopped { .. } = in_time(events.next()).await.unwrap() {
            told += 1;
        }
    }
    tx.publish("fourth").await.unwrap();
    in_time(good.caught_up()).await.unwrap();
    assert_eq!(texts(&good).await.len(), 4);
    // What the function returns that was given up counts for nothing.
    released.store(true, Ordering::SeqCst);
    let stays = views[2].0.as_ref().unwrap();
    in_time(stays.caught_up()).await.unwrap();
    assert_eq!(texts(stays).await, ["first", "third", "fourth"]);
    in_time(node.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_version_answers_until_the_new_one_caught_up() {
    let node = temporary(network()).await;
    let topic = topic();
    let (tx, _rx) = node.stream(topic).await.unwrap();
    for number in 0..300 {
        tx.publish(format!("note {number}")).await.unwrap();
    }
    let old = notes(&node, topic, 1).start().await.unwrap();
    in_time(old.caught_up()).await.unwrap();
    // A version that comes not past the middle, until it may.
    let may_pass = Arc::new(AtomicBool::new(false));
    let passes = Arc::clone(&may_pass);
    let new = node.view("notes", 2).topics([topic]).table(NOTES);
    let new = new.apply(move |step, message| {
        let text = message.text()?;
        if text == "note 150" && !passes.load(Ordering::SeqCst) {
            return Err("not yet".into());
        }
        step.execute(
            INSERT,
            [(message.offset() as i64).into(), text.to_uppercase().into()],
        );
        Ok(())
    });
    let new = new.start().await.unwrap();
    assert!(matches!(
        in_time(new.answers()).await,
        Err(Error::View(ViewError::Stopped(_)))
    ));
    let status = new.status().await.unwrap();
    assert_eq!((status.applied, status.to_come), (150, 150));
    assert!(status.position < status.end);

    tx.publish("meanwhile").await.unwrap();
    in_time(old.caught_up()).await.unwrap();
    for view in [&old, &new] {
        let (version, all) = view
            .read(|tables| {
                let rows = tables.query("SELECT count(*), max(text) FROM note", [])?;
                Ok((tables.version(), rows))
            })
            .await
            .unwrap();
        assert_eq!(version, 1);
        assert_eq!(all[0].values(), [Value::from(301), Value::from("note 99")]);
    }
    may_pass.store(true, Ordering::SeqCst);
    new.resume().await.unwrap();
    in_time(new.answers()).await.unwrap();
    let all = texts(&old).await;
    assert_eq!((all.len(), all[0].as_str()), (301, "NOTE 0"));
    assert!(matches!(
        in_time(old.answers()).await,
        Ok(()) | Err(Error::View(ViewError::Unknown))
    ));
    assert!(matches!(
        old.status().await,
        Err(Error::View(ViewError::Unknown))
    ));
    let lower = notes(&node, topic, 1).start().await.unwrap_err();
    assert!(matches!(
        lower,
        Error::View(ViewError::Version { stored: 2 })
    ));
    assert_eq!(node.views().await.unwrap().len(), 1);
    // The tables of the old one go by themselves.
    let database = node.data_dir().join("p2panda.sqlite");
    until("the old tables are gone", || async {
        let connection = rusqlite::Connection::open(&database).unwrap();
        let count = "SELECT count(*) FROM sqlite_master WHERE name GLOB 'v1_*'";
        connection
            .query_row(count, [], |row| row.get::<_, i64>(0))
            .unwrap()
            == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_lacks_entries_waits_for_acceptance() {
    let node = temporary(network()).await;
    let topic = topic();
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let old = notes(&node, topic, 1).start().await.unwrap();
    let mut events = node.events();
    for number in 0..5 {
        tx.publish(format!("note {number}")).await.unwrap();
    }
    in_time(old.caught_up()).await.unwrap();
    tx.prune(Some("kept".into())).await.unwrap();
    in_time(old.caught_up()).await.unwrap();
    let new = notes(&node, topic, 2).start().await.unwrap();
    let lacks = in_time(new.answers()).await;
    assert!(
        matches!(lacks, Err(Error::View(ViewError::Lacks { entries: 5 }))),
        "{lacks:?}"
    );
    assert_eq!(
        new.status().await.unwrap().state,
        ViewState::Lacks { entries: 5 }
    );
    let told = async {
        loop {
            if let Event::ViewLacks { entries, .. } = events.next().await.unwrap() {
                return entries;
            }
        }
    };
    assert_eq!(in_time(told).await, 5);
    assert_eq!(texts(&new).await.len(), 6);
    // It keeps following, and takes over what there is no message of any more.
    tx.publish("new").await.unwrap();
    in_time(new.caught_up()).await.unwrap();
    let copy = "INSERT INTO {view}note SELECT * FROM {old}note WHERE text LIKE ?1";
    new.migrate([(copy, vec![Value::from("note %")])])
        .await
        .unwrap();
    new.accept_loss().await.unwrap();
    in_time(new.answers()).await.unwrap();
    let all = [
        "note 0", "note 1", "note 2", "note 3", "note 4", "kept", "new",
    ];
    assert_eq!(texts(&new).await, all);
    let (version, _) = new
        .read(|tables| Ok((tables.version(), tables.position())))
        .await
        .unwrap();
    assert_eq!(version, 2);
    // Nothing has gone since: the next one needs nobody's leave.
    let third = notes(&node, topic, 3).start().await.unwrap();
    in_time(third.answers()).await.unwrap();
    assert_eq!(texts(&third).await, ["kept", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_body_is_missing_to_the_next_version() {
    let node = temporary(network()).await;
    let topic = topic();
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let old = notes(&node, topic, 1).start().await.unwrap();
    for text in ["one", "two", "three"] {
        tx.publish(text).await.unwrap();
    }
    in_time(old.caught_up()).await.unwrap();
    let dropped = node.topic(topic).drop_body(node.id(), 1).await.unwrap();
    assert!(dropped);
    let new = notes(&node, topic, 2).start().await.unwrap();
    let lacks = in_time(new.answers()).await;
    assert!(
        matches!(lacks, Err(Error::View(ViewError::Lacks { entries: 1 }))),
        "{lacks:?}"
    );
    assert_eq!(texts(&old).await, ["one", "two", "three"]);
    new.accept_loss().await.unwrap();
    in_time(new.answers()).await.unwrap();
    assert_eq!(texts(&new).await, ["one", "three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_looked_at_freed_and_deleted_without_starting_it() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let node = at(network, dir.path()).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let old = notes(&node, topic, 1).start().await.unwrap();
    tx.publish("gone").await.unwrap();
    in_time(old.caught_up()).await.unwrap();
    tx.prune(Some("kept".into())).await.unwrap();
    in_time(old.caught_up()).await.unwrap();
    let new = notes(&node, topic, 2).start().await.unwrap();
    let lacks = in_time(new.answers()).await;
    assert!(matches!(lacks, Err(Error::View(ViewError::Lacks { .. }))));
    // Next to the running node.
    let views = p2panda::inspect(dir.path()).unwrap().views().unwrap();
    let versions: Vec<_> = views.iter().map(|view| view.version).collect();
    assert_eq!(versions, [1, 2]);
    node.shutdown().await.unwrap();

    let node = at(network, dir.path()).await;
    node.accept_view_loss("notes").await.unwrap();
    for unknown in [
        node.accept_view_loss("other").await,
        node.delete_view("other").await,
    ] {
        assert!(matches!(unknown, Err(Error::View(ViewError::Unknown))));
    }
    let new = notes(&node, topic, 2).start().await.unwrap();
    in_time(new.answers()).await.unwrap();
    assert_eq!(texts(&new).await, ["kept"]);
    node.delete_view("notes").await.unwrap();
    assert!(node.views().await.unwrap().is_empty());
    let status = new.status().await;
    assert!(matches!(status, Err(Error::View(ViewError::Unknown))));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_to_a_view_is_refused_and_changes_nothing() {
    let node = temporary(network()).await;
    let topic = topic();
    let (tx, _rx) = node.stream(topic).await.unwrap();
    tx.publish("one").await.unwrap();
    let good = notes(&node, topic, 1).start().await.unwrap();
    in_time(good.caught_up()).await.unwrap();
    let before = node.views().await.unwrap();
    let made = async |name: &str, sql: &str| {
        let view = node.view(name, 1).topics([topic]).table(sql);
        let started = view.apply(|_, _| Ok(())).start().await;
        match started.unwrap_err() {
            Error::View(error) => error,
            other => panic!("another error: {other}"),
        }
    };
    for name in ["", "a\nb", &"n".repeat(10_000)] {
        assert_eq!(made(name, NOTES).await, ViewError::InvalidName);
    }
    let failing = made("fails", "CREATE TABLE {view}note(").await;
    assert!(matches!(failing, ViewError::Statement(_)), "{failing:?}");
    for sql in [
        "DELETE FROM operation",
        "CREATE TRIGGER {view}t AFTER INSERT ON operation BEGIN DELETE FROM {view}a; END",
        "CREATE TABLE note(text)",
        "DROP TABLE meta",
        "ATTACH 'other.sqlite' AS other",
        "PRAGMA user_version = 1",
    ] {
        let refused = made("reaches", sql).await;
        assert!(
            matches!(refused, ViewError::Forbidden(_)),
            "{sql}: {refused:?}"
        );
    }
    let nothing = node.view("none", 1).apply(|_, _| Ok(())).start().await;
    assert!(matches!(nothing, Err(Error::View(ViewError::Topics))));
    for (sql, forbidden) in [
        ("SELECT * FROM nothing", false),
        ("SELECT * FROM main.operation", true),
        ("DELETE FROM {view}note", true),
    ] {
        let read = good.read(move |tables| tables.query(sql, [])).await;
        match read.unwrap_err() {
            Error::View(ViewError::Forbidden(_)) if forbidden => {}
            Error::View(ViewError::Statement(_)) if !forbidden => {}
            other => panic!("{sql}: {other:?}"),
        }
    }
    assert_eq!(node.views().await.unwrap(), before);
    assert_eq!(texts(&good).await, ["one"]);
    let last = node.topic(topic).operations(0).await.unwrap();
    assert_eq!(last.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bound_of_statements_per_entry_holds() {
    let node = temporary(network()).await;
    let topic = topic();
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let table = "CREATE TABLE {view}n(number INTEGER)";
    let view = node.view("many", 1).topics([topic]).table(table);
    let view = view.apply(|step, message| {
        for number in 0..message.text()?.parse::<i64>()? {
            step.execute("INSERT INTO {view}n VALUES(?1)", [number.into()]);
        }
        Ok(())
    });
    let view = view.start().await.unwrap();
    tx.publish("1024").await.unwrap();
    in_time(view.caught_up()).await.unwrap();
    tx.publish("1025").await.unwrap();
    assert_eq!(stop_of(&view).await.0, StopReason::TooMany);
    let count = view.read(|tables| tables.query("SELECT count(*) FROM n", []));
    assert_eq!(count.await.unwrap()[0].integer(0), Some(1024));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_is_passed_without_calling_the_function() {
    let node = temporary(network()).await;
    let topic = topic();
    let (tx, mut rx) = node.stream(topic).await.unwrap();
    let mut messages = Vec::new();
    for text in ["one", "two", "three"] {
        tx.publish(text).await.unwrap();
        messages.push(next(&mut rx).await);
    }
    let from = ConsumerFilter::default().from(messages[1].timestamp());
    let until = ConsumerFilter::default().until(messages[1].timestamp());
    let nobody = SigningKey::from_bytes(&[3; 32]).verifying_key();
    let everybody = [nobody, node.id()];
    for (name, filter, expected) in [
        ("from", from.clone(), &["two", "three"][..]),
        ("until", until, &["one"]),
        ("sealed", ConsumerFilter::default().opened(), &[]),
        ("nobody's", ConsumerFilter::default().authors([nobody]), &[]),
        (
            "of some",
            from.clone().authors(everybody),
            &["two", "three"],
        ),
    ] {
        let view = node.view(name, 1).topics([topic]).table(NOTES);
        let view = view.filter(filter).apply(|step, message| {
            let text = message.text()?.to_owned();
            step.execute(INSERT, [(message.offset() as i64).into(), text.into()]);
            Ok(())
        });
        let view = view.start().await.unwrap();
        in_time(view.caught_up()).await.unwrap();
        assert_eq!(texts(&view).await, expected, "{name}");
        let status = view.status().await.unwrap();
        assert_eq!(status.applied, expected.len() as u64, "{name}");
        assert_eq!((status.position, status.to_come), (status.end, 0), "{name}");
        if name == "until" {
            // A higher version without the filter sees all of it.
            let all = node.view(name, 2).topics([topic]).table(NOTES);
            let all = all.apply(|_, _| Ok(())).start().await.unwrap();
            in_time(all.answers()).await.unwrap();
            assert_eq!(all.status().await.unwrap().applied, 3);
        }
    }
    // A filter belongs to the version, and one that admits nothing is none.
    let other = node.view("from", 1).topics([topic]).table(NOTES);
    let other = other.apply(|_, _| Ok(())).start().await.unwrap_err();
    assert!(matches!(other, Error::View(ViewError::Conflict)));
    let nothing = ConsumerFilter::default().authors([]);
    let nothing = node.view("none", 1).topics([topic]).filter(nothing);
    let nothing = nothing.apply(|_, _| Ok(())).start().await.unwrap_err();
    assert!(matches!(
        nothing,
        Error::Consumer(ConsumerError::InvalidFilter)
    ));
    let names: Vec<_> = node.views().await.unwrap();
    assert!(!names.iter().any(|view| view.name == "none"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_the_function_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let start = |node: &Node, version| {
        let table = "CREATE TABLE {view}note(id BLOB PRIMARY KEY, text TEXT)";
        let view = node.view("notes", version).topics([topic]).table(table);
        view.apply(|step, message| {
            match message.change() {
                None => step.execute(
                    "INSERT OR REPLACE INTO {view}note VALUES(?1, ?2)",
                    [message.id().into(), message.text()?.into()],
                ),
                Some(Change::Withdrawn) => {
                    step.execute(
                        "DELETE FROM {view}note WHERE id = ?1",
                        [message.id().into()],
                    );
                }
                Some(_) => {}
            }
            Ok(())
        })
        .start()
    };
    let node = at(network, dir.path()).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    for text in ["one", "two", "three"] {
        tx.publish(text).await.unwrap();
    }
    let view = start(&node, 1).await.unwrap();
    in_time(view.caught_up()).await.unwrap();
    node.shutdown().await.unwrap();
    change(dir.path(), topic);

    let node = at(network, dir.path()).await;
    let view = start(&node, 1).await.unwrap();
    in_time(view.caught_up()).await.unwrap();
    let all = |view: &View| {
        let view = view.clone();
        async move {
            let all = "SELECT text FROM note ORDER BY text";
            view.read(move |tables| tables.query(all, []))
                .await
                .unwrap()
        }
    };
    let texts: Vec<_> = all(&view).await;
    let texts: Vec<_> = texts.iter().map(|row| row.text(0).unwrap()).collect();
    assert_eq!(texts, ["opened", "three"]);
    let before = all(&view).await;
    let rebuilt = start(&node, 2).await.unwrap();
    in_time(rebuilt.answers()).await.unwrap();
    assert_eq!(all(&rebuilt).await, before);
}

const VIEW_DIR: &str = "P2PANDA_TEST_VIEW_DIR";
const KILLS: &str = "P2PANDA_TEST_KILLS";

/// Sums that depend on everything before: one entry too many or too few changes all that follow.
fn sums(node: &Node, topic: Topic, version: u32) -> ViewStart {
    node.view("sums", version)
        .topics([topic])
        .table("CREATE TABLE {view}sum(place INTEGER PRIMARY KEY, seq INTEGER, total INTEGER)")
        .table("CREATE TABLE {view}all_of(id INTEGER PRIMARY KEY, entries INTEGER, total INTEGER)")
        .apply(|step, message| {
            let number = i64::from(message.seq());
            if number % 13 == 0 {
                // What is read counts as well, and must not depend on how steps are cut.
                let rows = step.query("SELECT entries, total FROM all_of", [])?;
                let total = rows.first().and_then(|row| row.integer(1)).unwrap_or(0);
                let insert = "INSERT INTO {view}sum(seq, total) VALUES(?1, ?2)";
                step.execute(insert, [number.into(), total.into()]);
            }
            step.execute(
                "INSERT INTO {view}all_of VALUES(1, 1, ?1) ON CONFLICT(id) DO UPDATE
                    SET entries = entries + 1, total = (3 * total + excluded.total) % 1000003",
                [number.into()],
            );
            Ok(())
        })
}

async fn sums_of(view: &View) -> (Vec<Row>, Vec<Row>) {
    let read = view.read(|tables| {
        let sums = tables.query("SELECT * FROM sum ORDER BY place", [])?;
        Ok((sums, tables.query("SELECT * FROM all_of", [])?))
    });
    read.await.unwrap()
}

/// A process that publishes and has a view, until it is killed.
fn child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "views::child_with_a_view", "--nocapture"])
        .env(VIEW_DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Child process that the next test kills. Run as a test of its own, it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child_with_a_view() {
    let Some(dir) = std::env::var_os(VIEW_DIR).map(PathBuf::from) else {
        return;
    };
    let topic = Topic::from_bytes([5; 32]);
    let node = at(network(), &dir).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let _view = sums(&node, topic, 1).start().await.unwrap();
    println!("runs");
    loop {
        let publishes = (0..8).map(|_| tx.publish("one more"));
        for publish in publishes {
            publish.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_equals_a_rebuild_after_kills() {
    let dir = tempfile::tempdir().unwrap();
    let kills = std::env::var(KILLS).map_or(40, |kills| kills.parse().unwrap());
    let seed = p2panda::random_topic().unwrap();
    println!("seed {seed}");
    for kill in 0..kills {
        let mut child = child(dir.path());
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("runs") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended by itself");
        }
        let wait_ms = u64::from(seed.as_bytes()[kill % 32]);
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let topic = Topic::from_bytes([5; 32]);
    let node = at(network(), dir.path()).await;
    let view = sums(&node, topic, 1).start().await.unwrap();
    in_time(view.caught_up()).await.unwrap();
    let (before, all) = sums_of(&view).await;
    let status = view.status().await.unwrap();
    let mut stored = 0;
    let mut after = 0;
    loop {
        let page = node.topic(topic).operations(after).await.unwrap();
        let Some(last) = page.last() else { break };
        (after, stored) = (last.arrival, stored + page.len());
    }
    // Exactly once.
    assert_eq!(all[0].integer(1), Some(stored as i64));
    assert_eq!(status.applied, stored as u64);
    let rebuilt = sums(&node, topic, 2).start().await.unwrap();
    in_time(rebuilt.answers()).await.unwrap();
    assert_eq!(sums_of(&rebuilt).await, (before, all));
}
