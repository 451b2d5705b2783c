//! What a page signs reaches a published node behind our daemon, and back, byte for byte.

use interop::{Daemon, Message, Page, sorted};

use crate::case::{
    Case, PATIENCE, assert_all_from, assert_in_order, assert_same, bodies, bodies_by,
};

/// How many messages each side publishes at once.
const MANY: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_and_a_published_node_behind_ours_read_each_other() {
    let case = Case::new("page");
    let daemon = Daemon::start(&case.dir("daemon"), case.network)
        .await
        .unwrap();
    let mut page = Page::open(&daemon, case.topic).unwrap();
    page.publish("the page's first").await.unwrap();
    let first = page.wait_messages(1, PATIENCE).await.unwrap();
    let author = first[0].author;

    // The past of the page comes in catch-up, what follows live.
    let published = case.published(&[daemon.peer()]).await;
    let stream = published.stream(case.topic).await.unwrap();
    let behind = stream.wait_operations(1, PATIENCE).await.unwrap();
    assert_same(&behind, &first);
    let of_page = texts("page");
    let of_published = texts("published");
    for (mine, theirs) in of_page.iter().zip(&of_published) {
        let Message::Text(text) = mine else {
            unreachable!("only texts are given");
        };
        page.publish(text).await.unwrap();
        stream.publish(theirs.clone()).await.unwrap();
    }

    let all = 1 + 2 * MANY;
    let at_published = stream.wait_operations(all, PATIENCE).await.unwrap();
    let at_page = page.wait_messages(all, PATIENCE).await.unwrap();
    assert_in_order(&at_published);
    assert_in_order(&at_page);
    assert_eq!(stream.refused(), []);
    assert_all_from(&stream, daemon.peer().node);
    let held = published.dump(case.topic).await.unwrap();
    assert_same(&sorted(at_published), &held);
    assert_same(&sorted(at_page), &held);
    let first = bodies(&[Message::from("the page's first")]);
    assert_eq!(bodies_by(&held, author), [first, bodies(&of_page)].concat());
    let theirs = bodies_by(&held, published.peer().node);
    assert_eq!(theirs, bodies(&of_published));
}

fn texts(name: &str) -> Vec<Message> {
    let texts = (0..MANY).map(|place| Message::Text(format!("{name} {place}")));
    texts.collect()
}
