//! `panda demo --encrypted`: a space of four members, two of them with two devices, a team of two more, and a
//! node without keys, from its create over a device that is restored from its recovery file to a removal of
//! two owners by each other.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use memchr::memmem;
use p2panda::{
    GroupId, Mdns, Member, NetworkId, Node, Passphrase, RecoveryFile, Role, Settings, Space,
    Ticket, Topic, VerifyingKey,
};
use tokio::time::{Instant, sleep};

use super::capture::Capture;
use super::{DemoError, STALLED};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, note};

/// Polling interval while waiting for a change.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Only members may learn it.
const NAME: &str = "The name of this space, for members alone";

/// The same of the team.
const TEAM_NAME: &str = "The name of this team, for members alone";

/// Participants, by node. Eve has no keys; it is the only node that all others know.
const NAMES: [&str; 10] = [
    "Ada", "Ben", "Cai", "Dee", "Eve", "Ada2", "Ben2", "Ben3", "Fay", "Gus",
];
const ADA: usize = 0;
const BEN: usize = 1;
const CAI: usize = 2;
const DEE: usize = 3;
const EVE: usize = 4;
/// The second devices of Ada and Ben.
const ADA2: usize = 5;
const BEN2: usize = 6;
/// The device that comes back by Ben's recovery file.
const BEN3: usize = 7;
/// Those who are members as a team.
const FAY: usize = 8;
const GUS: usize = 9;
const TEAM: [usize; 2] = [FAY, GUS];
/// All but the team.
const EVERYBODY: [usize; 8] = [ADA, BEN, CAI, DEE, EVE, ADA2, BEN2, BEN3];
/// All that are members at first.
const MEMBERS: [usize; 6] = [ADA, BEN, CAI, DEE, ADA2, BEN2];
/// Those that are left when two were removed.
const OWNERS: [usize; 4] = [ADA, ADA2, BEN, BEN2];

/// Runs it until it is done, fails or a signal comes.
pub async fn run() -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let dir = tempfile::tempdir().map_err(DemoError::Directory)?;
    let capture = Capture::begin();
    let mut story = Story::new(dir.path())?;
    let table = tokio::select! {
        table = story.play() => table?,
        () = interrupt.wait() => return Ok(Outcome::Interrupted),
    };
    let _ = output::line(&table).map_err(Failure::Stdout)?;
    match capture.and_then(Capture::finish) {
        Some(bytes) if story.crosses(&bytes) => return Err(DemoError::Crosses.into()),
        Some(_) => {
            let line = "No packet between the nodes held any of that either.";
            let _ = output::line(line).map_err(Failure::Stdout)?;
        }
        None => {
            note("this user may not capture packets: what crossed the network was not searched")
        }
    }
    Ok(Outcome::Done)
}

fn name_of(who: usize) -> &'static str {
    NAMES.get(who).copied().unwrap_or_default()
}

struct Person {
    name: &'static str,
    dir: PathBuf,
    node: Option<Node>,
}

/// Something that was written, and who may read it in the end.
struct Said {
    text: String,
    by: usize,
    readers: BTreeSet<usize>,
}

struct Story {
    people: Vec<Person>,
    network: NetworkId,
    topic: Topic,
    said: Vec<Said>,
    /// The groups of devices, and the team.
    groups: Vec<GroupId>,
}

impl Story {
    fn new(dir: &Path) -> Result<Story, Failure> {
        let person = |name: &'static str| Person {
            name,
            dir: dir.join(name),
            node: None,
        };
        let network = NetworkId::from_bytes(*p2panda::random_topic()?.as_bytes());
        Ok(Story {
            people: NAMES.into_iter().map(person).collect(),
            network,
            topic: p2panda::random_topic()?,
            said: Vec::new(),
            groups: Vec::new(),
        })
    }

    /// All acts in their order; ends with the table.
    async fn play(&mut self) -> Result<String, Failure> {
        self.come_in().await?;
        self.link_devices().await?;
        self.use_a_team().await?;
        self.write_while_one_is_off().await?;
        self.remove_two_at_the_same_time().await?;
        self.revoke_a_device().await?;
        self.restore_a_device().await?;
        self.remove_each_other().await?;
        self.end().await
    }

    async fn come_in(&mut self) -> Result<(), Failure> {
        note("Ada makes a space. Eve keeps its topic, without keys; all others know Eve alone");
        self.start(&[EVE, ADA]).await?;
        let spaces = self.node(ADA)?.spaces();
        let settings = Settings::with_history();
        spaces.create_in(self.topic, NAME, settings).await?;
        self.node(EVE)?.topic(self.topic).keep(true).await?;
        self.say(ADA, "before anybody came", &MEMBERS).await?;
        let space = self.space(ADA).await?;
        let owners = space.invite(Role::Owner).uses(2).await?.ticket;
        let editors = space.invite(Role::Editor).await?.ticket;
        self.start(&[BEN, CAI, DEE]).await?;
        for (who, ticket) in [(BEN, &owners), (CAI, &owners), (DEE, &editors)] {
            self.join(who, ticket).await?;
        }
        note("Ben, Cai and Dee came by invites, through Eve");
        self.has_members(&[ADA, BEN, CAI, DEE], 4).await
    }

    /// Ada and Ben each have a second device from now on.
    async fn link_devices(&mut self) -> Result<(), Failure> {
        self.start(&[ADA2, BEN2]).await?;
        for (old, new) in [(ADA, ADA2), (BEN, BEN2)] {
            let (old, new) = (self.node(old)?.person(), self.node(new)?);
            let keys = new.person().bundle().await?;
            old.add_device(new.id(), &keys).await?;
            new.person().take_card(&old.card().await?).await?;
            self.groups.extend(old.id().await?);
        }
        self.has_members(&MEMBERS, 6).await?;
        note("Ada and Ben each linked a second device, which may do what the first may");
        for who in [ADA2, BEN2] {
            let text = format!("{} is new", name_of(who));
            self.say(who, &text, &MEMBERS).await?;
        }
        self.read_by(&MEMBERS).await
    }

    /// Fay and Gus are members as a team, which is changed, and removed in the end.
    async fn use_a_team(&mut self) -> Result<(), Failure> {
        self.start(&TEAM).await?;
        let team = self.node(ADA)?.teams().create(TEAM_NAME).await?;
        self.groups.push(team.id());
        let mut persons = Vec::new();
        for who in TEAM {
            let node = self.node(who)?;
            node.spaces().follow(self.topic).await?;
            let person = node.person().create().await?;
            team.add(node.id(), Role::Editor).await?;
            self.groups.push(person);
            persons.push(Member::Group(person));
        }
        self.space(ADA).await?.add(&team, Role::Editor).await?;
        // By a device its person is meant, which Ada learns from that in the space.
        let are_in = async |_: &Story| {
            let look = team.look().await?;
            let is_in = |member: &Member| {
                let mut members = look.iter().flat_map(|look| &look.members);
                members.any(|(known, _)| known == member)
            };
            Ok::<_, Failure>(persons.iter().all(is_in))
        };
        self.until(ADA, "the persons are in the team", are_in)
            .await?;
        let with_team = [ADA, BEN, CAI, DEE, ADA2, BEN2, FAY, GUS];
        self.has_members(&with_team, 8).await?;
        note("Ada added a team of Fay and Gus: they read everything, and write");
        for said in self.said.iter_mut() {
            said.readers.extend(TEAM);
        }
        self.say(GUS, "Gus is in the team", &with_team).await?;
        self.read_by(&with_team).await?;
        let gus = self.id(GUS)?;
        team.remove(gus).await?;
        let without_gus = [ADA, BEN, CAI, DEE, ADA2, BEN2, FAY];
        self.has_members(&without_gus, 7).await?;
        note("Ada took Gus out of the team; the space follows with a new secret");
        self.say(FAY, "Fay without Gus", &without_gus).await?;
        self.read_by(&without_gus).await?;
        let fay = self.id(FAY)?;
        let has_it = async |story: &Story| {
            let (there, all) = (story.stored(GUS, fay), story.stored(FAY, fay));
            Ok::<_, Failure>(there.await? >= all.await?)
        };
        self.until(GUS, "it holds what it cannot read", has_it)
            .await?;
        self.space(ADA2).await?.remove(&team).await?;
        self.has_members(&MEMBERS, 6).await?;
        note("Ada's second device removed the team from the space");
        self.stop(&TEAM).await
    }

    /// Ada has lost one of hers.
    async fn revoke_a_device(&mut self) -> Result<(), Failure> {
        let lost = self.id(ADA2)?;
        self.node(ADA)?.person().revoke_device(lost).await?;
        let has_followed = async |story: &Story| {
            let pending = story.node(ADA)?.person().pending().await?;
            Ok::<_, Failure>(pending.is_empty())
        };
        self.until(ADA, "the space has followed", has_followed)
            .await?;
        note("Ada revoked her second device");
        self.has_members(&[ADA, BEN, BEN2, CAI], 4).await?;
        for who in [ADA, BEN2] {
            let text = format!("{} without Ada2", name_of(who));
            self.say(who, &text, &[ADA, BEN, BEN2, CAI]).await?;
        }
        self.read_by(&[ADA, BEN, BEN2, CAI]).await
    }

    /// Ben makes a new device by a recovery file, without the help of another one of his.
    async fn restore_a_device(&mut self) -> Result<(), Failure> {
        let members = [ADA, BEN, BEN2, CAI];
        let passphrase = Passphrase::new("not a good one").map_err(Failure::Passphrase)?;
        let path = self.person(BEN).dir.join("ben.recovery");
        let exported = self.node(BEN)?.recovery();
        exported.export(&path, &passphrase).await?;
        // The key of the file is one more member.
        self.has_members(&members, 5).await?;
        self.stop(&[BEN, BEN2]).await?;
        let open = || RecoveryFile::open(&path, &passphrase);
        let file = tokio::task::block_in_place(open).map_err(p2panda::Error::from)?;
        self.start(&[BEN3]).await?;
        self.node(BEN3)?.recovery().restore(file).await?;
        note("Ben has a third device, from his recovery file, while his others are off");
        self.has_members(&[ADA, CAI, BEN3], 6).await?;
        for said in self.said.iter_mut() {
            if said.readers.contains(&BEN) {
                said.readers.insert(BEN3);
            }
        }
        let readers = [ADA, BEN, BEN2, CAI, BEN3];
        self.say(BEN3, "Ben3 came from a file", &readers).await?;
        self.say(ADA, "Ada sees Ben3", &readers).await?;
        self.start(&[BEN, BEN2]).await?;
        self.has_members(&readers, 6).await?;
        self.read_by(&readers).await
    }

    async fn write_while_one_is_off(&mut self) -> Result<(), Failure> {
        self.stop(&[ADA]).await?;
        note("Ada is off; the others write");
        for who in [BEN, CAI, DEE] {
            let text = format!("{} writes while Ada is off", name_of(who));
            self.say(who, &text, &MEMBERS).await?;
        }
        self.read_by(&[BEN, CAI, DEE, ADA2, BEN2]).await?;
        self.start(&[ADA]).await?;
        self.read_by(&[ADA]).await?;
        note("Ada is back and has read it; Dee becomes a reader and an editor once more");
        let (space, dee) = (self.space(ADA).await?, self.id(DEE)?);
        space.set_role(dee, Role::Reader).await?;
        space.set_role(dee, Role::Editor).await?;
        self.say(ADA, "for all four", &MEMBERS).await?;
        self.read_by(&MEMBERS).await
    }

    /// Ada removes Cai, and Ben removes Dee, without knowing of each other.
    async fn remove_two_at_the_same_time(&mut self) -> Result<(), Failure> {
        let (cai, dee) = (self.id(CAI)?, self.id(DEE)?);
        self.stop(&EVERYBODY).await?;
        self.alone(ADA, cai).await?;
        self.alone(BEN, dee).await?;
        note("Ada removed Cai while Ben removed Dee; they meet");
        self.start(&[EVE, ADA, BEN, CAI, DEE, ADA2, BEN2]).await?;
        self.has_members(&OWNERS, 4).await?;
        let readers = [ADA, ADA2, BEN, BEN2, CAI];
        self.say(ADA, "Ada writes for two", &readers).await?;
        self.say(BEN, "Ben writes for two", &readers).await?;
        self.read_by(&OWNERS).await?;
        let is_out = async |story: &Story| {
            let state = story.space(CAI).await?.state().await?;
            Ok::<_, Failure>(state.role.is_none())
        };
        self.until(CAI, "it hears of its removal", is_out).await?;
        note("Cai is invited once more, as an owner: it may read what it missed. Dee stays out");
        let ticket = self.space(ADA).await?.invite(Role::Owner).await?.ticket;
        self.join(CAI, &ticket).await?;
        self.has_members(&[ADA, ADA2, BEN, BEN2, CAI], 5).await?;
        self.read_by(&[CAI]).await
    }

    /// Ada and Ben remove each other, without knowing of it.
    async fn remove_each_other(&mut self) -> Result<(), Failure> {
        let (ada, ben) = (self.id(ADA)?, self.id(BEN)?);
        self.stop(&EVERYBODY).await?;
        self.alone(ADA, ben).await?;
        self.alone(BEN2, ada).await?;
        note("Ada and Ben, by his second device, removed each other; they meet");
        self.start(&EVERYBODY).await?;
        self.has_members(&[CAI], 1).await?;
        self.say(CAI, "Cai is the only one left", &[CAI]).await?;
        let sent = async |story: &Story| {
            let unsent = story.node(CAI)?.unsent().await?;
            Ok::<_, Failure>(unsent.iter().all(|unsent| unsent.topic != story.topic))
        };
        self.until(CAI, "its last line goes out", sent).await
    }

    /// One that is there alone removes somebody.
    async fn alone(&mut self, who: usize, whom: VerifyingKey) -> Result<(), Failure> {
        self.start(&[who]).await?;
        self.space(who).await?.remove(whom).await?;
        self.stop(&[who]).await
    }

    /// Compares what each has read with what it may, and searches all files.
    async fn end(&mut self) -> Result<String, Failure> {
        self.stop(&EVERYBODY).await?;
        for who in EVERYBODY.into_iter().chain(TEAM) {
            let expected = self.expected(who);
            if self.read(who)? != expected {
                return Err(self.differs(who).into());
            }
            let foreign = self.said.iter().filter(|said| !said.readers.contains(&who));
            let secrets = foreign.map(|said| said.text.as_bytes());
            // Nor whose devices are whose, and who is in the team.
            let groups = self.groups.iter().map(|group| &group.as_bytes()[..]);
            let names = [NAME.as_bytes(), TEAM_NAME.as_bytes()];
            for secret in secrets.chain(names).chain(groups) {
                if holds(&self.person(who).dir, secret).map_err(DemoError::Directory)? {
                    return Err(self.leaks(who).into());
                }
            }
        }
        Ok(self.table())
    }

    /// Returns `true` if bytes hold what only members may learn.
    fn crosses(&self, bytes: &[u8]) -> bool {
        let said = self.said.iter().map(|said| said.text.as_bytes());
        let groups = self.groups.iter().map(|group| &group.as_bytes()[..]);
        let names = [NAME.as_bytes(), TEAM_NAME.as_bytes()];
        let mut secrets = said.chain(names).chain(groups);
        secrets.any(|secret| memmem::find(bytes, secret).is_some())
    }

    fn table(&self) -> String {
        let mut table = format!("{:<28} {:<4}", "", "by");
        NAMES
            .iter()
            .for_each(|name| table.push_str(&format!(" {name:>4}")));
        for said in &self.said {
            table.push_str(&format!("\n{:<28} {:<4}", said.text, name_of(said.by)));
            for who in 0..NAMES.len() {
                let reads = match said.readers.contains(&who) {
                    true => "yes",
                    false => "-",
                };
                table.push_str(&format!(" {reads:>4}"));
            }
        }
        table.push_str(
            "\nEach has read exactly that. The files of no node hold the name of the space in clear, \
             or of the team, whose devices are whose, or a message that it may not read.",
        );
        table
    }

    fn person(&self, who: usize) -> &Person {
        self.people.get(who).expect("everybody has a name")
    }

    fn person_mut(&mut self, who: usize) -> &mut Person {
        self.people.get_mut(who).expect("everybody has a name")
    }

    async fn start(&mut self, who: &[usize]) -> Result<(), Failure> {
        let network = self.network;
        for who in who {
            let person = self.person_mut(*who);
            let node = p2panda::builder()
                .network_id(network)
                .bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)
                .mdns(Mdns::Off)
                .state_dir(Some(person.dir.join("state")))
                .data_dir(person.dir.join("home"));
            person.node = Some(node.spawn().await?);
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

    async fn stop(&mut self, who: &[usize]) -> Result<(), Failure> {
        for who in who {
            if let Some(node) = self.person_mut(*who).node.take() {
                node.shutdown().await?;
            }
        }
        Ok(())
    }

    fn node(&self, who: usize) -> Result<&Node, DemoError> {
        let node = self.person(who).node.as_ref();
        node.ok_or(DemoError::Stopped { name: name_of(who) })
    }

    fn id(&self, who: usize) -> Result<VerifyingKey, DemoError> {
        Ok(self.node(who)?.id())
    }

    async fn space(&self, who: usize) -> Result<Space, Failure> {
        let space = self.node(who)?.spaces().get(self.topic).await?;
        Ok(space.ok_or(DemoError::Stopped { name: name_of(who) })?)
    }

    /// Counts the operations of an author that a node has with their bodies.
    async fn stored(&self, who: usize, author: VerifyingKey) -> Result<usize, Failure> {
        let stored = self.node(who)?.topic(self.topic).operations(0).await?;
        let of = stored.iter().filter(|it| it.author == author);
        Ok(of.filter(|it| it.body.is_some()).count())
    }

    async fn join(&self, who: usize, ticket: &Ticket) -> Result<(), Failure> {
        self.node(who)?.spaces().join(ticket).await?;
        let came = async |story: &Story| {
            let state = story.space(who).await?.state().await?;
            Ok::<_, Failure>(!state.is_joining && state.role.is_some())
        };
        self.until(who, "a member admits it", came).await
    }

    /// Publishes as soon as that is possible.
    async fn say(&mut self, by: usize, text: &str, readers: &[usize]) -> Result<(), Failure> {
        let said = async |story: &Story| match story.space(by).await?.publish(text).await {
            Ok(_) => Ok::<_, Failure>(true),
            Err(error) if error.is_retryable() => Ok(false),
            Err(error) => Err(error.into()),
        };
        self.until(by, "it can write", said).await?;
        self.said.push(Said {
            text: text.to_owned(),
            by,
            readers: readers.iter().copied().collect(),
        });
        Ok(())
    }

    /// Waits until these agree that there are so many members, who all have what they need.
    async fn has_members(&self, who: &[usize], count: usize) -> Result<(), Failure> {
        for who in who {
            let agrees = async |story: &Story| {
                let look = story.space(*who).await?.look().await?;
                Ok::<_, Failure>(
                    look.is_some_and(|look| look.is_healed && look.members.len() == count),
                )
            };
            self.until(*who, "all members have what they need", agrees)
                .await?;
        }
        Ok(())
    }

    /// Waits until these have read everything that they may.
    async fn read_by(&self, who: &[usize]) -> Result<(), Failure> {
        for who in who {
            let has_read = async |story: &Story| {
                let read = story.read(*who)?;
                Ok::<_, Failure>(story.expected(*who).is_subset(&read))
            };
            self.until(*who, "it reads what was written", has_read)
                .await?;
        }
        Ok(())
    }

    fn expected(&self, who: usize) -> BTreeSet<String> {
        let said = self.said.iter().filter(|said| said.readers.contains(&who));
        said.map(|said| said.text.clone()).collect()
    }

    /// Reads the feed of a node.
    fn read(&self, who: usize) -> Result<BTreeSet<String>, Failure> {
        let mut read = BTreeSet::new();
        let inspection = p2panda::inspect(self.person(who).dir.join("home"))?;
        for message in inspection.messages(self.topic, false) {
            if let Ok(text) = message?.text() {
                read.insert(text.to_owned());
            }
        }
        Ok(read)
    }

    async fn until(
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

    fn differs(&self, who: usize) -> DemoError {
        let name = self.person(who).name;
        DemoError::Reads { name }
    }

    fn leaks(&self, who: usize) -> DemoError {
        let name = self.person(who).name;
        DemoError::Leaks { name }
    }
}

/// Returns `true` if any file below a directory holds these bytes.
fn holds(dir: &Path, needle: &[u8]) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let found = match entry.file_type()?.is_dir() {
            true => holds(&entry.path(), needle)?,
            false => {
                let bytes = std::fs::read(entry.path())?;
                memmem::find(&bytes, needle).is_some()
            }
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
