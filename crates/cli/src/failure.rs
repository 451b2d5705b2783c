//! Everything that ends a command early: one line that says what to do next, and an exit code.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use p2panda::{
    ConsumerError, Ended, EphemeralError, ErrorKind, Hash, NetworkId, OpenErrorKind, PublishError,
    Subscription, ViewError,
};
use p2panda_rpc::api::Code;
use p2panda_rpc::client::ClientError;
use p2panda_rpc::daemon::StartError;
use thiserror::Error;

use crate::contexts::ContextError;
use crate::demo::DemoError;
use crate::parse::ParseError;
use crate::serve::ServeError;
use crate::settings::{SettingsError, TokensError};

/// Meaning of the numbers of [`Failure`], as in `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done; what was published is stored by a peer, or was sent to one that cannot say so
  1    the nodes of the demo do not hold the same bytes
  2    the command line or the input cannot be used as given
  3    stored here, but no peer had everything in time, or something could not be fetched
  4    the home directory is in use by another process
  5    the home directory is an old copy, or in use twice, and must not publish
  6    data is invalid
  7    a limit was reached
  8    the home directory is damaged
  9    the node has stopped, or none answers
  10   reading or writing failed
  11   the network cannot be used
  12   another program holds the database
  13   there is no room on the disk
  14   the home directory was removed while it was in use
  15   the file system is read-only
  16   permission is denied
  17   too many files are open
  18   the path of the home directory is too long
  19   the home directory has a database but no key
  20   the state directory cannot be used
  21   a newer version wrote the home directory
  22   unexpected error; report it
  23   the requested item is not here
  24   `panda doctor` found something that does not work
  25   something else opens what is sealed in the home directory
  26   not possible yet; try again later
  130  interrupted before it was done

Results go to standard output, progress to standard error. RUST_LOG=p2panda=debug shows more.";

/// Result of a command when nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is done.
    Done,
    /// Everything published is stored here, but nobody is known to have all of it, or something
    /// could not be fetched.
    StoredOnly,
    /// A signal came before the input was read to its end.
    Interrupted,
    /// `panda doctor` found something that does not work.
    Unwell,
}

/// Reason why a command failed.
#[derive(Debug, Error)]
pub enum Failure {
    #[error("no home directory is known for this user; name one with --home DIR")]
    NoHome,
    #[error("the home directory {home} cannot be created: {source}; choose another with --home DIR",
        home = home.display())]
    MakeHome { home: PathBuf, source: io::Error },
    #[error("--temp and --home exclude each other; leave one of them out")]
    TempAndHome,
    #[error(
        "--republish has no effect alone; add --restored pull-own-log or --restored new-identity"
    )]
    RepublishAlone,
    #[error(
        "--temp makes an identity that is in no space; leave it out, and join the space with `panda space join`"
    )]
    TempWithoutSpace,
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("the name in network.listen cannot be resolved: {0}; use an address")]
    ListenName(#[source] io::Error),
    #[error(
        "the ticket is for network {ticket}, and this node is in {node}; leave out --network and \
        network.id, or ask for a ticket for that network"
    )]
    OtherNetwork { ticket: NetworkId, node: NetworkId },
    #[error("the tickets are for different networks; use those for one network at a time")]
    TicketsDiffer,
    #[error("--contact {contact}: {why}")]
    Contact {
        contact: String,
        why: p2panda::TicketContactError,
    },
    #[error(
        "no configuration directory is known for this user; name a file: `panda config init FILE`"
    )]
    NoConfigFile,
    #[error("{} already exists; --force replaces it", path.display())]
    ConfigExists { path: PathBuf },
    #[error("{} cannot be written: {source}; check its name and permissions", path.display())]
    WriteFile { path: PathBuf, source: io::Error },
    #[error(
        "there is no subject {subject}; `panda help` lists them, `panda COMMAND --help` explains a command"
    )]
    NoSubject { subject: String },
    #[error("there is no command `panda {command}`; `panda --help` lists them")]
    NoCommand { command: String },
    #[error("{} cannot be read: {source}; check its name and permissions", path.display())]
    ReadFile { path: PathBuf, source: io::Error },
    #[error(
        "the digits were not confirmed: no device is linked; `panda device link` makes another code"
    )]
    NotConfirmed,
    #[error("node.key: {}: {what}", path.display())]
    KeyFile { path: PathBuf, what: String },
    #[error("the two passphrases differ; nothing was written; run the command again")]
    PassphrasesDiffer,
    #[error(
        "there is no terminal to ask for the passphrase on; name a file with --passphrase-file FILE"
    )]
    NoPassphrase,
    #[error("{0}; choose another one")]
    Passphrase(#[source] p2panda::PassphraseError),
    #[error("{}: {what}", path.display())]
    PassphraseFile { path: PathBuf, what: String },
    #[error("{} is larger than {} MiB; split it", path.display(), bytes_max / (1024 * 1024))]
    FileTooLarge { path: PathBuf, bytes_max: usize },
    #[error("line {number} is longer than 16 MiB; the lines before it are published; split it")]
    LineTooLong { number: u64 },
    #[error(
        "line {number} is not UTF-8; the lines before it are published; publish other data with \
        -f FILE"
    )]
    LineNotText { number: u64 },
    #[error("standard input cannot be read: {0}; pass a file with -f FILE")]
    Stdin(#[source] io::Error),
    #[error("standard output cannot be written: {0}; check where it is redirected to")]
    Stdout(#[source] io::Error),
    #[error("signals cannot be received: {0}; run panda where signals are allowed")]
    Signals(#[source] io::Error),
    #[error("{0}; stop it first and run `panda compact` again")]
    CompactInUse(#[source] p2panda::Error),
    #[error(
        "{} holds no database yet; `panda id` makes one, or name the home directory of a node with --home DIR",
        home.display()
    )]
    NoDatabase { home: PathBuf },
    #[error("this build knows no keychain; name another source of node.at_rest")]
    NoKeychain,
    #[error(
        "there is no usual place for the secret; set XDG_STATE_HOME, or name a file with \"file:PATH\""
    )]
    NoStateDir,
    #[error("{0}; stop it first and run `panda node at-rest` again")]
    ResealInUse(#[source] p2panda::Error),
    #[error(
        "this home directory follows no space in topic {topic}; `panda space ls` lists spaces, \
        `panda space join` follows one"
    )]
    NoSpace { topic: p2panda::Topic },
    #[error(
        "this node knows no team {team}; `panda team ls` lists teams, `panda team create` makes one"
    )]
    NoTeam { team: p2panda::VerifyingKey },
    #[error("{id}: {why}; {next}")]
    NotHere {
        id: p2panda::VerifyingKey,
        why: &'static str,
        next: &'static str,
    },
    #[error("the space has no invite {invite}; `panda space invites` lists them")]
    NoSpaceInvite { invite: p2panda::VerifyingKey },
    #[error(
        "no operation with this id is here: {id}; it has not arrived, was pruned, or is too old"
    )]
    UnknownOperation { id: Hash },
    #[error("{}", node_line(.0))]
    Node(#[from] p2panda::Error),
    #[error("{}", node_line(.0))]
    Stopped(#[source] Arc<p2panda::Error>),
    #[error("no node answers at {at}: {why}; {next}", next = socket_step(why))]
    NoNode { at: String, why: String },
    #[error("the node at {at} does not answer; stop it, and start it again with `panda node run`")]
    Unanswered { at: String },
    #[error("a node with a URL needs a token in PANDA_TOKEN, or a context that has a key")]
    NoToken,
    #[error(
        "{flag} is for a node that the command opens itself, but one runs at {at}; leave {flag} \
        out, name another home with --home DIR, or stop that node"
    )]
    RunningNode { flag: &'static str, at: String },
    #[error("the measured process cannot be run: {0}; check the limits of this system")]
    Measured(#[source] io::Error),
    #[error(
        "a node runs already at {at}; commands use it; stop it first, or name another home with --home DIR"
    )]
    RunsAlready { at: String },
    #[error(
        "this home has keys of spaces ({spaces}), and a relay cannot read; give the relay a home of its own \
        with node.home, or choose another node.role"
    )]
    RelayWithKeys { spaces: usize },
    #[error("no node runs; start one with `panda node run`")]
    NothingRuns,
    #[error(
        "{} is in use by {holder}, which answers no commands; stop it, and start `panda node run`",
        home.display()
    )]
    AnswersNothing {
        home: PathBuf,
        holder: p2panda::Holder,
    },
    #[error(
        "{} is in use by {holder}: a node that starts or ends there; run the command again in a moment",
        home.display()
    )]
    Changes {
        home: PathBuf,
        holder: p2panda::Holder,
    },
    #[error(
        "the node has no address for HTTP; set rpc.listen, for instance to [\"127.0.0.1:7780\"], and start it again"
    )]
    NoHttp,
    #[error("standard output is not a terminal; `--json` prints lines, `panda status` prints once")]
    NoTerminal,
    #[error("`panda node run` starts a node; leave out --node, or use another command")]
    NodeOfItsOwn,
    #[error(
        "`panda {command}` works on a home directory; leave out --node, and name one with --home DIR"
    )]
    HomeOnly { command: &'static str },
    #[error("{}", spoken(.0))]
    Client(ClientError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// Methods that the node names in what to do next, and the commands for them; a longer name comes first.
const COMMANDS: [(&str, &str); 12] = [
    ("access.invites", "`panda node invites`"),
    ("topic.list", "`panda topic ls`"),
    ("topic.keep", "`panda topic keep`"),
    ("team.list", "`panda team ls`"),
    ("team.create", "`panda team create`"),
    ("space.list", "`panda space ls`"),
    ("space.join", "`panda space join`"),
    ("space.invites", "`panda space invites`"),
    ("space.invite", "`panda space invite`"),
    ("device.link", "`panda device link`"),
    ("device.accept", "`panda device accept`"),
    ("consumer.seek", "`panda consumer seek`"),
];

/// Returns what the node that runs says, with commands in place of methods.
fn spoken(error: &ClientError) -> String {
    let replace = |text: String, (method, command): &(&str, &str)| text.replace(method, command);
    COMMANDS.iter().fold(error.to_string(), replace)
}

/// Answers of a node about somebody who is not where a command looks, and the command that lists
/// those who are.
const NOT_HERE: [(&str, &str); 4] = [
    ("this was never a member", MEMBERS),
    ("this is no longer a member", MEMBERS),
    (
        "that person or device is not a member of the team",
        "`panda team ls` lists the members of teams",
    ),
    (
        "the key is not a device of this person",
        "`panda device ls` lists your devices",
    ),
];

const MEMBERS: &str = "`panda space members` lists the members of a space";

/// Errors of a running node read as if the command had opened the node itself.
impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        match &error {
            ClientError::Rpc(said) => match crate::remote::same(said) {
                Some(same) => Failure::Node(same),
                None => Failure::Client(error),
            },
            ClientError::Connection(_) => Failure::Node(p2panda::Error::Closed),
            _ => Failure::Client(error),
        }
    }
}

/// Fails if a subscription gave no more messages although it should have.
pub fn of_subscription(messages: &Subscription) -> Result<(), Failure> {
    match messages.ended() {
        Some(Ended::Failed(error)) => Err(Failure::Stopped(error)),
        _ => Ok(()),
    }
}

impl Failure {
    /// The failure of a command about somebody, which says who it is if it is not here.
    pub fn about(self, id: p2panda::VerifyingKey) -> Failure {
        let text = match &self {
            Failure::Node(error) => error.to_string(),
            Failure::Client(ClientError::Rpc(error)) => error.message.clone(),
            _ => return self,
        };
        match NOT_HERE.iter().find(|(why, _)| *why == text) {
            Some(&(why, next)) => Failure::NotHere { id, why, next },
            None => self,
        }
    }

    /// The documented exit code (`docs/guide/cli.md`).
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Demo(error) => error.exit_code(),
            Failure::Settings(SettingsError::Read { .. }) | Failure::WriteFile { .. } => 10,
            Failure::ListenName(_) => kind_code(ErrorKind::Network),
            Failure::Serve(error) => serve_code(error),
            Failure::NoNode { why, .. } if is_denied(why) => kind_code(ErrorKind::Denied),
            Failure::NoNode { .. } | Failure::Unanswered { .. } | Failure::NothingRuns => {
                kind_code(ErrorKind::Closed)
            }
            Failure::Client(error) => rpc_code(error.code()),
            Failure::Context(ContextError::File { .. }) => 10,
            Failure::Context(ContextError::Unknown { .. }) => 23,
            Failure::Context(_) => 2,
            Failure::NoHttp | Failure::NoTerminal => 2,
            Failure::RunsAlready { .. }
            | Failure::AnswersNothing { .. }
            | Failure::Changes { .. } => kind_code(ErrorKind::Locked),
            Failure::NoToken
            | Failure::NodeOfItsOwn
            | Failure::HomeOnly { .. }
            | Failure::RelayWithKeys { .. }
            | Failure::RunningNode { .. } => 2,
            Failure::TempAndHome
            | Failure::RepublishAlone
            | Failure::TempWithoutSpace
            | Failure::PassphraseFile { .. }
            | Failure::KeyFile { .. }
            | Failure::PassphrasesDiffer
            | Failure::NoPassphrase
            | Failure::Passphrase(_)
            | Failure::NotConfirmed
            | Failure::NoHome
            | Failure::Settings(_)
            | Failure::OtherNetwork { .. }
            | Failure::TicketsDiffer
            | Failure::Contact { .. }
            | Failure::NoConfigFile
            | Failure::ConfigExists { .. }
            | Failure::NoSubject { .. }
            | Failure::NoCommand { .. }
            | Failure::LineNotText { .. }
            | Failure::Parse(_)
            | Failure::Node(p2panda::Error::DeviceLink(_)) => 2,
            Failure::FileTooLarge { .. } | Failure::LineTooLong { .. } => {
                kind_code(ErrorKind::Limit)
            }
            Failure::UnknownOperation { .. }
            | Failure::NoDatabase { .. }
            | Failure::NoSpace { .. }
            | Failure::NoTeam { .. }
            | Failure::NotHere { .. }
            | Failure::NoSpaceInvite { .. }
            | Failure::Node(
                p2panda::Error::Consumer(ConsumerError::Unknown | ConsumerError::UnknownDeadLetter)
                | p2panda::Error::View(ViewError::Unknown),
            ) => 23,
            Failure::Node(error) | Failure::CompactInUse(error) | Failure::ResealInUse(error) => {
                kind_code(error.kind())
            }
            Failure::Stopped(error) => kind_code(error.kind()),
            Failure::MakeHome { source, .. } => kind_code(p2panda::Error::kind_of_io(source)),
            Failure::NoKeychain | Failure::NoStateDir => kind_code(ErrorKind::Sealed),
            Failure::ReadFile { .. }
            | Failure::Stdin(_)
            | Failure::Measured(_)
            | Failure::Stdout(_)
            | Failure::Signals(_) => 10,
        }
    }
}

impl Failure {
    /// Returns `true` if another process holds the home directory.
    pub fn is_locked(&self) -> bool {
        match self {
            Failure::Node(error) => error.kind() == ErrorKind::Locked,
            failure => matches!(failure, Failure::Changes { .. }),
        }
    }

    /// Returns `true` if a node answered that it ends.
    #[cfg(unix)]
    pub fn is_closed(&self) -> bool {
        matches!(self, Failure::Client(error) if error.code() == Code::Closed)
    }
}

impl Outcome {
    /// The documented exit code (`docs/guide/cli.md`).
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Outcome::Done => 0,
            Outcome::StoredOnly => 3,
            Outcome::Interrupted => INTERRUPTED,
            Outcome::Unwell => 24,
        })
    }
}

/// Exit code of a command that a signal stopped: 128 + SIGINT, as shells count.
pub const INTERRUPTED: u8 = 130;

/// The exit code of an error of the node that runs.
fn rpc_code(code: Code) -> u8 {
    kind_code(match code {
        Code::UnknownConsumer | Code::NotFound => return 23,
        Code::Restored => ErrorKind::Restored,
        Code::TooLarge | Code::Limit | Code::Quota => ErrorKind::Limit,
        Code::Closed | Code::TakenOver => ErrorKind::Closed,
        Code::Storage => ErrorKind::Full,
        Code::Unauthenticated | Code::Forbidden => ErrorKind::Denied,
        Code::Version => ErrorKind::Newer,
        Code::Internal | Code::Other => ErrorKind::Unexpected,
        _ => ErrorKind::Invalid,
    })
}

fn serve_code(error: &ServeError) -> u8 {
    match error {
        ServeError::Start(StartError::Tcp { .. }) => kind_code(ErrorKind::Network),
        ServeError::Start(StartError::NotLoopback(_)) => 2,
        ServeError::Tokens(TokensError::Line { .. } | TokensError::Readable { .. }) => 2,
        ServeError::Start(_)
        | ServeError::Tokens(_)
        | ServeError::Socket(_)
        | ServeError::Activated(_) => 10,
    }
}

/// The exit code of a kind of error of the node.
fn kind_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Locked => 4,
        ErrorKind::Restored => 5,
        ErrorKind::Invalid => 6,
        ErrorKind::Limit => 7,
        ErrorKind::Corrupt => 8,
        ErrorKind::Closed => 9,
        ErrorKind::Io => 10,
        ErrorKind::Network => 11,
        ErrorKind::Busy => 12,
        ErrorKind::Full => 13,
        ErrorKind::Gone => 14,
        ErrorKind::ReadOnly => 15,
        ErrorKind::Denied => 16,
        ErrorKind::TooManyFiles => 17,
        ErrorKind::PathTooLong => 18,
        ErrorKind::KeyMissing => 19,
        ErrorKind::StateDir => 20,
        ErrorKind::Newer => 21,
        ErrorKind::Unexpected => 22,
        ErrorKind::Sealed => 25,
        ErrorKind::NotYet => 26,
        _ => 1,
    }
}

/// Returns `true` if a socket is there, and this user may not open it: systems say so in these
/// words.
fn is_denied(why: &str) -> bool {
    why.contains("Permission denied")
}

/// Advice where no node answers.
fn socket_step(why: &str) -> &'static str {
    match is_denied(why) {
        true => "join the group of the socket, or run the command as its owner",
        false => "start one with `panda node run`",
    }
}

/// An error of the node and what to do about it.
fn node_line(error: &p2panda::Error) -> String {
    let next = match error {
        p2panda::Error::Publish(PublishError::Restored) => {
            return "the home directory is an older copy and must not publish: --restored \
            pull-own-log fetches from peers what is missing, --restored new-identity keeps the \
            data under a new key"
                .to_owned();
        }
        p2panda::Error::Publish(PublishError::PullingOwnLog) => {
            "stay online with a peer that has them, for example with `panda sub`, and try again"
        }
        p2panda::Error::Publish(PublishError::OwnFork { held }) => return forked_line(*held),
        p2panda::Error::Publish(error) if error_step(error).is_some() => {
            error_step(error).unwrap_or_default()
        }
        p2panda::Error::Open(error) if open_step(error.kind()).is_some() => {
            open_step(error.kind()).unwrap_or_default()
        }
        error if own_step(error).is_some() => own_step(error).unwrap_or_default(),
        p2panda::Error::View(ViewError::Unknown) => "`panda view ls` lists them",
        p2panda::Error::Consumer(ConsumerError::NoTopics) => "name one with --topic",
        p2panda::Error::Consumer(ConsumerError::Unknown) => "`panda consumer ls` lists them",
        // They say themselves what is wrong with what was asked for; the home directory is whole.
        p2panda::Error::Consumer(_) if error.kind() == ErrorKind::Invalid => {
            return error.to_string();
        }
        p2panda::Error::Space(_)
        | p2panda::Error::View(_)
        | p2panda::Error::DeviceLink(_)
        | p2panda::Error::Recovery(_)
        | p2panda::Error::NoInvite
        | p2panda::Error::OtherNetwork => return error.to_string(),
        error => next_step(error.kind()),
    };
    format!("{error}; {next}")
}

/// That a copy of the home directory has published as well, and what to do about it.
fn forked_line(held: bool) -> String {
    let (holds, pull) = match held {
        true => (" and others hold both,", ""),
        false => (
            "",
            "--restored pull-own-log continues after what the other copy published, ",
        ),
    };
    format!(
        "a copy of the home directory has published to this topic as well,{holds} so nothing \
        more can be published here: use only one of the copies; {pull}--restored new-identity \
        continues under a new key; add --republish to publish again what only this one has"
    )
}

/// Advice about an error whose kind says too little: the home directory is whole.
fn own_step(error: &p2panda::Error) -> Option<&'static str> {
    Some(match error {
        p2panda::Error::OwnKey => "the message is stored, and goes to peers all the same",
        p2panda::Error::ReceiptLogs => "the message is stored; run the command again to ask for it",
        p2panda::Error::NotKept(_) => {
            "they take it by themselves when they have room; or name another peer with --bootstrap ID@ADDR"
        }
        p2panda::Error::Encode(_) | p2panda::Error::Ephemeral(EphemeralError::Body) => {
            "publish text, or other data with -f FILE"
        }
        p2panda::Error::Ephemeral(EphemeralError::Closed) => next_step(ErrorKind::Closed),
        p2panda::Error::LogName(_) => "choose another name",
        p2panda::Error::Consumer(ConsumerError::Limit(_)) => "use less of it, or several consumers",
        _ => return None,
    })
}

/// Advice about a publish that its kind does not give.
fn error_step(error: &PublishError) -> Option<&'static str> {
    Some(match error {
        PublishError::Unhealed => {
            "somebody who was removed may still have the newest secret: `panda space rotate` makes another \
            one, and so does this node by itself once it knows all members; run it again then"
        }
        PublishError::Sealed => {
            "`panda space members` shows the roles; an owner gives this node that of an editor"
        }
        PublishError::Ended => "`panda space create` makes another one; add its members there",
        PublishError::Held => {
            "stay online with that peer, for example with `panda sub`, and run it again"
        }
        PublishError::EmptyBody => "publish at least a byte",
        PublishError::KeyTaken { .. } => "choose another idempotency key",
        PublishError::UnknownParent { .. } => {
            "fetch it with `panda sync`, or name other messages that it follows"
        }
        PublishError::SeqNumExhausted => "publish to another topic",
        PublishError::TooManyParents { .. } => "name fewer messages that it follows",
        _ => return None,
    })
}

/// Advice about a home directory that cannot be opened, if its kind does not give it.
fn open_step(kind: &OpenErrorKind) -> Option<&'static str> {
    Some(match kind {
        OpenErrorKind::NoMemory => "end other programs, or raise the memory limit of this one",
        OpenErrorKind::KeyTwice { .. } => {
            "move node.key out of the home directory, or leave node.key out of the configuration"
        }
        OpenErrorKind::KeyElsewhere { .. } => "name a new key with node.key in the configuration",
        _ => return None,
    })
}

/// Advice about a kind of error.
fn next_step(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Locked => {
            "the process that uses it answers no commands, unlike `panda node run`; stop it, or give \
            this one a home of its own with --home DIR, or a throw-away identity with --temp"
        }
        ErrorKind::Limit => "split the message, or publish less at once",
        ErrorKind::Corrupt => {
            "keep a copy of the directory, then restore it from a backup, or start over with --home DIR"
        }
        ErrorKind::Closed => "run the command again",
        ErrorKind::Io => "check the disk and run it again; what was confirmed is stored",
        ErrorKind::Busy => {
            "end the program that holds the database, such as a backup or a database shell, and \
            run it again; nothing is lost"
        }
        ErrorKind::Full => "make room on the disk and run it again; nothing is lost",
        ErrorKind::Gone => {
            "put the files back where they were, or choose another directory with --home DIR"
        }
        ErrorKind::ReadOnly => {
            "make the file system writable, or choose another directory with --home DIR"
        }
        ErrorKind::Denied => "run it as the owner of the files, or change their permissions",
        ErrorKind::TooManyFiles => "raise the limit with `ulimit -n`, or close other programs",
        ErrorKind::PathTooLong => "choose a directory with a shorter path with --home DIR",
        ErrorKind::KeyMissing => {
            "put node.key back from the same copy, name its file in node.key, or keep the data under a new key with \
            --restored new-identity"
        }
        ErrorKind::StateDir => {
            "make it writable, or name another state directory with XDG_STATE_HOME; it holds the \
            file that detects a copied home"
        }
        ErrorKind::Sealed => {
            "name what opens it: node.at_rest in the configuration, or PANDA_NODE_AT_REST; \
            unlock a keychain first, and copy a missing file from where the home was made"
        }
        ErrorKind::Newer => "run the version that wrote it, or a newer one",
        ErrorKind::Unexpected => {
            "run it again with RUST_LOG=p2panda=debug, and report what it says"
        }
        ErrorKind::Network => "choose another address with --listen ADDR:PORT, or leave it out",
        ErrorKind::NotYet => "run it again later",
        // Of an open alone: every other error says what was wrong, or has advice of its own.
        _ => "choose another directory with --home DIR, or repair this one",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_says_names_commands() {
        let said = |hint: &str| {
            let error = p2panda_rpc::api::RpcError::new(Code::NotFound, "there is none");
            Failure::from(ClientError::Rpc(error.hint(hint))).to_string()
        };
        assert_eq!(
            said("access.invites lists them"),
            "there is none; `panda node invites` lists them"
        );
        assert_eq!(
            said("space.invite makes one of space.invites"),
            "there is none; `panda space invite` makes one of `panda space invites`"
        );
    }

    #[test]
    fn only_a_home_that_does_not_open_is_to_be_replaced() {
        let publish = [
            PublishError::EmptyBody,
            PublishError::KeyTaken { id: None },
            PublishError::UnknownParent {
                id: Hash::digest(b""),
            },
        ];
        let ephemeral = [EphemeralError::Body, EphemeralError::Closed];
        let consumer = [ConsumerError::Limit("topics"), ConsumerError::InvalidName];
        let view = [ViewError::InvalidName, ViewError::Limit, ViewError::Runs];
        let errors = publish.into_iter().map(p2panda::Error::from);
        let errors = errors.chain(ephemeral.into_iter().map(p2panda::Error::from));
        let errors = errors.chain(consumer.into_iter().map(p2panda::Error::from));
        let errors = errors.chain(view.into_iter().map(p2panda::Error::from));
        let errors = errors.chain([p2panda::Error::OwnKey, p2panda::Error::ReceiptLogs]);
        for error in errors {
            let line = node_line(&error);
            assert!(!line.contains("another directory"), "{line}");
            assert!(!line.contains("split the message"), "{line}");
        }
        assert_eq!(
            node_line(&p2panda::Error::OwnKey),
            "peers are asked for no receipts in a space with a key of its own; the message is stored, and \
            goes to peers all the same"
        );
    }

    #[test]
    fn every_kind_of_error_has_an_exit_code_of_its_own() {
        let kinds = [
            ErrorKind::Locked,
            ErrorKind::Restored,
            ErrorKind::Invalid,
            ErrorKind::Limit,
            ErrorKind::Corrupt,
            ErrorKind::Closed,
            ErrorKind::Io,
            ErrorKind::Network,
            ErrorKind::Busy,
            ErrorKind::Full,
            ErrorKind::Gone,
            ErrorKind::ReadOnly,
            ErrorKind::Denied,
            ErrorKind::TooManyFiles,
            ErrorKind::PathTooLong,
            ErrorKind::KeyMissing,
            ErrorKind::StateDir,
            ErrorKind::Newer,
            ErrorKind::Unexpected,
            ErrorKind::Sealed,
            ErrorKind::NotYet,
        ];
        let codes: std::collections::BTreeSet<u8> = kinds.into_iter().map(kind_code).collect();
        assert_eq!(codes.len(), kinds.len());
        assert!(
            [0, 1, 2, 3, INTERRUPTED]
                .iter()
                .all(|code| !codes.contains(code))
        );
    }
}
