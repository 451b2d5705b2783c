//! Devices by the RPC, from outside.

use p2panda::VerifyingKey;
use p2panda_core::limits::RPC_DEVICE_LINKS_MAX;
use p2panda_rpc::api::{
    self, Code, DeviceLinkState as State, DeviceState, DeviceWaitResult, Empty,
};
use p2panda_rpc::client::Client;

use crate::support::{ALICE, ROOT, SAM};
use crate::world::{World, failed, in_time};

async fn offer(client: &Client) -> api::DeviceLinkResult {
    let params = api::DeviceLinkParams { contact: true };
    client.call::<api::DeviceLink>(&params).await.unwrap()
}

async fn accept(client: &Client, code: &str) -> String {
    let code = code.to_owned();
    let params = api::DeviceAcceptParams { code };
    client
        .call::<api::DeviceAccept>(&params)
        .await
        .unwrap()
        .link
}

/// Waits until a link is in another state, and returns it.
async fn after(client: &Client, link: &str, after: State) -> DeviceWaitResult {
    let params = api::DeviceWaitParams {
        link: link.to_owned(),
        after,
        wait_ms: 30_000,
    };
    in_time(async {
        loop {
            let at = client.call::<api::DeviceWait>(&params).await.unwrap();
            if at.state != after {
                return at;
            }
        }
    })
    .await
}

async fn devices(client: &Client) -> Vec<(VerifyingKey, bool, DeviceState)> {
    let list = client.call::<api::DeviceList>(&Empty {}).await.unwrap();
    let one = |it: &api::DeviceView| (it.device, it.this, it.state);
    list.devices.iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_linked_listed_and_revoked() {
    let worlds = [World::new().await, World::new().await];
    let [old, new] = [worlds[0].client(ROOT).await, worlds[1].client(ROOT).await];
    let (old_id, new_id) = (worlds[0].node.id(), worlds[1].node.id());
    let list = old.call::<api::DeviceList>(&Empty {}).await.unwrap();
    assert_eq!((list.person, list.devices.len()), (None, 0));
    let offered = offer(&old).await;
    assert_eq!(offered.code.len(), 26);
    let link = accept(&new, &offered.ticket).await;
    let [at_old, at_new] = [
        after(&old, &offered.link, State::Waiting).await,
        after(&new, &link, State::Waiting).await,
    ];
    assert_eq!(
        (at_old.state, at_new.state),
        (State::Compare, State::Compare)
    );
    assert_eq!(at_old.digits, at_new.digits);
    let digits = at_new.digits.unwrap();
    let there = api::DeviceConfirmParams {
        link: link.clone(),
        digits: digits.clone(),
    };
    let wrong_side = failed(new.call::<api::DeviceConfirm>(&there).await);
    assert_eq!(
        wrong_side,
        Code::Invalid,
        "it is confirmed on the other one"
    );
    let confirm = api::DeviceConfirmParams {
        link: offered.link.clone(),
        digits,
    };
    old.call::<api::DeviceConfirm>(&confirm).await.unwrap();
    let mut at = after(&old, &offered.link, State::Compare).await;
    if at.state == State::Confirmed {
        at = after(&old, &offered.link, State::Confirmed).await;
    }
    assert_eq!((at.state, at.device), (State::Linked, Some(new_id)));
    let at = after(&new, &link, State::Compare).await;
    assert_eq!((at.state, at.device), (State::Linked, Some(new_id)));
    // It is linked once.
    let again = failed(old.call::<api::DeviceConfirm>(&confirm).await);
    assert_eq!(again, Code::Invalid);
    for (client, me) in [(&old, old_id), (&new, new_id)] {
        let mut expected = [old_id, new_id].map(|id| (id, id == me, DeviceState::Linked));
        expected.sort_unstable_by_key(|(id, ..)| *id);
        assert_eq!(devices(client).await, expected);
    }
    let params = api::DeviceRevokeParams { device: new_id };
    old.call::<api::DeviceRevoke>(&params).await.unwrap();
    let left = devices(&old).await;
    assert!(left.contains(&(old_id, true, DeviceState::Linked)));
    assert!(!left.contains(&(new_id, false, DeviceState::Linked)));
    let unknown = failed(old.call::<api::DeviceRevoke>(&params).await);
    assert_eq!(unknown, Code::Invalid);
    for world in worlds {
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_refused_ends_at_both_nodes() {
    let worlds = [World::new().await, World::new().await];
    let [old, new] = [worlds[0].client(ROOT).await, worlds[1].client(ROOT).await];
    for confirms in [true, false] {
        let offered = offer(&old).await;
        let link = accept(&new, &offered.ticket).await;
        let digits = after(&old, &offered.link, State::Waiting).await.digits;
        after(&new, &link, State::Waiting).await;
        let error = match confirms {
            true => {
                let other = match digits.unwrap().as_str() {
                    "000000" => "000001",
                    _ => "000000",
                };
                let params = api::DeviceConfirmParams {
                    link: offered.link.clone(),
                    digits: other.to_owned(),
                };
                old.call::<api::DeviceConfirm>(&params).await.unwrap();
                "the digits differ; make another code"
            }
            false => {
                let link = offered.link.clone();
                let params = api::DeviceRefuseParams { link };
                old.call::<api::DeviceRefuse>(&params).await.unwrap();
                "the link was refused"
            }
        };
        for (client, link) in [(&old, &offered.link), (&new, &link)] {
            let mut at = after(client, link, State::Compare).await;
            if at.state == State::Confirmed {
                at = after(client, link, State::Confirmed).await;
            }
            assert_eq!((at.state, at.error.as_deref()), (State::Ended, Some(error)));
        }
    }
    assert_eq!(devices(&new).await, []);
    for world in worlds {
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_links_are_under_way_and_no_more() {
    let world = World::new().await;
    let client = world.client(ROOT).await;
    let mut links = Vec::new();
    for _ in 0..RPC_DEVICE_LINKS_MAX {
        links.push(offer(&client).await.link);
    }
    let params = api::DeviceLinkParams::default();
    let one_more = failed(client.call::<api::DeviceLink>(&params).await);
    assert_eq!(one_more, Code::Limit);
    let link = links[0].clone();
    let refuse = api::DeviceRefuseParams { link };
    client.call::<api::DeviceRefuse>(&refuse).await.unwrap();
    let at = after(&client, &links[0], State::Waiting).await;
    assert_eq!(at.state, State::Ended);
    client.call::<api::DeviceLink>(&params).await.unwrap();
    let gone = failed(client.call::<api::DeviceRefuse>(&refuse).await);
    assert_eq!(gone, Code::NotFound, "it made room");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_do_everything_changes_devices() {
    let world = World::new().await;
    for token in [ALICE, SAM] {
        let client = world.client(token).await;
        let listed = failed(client.call::<api::DeviceList>(&Empty {}).await);
        let params = api::DeviceLinkParams::default();
        let offered = failed(client.call::<api::DeviceLink>(&params).await);
        assert_eq!((listed, offered), (Code::Forbidden, Code::Forbidden));
    }
    let client = world.client(ROOT).await;
    for code in ["panda:nothing", "short", ""] {
        let code = code.to_owned();
        let params = api::DeviceAcceptParams { code };
        let error = failed(client.call::<api::DeviceAccept>(&params).await);
        assert_eq!(error, Code::InvalidParams);
    }
    world.end().await;
}

fn passphrase() -> String {
    "correct horse".to_owned()
}

async fn export(client: &Client, keep_earlier: bool) -> api::DeviceExportResult {
    let passphrase = passphrase();
    let params = api::DeviceExportParams {
        passphrase,
        keep_earlier,
    };
    let exported = client.call::<api::DeviceExport>(&params).await.unwrap();
    let shown = format!("{params:?} {exported:?}");
    assert!(
        !shown.contains("horse") && !shown.contains("file"),
        "{shown}"
    );
    exported
}

async fn stored(client: &Client, export: &str) -> Option<api::Bin> {
    let export = export.to_owned();
    let params = api::DeviceExportStoredParams { export };
    let stored = client.call::<api::DeviceExportStored>(&params).await;
    stored.unwrap().file
}

async fn recovery_keys(client: &Client) -> Vec<VerifyingKey> {
    let all = devices(client).await.into_iter();
    let keys = all.filter(|(_, _, state)| *state == DeviceState::Recovery);
    keys.map(|(key, ..)| key).collect()
}

/// Members of a space of which the RPC says that they are recovery keys.
async fn recovery_members(client: &Client, topic: &str) -> Vec<VerifyingKey> {
    let params = api::SpaceMembersParams {
        topic: topic.to_owned(),
        at: None,
    };
    let members = client.call::<api::SpaceMembers>(&params).await.unwrap();
    let keys = members.members.iter().filter(|one| one.recovery);
    keys.map(|one| one.member).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_file_is_exported_and_restored_by_the_rpc() {
    let worlds = [World::new().await, World::new().await];
    let [old, new] = [worlds[0].client(ROOT).await, worlds[1].client(ROOT).await];
    let space = worlds[0].node.spaces().create("Crew").await.unwrap();
    let topic = space.topic().to_string();
    assert!(recovery_members(&old, &topic).await.is_empty());
    let first = export(&old, false).await;
    assert_eq!(first.spaces, 1);
    assert_eq!(
        stored(&old, &first.export).await,
        None,
        "there is no earlier one"
    );
    let params = api::DeviceExportStoredParams {
        export: first.export,
    };
    let over = failed(old.call::<api::DeviceExportStored>(&params).await);
    assert_eq!(over, Code::NotFound);
    // Nothing is revoked before the client has stored the next one.
    let second = export(&old, false).await;
    assert_eq!(recovery_keys(&old).await.len(), 2);
    let last = stored(&old, &second.export).await.unwrap();
    assert_ne!(last, second.file);
    assert_eq!(stored(&old, &second.export).await, None);
    let key = recovery_keys(&old).await;
    assert_eq!(key.len(), 1);
    assert_eq!(recovery_members(&old, &topic).await, key);
    let status = old.call::<api::NodeStatus>(&Empty {}).await.unwrap();
    assert!(!status.renewal_due);

    let mut params = api::DeviceRestoreParams {
        file: last,
        passphrase: "correct horsf".to_owned(),
        revoke_others: false,
    };
    let wrong = failed(new.call::<api::DeviceRestore>(&params).await);
    assert_eq!(wrong, Code::Invalid);
    params.passphrase = passphrase();
    let shown = format!("{params:?}");
    assert!(
        !shown.contains("horse") && !shown.contains("file"),
        "{shown}"
    );
    let restored = new.call::<api::DeviceRestore>(&params).await.unwrap();
    assert_eq!(restored.spaces, 1);
    let this: Vec<VerifyingKey> = devices(&new)
        .await
        .into_iter()
        .filter_map(|(device, this, _)| this.then_some(device))
        .collect();
    assert_eq!(this, [worlds[1].node.id()]);
    let again = failed(new.call::<api::DeviceRestore>(&params).await);
    assert_eq!(again, Code::Invalid, "it follows spaces by now");
    for world in worlds {
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_for_admins_and_needs_a_passphrase() {
    let world = World::new().await;
    let mut params = api::DeviceExportParams {
        passphrase: String::new(),
        keep_earlier: false,
    };
    let root = world.client(ROOT).await;
    let empty = failed(root.call::<api::DeviceExport>(&params).await);
    assert_eq!(empty, Code::InvalidParams);
    params.passphrase = passphrase();
    for token in [ALICE, SAM] {
        let client = world.client(token).await;
        let refused = failed(client.call::<api::DeviceExport>(&params).await);
        assert_eq!(refused, Code::Forbidden);
    }
    world.end().await;
}
