//! `panda help`

mod texts;

use crate::failure::EXIT_CODES;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings;

/// Subjects with summary and text; the text of the configuration is generated.
const SUBJECTS: [(&str, &str, &str); 13] = [
    ("topics", "what a topic is, and who may read it", TOPICS),
    (
        "tickets",
        "how to give another person access with one string",
        TICKETS,
    ),
    (
        "spaces",
        "how to share with members only, encrypted",
        texts::SPACES,
    ),
    (
        "devices",
        "how to use a second device of your own",
        texts::DEVICES,
    ),
    (
        "consumers",
        "how a program reads without losing a message",
        texts::CONSUMERS,
    ),
    ("config", "where settings come from, with all of them", ""),
    ("service", "how to run a node that stays online", SERVICE),
    (
        "programs",
        "how programs in any language use the node",
        texts::PROGRAMS,
    ),
    (
        "access",
        "who may use the node over TCP, and do what",
        texts::ACCESS,
    ),
    ("watch", "how to see whether a node is well", texts::WATCH),
    (
        "restored",
        "what to do with a home directory from a backup",
        texts::RESTORED,
    ),
    (
        "security",
        "what others can and cannot see",
        texts::SECURITY,
    ),
    (
        "exit-codes",
        "what the exit codes of commands mean",
        EXIT_CODES,
    ),
];

const TOPICS: &str = "\
A topic is 32 secret bytes that people share, written as 64 hexadecimal digits. Anyone who knows a
topic may read everything in it, and publish. `panda topic new` makes one that nobody can guess.

  TOPIC=$(panda topic new)
  panda chat $TOPIC
  panda topic keep $TOPIC      store and serve it whenever a command runs
  panda status                 what is stored of each topic here

What you publish is signed with the key of your home directory and stored there first. It reaches
others when both are online, or through any node that keeps the topic.";

const TICKETS: &str = "\
A ticket is one string, `panda:...`, with a topic, bootstrap nodes and their network, and a checksum.
Every command takes one in place of a topic. It is as secret as the topic.

  panda topic invite $TOPIC --listen 192.168.1.7:2022      here, with the address that stays
  panda sub $TOPIC --listen 192.168.1.7:2022               stay online here
  panda join panda:...                                     on the other machine: keep it, fetch it

On a terminal `panda topic invite` also prints a QR code.";

const SERVICE: &str = "\
`panda node run` stays online until a signal, and stores and serves the kept topics: those
of `panda topic keep` and of topics.keep in the configuration.

  panda config init
  panda node run

With systemd: copy the unit files of the release (packaging/systemd), then
  systemctl --user enable --now panda       for your user
  systemctl enable --now panda              as a system service, under a user of its own

SIGTERM shuts it down cleanly. SIGHUP (`systemctl reload panda`) reads the configuration again:
topics and peers take effect at once, everything else at the next start. While it runs, other
commands on the same home directory use this node.";

/// Explains a subject, or lists all.
pub fn run(subject: Option<&str>) -> Result<Outcome, Failure> {
    let text = match subject {
        None => list(),
        Some("config") => config(),
        Some(subject) => {
            let found = SUBJECTS.iter().find(|(name, _, _)| *name == subject);
            let (_, _, text) = found.ok_or_else(|| Failure::NoSubject {
                subject: subject.to_owned(),
            })?;
            (*text).to_owned()
        }
    };
    // Whether somebody reads it to its end makes no difference.
    let _ = output::line(&text).map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

fn list() -> String {
    let lines = SUBJECTS.map(|(subject, about, _)| format!("  panda help {subject:<12} {about}"));
    format!(
        "Subjects:\n{}\n\n`panda --help` lists the commands, `panda COMMAND --help` explains one.",
        lines.join("\n")
    )
}

fn config() -> String {
    let file = settings::default_file().map_or_else(String::new, |file| file.display().to_string());
    format!(
        "A flag overrides the environment, the environment overrides the file, the file overrides the \
        default.\nThe file is that of --config, otherwise {file}.\nIn the environment \
        network.listen is PANDA_NETWORK_LISTEN; commas separate the items of a list.\n\n  panda config init\n  \
        panda config show --origin\n  panda config check\n\n{}",
        settings::template().trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listed_subject_is_explained_in_narrow_lines() {
        for (subject, _, text) in SUBJECTS {
            assert!(run(Some(subject)).is_ok(), "{subject}");
            assert_eq!(text.is_empty(), subject == "config", "{subject}");
            assert!(text.lines().all(|line| line.len() <= 105), "{subject}");
        }
        assert!(run(Some("cooking")).is_err());
        let texts = [list(), config()];
        for line in texts.iter().flat_map(|text| text.lines()) {
            assert!(line.len() <= 150, "{line}");
        }
    }
}
