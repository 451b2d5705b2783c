//! Invites into encrypted spaces.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2panda_core::{Ticket, Topic, VerifyingKey};
use p2panda_engine::{InviteState, Role, SpaceCommand};

use crate::Error;
use crate::node::Node;

/// How long an invite can be used if nothing else is said.
const EXPIRES: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Makes an invite into a space when awaited. Made by [`Space::invite`](crate::Space::invite).
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
    /// What is handed to somebody: as secret as the topic, and anyone who has it may come in. Nodes
    /// by which to find the topic can be added ([`Ticket::add`]).
    pub ticket: Ticket,
    /// Names the invite, to look at it and to revoke it; no secret.
    pub id: VerifyingKey,
}

/// An invite as the members of a space know it. Given by [`Space::invites`](crate::Space::invites).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceInvite {
    /// Names it.
    pub id: VerifyingKey,
    /// The owner that made it.
    pub by: VerifyingKey,
    /// The role of those who come by it.
    pub role: Role,
    /// How many may come.
    pub uses: u64,
    /// Until when, by the clock of the owner that lets somebody in.
    pub expires: SystemTime,
    /// An owner took it back.
    pub is_revoked: bool,
    /// Who came by it. If owners let in more than `uses` at the same time, the first of these stay.
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

    /// How long it can be used, by the clock of the owner that lets somebody in; 7 days if not said.
    pub fn expires(mut self, after: Duration) -> Self {
        self.expires = after;
        self
    }

    /// How many may come by it; one if not said.
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
