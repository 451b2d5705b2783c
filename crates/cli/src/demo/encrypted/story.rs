//! Those who take part in `panda demo --encrypted`, and what each of them does in an act.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use p2panda::{GroupId, Mdns, NetworkId, Node, Space, Spaces, Ticket, Topic, VerifyingKey};
use tokio::time::{Instant, sleep};

use crate::demo::{DemoError, STALLED};
use crate::failure::Failure;

/// Polling interval while waiting for a change.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Participants, by node. Eve has no keys; it is the only node that all others know.
pub const NAMES: [&str; 10] = [
    "Ada", "Ben", "Cai", "Dee", "Eve", "Ada2", "Ben2", "Ben3", "Fay", "Gus",
];
pub const ADA: usize = 0;
pub const BEN: usize = 1;
pub const CAI: usize = 2;
pub const DEE: usize = 3;
pub const EVE: usize = 4;
/// The second devices of Ada and Ben.
pub const ADA2: usize = 5;
pub const BEN2: usize = 6;
/// The device that comes back by Ben's recovery file.
pub const BEN3: usize = 7;
/// Devices that a person has besides its first one. With own keys there are none
/// (`docs/protocol/spaces.md#20`).
const MORE_DEVICES: [usize; 3] = [ADA2, BEN2, BEN3];
/// Those who are members as a team, or with own keys by their keys.
pub const FAY: usize = 8;
pub const GUS: usize = 9;
pub const TEAM: [usize; 2] = [FAY, GUS];
/// All but the team.
pub const EVERYBODY: [usize; 8] = [ADA, BEN, CAI, DEE, EVE, ADA2, BEN2, BEN3];
/// All that are members at first.
pub const MEMBERS: [usize; 6] = [ADA, BEN, CAI, DEE, ADA2, BEN2];
/// Those that are left when two were removed.
pub const OWNERS: [usize; 4] = [ADA, ADA2, BEN, BEN2];

pub fn name_of(who: usize) -> &'static str {
    NAMES.get(who).copied().unwrap_or_default()
}

pub struct Person {
    pub name: &'static str,
    pub dir: PathBuf,
    pub node: Option<Node>,
    /// The node id, once the node was there.
    pub id: Option<VerifyingKey>,
    /// The key with which it signs in the space, once it follows it.
    pub key: Option<VerifyingKey>,
}

/// Something that was written, and who may read it in the end.
pub struct Said {
    pub text: String,
    pub by: usize,
    pub readers: BTreeSet<usize>,
}

pub struct Story {
    pub people: Vec<Person>,
    /// Each node signs in the space with a key of its own.
    pub own_keys: bool,
    pub network: NetworkId,
    pub topic: Topic,
    pub said: Vec<Said>,
    /// The groups of devices, and the team.
    pub groups: Vec<GroupId>,
}

impl Story {
    pub fn new(dir: &Path, own_keys: bool) -> Result<Story, Failure> {
        let person = |name: &'static str| Person {
            name,
            dir: dir.join(name),
            node: None,
            id: None,
            key: None,
        };
        let network = NetworkId::from_bytes(*p2panda::random_topic()?.as_bytes());
        Ok(Story {
            people: NAMES.into_iter().map(person).collect(),
            own_keys,
            network,
            topic: p2panda::random_topic()?,
            said: Vec::new(),
            groups: Vec::new(),
        })
    }

    pub fn takes_part(&self, who: usize) -> bool {
        !(self.own_keys && MORE_DEVICES.contains(&who))
    }

    /// Those of these who take part.
    pub fn present(&self, who: &[usize]) -> Vec<usize> {
        let present = who.iter().copied();
        present.filter(|who| self.takes_part(*who)).collect()
    }

    pub fn person(&self, who: usize) -> &Person {
        self.people.get(who).expect("everybody has a name")
    }

    pub fn person_mut(&mut self, who: usize) -> &mut Person {
        self.people.get_mut(who).expect("everybody has a name")
    }

    pub async fn start(&mut self, who: &[usize]) -> Result<(), Failure> {
        let network = self.network;
        for who in self.present(who) {
            let person = self.person_mut(who);
            let node = p2panda::builder()
                .network_id(network)
                .bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)
                .mdns(Mdns::Off)
                .state_dir(Some(person.dir.join("state")))
                .data_dir(person.dir.join("home"));
            let node = node.spawn().await?;
            person.id = Some(node.id());
            person.node = Some(node);
        }
        let Some(eve) = self.person(EVE).node.clone() else {
            return Ok(());
        };
        for node in self.people.iter().filter_map(|person| person.node.as_ref()) {
            if node.id() != eve.id()
                && let Some(addr) = eve.net().addr().first()
            {
                node.net().add_peer(eve.id(), *addr);
            }
        }
        Ok(())
    }

    pub async fn stop(&mut self, who: &[usize]) -> Result<(), Failure> {
        for who in who {
            if let Some(node) = self.person_mut(*who).node.take() {
                node.shutdown().await?;
            }
        }
        Ok(())
    }

    pub fn node(&self, who: usize) -> Result<&Node, DemoError> {
        let node = self.person(who).node.as_ref();
        node.ok_or(DemoError::Stopped { name: name_of(who) })
    }

    pub fn id(&self, who: usize) -> Result<VerifyingKey, DemoError> {
        Ok(self.node(who)?.id())
    }

    /// The spaces of a node, by the handle that creates, joins and follows them.
    pub fn spaces(&self, who: usize) -> Result<Spaces, DemoError> {
        let spaces = self.node(who)?.spaces();
        Ok(match self.own_keys {
            true => spaces.with_own_key(),
            false => spaces,
        })
    }

    /// The key of a node that is a member: its node id, or its own key.
    pub async fn key(&self, who: usize) -> Result<VerifyingKey, Failure> {
        Ok(self.space(who).await?.author())
    }

    /// Remembers with which key a node signs in the space.
    pub async fn note_key(&mut self, who: usize) -> Result<(), Failure> {
        let key = self.key(who).await?;
        self.person_mut(who).key = Some(key);
        Ok(())
    }

    pub async fn space(&self, who: usize) -> Result<Space, Failure> {
        let space = self.node(who)?.spaces().get(self.topic).await?;
        Ok(space.ok_or(DemoError::Stopped { name: name_of(who) })?)
    }

    /// Counts the operations of an author that a node has with their bodies.
    pub async fn stored(&self, who: usize, author: VerifyingKey) -> Result<usize, Failure> {
        let stored = self.node(who)?.topic(self.topic).operations(0).await?;
        let of = stored.iter().filter(|it| it.author == author);
        Ok(of.filter(|it| it.body.is_some()).count())
    }

    pub async fn join(&mut self, who: usize, ticket: &Ticket) -> Result<(), Failure> {
        self.spaces(who)?.join(ticket).await?;
        let came = async |story: &Story| {
            let state = story.space(who).await?.state().await?;
            Ok::<_, Failure>(!state.is_joining && state.role.is_some())
        };
        self.until(who, "a member admits it", came).await?;
        self.note_key(who).await
    }

    /// Publishes as soon as that is possible.
    pub async fn say(&mut self, by: usize, text: &str, readers: &[usize]) -> Result<(), Failure> {
        let said = async |story: &Story| match story.space(by).await?.publish(text).await {
            Ok(_) => Ok::<_, Failure>(true),
            Err(error) if error.is_retryable() => Ok(false),
            Err(error) => Err(error.into()),
        };
        self.until(by, "it can write", said).await?;
        self.said.push(Said {
            text: text.to_owned(),
            by,
            readers: self.present(readers).into_iter().collect(),
        });
        Ok(())
    }

    /// Waits until these agree that they are the members, who all have what they need.
    pub async fn are_members(&self, who: &[usize]) -> Result<(), Failure> {
        self.has_members(who, self.present(who).len()).await
    }

    /// Waits until these agree that there are so many members, who all have what they need.
    pub async fn has_members(&self, who: &[usize], count: usize) -> Result<(), Failure> {
        for who in self.present(who) {
            let agrees = async |story: &Story| {
                let look = story.space(who).await?.look().await?;
                Ok::<_, Failure>(
                    look.is_some_and(|look| look.is_healed && look.members.len() == count),
                )
            };
            self.until(who, "all members have what they need", agrees)
                .await?;
        }
        Ok(())
    }

    /// Waits until these have read everything that they may.
    pub async fn read_by(&self, who: &[usize]) -> Result<(), Failure> {
        for who in self.present(who) {
            let has_read = async |story: &Story| {
                let read = story.read(who)?;
                Ok::<_, Failure>(story.expected(who).is_subset(&read))
            };
            self.until(who, "it reads what was written", has_read)
                .await?;
        }
        Ok(())
    }

    pub fn expected(&self, who: usize) -> BTreeSet<String> {
        let said = self.said.iter().filter(|said| said.readers.contains(&who));
        said.map(|said| said.text.clone()).collect()
    }

    /// Reads the feed of a node.
    pub fn read(&self, who: usize) -> Result<BTreeSet<String>, Failure> {
        let mut read = BTreeSet::new();
        let inspection = p2panda::inspect(self.person(who).dir.join("home"))?;
        for message in inspection.messages(self.topic, false) {
            if let Ok(text) = message?.text() {
                read.insert(text.to_owned());
            }
        }
        Ok(read)
    }

    pub async fn until(
        &self,
        who: usize,
        what: &'static str,
        is_so: impl AsyncFn(&Story) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        while !is_so(self).await? {
            if begun.elapsed() > STALLED {
                let name = name_of(who);
                return Err(DemoError::Waited { name, what }.into());
            }
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }
}
