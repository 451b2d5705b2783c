use p2panda_engine::Start;
use p2panda_store::PageLimits;

use crate::node::{Node, TOPIC};

fn with_messages(count: usize) -> (Node, Vec<u64>) {
    let mut node = Node::new();
    let offsets = (0..count)
        .map(|n| node.publish(&n.to_string()).offset.unwrap())
        .collect();
    (node, offsets)
}

#[test]
fn acking_the_third_message_only_brings_back_the_first_two() {
    let (mut node, offsets) = with_messages(4);
    node.ack("app", &offsets[2..3]);
    let node = node.after_crash();
    assert_eq!(node.unacked("app"), ["0", "1", "3"]);
    let mut node = node.reopen();
    assert_eq!(node.unacked("app"), ["0", "1", "3"]);
    node.ack("app", &[offsets[1], offsets[0]]);
    assert_eq!(node.unacked("app"), ["3"]);
    assert_eq!(
        node.reader().consumer_prefix("app", &TOPIC).unwrap(),
        offsets[2]
    );
}

#[test]
fn an_unacked_message_comes_back_after_a_crash() {
    let (mut node, offsets) = with_messages(3);
    node.ack("app", &offsets[..1]);
    assert_eq!(node.after_crash().unacked("app"), ["1", "2"]);
}

#[test]
fn an_ack_of_what_does_not_exist_yet_skips_nothing() {
    let (mut node, offsets) = with_messages(2);
    let next = offsets[1] + 1;
    node.ack("app", &[next, u64::MAX, 0]);
    assert_eq!(node.publish("2").offset, Some(next));
    assert_eq!(node.unacked("app"), ["0", "1", "2"]);
}

#[test]
fn consumers_do_not_disturb_each_other() {
    let (mut node, offsets) = with_messages(2);
    node.ack("one", &offsets);
    node.ack("two", &offsets[..1]);
    assert!(node.unacked("one").is_empty());
    assert_eq!(node.unacked("two"), ["1"]);
    assert_eq!(node.unacked("three"), ["0", "1"]);
}

#[test]
fn a_consumer_starts_where_it_is_placed() {
    let (mut node, offsets) = with_messages(4);
    assert_eq!(node.place("app", Start::Resume), 0);
    node.ack("app", &[offsets[0], offsets[2]]);
    assert_eq!(node.place("app", Start::Resume), offsets[0]);
    assert_eq!(node.unacked("app"), ["1", "3"]);
    assert_eq!(node.place("app", Start::Now), offsets[3]);
    assert!(node.unacked("app").is_empty());
    node.place("app", Start::Offset(offsets[2]));
    assert_eq!(node.unacked("app"), ["2", "3"]);
    assert_eq!(node.place("app", Start::Beginning), 0);
    assert_eq!(node.unacked("app"), ["0", "1", "2", "3"]);
}

#[test]
fn acks_in_any_order_leave_a_prefix_and_nothing_else() {
    let (mut node, mut offsets) = with_messages(50);
    let last = *offsets.last().unwrap();
    // A fixed shuffle.
    offsets.sort_by_key(|offset| offset.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for chunk in offsets.chunks(7) {
        node.ack("app", chunk);
    }
    assert_eq!(node.reader().consumer_prefix("app", &TOPIC).unwrap(), last);
    let connection = rusqlite::Connection::open(node.dir.join("p2panda.sqlite")).unwrap();
    let rows: u32 = connection
        .query_row("SELECT count(*) FROM ack", [], |r| r.get(0))
        .unwrap();
    assert_eq!(rows, 0);
}

#[test]
fn a_reader_goes_through_the_feed_in_pages() {
    let (node, _) = with_messages(10);
    let reader = node.reader();
    let limits = PageLimits {
        rows: 3,
        bytes: usize::MAX,
    };
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = reader.feed_page(&TOPIC, after, limits, None).unwrap();
        assert!(page.entries.len() <= 3);
        seen.extend(page.entries.iter().map(crate::node::text_of));
        after = page.last_offset;
        if !page.more {
            break;
        }
    }
    let expected: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
    // A page that is too small for a row has one row.
    let limits = PageLimits {
        rows: 100,
        bytes: 1,
    };
    assert_eq!(
        reader
            .feed_page(&TOPIC, 0, limits, None)
            .unwrap()
            .entries
            .len(),
        1
    );
}
