//! Mistakes on the command line as one line that says what to do next.

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::output::visible;

/// What clap has to say about the given arguments, on one line, and which help to ask for.
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

    #[test]
    fn what_was_typed_cannot_add_a_line() {
        let args = ["panda", "sub", "a\nb\u{1b}[2J"];
        let error = Cli::try_parse_from(args).unwrap_err();
        let line = one_line(&error, std::iter::empty());
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
