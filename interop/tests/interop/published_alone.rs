//! Two published nodes without ours: shows that the harness can see what it looks for.

use interop::{Message, Published, Setup};

use crate::case::{Case, PATIENCE, assert_in_order, assert_same, bodies, bodies_by};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_operations_cross_between_two_published_nodes() {
    let case = Case::new("two published nodes");
    let first = case.published(&[]).await;
    let mut setup = Setup::new(&case.dir("second"), [7; 32], case.network);
    setup.bootstrap.push(first.peer());
    let second = Published::start(setup).await.unwrap();
    let texts = |name: &str| -> Vec<_> {
        let texts = (0..50).map(|place| Message::Text(format!("{name} {place}")));
        texts.collect()
    };
    let (of_first, of_second) = (texts("first"), texts("second"));

    let at_first = first.stream(case.topic).await.unwrap();
    for message in &of_first {
        at_first.publish(message.clone()).await.unwrap();
    }
    let at_second = second.stream(case.topic).await.unwrap();
    at_second.wait_operations(50, PATIENCE).await.unwrap();
    for message in &of_second {
        at_second.publish(message.clone()).await.unwrap();
    }

    // Two published nodes at times run two sessions at once and then deliver twice.
    let mut count = 100;
    let delivered = loop {
        let mut delivered = at_first.wait_operations(count, PATIENCE).await.unwrap();
        count = delivered.len() + 1;
        delivered.sort_by_key(|operation| (operation.author, operation.seq));
        delivered.dedup();
        if delivered.len() == 100 {
            break delivered;
        }
    };
    assert_in_order(&delivered);
    assert_eq!(bodies_by(&delivered, first.peer().node), bodies(&of_first));
    assert_eq!(
        bodies_by(&delivered, second.peer().node),
        bodies(&of_second)
    );
    let stored = first.dump(case.topic).await.unwrap();
    assert_eq!(stored.len(), 100);
    assert_same(&stored, &second.dump(case.topic).await.unwrap());
    assert_eq!(at_first.refused(), []);
    assert_eq!(at_second.refused(), []);
}
