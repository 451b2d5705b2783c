//! Mistakes on the command line as one line that says what to do next.

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::failure::Failure;
use crate::output::visible;

/// Formats the error of clap about the arguments as one line, with the help to ask for.
pub fn one_line(error: &clap::Error, args: impl Iterator<Item = String>) -> String {
    let text = error.render().to_string();
    let what = match error.kind() {
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "a command is missing".to_owned()
        }
        _ => paragraphs(&text),
    };
    format!("{}; see `{} --help`", visible(&what), command(args))
}

/// Refuses options that have no effect together. clap checks the options of each command separately, and
/// those of the node may stand before and after its name.
pub fn check(cli: &Cli) -> Result<(), Failure> {
    if cli.node.republish && cli.node.restored.is_none() {
        return Err(Failure::RepublishAlone);
    }
    match cli.command.is_of_no_use_to_a_throw_away_identity() {
        true => Err(Failure::TempWithoutSpace),
        false => Ok(()),
    }
}

/// The paragraphs before the usage, joined: the error itself, then clap's tips.
fn paragraphs(text: &str) -> String {
    let parts: Vec<String> = text
        .split("\n\n")
        .take_while(|part| !part.starts_with("Usage:") && !part.starts_with("For more"))
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|part| !part.is_empty())
        .collect();
    let text = parts.join("; ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

/// The command that the mistake is in, for example `panda pub`.
fn command(args: impl Iterator<Item = String>) -> String {
    let root = Cli::command();
    let (mut command, mut name) = (&root, root.get_name().to_owned());
    for arg in args {
        if let Some(found) = command.find_subcommand(&arg) {
            name = format!("{name} {arg}");
            command = found;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    fn line(args: &str) -> String {
        let args = || args.split_whitespace().map(str::to_owned);
        let error = Cli::try_parse_from(std::iter::once("panda".to_owned()).chain(args()));
        one_line(&error.unwrap_err(), args())
    }

    #[test]
    fn a_mistake_is_one_line_and_names_the_help_of_its_command() {
        assert!(line("pub").ends_with("<TOPIC>; see `panda pub --help`"));
        assert!(line("--home /x peers --wait ten").ends_with("see `panda peers --help`"));
        assert!(line("topic").ends_with("see `panda topic --help`"));
        assert!(line("").ends_with("see `panda --help`"));
        assert!(line("chatt").contains("tip: a similar subcommand exists: 'chat'"));
    }

    /// Commands that have no commands of their own, with their names.
    fn leaves(command: &clap::Command, name: &str) -> Vec<(String, clap::Command)> {
        let name = format!("{name} {}", command.get_name());
        let below = command.get_subcommands().filter(|one| !one.is_hide_set());
        let below: Vec<_> = below.flat_map(|one| leaves(one, &name)).collect();
        match below.is_empty() {
            true => vec![(name, command.clone())],
            false => below,
        }
    }

    #[test]
    fn each_command_has_a_summary_and_an_example() {
        let all = leaves(&Cli::command(), "");
        assert!(all.len() > 25);
        for (name, command) in all {
            assert!(command.get_about().is_some(), "{name}");
            let after = command.get_after_help().map(ToString::to_string);
            let example = after.unwrap_or_default();
            let example = example.split("Example:").nth(1).map(str::to_owned);
            assert!(example.is_some_and(|text| text.contains("panda")), "{name}");
        }
    }

    #[test]
    fn commands_with_a_long_text_print_it() {
        for (args, text) in [
            ("pub", "Stays until a peer reports"),
            ("sub", "A message counts as seen"),
            ("sync", "Exits with 3 if anything is"),
            ("chat", "Ctrl-D or Ctrl-C ends it"),
            ("id", "Pass the same --listen to"),
            ("peers", "on which interfaces it looked"),
            ("status", "works while another command"),
            ("topic status", "works while another command"),
            ("trace", "and the refused ones"),
            ("demo", "Every line arrives at every node"),
            ("bench", "set TMPDIR to measure another disk"),
            ("consumer next", "A message is acknowledged once"),
        ] {
            let args = format!("panda {args} --help");
            let help = Cli::try_parse_from(args.split(' '))
                .unwrap_err()
                .to_string();
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(help.contains(text), "{args}: {help}");
        }
    }

    #[test]
    fn republish_needs_restored_before_or_after_the_command() {
        let checked = |args: &str| {
            let cli = Cli::try_parse_from(args.split(' ')).unwrap();
            check(&cli).map_err(|failure| failure.exit_code())
        };
        assert_eq!(checked("panda --republish peers"), Err(2));
        assert_eq!(checked("panda peers --republish"), Err(2));
        let split = "panda --restored new-identity peers --republish";
        assert_eq!(checked(split), Ok(()));
    }

    #[test]
    fn a_throw_away_identity_watches_no_space() {
        let space = "ab".repeat(32);
        let checked = |args: &str| {
            let cli = Cli::try_parse_from(args.split(' ')).unwrap();
            check(&cli).map_err(|failure| failure.exit_code())
        };
        assert_eq!(
            checked(&format!("panda space watch {space} --temp")),
            Err(2)
        );
        assert_eq!(checked(&format!("panda space watch {space}")), Ok(()));
        assert_eq!(checked(&format!("panda sub {space} --temp")), Ok(()));
        let mut root = Cli::command();
        root.build();
        let space = root.find_subcommand_mut("space").unwrap();
        let watch = space.find_subcommand_mut("watch").unwrap();
        assert!(!watch.render_help().to_string().contains("--temp"));
    }

    #[test]
    fn what_was_typed_cannot_add_a_line() {
        let args = ["panda", "sub", "a\nb\u{1b}[2J"];
        let error = Cli::try_parse_from(args).unwrap_err();
        let line = one_line(&error, std::iter::empty());
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
