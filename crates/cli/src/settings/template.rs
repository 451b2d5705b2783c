//! The configuration file with every key, commented out.

use super::config::{self, Key};

/// Width of a line.
const WIDTH: usize = 96;

/// Every key with what it is for and its default.
pub fn template() -> String {
    let mut text = String::from(
        "# Configuration of panda. What is commented out is the default, or an example of what has none.\n\
         # A flag on the command line goes before the environment (PANDA_SECTION_KEY), the environment\n\
         # before this file. `panda config show --origin` prints what applies, and why.\n",
    );
    let mut section = String::new();
    for key in config::keys() {
        if section != key.section {
            section.clone_from(&key.section);
            text.push('\n');
            text.push_str(&comment(&config::about(&section)));
            text.push_str(&format!("[{section}]\n"));
        }
        text.push('\n');
        text.push_str(&entry(&key));
    }
    text
}

fn entry(key: &Key) -> String {
    let about = comment(&key.about);
    format!("{about}#{} = {}\n", key.name, key.value)
}

fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}
