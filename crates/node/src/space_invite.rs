//! Invites into encrypted spaces.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2panda_core::{Ticket, Topic, VerifyingKey};
use p2panda_engine::{InviteState, Role, SpaceCommand};

use crate::Error;
use crate::node::Node;

/// Default validity of an invite.
const EXPIRES: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Creates an invite to a space when awaited. Made by [`Space::invite`](crate::Space::invite).
#[must_use = "does nothing until awaited"]
#[derive(Debug)]
pub struct InviteRequest {
    node: Node,
    topic: Topic,
    role: Role,
    uses: u64,
    expires: Duration,
}

/// An invite that was just made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewInvite {
    /// The ticket for the new member. It is as secret as the topic: anyone who has it may join. Add
    /// nodes that help to find the topic with [`Ticket::add`].
    pub ticket: Ticket,
    /// The id of the invite, to inspect or revoke it; not a secret.
    pub id: VerifyingKey,
}

/// An invite as the members of a space know it. Given by [`Space::invites`](crate::Space::invites).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceInvite {
    /// The id of the invite.
    pub id: VerifyingKey,
    /// The owner that made it.
    pub by: VerifyingKey,
    /// The role of those who join by it.
    pub role: Role,
    /// Number of newcomers that may join.
    pub uses: u64,
    /// Time at which it expires, by the clock of the admitting owner.
    pub expires: SystemTime,
    /// `true` if an owner revoked it.
    pub is_revoked: bool,
    /// Members that joined by it. If owners admit more than `uses` at the same time, the first ones
    /// stay.
    pub came: Vec<VerifyingKey>,
}

impl InviteRequest {
    pub(crate) fn new(node: Node, topic: Topic, role: Role) -> Self {
        Self {
            node,
            topic,
            role,
            uses: 1,
            expires: EXPIRES,
        }
    }

    /// Sets how long it is valid, by the clock of the admitting owner; 7 days by default.
    pub fn expires(mut self, after: Duration) -> Self {
        self.expires = after;
        self
    }

    /// Sets how many may join by it; one by default.
    pub fn uses(mut self, uses: u64) -> Self {
        self.uses = uses;
        self
    }

    async fn make(self) -> Result<NewInvite, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let expires_at = now.unwrap_or_default().saturating_add(self.expires);
        let Self {
            node,
            topic,
            role,
            uses,
            ..
        } = self;
        let offered = node.queue().space(|reply| SpaceCommand::Offer {
            topic,
            role,
            uses,
            expires_at: expires_at.as_secs(),
            reply,
        });
        let invite = offered.await??;
        let ticket = Ticket::new(topic).in_network(node.network_id());
        let ticket = ticket.with_invite(&invite.encode());
        Ok(NewInvite {
            ticket: ticket.map_err(|_| Error::NoInvite)?,
            id: invite.key.verifying_key(),
        })
    }
}

impl IntoFuture for InviteRequest {
    type Output = Result<NewInvite, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

impl SpaceInvite {
    pub(crate) fn of(state: InviteState) -> Self {
        let InviteState {
            offer,
            by,
            is_revoked,
            ..
        } = &state;
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(offer.expires_at));
        let mut came = Vec::new();
        for (_, newcomer) in &state.admitted {
            if !came.contains(newcomer) {
                came.push(*newcomer);
            }
        }
        Self {
            id: offer.invite,
            by: *by,
            role: offer.role,
            uses: offer.uses,
            // Later than the clock can say is as good as never.
            expires: expires.unwrap_or(UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) << 4)),
            is_revoked: *is_revoked,
            came,
        }
    }
}
