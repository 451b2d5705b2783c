//! What each node of `panda demo --encrypted` has read, and what its files and the network hold.

use std::path::Path;

use memchr::memmem;

use super::story::{EVERYBODY, NAMES, Story, TEAM, name_of};
use super::{NAME, TEAM_NAME};
use crate::demo::DemoError;
use crate::failure::Failure;

impl Story {
    /// Compares what each has read with what it may, and searches all files.
    pub async fn end(&mut self) -> Result<String, Failure> {
        self.stop(&EVERYBODY).await?;
        for who in EVERYBODY.into_iter().chain(TEAM) {
            let expected = self.expected(who);
            if self.read(who)? != expected {
                return Err(self.differs(who).into());
            }
            let foreign = self.said.iter().filter(|said| !said.readers.contains(&who));
            let secrets = foreign.map(|said| said.text.as_bytes());
            // Nor whose devices are whose, and who is in the team.
            let groups = self.groups.iter().map(|group| &group.as_bytes()[..]);
            let names = [NAME.as_bytes(), TEAM_NAME.as_bytes()];
            for secret in secrets.chain(names).chain(groups) {
                if holds(&self.person(who).dir, secret).map_err(DemoError::Directory)? {
                    return Err(self.leaks(who).into());
                }
            }
        }
        Ok(self.table())
    }

    /// Returns `true` if bytes hold what only members may learn.
    pub fn crosses(&self, bytes: &[u8]) -> bool {
        let said = self.said.iter().map(|said| said.text.as_bytes());
        let groups = self.groups.iter().map(|group| &group.as_bytes()[..]);
        let names = [NAME.as_bytes(), TEAM_NAME.as_bytes()];
        let mut secrets = said.chain(names).chain(groups);
        secrets.any(|secret| memmem::find(bytes, secret).is_some())
    }

    pub fn table(&self) -> String {
        let mut table = format!("{:<28} {:<4}", "", "by");
        NAMES
            .iter()
            .for_each(|name| table.push_str(&format!(" {name:>4}")));
        for said in &self.said {
            table.push_str(&format!("\n{:<28} {:<4}", said.text, name_of(said.by)));
            for who in 0..NAMES.len() {
                let reads = match said.readers.contains(&who) {
                    true => "yes",
                    false => "-",
                };
                table.push_str(&format!(" {reads:>4}"));
            }
        }
        table.push_str(
            "\nEach has read exactly that. The files of no node hold the name of the space in clear, \
             or of the team, whose devices are whose, or a message that it may not read.",
        );
        table
    }

    pub fn differs(&self, who: usize) -> DemoError {
        let name = self.person(who).name;
        DemoError::Reads { name }
    }

    pub fn leaks(&self, who: usize) -> DemoError {
        let name = self.person(who).name;
        DemoError::Leaks { name }
    }
}

/// Returns `true` if any file below a directory holds these bytes.
fn holds(dir: &Path, needle: &[u8]) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let found = match entry.file_type()?.is_dir() {
            true => holds(&entry.path(), needle)?,
            false => {
                let bytes = std::fs::read(entry.path())?;
                memmem::find(&bytes, needle).is_some()
            }
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
