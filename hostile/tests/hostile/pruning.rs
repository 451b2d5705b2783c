//! A prune of a large log costs its readers little, and gives the bytes back.

use std::time::Duration;

use p2panda_hostile::{Margin, pruning};

use crate::{ROOM, program};

#[tokio::test]
async fn a_large_prune_delays_nobody_and_gives_the_bytes_back() {
    let _room = ROOM.acquire().await.unwrap();
    let plan = pruning::Plan {
        operations: 40_000,
        watch: Duration::from_secs(20),
        calm: Duration::from_secs(2),
    };
    let pruned = pruning::run(program(), plan).await.unwrap();
    println!("{}", pruned.row());
    assert_eq!(pruned.broken(Margin::Tenfold), []);
}
