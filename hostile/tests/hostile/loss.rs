//! A header without its body costs no message.

use p2panda_hostile::loss::{self, Bringer, Kept};

use crate::{ROOM, program};

async fn all_shown(bringer: Bringer) {
    let _room = ROOM.acquire().await.unwrap();
    let kept = loss::withheld_bodies(program(), bringer).await.unwrap();
    println!("{kept:?}");
    let Kept { written, .. } = kept;
    assert_eq!((kept.shown, kept.shown_behind), (written, written));
}

#[tokio::test]
async fn imported_headers_get_their_bodies_from_the_author() {
    all_shown(Bringer::Import).await;
}

#[tokio::test]
async fn withheld_bodies_come_from_the_author() {
    all_shown(Bringer::Peers(8)).await;
}

#[tokio::test]
async fn a_snapshot_that_is_kept_back_deletes_nothing() {
    let _room = ROOM.acquire().await.unwrap();
    let snapshot = loss::withheld_snapshot(program()).await.unwrap();
    println!("{snapshot:?}");
    assert_eq!(snapshot.shown_without, snapshot.below);
    assert!(snapshot.shown);
}
