//! The membership of the message scheme for a published member: the application brings it, and
//! its form in welcomes must be the same on both sides.

use std::collections::{BTreeMap, HashSet};

use p2panda_encryption::Wire;
use p2panda_encryption::message::{Membership, MembershipError, Views};
use published_core::cbor::{decode_cbor, encode_cbor};
use published_encryption::traits::AckedGroupMembership;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{PublishedId, PublishedKey, from_published_id, from_published_key, to_published_key};

/// [`Views`] behind the published trait.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublishedViews;

/// The state of [`PublishedViews`]. Only the views travel.
#[derive(Clone, Debug)]
pub struct ViewsState {
    /// Whose state it is; none in a welcome.
    me: Option<PublishedKey>,
    views: Views,
}

impl ViewsState {
    /// In no group yet.
    pub fn new(me: PublishedKey) -> ViewsState {
        ViewsState {
            me: Some(me),
            views: Views::default(),
        }
    }
}

type Members = Vec<PublishedKey>;

/// The same structure as [`Views`] writes.
type Layout = (
    u64,
    Members,
    Members,
    BTreeMap<PublishedKey, Members>,
    Vec<(PublishedId, PublishedKey, Members, Members)>,
    BTreeMap<PublishedId, PublishedKey>,
    BTreeMap<PublishedId, (Members, Vec<PublishedId>, Vec<PublishedId>)>,
);

impl Serialize for ViewsState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let layout: Layout =
            decode_cbor(&self.views.encode()[..]).map_err(serde::ser::Error::custom)?;
        layout.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ViewsState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ViewsState, D::Error> {
        let layout = Layout::deserialize(deserializer)?;
        let bytes = encode_cbor(&layout).map_err(serde::de::Error::custom)?;
        let views = Views::decode(&bytes).map_err(serde::de::Error::custom)?;
        Ok(ViewsState { me: None, views })
    }
}

impl AckedGroupMembership<PublishedKey, PublishedId> for PublishedViews {
    type State = ViewsState;
    type Error = MembershipError;

    fn create(me: PublishedKey, members: &[PublishedKey]) -> Result<ViewsState, MembershipError> {
        let members: Vec<_> = members.iter().map(from_published_key).collect();
        let mut views = Views::default();
        views.create(&members)?;
        let me = Some(me);
        Ok(ViewsState { me, views })
    }

    fn from_welcome(
        mut y: ViewsState,
        y_welcome: ViewsState,
    ) -> Result<ViewsState, MembershipError> {
        y.views.welcome(&y_welcome.views.history())?;
        Ok(y)
    }

    fn add(
        mut y: ViewsState,
        adder: PublishedKey,
        added: PublishedKey,
        operation: PublishedId,
    ) -> Result<ViewsState, MembershipError> {
        let (adder, added) = (from_published_key(&adder), from_published_key(&added));
        y.views.add(adder, added, from_published_id(&operation))?;
        Ok(y)
    }

    fn remove(
        mut y: ViewsState,
        remover: PublishedKey,
        removed: &PublishedKey,
        operation: PublishedId,
    ) -> Result<ViewsState, MembershipError> {
        let (remover, removed) = (from_published_key(&remover), from_published_key(removed));
        y.views
            .remove(remover, removed, from_published_id(&operation))?;
        Ok(y)
    }

    fn ack(
        mut y: ViewsState,
        acker: PublishedKey,
        operation: PublishedId,
    ) -> Result<ViewsState, MembershipError> {
        y.views
            .ack(from_published_key(&acker), &from_published_id(&operation))?;
        Ok(y)
    }

    fn members_view(
        y: &ViewsState,
        viewer: &PublishedKey,
    ) -> Result<HashSet<PublishedKey>, MembershipError> {
        let view = match y.me == Some(*viewer) {
            true => y.views.members(),
            false => y.views.view(&from_published_key(viewer)),
        };
        Ok(view.iter().map(to_published_key).collect())
    }

    fn is_add(y: &ViewsState, operation: PublishedId) -> bool {
        y.views.added_by(&from_published_id(&operation)).is_some()
    }

    fn is_remove(y: &ViewsState, operation: PublishedId) -> bool {
        y.views.removed_by(&from_published_id(&operation)).is_some()
    }
}
