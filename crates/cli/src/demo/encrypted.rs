//! `panda demo --encrypted`: a space of four members, two of them with two devices, a team of two more, and a
//! node without keys, from its create over a device that is restored from its recovery file to a removal of
//! two owners by each other. With own keys each node is one member, and there are neither second devices nor
//! a team.

mod own_keys;
mod search;
mod story;

use p2panda::{Member, Passphrase, RecoveryFile, Role, Settings, VerifyingKey};

use super::DemoError;
use super::capture::Capture;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, note};
use story::{
    ADA, ADA2, BEN, BEN2, BEN3, CAI, DEE, EVE, EVERYBODY, FAY, GUS, MEMBERS, OWNERS, Story, TEAM,
    name_of,
};

/// Only members may learn it.
const NAME: &str = "The name of this space, for members alone";

/// The same of the team.
const TEAM_NAME: &str = "The name of this team, for members alone";

/// Runs it until it is done, fails or a signal comes.
pub async fn run(own_keys: bool) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let dir = tempfile::tempdir().map_err(DemoError::Directory)?;
    let capture = Capture::begin();
    let mut story = Story::new(dir.path(), own_keys)?;
    let table = tokio::select! {
        table = story.play() => table?,
        () = interrupt.wait() => return Ok(Outcome::Interrupted),
    };
    let _ = output::line(&table).map_err(Failure::Stdout)?;
    match capture.and_then(Capture::finish) {
        Some(bytes) if story.crosses(&bytes) => return Err(DemoError::Crosses.into()),
        Some(_) => {
            let line = match own_keys {
                true => "No packet between the nodes held any of that, or an own key, either.",
                false => "No packet between the nodes held any of that either.",
            };
            let _ = output::line(line).map_err(Failure::Stdout)?;
        }
        None => {
            note("this user may not capture packets: what crossed the network was not searched")
        }
    }
    Ok(Outcome::Done)
}

impl Story {
    /// All acts in their order; ends with the table.
    async fn play(&mut self) -> Result<String, Failure> {
        self.come_in().await?;
        match self.own_keys {
            true => self.add_followers().await?,
            false => {
                self.link_devices().await?;
                self.use_a_team().await?;
            }
        }
        self.write_while_one_is_off().await?;
        self.remove_two_at_the_same_time().await?;
        if !self.own_keys {
            self.revoke_a_device().await?;
            self.restore_a_device().await?;
        }
        self.remove_each_other().await?;
        self.end().await
    }

    async fn come_in(&mut self) -> Result<(), Failure> {
        note("Ada makes a space. Eve keeps its topic, without keys; all others know Eve alone");
        self.start(&[EVE, ADA]).await?;
        let spaces = self.spaces(ADA)?;
        let settings = Settings::with_history();
        spaces.create_in(self.topic, NAME, settings).await?;
        self.note_key(ADA).await?;
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
        self.are_members(&[ADA, BEN, CAI, DEE]).await
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
        self.are_members(&MEMBERS).await?;
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
        self.are_members(&with_team).await?;
        note("Ada added a team of Fay and Gus: they read everything, and write");
        for said in self.said.iter_mut() {
            said.readers.extend(TEAM);
        }
        self.say(GUS, "Gus is in the team", &with_team).await?;
        self.read_by(&with_team).await?;
        let gus = self.id(GUS)?;
        team.remove(gus).await?;
        let without_gus = [ADA, BEN, CAI, DEE, ADA2, BEN2, FAY];
        self.are_members(&without_gus).await?;
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
        self.are_members(&MEMBERS).await?;
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
        self.are_members(&[ADA, BEN, BEN2, CAI]).await?;
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
        let (space, dee) = (self.space(ADA).await?, self.key(DEE).await?);
        space.set_role(dee, Role::Reader).await?;
        space.set_role(dee, Role::Editor).await?;
        self.say(ADA, "for all four", &MEMBERS).await?;
        self.read_by(&MEMBERS).await
    }

    /// Ada removes Cai, and Ben removes Dee, without knowing of each other.
    async fn remove_two_at_the_same_time(&mut self) -> Result<(), Failure> {
        let (cai, dee) = (self.key(CAI).await?, self.key(DEE).await?);
        self.stop(&EVERYBODY).await?;
        self.alone(ADA, cai).await?;
        self.alone(BEN, dee).await?;
        note("Ada removed Cai while Ben removed Dee; they meet");
        self.start(&[EVE, ADA, BEN, CAI, DEE, ADA2, BEN2]).await?;
        self.are_members(&OWNERS).await?;
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
        self.are_members(&[ADA, ADA2, BEN, BEN2, CAI]).await?;
        self.read_by(&[CAI]).await
    }

    /// Ada and Ben remove each other, without knowing of it.
    async fn remove_each_other(&mut self) -> Result<(), Failure> {
        let (ada, ben) = (self.key(ADA).await?, self.key(BEN).await?);
        self.stop(&EVERYBODY).await?;
        self.alone(ADA, ben).await?;
        if self.own_keys {
            self.alone(BEN, ada).await?;
            note("Ada and Ben removed each other; they meet");
        } else {
            self.alone(BEN2, ada).await?;
            note("Ada and Ben, by his second device, removed each other; they meet");
        }
        self.start(&EVERYBODY).await?;
        self.are_members(&[CAI]).await?;
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
}
