//! The configuration as it is written. The comments here are those of the file that
//! `panda config init` makes, and of the JSON Schema.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use toml::Table;

/// Settings of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The node itself.
    pub node: NodeSection,
    /// How it connects to others.
    pub network: NetworkSection,
    /// Topics that it stores and serves.
    pub topics: TopicsSection,
    /// Where `panda node run` answers programs and other commands.
    pub rpc: RpcSection,
    /// Who has access over TCP. Read again with SIGHUP.
    pub access: AccessSection,
    /// How much of other authors the node keeps on its disk. What is above is refused; nothing that is
    /// kept is deleted.
    pub quota: QuotaSection,
    /// For how long the node keeps the content of other authors. Headers, its own messages and the
    /// membership of spaces stay.
    pub retention: RetentionSection,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionSection {
    /// Days after which content is deleted, in every topic that is not in retention.topics: up to 3650. 0: never.
    pub days: f64,
    /// Topics that have other ages: TOPIC DAYS. 0: never.
    #[schemars(example = ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a 30"])]
    pub topics: Vec<String>,
    /// Delete also what consumers of this node have not read yet, and views have not applied.
    pub unread: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaSection {
    /// Of everything, in MiB; 0: no limit. If not set: 10240 for a node that is always on or a relay, no
    /// limit for a personal one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 10240)]
    pub total_mib: Option<u64>,
    /// Of each topic; if not set, 1024 or no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1024)]
    pub topic_mib: Option<u64>,
    /// Of each author, in all topics together; if not set, 256 or no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 256)]
    pub author_mib: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSection {
    /// Directory of key and database; if not set, `panda` in the XDG data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/var/lib/panda")]
    pub home: Option<String>,
    /// File of the signing key, 64 hexadecimal digits, that only its owner may read: a credential of the
    /// service manager. If not set, node.key in the home. With it the home holds no key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/etc/panda/node.key")]
    pub key: Option<String>,
    /// What the node is for: "personal"; "always-on", which holds up to 512 MiB for other nodes at
    /// once instead of 64 unless network.budget_mib says otherwise, has quotas and needs topics.keep; or
    /// "relay", the same for a node that only keeps and forwards: it publishes nothing and joins no space.
    pub role: String,
    /// Largest message to accept from others, in MiB with its header: 1 to 128.
    pub operation_mib: u32,
    /// What opens the keys and spaces that are sealed in the database: "keychain" (that of the system), "file"
    /// (a secret in p2panda/at-rest of the XDG state directory), "file:PATH" (the same there; keep it out of home
    /// and backups), "passphrase:PATH" (the first line of that file, which its owner alone may read), or
    /// "key-file" (anyone with the whole home directory). "auto": what opens it so far; while nothing is sealed,
    /// the keychain if it answers within 2 s, otherwise "file".
    pub at_rest: String,
    /// What opened them so far, in the same form: set it for one start to change node.at_rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "key-file")]
    pub at_rest_before: Option<String>,
    /// Seal the plaintext of messages of encrypted spaces in the database as well, under the same key.
    pub seal_messages: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSection {
    /// A separate network, 64 hexadecimal digits; if not set, the default one. Nodes of different
    /// networks never connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "7777777777777777777777777777777777777777777777777777777777777777")]
    pub id: Option<String>,
    /// Where to accept connections: ADDR:PORT or NAME:PORT, at most one of IPv4 and one of IPv6.
    /// Empty: all addresses, a free port.
    #[schemars(example = ["0.0.0.0:2022", "[::]:2022"])]
    pub listen: Vec<String>,
    /// Bootstrap nodes: ID@ADDR:PORT or ID@NAME:PORT, as `panda id --addr` prints them there.
    #[schemars(example = ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a@node.example.org:2022"])]
    pub peers: Vec<String>,
    /// URLs of iroh relays to be reachable through.
    #[schemars(example = ["https://relay.example.org"])]
    pub relays: Vec<String>,
    /// Multicast DNS on the local networks: "active", "listen" (look for others, stay hidden) or "off".
    pub mdns: String,
    /// Defaults for a link of a few kbit/s: long waits, small packets, few sessions.
    pub low_bandwidth: bool,
    /// Memory that all other nodes together may use here, in MiB: 1 to 65536. 0: 64, or 512 for a node
    /// that is always on.
    pub budget_mib: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopicsSection {
    /// Topics to store and serve while `panda node run` runs, even without a reader: 64
    /// hexadecimal digits or a ticket, `panda:...`. Anyone who can read this file can read these
    /// topics.
    #[schemars(example = ["panda:..."])]
    pub keep: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RpcSection {
    /// Path of the Unix socket, or "off"; if not set, in the runtime directory of the user, named
    /// by a hash of the home, or in the home. Anyone who can open it may do everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/run/panda/rpc.sock")]
    pub socket: Option<String>,
    /// Mode of its file: "0600", or "0660" for a group.
    pub socket_mode: String,
    /// Addresses for HTTP and WebSockets: ADDR:PORT of this machine. Requests need a credential.
    #[schemars(example = ["127.0.0.1:7780"])]
    pub listen: Vec<String>,
    /// Allow addresses in rpc.listen and rpc.metrics that other machines can reach. A proxy
    /// provides TLS.
    pub public: bool,
    /// Addresses for only /metrics, /healthz and /readyz, without a credential.
    #[schemars(example = ["127.0.0.1:9780"])]
    pub metrics: Vec<String>,
    /// Addresses for the chat at /demo, of which none is in rpc.listen. Its origin belongs into access.origins.
    #[schemars(example = ["127.0.0.1:7781"])]
    pub demo: Vec<String>,
    /// Folder of the built chat, examples/chat/dist of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/usr/share/panda/demo")]
    pub demo_dir: Option<String>,
    /// Where its pages find rpc.listen, such as wss://node.example.org/rpc behind a proxy; if not set, at its
    /// first address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "wss://node.example.org/rpc")]
    pub demo_node: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSection {
    /// File of tokens that only its owner may read, one per line: NAME SCOPES TOKEN, followed by
    /// topics to limit it to them. Scopes: read, publish-as-node, relay, space:read,
    /// space:admin, admin, joined by +.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/etc/panda/tokens")]
    pub tokens: Option<String>,
    /// Ed25519 keys of clients, in the same form: NAME SCOPES KEY, followed by topics.
    #[schemars(example = ["bob read+relay d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"])]
    pub keys: Vec<String>,
    /// What an unlisted key may do: "closed" (nothing), "invite" (what the invite allows by which it
    /// came: `panda node invite`), "open" (read and relay in access.open_topics), or "rooms" (the same in every topic that it names, which the node
    /// keeps from then on).
    pub unknown_keys: String,
    /// With "rooms": topics that the node keeps, 1 to 1000; once it keeps that many, unlisted keys
    /// add no more.
    pub rooms_max: usize,
    /// Topics for unlisted keys: 64 hexadecimal digits or a ticket.
    #[schemars(example = ["panda:..."])]
    pub open_topics: Vec<String>,
    /// Host names that requests may name, in addition to localhost and addresses: the name of the
    /// proxy.
    #[schemars(example = ["node.example.org"])]
    pub hosts: Vec<String>,
    /// Origins of web pages that have access.
    #[schemars(example = ["https://app.example.org"])]
    pub origins: Vec<String>,
    /// Answer /metrics and the reasons of /readyz on rpc.listen without a credential.
    pub metrics_open: bool,
}

impl Default for RpcSection {
    fn default() -> Self {
        Self {
            socket: None,
            socket_mode: "0600".to_owned(),
            listen: Vec::new(),
            public: false,
            metrics: Vec::new(),
            demo: Vec::new(),
            demo_dir: None,
            demo_node: None,
        }
    }
}

impl Default for AccessSection {
    fn default() -> Self {
        Self {
            tokens: None,
            keys: Vec::new(),
            unknown_keys: "closed".to_owned(),
            rooms_max: 100,
            open_topics: Vec::new(),
            hosts: Vec::new(),
            origins: Vec::new(),
            metrics_open: false,
        }
    }
}

impl Default for NodeSection {
    fn default() -> Self {
        Self {
            home: None,
            key: None,
            role: "personal".to_owned(),
            operation_mib: 16,
            at_rest: "auto".to_owned(),
            at_rest_before: None,
            seal_messages: false,
        }
    }
}

impl Default for NetworkSection {
    fn default() -> Self {
        Self {
            id: None,
            listen: Vec::new(),
            peers: Vec::new(),
            relays: Vec::new(),
            mdns: "active".to_owned(),
            low_bandwidth: false,
            budget_mib: 0,
        }
    }
}

impl Config {
    /// The settings of a table; else the key that has a value of another type, and what is wrong.
    pub fn try_from(table: Table) -> Result<Config, (String, String)> {
        // One key at a time, to know which one it is.
        for (section, keys) in &table {
            for (key, value) in keys.as_table().into_iter().flatten() {
                let mut of_key = Table::new();
                of_key.insert(key.clone(), value.clone());
                let mut alone = Table::new();
                alone.insert(section.clone(), of_key.into());
                let key = format!("{section}.{key}");
                if let Err(error) = Config::deserialize(alone) {
                    let what = format!("{key}: {}", error.message());
                    return Err((key, what));
                }
            }
        }
        let config = Config::deserialize(table);
        config.map_err(|error| (String::new(), error.message().to_owned()))
    }
}

/// The JSON Schema of the configuration.
pub fn schema() -> Schema {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<Config>();
    schema.insert("title".to_owned(), Json::from("Configuration of panda"));
    schema
}

/// A key of the configuration.
pub struct Key {
    /// For example `network`.
    pub section: String,
    /// For example `listen`.
    pub name: String,
    /// Topics that it stores and serves.
    pub about: String,
    /// The default as TOML, or an example of what has none.
    pub value: String,
    /// Whether `value` is the default.
    #[cfg(test)]
    pub is_default: bool,
}

impl Key {
    /// For example `network.listen`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

/// All keys, in the order of the schema, section by section.
pub fn keys() -> Vec<Key> {
    let schema = schema();
    let defaults = Table::try_from(Config::default()).unwrap_or_default();
    let mut all = Vec::new();
    for (section, of) in members(schema.get("properties")) {
        let name = of.get("$ref").and_then(Json::as_str).unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        let of = schema.get("$defs").and_then(|all| all.get(name));
        for (name, key) in members(of.and_then(|of| of.get("properties"))) {
            let default = defaults.get(section).and_then(|of| of.get(name));
            all.push(Key {
                section: section.clone(),
                name: name.clone(),
                about: text(key, "description"),
                value: default
                    .map_or_else(|| example(key).unwrap_or_default(), ToString::to_string),
                #[cfg(test)]
                is_default: default.is_some(),
            });
        }
    }
    all
}

fn members(of: Option<&Json>) -> impl Iterator<Item = (&String, &Json)> {
    of.and_then(Json::as_object).into_iter().flatten()
}

fn text(of: &Json, name: &str) -> String {
    let text = of.get(name).and_then(Json::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn example(key: &Json) -> Option<String> {
    let example = key.get("examples")?.get(0)?;
    // Strings and arrays of strings are written alike in JSON and TOML.
    Some(example.to_string())
}

/// Returns the purpose of a section.
pub fn about(section: &str) -> String {
    let schema = schema();
    let properties = schema.get("properties");
    let section = properties.and_then(|all| all.get(section));
    section
        .map(|of| text(of, "description"))
        .unwrap_or_default()
}
