//! `panda space`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2panda::{Body, Event, Publisher, Topic, VerifyingKey};
use p2panda_rpc::api::{self, SpaceRole, SpaceScheme};
use p2panda_rpc::delivery::Delivered;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::args::{
    NodeArgs, SpaceArgs, SpaceChangeArgs, SpaceCommand, SpaceCreateArgs, SpaceInviteArgs,
    SpaceJoinArgs, SpacePublishArgs,
};
use crate::command::contact::note_unreached;
use crate::command::invite::{self, TicketLine};
use crate::command::publish::running::content;
use crate::command::subscribe;
use crate::face::Face;
use crate::face::spaces::{SpaceChange, of_space};
use crate::failure::{Failure, Outcome};
use crate::input::{self, Lines};
use crate::interrupt::Interrupt;
use crate::open::until_stopped_telling;
use crate::output::{self, Written, note, visible};
use crate::remote::Remote;
use crate::settings::{Resolved, Settings as Configured};

/// Polling interval while waiting for a change.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Does one thing with the spaces of the node that runs, or of the home directory.
pub async fn run(args: &NodeArgs, command: SpaceCommand) -> Result<Outcome, Failure> {
    if let SpaceCommand::Watch(watch) = command {
        return subscribe::run(args, watch, subscribe::Of::Space).await;
    }
    let settings = Configured::load(args)?.resolved;
    let mut interrupt = Interrupt::new()?;
    let face = Face::open(args, false).await?;
    // That its creator joined is no news.
    let creates = matches!(command, SpaceCommand::Create(_));
    let is_told = |event: &Event| !(creates && matches!(event, Event::Space { .. }));
    let work = with(&face, &settings, command, &mut interrupt);
    let done = match &face {
        Face::Own(node) => until_stopped_telling(node, work, is_told).await,
        Face::Running(remote) => remote.until_gone(work).await,
    };
    interrupt.finish(face.close()).await?;
    done
}

async fn with(
    face: &Face,
    settings: &Resolved,
    command: SpaceCommand,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    match command {
        SpaceCommand::Create(create) => self::create(face, create).await,
        SpaceCommand::Ls { json } => list(face, json).await,
        SpaceCommand::Invite(invite) => self::invite(face, settings, invite).await,
        SpaceCommand::Invites(args) => {
            print_invites(&face.space_invites(args.space.topic).await?, args.json)
        }
        SpaceCommand::Show(args) => show(face, args).await,
        SpaceCommand::Join(join) => self::join(face, join, interrupt).await,
        SpaceCommand::Members(args) => {
            print_members(&face.space_members(args.space.topic).await?, args.json)
        }
        SpaceCommand::Why { space: of, member } => {
            let why = face.why_in_space(of.space.topic, member).await?;
            let _ = print(&why, &why.why, of.json)?;
            Ok(Outcome::Done)
        }
        SpaceCommand::Publish(args) => publish(face, args, interrupt).await,
        change => self::change(face, change, interrupt).await,
    }
}

/// A change of members, then the way to a peer.
async fn change(
    face: &Face,
    command: SpaceCommand,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let (change, done) = match command {
        SpaceCommand::Add {
            change,
            member,
            role,
        } => {
            let done = Changed::of("add", change, Some(member)).with_role(role);
            (SpaceChange::Add(member, role), done)
        }
        SpaceCommand::Role {
            change,
            member,
            role,
        } => {
            let done = Changed::of("role", change, Some(member)).with_role(role);
            (SpaceChange::SetRole(member, role), done)
        }
        SpaceCommand::Remove { change, member } => {
            let done = Changed::of("remove", change, Some(member));
            (SpaceChange::Remove(member), done)
        }
        SpaceCommand::Revoke { change, invite } => {
            let done = Changed::of("revoke", change, Some(invite));
            (SpaceChange::Revoke(invite), done)
        }
        SpaceCommand::Leave { change } => (SpaceChange::Leave, Changed::of("leave", change, None)),
        SpaceCommand::Rotate {
            change,
            every,
            never,
        } => {
            let days = match never {
                true => Some(0),
                false => every,
            };
            let mut done = Changed::of("rotate", change, None);
            done.line.days = days;
            (
                days.map_or(SpaceChange::Rotate, SpaceChange::RotateEvery),
                done,
            )
        }
        SpaceCommand::Suite { change, suite } => {
            let mut done = Changed::of("suite", change, None);
            done.line.suite = Some(suite);
            (SpaceChange::RaiseSuite(suite), done)
        }
        // All others are no changes.
        _ => return Ok(Outcome::Done),
    };
    face.change_space(done.topic, change).await?;
    if done.json {
        // Whether somebody reads it makes no difference to what is stored.
        let _ = output::json(&done.line).map_err(Failure::Stdout)?;
    }
    let (outcome, _) = send(face, done.topic, done.wait, interrupt).await?;
    Ok(outcome)
}

/// Waits until a peer has stored everything that this node published, or was sent it where it cannot say so.
async fn send(
    face: &Face,
    topic: Topic,
    wait: Duration,
    interrupt: &mut Interrupt,
) -> Result<(Outcome, Delivered), Failure> {
    let delivered = tokio::select! {
        delivered = face.delivered(topic, wait) => delivered?,
        () = interrupt.wait() => return Ok((Outcome::Interrupted, Delivered::default())),
    };
    if delivered.is_enough {
        return Ok((Outcome::Done, delivered));
    }
    let who = match delivered.sent {
        0 => "stored here, and sent to nobody yet",
        _ => "stored here and sent, but no peer said in time that it has stored all of it",
    };
    let next = match face {
        Face::Own(_) => "it goes along with the next command",
        Face::Running(_) => "the running node continues with it",
    };
    note(&format!("{who}: {next}"));
    note_unreached(face, topic).await?;
    Ok((Outcome::StoredOnly, delivered))
}

#[derive(Serialize)]
struct PublishedLine {
    published: u64,
    #[serde(flatten)]
    delivered: Delivered,
}

/// Sender of what is published into a space.
enum Publishing {
    Own(Box<Publisher>),
    Running(Remote, Topic),
}

impl Publishing {
    async fn open(face: &Face, topic: Topic) -> Result<Publishing, Failure> {
        // Also if there is nothing to publish.
        face.space(topic).await?;
        Ok(match face {
            Face::Own(node) => Publishing::Own(Box::new(node.publisher(topic).await?)),
            Face::Running(remote) => Publishing::Running(remote.clone(), topic),
        })
    }

    async fn publish(&self, body: Body) -> Result<(), Failure> {
        let (remote, topic) = match self {
            Publishing::Own(publisher) => {
                publisher.publish(body).await?;
                return Ok(());
            }
            Publishing::Running(remote, topic) => (remote, *topic),
        };
        let params = api::PublishParams {
            topic: topic.to_string(),
            message: api::NewMessage {
                content: Some(content(remote, &body).await?),
                ..api::NewMessage::default()
            },
            wait: None,
        };
        let published = remote.client().call::<api::SpacePublish>(&params).await;
        published.map_err(of_space(topic))?;
        Ok(())
    }
}

/// Publishes lines or files for the members, and waits until a peer has stored them.
async fn publish(
    face: &Face,
    args: SpacePublishArgs,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let topic = args.space.topic;
    let publishing = Publishing::open(face, topic).await?;
    let mut published = 0;
    for path in &args.file {
        let body = tokio::task::block_in_place(|| match path.as_os_str() == "-" {
            true => input::stdin(),
            false => input::file(path),
        });
        publishing.publish(body?).await?;
        published += 1;
    }
    if args.file.is_empty() {
        let mut lines = Lines::new(tokio::io::stdin());
        loop {
            let line = tokio::select! {
                line = lines.next() => line,
                () = interrupt.wait() => return Ok(Outcome::Interrupted),
            };
            let Some(line) = line else {
                break;
            };
            publishing.publish(Body::from(line?)).await?;
            published += 1;
        }
    }
    let (outcome, delivered) = send(face, topic, args.wait, interrupt).await?;
    let plain = format!("published {published}; {}", delivered.plain());
    let line = PublishedLine {
        published,
        delivered,
    };
    // Whether somebody reads it makes no difference to what is stored.
    let _ = print(&line, &plain, args.json)?;
    Ok(outcome)
}

/// Result of a change, and how it is printed.
struct Changed {
    topic: Topic,
    line: ChangedLine,
    wait: Duration,
    json: bool,
}

#[derive(Serialize)]
struct ChangedLine {
    /// The last word of the command.
    done: &'static str,
    space: String,
    /// The member or the invite.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suite: Option<u8>,
    /// Days after which a secret is replaced; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<u32>,
}

impl Changed {
    fn of(done: &'static str, args: SpaceChangeArgs, name: Option<VerifyingKey>) -> Changed {
        let line = ChangedLine {
            done,
            space: args.space.topic.to_string(),
            name: name.map(|name| name.to_string()),
            role: None,
            suite: None,
            days: None,
        };
        let (topic, wait, json) = (args.space.topic, args.wait, args.json);
        Changed {
            topic,
            line,
            wait,
            json,
        }
    }

    fn with_role(mut self, role: p2panda::Role) -> Changed {
        self.line.role = Some(role.to_string());
        self
    }
}

#[derive(Serialize)]
struct SpaceLine {
    space: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// None: it is not known here, or this node is no member.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<SpaceRole>,
    /// None: it is not known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<SpaceScheme>,
    /// None: it is not known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    suite: Option<u8>,
    /// None: nobody asks for rotation by age.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_days: Option<u32>,
    /// None: this node signs there with its node id.
    #[serde(skip_serializing_if = "Option::is_none")]
    own_key: Option<String>,
    /// No owner has admitted this node yet.
    joining: bool,
}

impl SpaceLine {
    fn of(view: api::SpaceView) -> SpaceLine {
        SpaceLine {
            space: view.topic,
            name: view.name,
            role: view.role,
            scheme: view.scheme,
            suite: view.suite,
            rotation_days: view.rotation_days,
            own_key: view.own_key.map(|key| key.to_string()),
            joining: view.joining,
        }
    }

    fn plain(&self) -> String {
        let role = match (self.role, self.joining) {
            (Some(role), _) => role.as_str(),
            (None, true) => "joining",
            (None, false) => "follows",
        };
        let name = self.name.as_deref().unwrap_or_default();
        // The usual scheme is not named.
        let scheme = match self.scheme {
            Some(SpaceScheme::Message) => "(message) ",
            _ => "",
        };
        let line = format!("{} {role} {scheme}{}", self.space, visible(name));
        line.trim_end().to_owned()
    }
}

fn print(line: &impl Serialize, plain: &str, json: bool) -> Result<Written, Failure> {
    let written = match json {
        true => output::json(line),
        false => output::line(plain),
    };
    written.map_err(Failure::Stdout)
}

async fn create(face: &Face, create: SpaceCreateArgs) -> Result<Outcome, Failure> {
    let sealed = (create.scheme.into(), create.no_history, create.suite);
    let made = face.create_space(&create.name, sealed, create.own_key);
    let made = made.await?;
    let line = SpaceLine::of(made);
    // Whether somebody reads it makes no difference: it is listed from now on.
    let _ = print(&line, &line.space, create.json)?;
    Ok(Outcome::Done)
}

async fn list(face: &Face, json: bool) -> Result<Outcome, Failure> {
    for space in face.spaces().await? {
        let left = space.secrets_left.filter(|_| space.nears_end());
        let line = SpaceLine::of(space);
        if print(&line, &line.plain(), json)? == Written::Closed {
            break;
        }
        if let Some(left) = left {
            note(&nears_end(&format!("the space {}", line.space), left));
        }
    }
    Ok(Outcome::Done)
}

#[derive(Serialize)]
struct NewInviteLine {
    #[serde(flatten)]
    ticket: TicketLine,
    invite: String,
}

async fn invite(
    face: &Face,
    settings: &Resolved,
    args: SpaceInviteArgs,
) -> Result<Outcome, Failure> {
    let topic = args.space.topic;
    let made = face.invite_into_space(topic, args.role, args.uses, args.expires);
    let (mut ticket, id) = made.await?;
    match (args.contact.is_empty(), face) {
        (true, Face::Own(node)) => invite::add_node(&mut ticket, node, settings).await,
        (true, Face::Running(remote)) => {
            invite::add_running(&mut ticket, remote, settings).await?;
        }
        (false, _) => invite::add_named(&mut ticket, &args.contact)?,
    }
    let names_this = args.contact.is_empty() && !ticket.contacts().is_empty();
    if names_this && face.space(topic).await?.own_key.is_some() {
        note(
            "the ticket shows the id of this node next to its own key; --contact names another node",
        );
    }
    let line = args.json.then(|| NewInviteLine {
        ticket: TicketLine::of(&ticket),
        invite: id.to_string(),
    });
    invite::print(&ticket, line, args.qr).map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

/// A space, with what `ls` and `members` do not say of it.
#[derive(Serialize)]
struct ShownLine {
    #[serde(flatten)]
    space: SpaceLine,
    members: usize,
    /// Members that cannot be handed secrets.
    no_keys: usize,
    healed: bool,
    /// Messages that are sealed under secrets that this node lacks.
    sealed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets_left: Option<u64>,
    /// In seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotates_at: Option<u64>,
}

impl ShownLine {
    /// `now` in seconds since 1970.
    fn plain(&self, now: u64) -> String {
        let mut lines = vec![format!("space {}", self.space.plain())];
        if let Some(scheme) = self.space.scheme {
            lines.push(match scheme {
                SpaceScheme::Data => "scheme data".to_owned(),
                SpaceScheme::Message => "scheme message".to_owned(),
            });
        }
        if let Some(suite) = self.space.suite {
            lines.push(match self.no_keys {
                0 => format!("suite {suite}, all members have keys for it"),
                1 => format!("suite {suite}, 1 member has no valid keys for it"),
                several => format!("suite {suite}, {several} members have no valid keys for it"),
            });
        }
        if let Some(key) = &self.space.own_key {
            lines.push(format!("own key {key}"));
        }
        lines.push(match self.space.rotation_days {
            None => "rotation by age: never".to_owned(),
            Some(days) => {
                let rest = self.rotates_at.map(|at| at.saturating_sub(now));
                let next = match rest {
                    None => String::new(),
                    Some(0) => ", due now".to_owned(),
                    Some(rest) => format!(", next in {} h", rest.div_ceil(3_600)),
                };
                format!("rotation by age: every {days} d{next}")
            }
        });
        if let Some(left) = self.secrets_left {
            lines.push(format!("secrets left {left}"));
        }
        let healed = match self.healed {
            true => "",
            false => ", not all have what they need",
        };
        lines.push(format!("members {}{healed}", self.members));
        match self.sealed {
            0 => {}
            1 => lines.push("1 message is sealed under a secret that this node lacks".to_owned()),
            several => lines.push(format!(
                "{several} messages are sealed under secrets that this node lacks"
            )),
        }
        lines.join("\n")
    }
}

async fn show(face: &Face, args: SpaceArgs) -> Result<Outcome, Failure> {
    let topic = args.space.topic;
    let space = SpaceLine::of(face.space(topic).await?);
    let members = face.space_members(topic).await?;
    let line = ShownLine {
        space,
        members: members.members.len(),
        no_keys: members.members.iter().filter(|one| one.no_keys).count(),
        healed: members.healed,
        sealed: face.sealed(topic).await?,
        secrets_left: members.secrets_left,
        rotates_at: members.rotates_at,
    };
    let _ = print(&line, &line.plain(now()), args.json)?;
    Ok(Outcome::Done)
}

/// Seconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

fn print_invites(invites: &[api::SpaceInviteView], json: bool) -> Result<Outcome, Failure> {
    let now = now();
    for invite in invites {
        if print(invite, &plain_invite(invite, now), json)? == Written::Closed {
            break;
        }
    }
    Ok(Outcome::Done)
}

/// `now` in seconds since 1970.
fn plain_invite(invite: &api::SpaceInviteView, now: u64) -> String {
    let left = invite.uses.saturating_sub(invite.came.len() as u64);
    let state = match invite.expires.checked_sub(now) {
        _ if invite.revoked => "revoked".to_owned(),
        _ if left == 0 => "used up".to_owned(),
        None => "expired".to_owned(),
        Some(rest) => format!("{left} left, for {} h", rest.div_ceil(3_600)),
    };
    let came: Vec<String> = invite.came.iter().map(ToString::to_string).collect();
    let came = match came[..] {
        [] => String::new(),
        _ => format!("; came: {}", came.join(", ")),
    };
    format!("{} {} {state}{came}", invite.invite, invite.role)
}

async fn join(
    face: &Face,
    join: SpaceJoinArgs,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let ticket = join.ticket.ticket.as_deref();
    let Some(ticket) = ticket.filter(|ticket| ticket.invite().is_some()) else {
        let followed = face.follow_space(join.ticket.topic, join.own_key).await?;
        note(&format!(
            "follows the space; an owner makes this node a member: panda space add {} {}",
            join.ticket.topic,
            followed.own_key.unwrap_or(face.id())
        ));
        return joined(face, &join, interrupt).await;
    };
    face.join_space(ticket, join.own_key).await?;
    joined(face, &join, interrupt).await
}

/// Waits until this node is a member.
async fn joined(
    face: &Face,
    join: &SpaceJoinArgs,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let topic = join.ticket.topic;
    let is_member = async {
        while face.space(topic).await?.role.is_none() {
            sleep(LOOK_INTERVAL).await;
        }
        Ok::<(), Failure>(())
    };
    let outcome = tokio::select! {
        waited = timeout(join.wait, is_member) => match waited {
            Ok(waited) => waited.map(|()| Outcome::Done)?,
            Err(_) => Outcome::StoredOnly,
        },
        () = interrupt.wait() => Outcome::Interrupted,
    };
    let line = SpaceLine::of(face.space(topic).await?);
    let _ = print(&line, &line.plain(), join.json)?;
    let ticket = join.ticket.ticket.as_deref();
    let asked = ticket.is_some_and(|ticket| ticket.invite().is_some());
    if outcome == Outcome::StoredOnly {
        note(match face {
            _ if !asked => {
                "no owner has added this node yet, as far as has synced; `panda space ls` shows when it is a \
                member"
            }
            Face::Own(_) => {
                "no owner has admitted this node yet: the request stays in the topic and goes along with the \
                next command"
            }
            Face::Running(_) => {
                "no owner has admitted this node yet: the request stays in the topic, and the node that \
                runs goes on with it"
            }
        });
    }
    Ok(outcome)
}

fn print_members(members: &api::SpaceMembersResult, json: bool) -> Result<Outcome, Failure> {
    if !members.known {
        note("this node is not a member yet, and does not know who is");
    }
    // Devices of one person stand together, after what they are devices of.
    let mut lines: Vec<&api::SpaceMemberView> = members.members.iter().collect();
    lines.sort_by(|a, b| (&a.person, a.member).cmp(&(&b.person, b.member)));
    let mut person = None;
    for line in lines {
        if !json && line.person.is_some() && line.person != person {
            person = line.person.clone();
            let of = person.as_deref().unwrap_or_default();
            if output::line(&format!("person {of}")).map_err(Failure::Stdout)? == Written::Closed {
                return Ok(Outcome::Done);
            }
        }
        if print(line, &plain_member(line), json)? == Written::Closed {
            return Ok(Outcome::Done);
        }
    }
    for team in members.teams.iter().filter(|_| !json) {
        if output::line(&plain_team(team)).map_err(Failure::Stdout)? == Written::Closed {
            return Ok(Outcome::Done);
        }
    }
    for pending in &members.pending {
        note(&plain_pending(pending));
    }
    if let Some(left) = members.secrets_left.filter(|_| members.nears_end()) {
        note(&nears_end("the space", left));
    }
    Ok(Outcome::Done)
}

fn nears_end(space: &str, left: u64) -> String {
    format!(
        "{space} can make {left} more secrets, the last ones for removals only: create another space and \
         add its members there"
    )
}

fn plain_member(line: &api::SpaceMemberView) -> String {
    let of_person = match line.person {
        Some(_) => "  ",
        None => "",
    };
    let lacks = match line.lacking {
        true => ", lacks secrets",
        false => "",
    };
    let recovery = match line.recovery {
        true => ", recovery key",
        false => "",
    };
    let keys = match line.no_keys {
        true => ", no valid keys yet",
        false => "",
    };
    format!(
        "{of_person}{} {}{lacks}{recovery}{keys}",
        line.member, line.role
    )
}

/// A team, and who is a member by it.
fn plain_team(team: &api::SpaceTeamView) -> String {
    let name = visible(team.name.as_deref().unwrap_or_default());
    let line = format!("team {} {} {name}", team.team, team.role);
    let mut lines = line.trim_end().to_owned();
    for device in &team.devices {
        lines.push_str(&format!("\n  {device}"));
    }
    lines
}

fn plain_pending(pending: &api::SpacePendingView) -> String {
    let device = pending.device.map(|device| device.to_string());
    let device = device.unwrap_or_default();
    match pending.what {
        api::SpacePendingKind::Introduce => {
            "pending: an owner has not taken your person in yet".to_owned()
        }
        api::SpacePendingKind::Link => {
            format!("pending: your device {device} is to become a member")
        }
        api::SpacePendingKind::Revoke => {
            format!("pending: your device {device} is to be one no longer")
        }
    }
}
