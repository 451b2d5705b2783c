//! What is different in `panda demo --encrypted --own-keys`: who comes in, and what the operations of the space
//! must not name (`docs/protocol/spaces.md#20`).

use memchr::memmem;
use p2panda::{Role, StoredOperation, VerifyingKey};

use super::story::{ADA, BEN, CAI, DEE, FAY, GUS, MEMBERS, Story, TEAM, name_of};
use crate::demo::DemoError;
use crate::failure::Failure;
use crate::output::note;

impl Story {
    /// Fay and Gus are members by their keys, and are removed one after the other.
    pub async fn add_followers(&mut self) -> Result<(), Failure> {
        note(
            "Each signs with a key of its own. Such a space is of one node alone: \
             no second devices, no recovery file, no team",
        );
        self.start(&TEAM).await?;
        for who in TEAM {
            self.spaces(who)?.follow(self.topic).await?;
            self.note_key(who).await?;
            let key = self.key(who).await?;
            self.space(ADA).await?.add(key, Role::Editor).await?;
        }
        let all = [ADA, BEN, CAI, DEE, FAY, GUS];
        self.are_members(&all).await?;
        note("Fay and Gus follow the space; Ada added their keys: they read everything, and write");
        for said in self.said.iter_mut() {
            said.readers.extend(TEAM);
        }
        self.say(GUS, "Gus came by his key", &all).await?;
        self.read_by(&all).await?;
        let (fay, gus) = (self.key(FAY).await?, self.key(GUS).await?);
        self.space(ADA).await?.remove(gus).await?;
        let without_gus = [ADA, BEN, CAI, DEE, FAY];
        self.are_members(&without_gus).await?;
        note("Ada removed the key of Gus");
        self.say(FAY, "Fay without Gus", &without_gus).await?;
        self.read_by(&without_gus).await?;
        let has_it = async |story: &Story| {
            let (there, all) = (story.stored(GUS, fay), story.stored(FAY, fay));
            Ok::<_, Failure>(there.await? >= all.await?)
        };
        self.until(GUS, "it holds what it cannot read", has_it)
            .await?;
        self.space(BEN).await?.remove(fay).await?;
        self.are_members(&MEMBERS).await?;
        note("Ben removed the key of Fay");
        self.names_no_node(&TEAM).await?;
        self.stop(&TEAM).await
    }

    /// Checks what nodes hold of the space: all authors are own keys, no operation has the bytes of a node
    /// id, and no member is one.
    pub async fn names_no_node(&self, who: &[usize]) -> Result<(), Failure> {
        for who in self.present(who) {
            let name = name_of(who);
            let topic = self.node(who)?.topic(self.topic);
            let (mut after, mut is_empty) = (0, true);
            loop {
                let page = topic.operations(after).await?;
                let Some(last) = page.last() else { break };
                (after, is_empty) = (last.arrival, false);
                if !page.iter().all(|operation| self.is_of_own_key(operation)) {
                    return Err(DemoError::NodeId { name }.into());
                }
            }
            if is_empty {
                return Err(DemoError::Blind { name }.into());
            }
            let Some(space) = self.node(who)?.spaces().get(self.topic).await? else {
                continue;
            };
            let members = space.members().await?;
            if members.iter().any(|(member, _)| self.is_node(member)) {
                return Err(DemoError::NodeId { name }.into());
            }
        }
        Ok(())
    }

    /// The node ids of all.
    pub fn nodes(&self) -> impl Iterator<Item = VerifyingKey> {
        self.people.iter().filter_map(|person| person.id)
    }

    /// The keys with which members sign.
    pub fn keys(&self) -> impl Iterator<Item = VerifyingKey> {
        self.people.iter().filter_map(|person| person.key)
    }

    fn is_node(&self, key: &VerifyingKey) -> bool {
        self.nodes().any(|node| node == *key)
    }

    fn is_of_own_key(&self, operation: &StoredOperation) -> bool {
        let names = |bytes: &[u8]| {
            let mut nodes = self.nodes();
            nodes.any(|node| memmem::find(bytes, node.as_bytes()).is_some())
        };
        let is_own = self.keys().any(|key| key == operation.author);
        let body = operation.body.as_deref();
        is_own && !names(&operation.header) && !body.is_some_and(names)
    }
}

/// How the header of each operation of an author begins, without its first byte: version, key, and the head
/// of the signature (`docs/protocol/operations.md#3`).
pub fn header_by(author: &VerifyingKey) -> Vec<u8> {
    [&[0x01, 0x58, 0x20][..], author.as_bytes(), &[0x58, 0x40]].concat()
}
