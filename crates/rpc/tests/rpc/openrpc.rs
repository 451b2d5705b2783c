//! The document and the page follow the types.

use std::path::Path;

use p2panda_rpc::api;

use crate::world::{World, code};

#[test]
fn the_document_is_the_one_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol/openrpc.json");
    let text = serde_json::to_string_pretty(&api::document()).unwrap() + "\n";
    if std::env::var_os("P2PANDA_WRITE_OPENRPC").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == text,
        "docs/protocol/openrpc.json is not that of the types: run this test with \
         P2PANDA_WRITE_OPENRPC=1 and look at the difference"
    );
}

#[test]
fn the_page_lists_every_method() {
    let page = include_str!("../../../../docs/protocol/rpc.md");
    for method in api::METHODS {
        assert!(
            page.contains(&format!("`{method}`")),
            "the page does not have {method}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_carried_out_and_no_other() {
    let world = World::new().await;
    for method in api::METHODS {
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"x":1}}}}"#);
        let answer = world.line(&line).await;
        assert_eq!(code(&answer), "invalid-params", "{method}: {answer}");
    }
    let answer = world
        .line(r#"{"jsonrpc":"2.0","id":1,"method":"node.stats"}"#)
        .await;
    assert_eq!(code(&answer), "unknown-method");
    world.end().await;
}
