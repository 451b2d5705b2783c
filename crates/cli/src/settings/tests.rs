#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use clap::Parser;

use super::*;
use crate::args::Cli;

const ID: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// Settings of a file, an environment and a command line.
fn load(text: &str, environment: &[(&str, &str)], args: &str) -> Result<Settings, SettingsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("panda.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let args = args.split_whitespace();
    let args = ["panda", "id", "--config", path].into_iter().chain(args);
    let environment = environment.iter();
    let environment = environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::of(&Cli::try_parse_from(args).unwrap().node, environment)
}

/// Returns the error text, without the directory of the file.
fn wrong(text: &str) -> String {
    let said = load(text, &[], "").unwrap_err().to_string();
    let at = said.find("panda.toml");
    said.get(at.unwrap()..).unwrap().to_owned()
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = "[network]\nmdns = \"listen\"\nbudget_mib = 5\nlow_bandwidth = true\n";
    let environment = [
        ("PANDA_NETWORK_MDNS", "active"),
        ("PANDA_NETWORK_BUDGET_MIB", "6"),
    ];
    let settings = load(file, &environment, "--no-mdns").unwrap();
    let origin = |key: &str| settings.origin(key).clone();
    assert_eq!(settings.config.network.mdns, "off");
    assert_eq!(origin("network.mdns"), Origin::Flag);
    assert_eq!(settings.config.network.budget_mib, 6);
    let name = "PANDA_NETWORK_BUDGET_MIB".to_owned();
    assert_eq!(origin("network.budget_mib"), Origin::Environment(name));
    assert!(settings.resolved.low_bandwidth);
    assert!(matches!(
        origin("network.low_bandwidth"),
        Origin::File { line: 4, .. }
    ));
    assert_eq!(settings.resolved.operation_mib, 16);
    assert_eq!(origin("node.operation_mib"), Origin::Default);
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest_key() {
    let line = "panda.toml:3: unknown key network.lisen; did you mean network.listen?";
    assert_eq!(wrong("# a\n[network]\nlisen = []\n"), line);
    let line = "panda.toml:1: unknown section netwrk; did you mean network?";
    assert_eq!(wrong("[netwrk]\nlisten = []\n"), line);
    let line = "panda.toml:2: unknown key node.listen; did you mean network.listen?";
    assert_eq!(wrong("[node]\nlisten = []\n"), line);
    for (section, key, near) in [
        ("rpc", "listn", "rpc.listen"),
        ("network", "listn", "network.listen"),
        ("access", "key", "access.keys"),
        ("rpc", "metrics_open", "access.metrics_open"),
        ("retention", "topic", "retention.topics"),
    ] {
        let line = format!("panda.toml:2: unknown key {section}.{key}; did you mean {near}?");
        assert_eq!(wrong(&format!("[{section}]\n{key} = 1\n")), line);
    }
    let line = "panda.toml:2: unknown key node.xyz; `panda config init -` prints all";
    assert_eq!(wrong("[node]\nxyz = 1\n"), line);
    let said = load("", &[("PANDA_NETWORK_LISTN", "x")], "").unwrap_err();
    let line = "PANDA_NETWORK_LISTN: unknown variable PANDA_NETWORK_LISTN; did you mean \
        PANDA_NETWORK_LISTEN?";
    assert_eq!(said.to_string(), line);
    assert!(load("", &[("PANDA_BEAR", "x"), ("PANDA", "x")], "").is_ok());
}

#[test]
fn content_is_kept_for_all_time_unless_an_age_is_set() {
    let retention = |text: &str| load(text, &[], "").map(|settings| settings.resolved.retention);
    assert!(!retention("").unwrap().is_any());
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let topic = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let set = format!("[retention]\ndays = 30\ntopics = [\"{topic} 0.5\"]\nunread = true\n");
    let set = retention(&set).unwrap();
    assert_eq!(set.age, Some(day * 30));
    let topic: p2panda::Topic = topic.parse().unwrap();
    assert_eq!(set.topics[&topic], Some(day / 2));
    assert!(set.unread);
    for wrong in [
        "days = -1",
        "days = 3651",
        "topics = [\"x 1\"]",
        "topics = [\"1\"]",
    ] {
        assert!(
            retention(&format!("[retention]\n{wrong}\n")).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn a_node_for_others_has_quotas_and_a_personal_one_has_none() {
    let keep = format!("[topics]\nkeep = [\"{ID}\"]\n");
    let quotas = |text: &str| {
        let quotas = load(&format!("{text}{keep}"), &[], "")
            .unwrap()
            .resolved
            .quotas;
        [quotas.total, quotas.topic, quotas.author]
    };
    let mib = |mib: u64| Some(mib * 1_024 * 1_024);
    assert_eq!(quotas(""), [None; 3]);
    for role in ["always-on", "relay"] {
        let role = format!("[node]\nrole = \"{role}\"\n");
        assert_eq!(quotas(&role), [mib(10_240), mib(1_024), mib(256)]);
        let set = format!("{role}[quota]\ntotal_mib = 0\nauthor_mib = 1\n");
        assert_eq!(quotas(&set), [None, mib(1_024), mib(1)]);
    }
    assert_eq!(quotas("[quota]\ntopic_mib = 7\n"), [None, mib(7), None]);
    assert!(wrong("[quota]\ntotal_gib = 10\n").starts_with("panda.toml:2: "));
}

#[test]
fn a_wrong_value_is_an_error_with_its_line() {
    for (text, line, what) in [
        (
            "[node]\nrole = 7\n",
            2,
            "node.role: invalid type: integer `7`, expected a string",
        ),
        (
            "[node]\nrole = \"big\"\n",
            2,
            "node.role is \"personal\", \"always-on\" or \"relay\"",
        ),
        ("[node]\n\nrole = \"always-on\"\n", 3, "needs topics"),
        (
            "[node]\noperation_mib = 0\n",
            2,
            "node.operation_mib is 1 to 128",
        ),
        (
            "[node]\noperation_mib = 129\n",
            2,
            "node.operation_mib is 1 to 128",
        ),
        (
            "[network]\nbudget_mib = 65537\n",
            2,
            "network.budget_mib is 0 to 65536",
        ),
        (
            "[network]\nbudget_mib = -1\n",
            2,
            "network.budget_mib: invalid value",
        ),
        (
            "[network]\nid = \"7\"\n",
            2,
            "a network is 64 hexadecimal digits",
        ),
        ("[network]\nmdns = \"on\"\n", 2, "network.mdns is"),
        (
            "[network]\nlisten = [\"localhost\"]\n",
            2,
            "network.listen, item 1: expected ADDR:PORT",
        ),
        (
            "[network]\nlisten = [\"0.0.0.0:1\", \"127.0.0.1:1\"]\n",
            2,
            "one address of IPv4",
        ),
        (
            "[network]\npeers = [\"nobody\"]\n",
            2,
            "network.peers, item 1: expected ID@ADDR",
        ),
        (
            "[network]\nrelays = [\"relay\"]\n",
            2,
            "network.relays, item 1: a relay is",
        ),
        (
            "[topics]\nkeep = [\"panda:aea\"]\n",
            2,
            "topics.keep, item 1: ",
        ),
        ("[rpc]\nsocket = \"here\"\n", 2, "a path from / on"),
        ("[rpc]\nsocket_mode = \"0666\"\n", 2, "rpc.socket_mode is"),
        ("[rpc]\nlisten = [\"7780\"]\n", 2, "expected ADDR:PORT"),
        (
            "[rpc]\nlisten = [\"0.0.0.0:7780\"]\n",
            2,
            "other machines reach this address",
        ),
        (
            "[rpc]\n\ndemo = [\"127.0.0.1:8000\"]\n",
            3,
            "rpc.demo needs rpc.demo_dir",
        ),
        ("[access]\nkeys = [\"bob read\"]\n", 2, "expected NAME"),
        (
            "[access]\nhosts = [\"x.example:8443\"]\n",
            2,
            "access.hosts, item 1: x.example:8443 is not a host name",
        ),
        (
            "[access]\norigins = [\"null\", \"https://p.example/app\"]\n",
            2,
            "access.origins, item 2: https://p.example/app is not an origin",
        ),
        ("[access]\nunknown_keys = \"any\"\n", 2, "is \"closed\""),
        ("[access]\nunknown_keys = \"open\"\n", 2, "needs topics"),
        ("[access]\nrooms_max = 0\n", 2, "1 to 1000"),
        ("[access]\nrooms_max = 1001\n", 2, "1 to 1000"),
        ("node = 7\n", 1, "node is a section"),
        ("[node\n", 1, ""),
        ("[node]\nrole = \"a\"\nrole = \"b\"\n", 3, ""),
    ] {
        let said = wrong(text);
        assert!(
            said.starts_with(&format!("panda.toml:{line}: ")),
            "{text}: {said}"
        );
        assert!(said.contains(what), "{text}: {said}");
        assert!(!said.contains('\n'), "{said}");
    }
}

#[test]
fn numbers_are_taken_up_to_their_limits() {
    for text in [
        "[node]\noperation_mib = 1\n",
        "[node]\noperation_mib = 128\n",
        "[network]\nbudget_mib = 65536\n",
        "[access]\nunknown_keys = \"rooms\"\nrooms_max = 1000\n",
        "[rpc]\npublic = true\nlisten = [\"0.0.0.0:7780\"]\nsocket = \"off\"\n",
    ] {
        assert!(load(text, &[], "").is_ok(), "{text}");
    }
}

#[test]
fn lists_in_the_environment_are_separated_by_commas() {
    let peers = format!("{ID}@192.0.2.7:2022, {ID}@node.example.org:9");
    let environment = [
        ("PANDA_NETWORK_PEERS", &*peers),
        ("PANDA_NETWORK_LISTEN", "[::1]:0"),
    ];
    let settings = load("", &environment, "").unwrap().resolved;
    assert_eq!(settings.peers.len(), 2);
    assert!(!settings.listen.has_port());
    let (v4, v6) = settings.listen.sockets().unwrap();
    assert_eq!((v4, v6), (None, Some("[::1]:0".parse().unwrap())));
}

#[test]
fn a_node_that_is_always_on_holds_more_unless_told_otherwise() {
    let keep = format!("[topics]\nkeep = [\"{ID}\"]\n");
    let always = format!("[node]\nrole = \"always-on\"\n{keep}");
    assert_eq!(
        load(&always, &[], "").unwrap().resolved.budget_mib,
        Some(512)
    );
    let less = load(&always, &[("PANDA_NETWORK_BUDGET_MIB", "9")], "").unwrap();
    assert_eq!(less.resolved.budget_mib, Some(9));
    assert_eq!(load(&keep, &[], "").unwrap().resolved.budget_mib, None);
    assert_eq!(
        load(&keep, &[], "--server").unwrap().resolved.budget_mib,
        Some(512)
    );
}

/// The file as `panda config init` writes it is the default, with and without its comments.
#[test]
fn the_file_that_is_made_has_every_key_and_is_the_default() {
    let text = template();
    assert_eq!(load(&text, &[], "").unwrap().config, Config::default());
    let is_key = |line: &str| line.starts_with('#') && !line.starts_with("# ");
    let keys = text.lines().filter(|line| is_key(line)).count();
    assert_eq!(keys, config::keys().len());
    for key in config::keys() {
        assert!(
            !key.about.is_empty() && !key.value.is_empty(),
            "{}",
            key.path()
        );
        let line = format!("{} = {}", key.name, key.value);
        assert!(text.contains(&format!("#{line}\n")), "{line}");
        if key.is_default {
            let alone = format!("[{}]\n{line}\n", key.section);
            assert_eq!(load(&alone, &[], "").unwrap().config, Config::default());
        }
    }
    assert!(text.lines().all(|line| line.len() <= 160));
}

#[test]
fn what_is_shown_can_be_used_as_a_file() {
    let settings = load(
        "[network]\nlisten = [\"[::1]:0\"]\nmdns = \"off\"\n",
        &[],
        "",
    )
    .unwrap();
    let lines = settings.values().into_iter();
    let shown: String = lines
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    assert_eq!(load(&shown, &[], "").unwrap().config, settings.config);
}
