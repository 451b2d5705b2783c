//! What each node of `panda demo --encrypted` has read, and what its files and the network hold.

use std::path::Path;

use memchr::memmem;

use super::own_keys::header_by;
use super::story::{ADA, EVE, EVERYBODY, NAMES, Story, TEAM, name_of};
use super::{NAME, TEAM_NAME};
use crate::demo::DemoError;
use crate::failure::Failure;

impl Story {
    /// Compares what each has read with what it may, and searches all files.
    pub async fn end(&mut self) -> Result<String, Failure> {
        if self.own_keys {
            self.names_no_node(&EVERYBODY).await?;
        }
        self.stop(&EVERYBODY).await?;
        let everybody = EVERYBODY.into_iter().chain(TEAM);
        for who in everybody.filter(|who| self.takes_part(*who)) {
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
            self.search_for_nodes(who)?;
        }
        Ok(self.table())
    }

    /// Searches the files of a node for operations that a node id has signed, if there are own keys.
    fn search_for_nodes(&self, who: usize) -> Result<(), DemoError> {
        let name = name_of(who);
        if !self.own_keys {
            return Ok(());
        }
        let dir = &self.person(who).dir;
        // What is there is found, or the search proves nothing.
        let known = self.person(ADA).key.filter(|_| who == EVE);
        if let Some(key) = known
            && !holds(dir, &header_by(&key)).map_err(DemoError::Directory)?
        {
            return Err(DemoError::Blind { name });
        }
        for node in self.nodes() {
            if holds(dir, &header_by(&node)).map_err(DemoError::Directory)? {
                return Err(DemoError::NodeId { name });
            }
        }
        Ok(())
    }

    /// Returns `true` if bytes hold what only members may learn; with own keys also if they hold one of those,
    /// or an operation that a node id has signed.
    pub fn crosses(&self, bytes: &[u8]) -> bool {
        let said = self.said.iter().map(|said| said.text.as_bytes());
        let groups = self.groups.iter().map(|group| &group.as_bytes()[..]);
        let names = [NAME.as_bytes(), TEAM_NAME.as_bytes()];
        let mut secrets = said.chain(names).chain(groups);
        let is_there = |part: &[u8]| memmem::find(bytes, part).is_some();
        let keys = || self.keys().any(|key| is_there(key.as_bytes()));
        let nodes = || self.nodes().any(|node| is_there(&header_by(&node)));
        secrets.any(is_there) || (self.own_keys && (keys() || nodes()))
    }

    pub fn table(&self) -> String {
        let mut table = format!("{:<28} {:<4}", "", "by");
        let all: Vec<usize> = (0..NAMES.len()).collect();
        let all = self.present(&all);
        all.iter()
            .for_each(|who| table.push_str(&format!(" {:>4}", name_of(*who))));
        for said in &self.said {
            table.push_str(&format!("\n{:<28} {:<4}", said.text, name_of(said.by)));
            for who in &all {
                let reads = match said.readers.contains(who) {
                    true => "yes",
                    false => "-",
                };
                table.push_str(&format!(" {reads:>4}"));
            }
        }
        table.push_str(match self.own_keys {
            true => {
                "\nEach has read exactly that. The files of no node hold the name of the space in clear, \
                 or a message that it may not read.\nEach operation of the space is by an own key. None \
                 holds a node id, and no file holds one that a node id has signed."
            }
            false => {
                "\nEach has read exactly that. The files of no node hold the name of the space in clear, \
                 or of the team, whose devices are whose, or a message that it may not read."
            }
        });
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
