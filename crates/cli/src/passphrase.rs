//! Passphrases that a command asks for.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use p2panda::Passphrase;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::settings::at_rest;

/// Name of standard input in place of a file.
const STANDARD_INPUT: &str = "-";

/// Reads a passphrase from the first line of a file, or asks for it; `twice` for a new one, which
/// nothing else checks.
pub fn ask(file: Option<&Path>, twice: bool) -> Result<Passphrase, Failure> {
    match file {
        Some(path) if path == Path::new(STANDARD_INPUT) => of(&typed()?),
        Some(path) => at_rest::passphrase(path),
        None if !io::stdin().is_terminal() => Err(Failure::NoPassphrase),
        None => {
            let first = hidden("Passphrase: ")?;
            if twice && hidden("The same again: ")? != first {
                return Err(Failure::PassphrasesDiffer);
            }
            of(&first)
        }
    }
}

fn of(text: &str) -> Result<Passphrase, Failure> {
    Passphrase::new(text).map_err(Failure::Passphrase)
}

/// Reads a line of standard input.
fn typed() -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(String::new());
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(Failure::Stdin)?;
    Ok(Zeroizing::new(
        line.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

/// Asks for a line without showing it on the terminal.
fn hidden(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    // Turn the echo off before the prompt, because a person may type at once.
    without_echo(|| {
        let mut terminal = io::stderr();
        let _ = write!(terminal, "{prompt}");
        let _ = terminal.flush();
        let line = typed();
        let _ = writeln!(terminal);
        line
    })
}

#[cfg(unix)]
fn without_echo<T>(read: impl FnOnce() -> T) -> T {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let input = io::stdin();
    let Ok(before) = tcgetattr(&input) else {
        return read();
    };
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    let _ = tcsetattr(&input, OptionalActions::Now, &quiet);
    let done = read();
    let _ = tcsetattr(&input, OptionalActions::Now, &before);
    done
}

#[cfg(not(unix))]
fn without_echo<T>(read: impl FnOnce() -> T) -> T {
    read()
}
