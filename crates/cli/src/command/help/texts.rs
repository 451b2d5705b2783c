//! The longer subjects of `panda help`.

pub const SPACES: &str = "\
A space is a topic whose content only its members can read. Members have roles: courier (stores and
forwards, without keys), reader, editor, owner.

  SPACE=$(panda space create \"our club\")         you are its owner
  panda space invite $SPACE --uses 3             a ticket; stay online with `panda node run`
  panda space join panda:...                     on the other machine
  date | panda space publish $SPACE              only members read it
  panda space watch $SPACE                       messages, and changes of members
  panda space members $SPACE
  panda space remove $SPACE ID                   also makes a new secret for later messages
  TEAM=$(panda team create \"night shift\")        people who are one member of spaces
  panda team add $TEAM ID                        all spaces of the team follow
  panda space add $SPACE $TEAM                   add it like a node

A space is end-to-end encrypted. Other nodes that keep its topic store and forward what they cannot read.";

pub const DEVICES: &str = "\
Each home directory has its own key. Link two of them, and spaces treat them as one person:

  panda device link                    on the first device: prints a code, valid once, for 10 minutes
  panda device accept CODE             on the second; compare the digits that both show
  panda device ls
  panda device revoke ID               a lost device, in all spaces
  panda device export FILE             a recovery file, in case you lose all devices

Do not copy a home directory to a second machine: see `panda help restored`.";

pub const CONSUMERS: &str = "\
A consumer is a named position in topics that the node remembers. A message that its reader does not
acknowledge is delivered again; one that fails too often becomes a dead letter.

  panda consumer next printer --topic $TOPIC --json      the next message, or wait for it
  panda consumer ack printer $TOPIC OFFSET               mark it as handled
  panda consumer info printer                            what is not handled yet
  panda consumer dead ls printer                         messages that failed too often
  panda consumer dead redrive printer                    try them again
  panda consumer seek printer start                      read everything again

`panda sub` has one position per topic, and acknowledges what it has printed.";

pub const PROGRAMS: &str = "\
A running node answers programs: JSON-RPC 2.0 on its Unix socket, on a WebSocket and on `POST /rpc`,
and plain HTTP for reading. docs/protocol/rpc.md has all methods, docs/guide/programs.md examples in
Python, Rust and with curl.

  panda node run                                         prints its addresses
  cat \"$HOME/.local/share/panda/rpc.path\"                the path of its Unix socket

On the socket, write a request per line and read an answer per line:

  {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"node.status\"}

Over TCP a program needs an address in rpc.listen and a credential: see `panda help access`.";

pub const ACCESS: &str = "\
A program that can open the Unix socket may do everything; its file mode is 0600. Over TCP every
request needs a credential, also on this machine:

  a token    a line NAME SCOPES TOKEN in the file access.tokens, which only you may read
  a key      NAME SCOPES KEY in access.keys; the client proves its key
  an invite  admits unlisted keys, with access.unknown_keys = \"invite\":

  panda node invite $TOPIC --uses 5 --name friends       prints panda-access:...
  panda node invites                                     invites, and the keys they admitted
  panda node revoke friends                              ends the access of all its keys

Scopes: read, publish-as-node, relay, space:read, space:admin, admin. Topics after a token or a key
limit it to these topics. SIGHUP reloads all of this. A proxy provides TLS (docs/guide/programs.md).

  PANDA_TOKEN=... panda context add attic http://127.0.0.1:7780
  PANDA_INVITE=panda-access:... panda context add attic http://127.0.0.1:7780
  panda --node attic status";

pub const WATCH: &str = "\
These commands show whether a node is well:

  panda status            one screen: addresses, peers, what is behind and why
  panda events            events, line by line
  panda top               rates, every second
  panda doctor            common problems, and what to do
  panda trace ID          where one message is
  panda node ui           the address of the status page, with a ticket

For a monitor set rpc.metrics = [\"127.0.0.1:9780\"]: /healthz, /readyz and /metrics (Prometheus).
packaging/grafana has a dashboard. docs/guide/observe.md explains the numbers.";

pub const RESTORED: &str = "\
Two copies of a home directory must not publish: both would write the same log, and other nodes would
keep evidence of it. The node recognises an older copy, reads and fetches, and does not publish.

  panda sub $TOPIC --restored pull-own-log      fetch what is missing from peers, then continue
  panda sub $TOPIC --restored new-identity      keep the data, and publish under a new key
  --republish with either                       also publish again what only this copy has

Restore the home directory and leave the state directory (~/.local/state/p2panda) as it is: the file
in it is how an older copy is recognised.";

pub const SECURITY: &str = "\
Everybody who knows a topic can read it and publish to it: share it like a password. Your messages are
signed with the key of your home directory, and a signature cannot be taken back. Connections are
encrypted. Nodes do not send a topic to nodes that do not know it.

To share with some people only, and to remove them again, use a space: `panda help spaces`.

The home directory holds the key, in the file node.key with mode 0600. node.at_rest names the source of
the secret that opens spaces in the database. docs/guide/security.md says what each part protects
against, and what it does not.";
