//! `panda space`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2panda::{Deed, Node, Settings, Space, SpaceInvite, Topic, VerifyingKey};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::args::{
    NodeArgs, SpaceChangeArgs, SpaceCommand, SpaceCreateArgs, SpaceInviteArgs, SpaceJoinArgs,
    SpacePublishArgs,
};
use crate::command::contact::note_unreached;
use crate::command::invite::{self, TicketLine};
use crate::command::subscribe;
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::input::{self, Lines};
use crate::interrupt::Interrupt;
use crate::open::until_stopped;
use crate::output::{self, Written, note, visible};
use crate::parse::TopicArg;
use crate::remote::Remote;
use crate::settings::{Resolved, Settings as Configured};

/// How often to look whether something has happened.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Does one thing with the spaces of the home directory.
pub async fn run(args: &NodeArgs, command: SpaceCommand) -> Result<Outcome, Failure> {
    if let SpaceCommand::Watch(watch) = command {
        return subscribe::run(args, watch).await;
    }
    if let Some(running) = Remote::find(args).await? {
        let at = running.at().to_owned();
        return Err(Failure::SpacesOfRunning { at });
    }
    let settings = Configured::load(args)?.resolved;
    let mut interrupt = Interrupt::new()?;
    let node = crate::open::node(args, false).await?;
    let work = with(&node, &settings, command, &mut interrupt);
    let done = until_stopped(&node, work).await;
    interrupt.finish(node.shutdown()).await?;
    done
}

async fn with(
    node: &Node,
    settings: &Resolved,
    command: SpaceCommand,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    match command {
        SpaceCommand::Create(create) => self::create(node, create).await,
        SpaceCommand::Ls { json } => list(node, json).await,
        SpaceCommand::Invite(invite) => self::invite(node, settings, invite).await,
        SpaceCommand::Invites(args) => {
            let space = space_of(node, &args.space).await?;
            print_invites(&space.invites().await?, args.json)
        }
        SpaceCommand::Join(join) => self::join(node, join, interrupt).await,
        SpaceCommand::Members(args) => {
            let space = space_of(node, &args.space).await?;
            print_members(&space, args.json).await
        }
        SpaceCommand::Why { space: of, member } => {
            let space = space_of(node, &of.space).await?;
            print_why(&space, member, of.json).await
        }
        SpaceCommand::Publish(args) => publish(node, args, interrupt).await,
        change => self::change(node, change, interrupt).await,
    }
}

/// A change of members, then the way to a peer.
async fn change(
    node: &Node,
    change: SpaceCommand,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let named = change.topics().first().map(|named| named.topic);
    let done = match change {
        SpaceCommand::Add {
            change,
            member,
            role,
        } => {
            let space = space_of(node, &change.space).await?;
            space.add(member, role).await?;
            Changed::of("add", change, Some(member)).with_role(role)
        }
        SpaceCommand::Role {
            change,
            member,
            role,
        } => {
            let space = space_of(node, &change.space).await?;
            space.set_role(member, role).await?;
            Changed::of("role", change, Some(member)).with_role(role)
        }
        SpaceCommand::Remove { change, member } => {
            space_of(node, &change.space).await?.remove(member).await?;
            Changed::of("remove", change, Some(member))
        }
        SpaceCommand::Revoke { change, invite } => {
            space_of(node, &change.space).await?.revoke(invite).await?;
            Changed::of("revoke", change, Some(invite))
        }
        SpaceCommand::Leave { change } => {
            space_of(node, &change.space).await?.leave().await?;
            Changed::of("leave", change, None)
        }
        SpaceCommand::Rotate { change } => {
            space_of(node, &change.space).await?.rotate().await?;
            Changed::of("rotate", change, None)
        }
        // All others are no changes.
        _ => return Ok(Outcome::Done),
    };
    if done.json {
        // Whether somebody reads it makes no difference to what is stored.
        let _ = output::json(&done.line).map_err(Failure::Stdout)?;
    }
    match named {
        Some(topic) => send(node, topic, done.wait, interrupt).await,
        None => Ok(Outcome::Done),
    }
}

/// Waits until a peer was sent what this node published.
async fn send(
    node: &Node,
    topic: Topic,
    wait: Duration,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let sent = async {
        while node
            .unsent()
            .await?
            .iter()
            .any(|unsent| unsent.topic == topic)
        {
            sleep(LOOK_INTERVAL).await;
        }
        Ok::<(), Failure>(())
    };
    tokio::select! {
        sent = timeout(wait, sent) => if let Ok(sent) = sent {
            return sent.map(|()| Outcome::Done);
        },
        () = interrupt.wait() => return Ok(Outcome::Interrupted),
    }
    note("stored here, and sent to nobody yet: it goes along with the next command");
    note_unreached(&Face::Own(node.clone()), topic).await?;
    Ok(Outcome::StoredOnly)
}

#[derive(Serialize)]
struct PublishedLine {
    published: u64,
    sent: bool,
}

/// Publishes lines or files for the members, and waits until a peer was sent them.
async fn publish(
    node: &Node,
    args: SpacePublishArgs,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let space = space_of(node, &args.space).await?;
    let publisher = space.publisher().await?;
    let mut published = 0;
    for path in &args.file {
        let body = tokio::task::block_in_place(|| match path.as_os_str() == "-" {
            true => input::stdin(),
            false => input::file(path),
        });
        publisher.publish(body?).await?;
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
            publisher.publish(line?).await?;
            published += 1;
        }
    }
    let outcome = send(node, space.topic(), args.wait, interrupt).await?;
    let sent = outcome == Outcome::Done;
    let line = PublishedLine { published, sent };
    let how = match sent {
        true => "sent",
        false => "sent to nobody yet",
    };
    let plain = format!("published {published}, {how}");
    // Whether somebody reads it makes no difference to what is stored.
    let _ = print(&line, &plain, args.json)?;
    Ok(outcome)
}

/// What was done, and how it is said.
struct Changed {
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
}

impl Changed {
    fn of(done: &'static str, args: SpaceChangeArgs, name: Option<VerifyingKey>) -> Changed {
        let line = ChangedLine {
            done,
            space: args.space.topic.to_string(),
            name: name.map(|name| name.to_string()),
            role: None,
        };
        let (wait, json) = (args.wait, args.json);
        Changed { line, wait, json }
    }

    fn with_role(mut self, role: p2panda::Role) -> Changed {
        self.line.role = Some(role.to_string());
        self
    }
}

async fn space_of(node: &Node, named: &TopicArg) -> Result<Space, Failure> {
    let topic = named.topic;
    let space = node.spaces().get(topic).await?;
    space.ok_or(Failure::NoSpace { topic })
}

#[derive(Serialize)]
struct SpaceLine {
    space: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// None: it is not known here, or this node is no member.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    /// An owner has not let this node in yet.
    joining: bool,
}

impl SpaceLine {
    async fn of(space: &Space) -> Result<SpaceLine, Failure> {
        let state = space.state().await?;
        Ok(SpaceLine {
            space: space.topic().to_string(),
            name: state.name,
            role: state.role.map(|role| role.to_string()),
            joining: state.is_joining,
        })
    }

    fn plain(&self) -> String {
        let role = match (&self.role, self.joining) {
            (Some(role), _) => role,
            (None, true) => "joining",
            (None, false) => "follows",
        };
        let name = self.name.as_deref().unwrap_or_default();
        let line = format!("{} {role} {}", self.space, visible(name));
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

async fn create(node: &Node, create: SpaceCreateArgs) -> Result<Outcome, Failure> {
    let settings = match create.no_history {
        true => Settings::from_joining_on(),
        false => Settings::with_history(),
    };
    let topic = p2panda::random_topic()?;
    let spaces = node.spaces();
    let space = spaces.create_in(topic, &create.name, settings).await?;
    let line = SpaceLine::of(&space).await?;
    // Whether somebody reads it makes no difference: it is listed from now on.
    let _ = print(&line, &line.space, create.json)?;
    Ok(Outcome::Done)
}

async fn list(node: &Node, json: bool) -> Result<Outcome, Failure> {
    for space in node.spaces().list().await? {
        let line = SpaceLine::of(&space).await?;
        if print(&line, &line.plain(), json)? == Written::Closed {
            break;
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
    node: &Node,
    settings: &Resolved,
    args: SpaceInviteArgs,
) -> Result<Outcome, Failure> {
    let space = space_of(node, &args.space).await?;
    let invite = space.invite(args.role).uses(args.uses);
    let made = invite.expires(args.expires).await?;
    let mut ticket = made.ticket;
    match args.contact.is_empty() {
        true => invite::add_node(&mut ticket, node, settings).await,
        false => invite::add_named(&mut ticket, &args.contact)?,
    }
    let line = args.json.then(|| NewInviteLine {
        ticket: TicketLine::of(&ticket),
        invite: made.id.to_string(),
    });
    invite::print(&ticket, line, args.qr).map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

#[derive(Serialize)]
struct InviteLine {
    invite: String,
    by: String,
    role: String,
    uses: u64,
    /// Seconds since 1970.
    expires: u64,
    revoked: bool,
    came: Vec<String>,
}

fn print_invites(invites: &[SpaceInvite], json: bool) -> Result<Outcome, Failure> {
    for invite in invites {
        let expires = invite.expires.duration_since(UNIX_EPOCH);
        let line = InviteLine {
            invite: invite.id.to_string(),
            by: invite.by.to_string(),
            role: invite.role.to_string(),
            uses: invite.uses,
            expires: expires.unwrap_or_default().as_secs(),
            revoked: invite.is_revoked,
            came: invite.came.iter().map(ToString::to_string).collect(),
        };
        let plain = plain_invite(invite, &line.came, SystemTime::now());
        if print(&line, &plain, json)? == Written::Closed {
            break;
        }
    }
    Ok(Outcome::Done)
}

fn plain_invite(invite: &SpaceInvite, came: &[String], now: SystemTime) -> String {
    let left = invite.uses.saturating_sub(came.len() as u64);
    let state = match invite.expires.duration_since(now) {
        _ if invite.is_revoked => "revoked".to_owned(),
        _ if left == 0 => "used up".to_owned(),
        Err(_) => "expired".to_owned(),
        Ok(rest) => format!("{left} left, for {} h", rest.as_secs().div_ceil(3_600)),
    };
    let came = match came {
        [] => String::new(),
        came => format!("; came: {}", came.join(", ")),
    };
    format!("{} {} {state}{came}", invite.id, invite.role)
}

async fn join(
    node: &Node,
    join: SpaceJoinArgs,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let ticket = join.ticket.ticket.as_deref();
    let spaces = node.spaces();
    let Some(ticket) = ticket.filter(|ticket| ticket.invite().is_some()) else {
        let space = spaces.follow(join.ticket.topic).await?;
        note(&format!(
            "follows the space; an owner makes this node a member: panda space add {} {}",
            space.topic(),
            node.id()
        ));
        return joined(&space, &join, interrupt).await;
    };
    let space = spaces.join(ticket).await?;
    joined(&space, &join, interrupt).await
}

/// Waits until this node is a member.
async fn joined(
    space: &Space,
    join: &SpaceJoinArgs,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let is_member = async {
        loop {
            let line = SpaceLine::of(space).await?;
            if line.role.is_some() {
                return Ok::<(), Failure>(());
            }
            sleep(LOOK_INTERVAL).await;
        }
    };
    let outcome = tokio::select! {
        waited = timeout(join.wait, is_member) => match waited {
            Ok(waited) => waited.map(|()| Outcome::Done)?,
            Err(_) => Outcome::StoredOnly,
        },
        () = interrupt.wait() => Outcome::Interrupted,
    };
    let line = SpaceLine::of(space).await?;
    let _ = print(&line, &line.plain(), join.json)?;
    if outcome == Outcome::StoredOnly {
        note(
            "no owner has let this node in yet: the request stays in the topic and goes along with the \
            next command",
        );
    }
    Ok(outcome)
}

#[derive(Serialize)]
struct MemberLine {
    member: String,
    role: String,
    /// It lacks secrets, and is handed them soon.
    lacking: bool,
}

async fn print_members(space: &Space, json: bool) -> Result<Outcome, Failure> {
    let Some(look) = space.look().await? else {
        note("this node is no member yet, and does not know who is");
        return Ok(Outcome::Done);
    };
    for (member, role) in &look.members {
        let line = MemberLine {
            member: member.to_string(),
            role: role.to_string(),
            lacking: look.lacking.contains(member),
        };
        let lacks = match line.lacking {
            true => ", lacks secrets",
            false => "",
        };
        let plain = format!("{} {}{lacks}", line.member, line.role);
        if print(&line, &plain, json)? == Written::Closed {
            break;
        }
    }
    Ok(Outcome::Done)
}

#[derive(Serialize)]
struct WhyLine {
    member: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite: Option<String>,
    decided: Vec<DecisionLine>,
    why: String,
}

#[derive(Serialize)]
struct DecisionLine {
    operation: String,
    author: String,
    deed: &'static str,
}

async fn print_why(space: &Space, member: VerifyingKey, json: bool) -> Result<Outcome, Failure> {
    let topic = space.topic();
    let why = space.why(member).await?;
    let why = why.ok_or(Failure::NoSpace { topic })?;
    let decided = why.decided.iter().map(|decision| DecisionLine {
        operation: decision.operation.to_string(),
        author: decision.author.to_string(),
        deed: match decision.deed {
            Deed::Create => "create",
            Deed::Add(_) => "add",
            Deed::SetRole(_) => "role",
            _ => "remove",
        },
    });
    let line = WhyLine {
        member: member.to_string(),
        role: why.role.map(|role| role.to_string()),
        invite: why.invite.map(|invite| invite.to_string()),
        decided: decided.collect(),
        why: why.to_string(),
    };
    let _ = print(&line, &line.why, json)?;
    Ok(Outcome::Done)
}
