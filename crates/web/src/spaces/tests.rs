#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use p2panda_core::ordered::BTreeMap;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::limits::PRE_KEY_USED_KEPT_S;
use p2panda_core::{Hash, SigningKey, Topic, VerifyingKey};
use p2panda_encryption::OwnKeys;
use p2panda_spaces::{Invite, Role};
use zeroize::Zeroizing;

use super::book::{are_prekeys_due, renew_prekeys};
use super::*;
use crate::draft::Draft;

const NOW: u64 = 1_800_000_000;
const TOPIC: Topic = Topic::from_bytes([9; 32]);

/// A page without browser: rows and operations are what would be in its storage.
struct Page {
    key: SigningKey,
    me: VerifyingKey,
    book: Book,
    rows: BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>,
    /// All operations, in the order in which they came.
    log: Vec<Operation>,
    shown: BTreeMap<(VerifyingKey, u32), bool>,
    count: u8,
    /// Signatures that were asked for.
    signed: usize,
}

impl Page {
    fn new(seed: u8) -> Page {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let me = key.verifying_key();
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let book = Book::load(me, BTreeMap::new(), NOW, &mut rng).unwrap();
        let mut page = Page {
            key,
            me,
            book,
            rows: BTreeMap::new(),
            log: Vec::new(),
            shown: BTreeMap::new(),
            count: seed,
            signed: 0,
        };
        page.store();
        page
    }

    fn store(&mut self) {
        for row in self.book.changes() {
            match row.value {
                Some(value) => self.rows.insert(row.key, value),
                None => self.rows.remove(&row.key),
            };
        }
    }

    fn reload(&mut self) {
        let mut rng = ChaCha20Rng::from_seed([0; 32]);
        self.book = Book::load(self.me, self.rows.clone(), NOW, &mut rng).unwrap();
        assert_eq!(self.book.changes(), [], "nothing is to be stored again");
    }

    fn head(&self, kind: Kind) -> Option<(u32, Hash)> {
        let mut own = self.log.iter().rev();
        let last = own.find(|op| op.author == self.me && op.kind == kind)?;
        Some((last.seq, last.id))
    }

    fn try_act(&mut self, deed: Deed) -> Result<Option<Box<Invite>>, DeedError> {
        let mut act = Act {
            now_us: NOW * 1_000_000,
            seed: [self.count; 32],
            head: self.head(Kind::Control),
            signatures: Vec::new(),
        };
        self.count = self.count.wrapping_add(17);
        loop {
            match self.book.act(&TOPIC, deed.clone(), act.clone())? {
                Acted::Sign(bytes) => {
                    self.signed += 1;
                    act.signatures.push(self.key.sign(&bytes));
                }
                Acted::Done {
                    operations,
                    news,
                    invite,
                    failed,
                } => {
                    self.log.extend(operations);
                    self.take(news);
                    return failed.map_or(Ok(invite), Err);
                }
            }
        }
    }

    fn act(&mut self, deed: Deed) -> Option<Box<Invite>> {
        self.try_act(deed).unwrap()
    }

    fn take(&mut self, news: News) {
        self.store();
        for shown in news.shown {
            self.shown.insert((shown.author, shown.seq), shown.stands);
        }
    }

    fn say(&mut self, text: &str) -> Result<(), DeedError> {
        self.count = self.count.wrapping_add(17);
        let texts = [text.as_bytes()];
        let (bodies, deps) = self.book.seal(&TOPIC, &texts, [self.count; 32])?;
        let body = bodies.into_iter().next().unwrap();
        let head = self.head(Kind::Content);
        let draft = Draft {
            topic: TOPIC,
            name: Some(Kind::Content.name()),
            seq: head.map_or(0, |(seq, _)| seq + 1),
            backlink: head.map(|(_, id)| id),
            body: Some(&body),
            timestamp: NOW * 1_000_000,
            prune: false,
            deps,
        };
        let unsigned = draft.unsigned(&self.me).unwrap();
        let signature = self.key.sign(unsigned.signing_bytes());
        let header = draft.assemble(&self.me, &signature).unwrap();
        let bytes = header.as_bytes().clone();
        let operation = Operation::read(bytes, Bytes::from(body)).unwrap();
        self.log.push(operation.clone());
        let news = self.book.take(&TOPIC, vec![operation], NOW);
        self.take(news);
        Ok(())
    }

    /// Texts that stand, by what the storage has.
    fn reads(&self) -> Vec<String> {
        let content = self.log.iter().filter(|op| op.kind == Kind::Content);
        let shown = content.filter(|op| self.shown.get(&(op.author, op.seq)) == Some(&true));
        let open = |op: &Operation| match self.book.open(&TOPIC, &op.author, op.seq, &op.body) {
            Opened::Stands(data) => String::from_utf8(data.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        shown.map(open).collect()
    }

    /// Does what is due.
    fn keep_up(&mut self) {
        for _ in 0..8 {
            let Some(due) = self.book.due(&TOPIC, NOW).first().copied() else {
                return;
            };
            let deed = match due {
                "keys" => Deed::Keys,
                "request" => Deed::Request,
                "admit" => Deed::Admit,
                "ask" => return,
                _ => Deed::Heal,
            };
            if self.try_act(deed).is_err() {
                return;
            }
        }
        panic!("something is always due");
    }
}

fn sync(pages: &mut [&mut Page]) {
    for _ in 0..4 {
        let all: Vec<Operation> = pages.iter().flat_map(|page| page.log.clone()).collect();
        for page in pages.iter_mut() {
            let new = |op: &&Operation| !page.log.iter().any(|have| have.id == op.id);
            let mut come: Vec<Operation> = Vec::new();
            for op in all.iter().filter(new) {
                if !come.iter().any(|have| have.id == op.id) {
                    come.push(op.clone());
                }
            }
            page.log.extend(come.clone());
            let news = page.book.take(&TOPIC, come, NOW);
            page.take(news);
            page.keep_up();
            page.reload();
        }
    }
}

fn invited(alice: &mut Page, pages: &mut [&mut Page], role: Role) {
    let uses = pages.len() as u64;
    let invite = alice.act(Deed::Offer(role, uses, NOW + 60)).unwrap();
    for page in pages.iter_mut() {
        page.act(Deed::Join(invite.clone()));
        assert!(page.book.is_joining(&TOPIC));
    }
    let mut all = vec![alice];
    all.extend(pages.iter_mut().map(|page| &mut **page));
    sync(&mut all);
}

#[test]
fn pages_make_a_space_invite_and_read_each_other() {
    let (mut alice, mut bob) = (Page::new(1), Page::new(2));
    alice.act(Deed::Create {
        name: Some("crew".to_owned()),
        history: true,
        members: Vec::new(),
    });
    alice.say("before").unwrap();
    invited(&mut alice, &mut [&mut bob], Role::Editor);
    assert!(!bob.book.is_joining(&TOPIC));
    assert_eq!(bob.book.role(&TOPIC), Some(Role::Editor));
    assert_eq!(bob.book.name(&TOPIC).as_deref(), Some("crew"));
    assert_eq!(bob.book.members(&TOPIC), alice.book.members(&TOPIC));
    bob.say("hi").unwrap();
    sync(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.reads(), ["before", "hi"]);
    let mut read = bob.reads();
    read.sort();
    assert_eq!(read, ["before", "hi"]);
    let here: [&[u8]; 1] = [b"here"];
    let (stray, _) = alice.book.seal_ephemeral(&TOPIC, &here, [3; 32]).unwrap();
    let heard = bob
        .book
        .open_ephemeral(&TOPIC, &alice.me, &stray[0])
        .unwrap();
    assert_eq!(heard.as_slice(), b"here");
}

#[test]
fn a_page_asks_for_rotation_by_age_and_shows_the_suite() {
    let (mut alice, mut bob) = (Page::new(1), Page::new(2));
    assert_eq!(alice.book.suite(&TOPIC), None);
    alice.act(Deed::Create {
        name: None,
        history: true,
        members: Vec::new(),
    });
    invited(&mut alice, &mut [&mut bob], Role::Editor);
    alice.act(Deed::Rotation(30));
    alice.act(Deed::Suite(2));
    assert!(alice.try_act(Deed::Suite(3)).is_err());
    assert!(bob.try_act(Deed::Rotation(1)).is_err());
    sync(&mut [&mut alice, &mut bob]);
    for page in [&alice, &bob] {
        assert_eq!(page.book.suite(&TOPIC), Some(2));
        assert_eq!(page.book.rotation_days(&TOPIC), Some(30));
    }
    alice.act(Deed::Rotation(0));
    assert_eq!(alice.book.rotation_days(&TOPIC), None);
}

/// In the message scheme a pre-key under which a root came is good for a week
/// (`docs/protocol/spaces-message.md#8`).
#[test]
fn a_pre_key_that_opened_a_root_is_replaced_in_a_week() {
    let (mut alice, mut bob) = (Page::new(1), Page::new(2));
    alice.act(Deed::Create {
        name: None,
        history: true,
        members: Vec::new(),
    });
    invited(&mut alice, &mut [&mut bob], Role::Editor);
    assert!(!bob.book.has_message_scheme());
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let (hour, week) = (3_600, PRE_KEY_USED_KEPT_S);
    let keys = &mut bob.book.keys;
    let until = |keys: &OwnKeys, now| {
        let bundle = keys.hybrid_bundle(now).unwrap();
        bundle.signed_prekey.lifetime.not_after
    };
    let first = until(keys, NOW);
    assert!(!are_prekeys_due(keys, true, NOW + week - hour));
    let now = NOW + week + hour;
    assert!(!are_prekeys_due(keys, false, now), "in the data scheme");
    assert!(!renew_prekeys(keys, false, now, &mut rng));
    assert!(are_prekeys_due(keys, true, now));
    assert!(renew_prekeys(keys, true, now, &mut rng));
    assert!(until(keys, now) > first, "it is published everywhere");
    assert!(!are_prekeys_due(keys, true, now), "nobody has used it");
    let now = now + week + hour;
    assert!(are_prekeys_due(keys, true, now), "the old one is erased");
    assert!(!renew_prekeys(keys, true, now, &mut rng));
    assert!(!are_prekeys_due(keys, true, now));
}

#[test]
fn a_removed_page_reads_nothing_of_what_comes_after() {
    let (mut alice, mut bob, mut carol) = (Page::new(1), Page::new(2), Page::new(3));
    alice.act(Deed::Create {
        name: None,
        history: true,
        members: Vec::new(),
    });
    invited(&mut alice, &mut [&mut bob, &mut carol], Role::Editor);
    alice.say("with bob").unwrap();
    sync(&mut [&mut alice, &mut bob, &mut carol]);
    assert_eq!(bob.reads(), ["with bob"]);
    alice.act(Deed::Remove(bob.me));
    alice.say("without bob").unwrap();
    sync(&mut [&mut alice, &mut bob, &mut carol]);
    assert_eq!(carol.reads(), ["with bob", "without bob"]);
    assert_eq!(bob.reads(), ["with bob"]);
    let last = bob.log.iter().rfind(|op| op.kind == Kind::Content).unwrap();
    let opened = bob.book.open(&TOPIC, &last.author, last.seq, &last.body);
    assert_eq!(opened, Opened::Sealed);
    assert!(bob.say("still here").is_err());
}

#[test]
fn what_lacks_a_signature_changes_nothing() {
    let mut alice = Page::new(1);
    let rows = alice.rows.clone();
    let act = Act {
        now_us: NOW * 1_000_000,
        seed: [5; 32],
        head: None,
        signatures: Vec::new(),
    };
    let create = Deed::Create {
        name: None,
        history: true,
        members: Vec::new(),
    };
    let acted = alice.book.act(&TOPIC, create.clone(), act.clone()).unwrap();
    let Acted::Sign(bytes) = acted else {
        panic!("it needs a signature");
    };
    assert_eq!(alice.book.changes(), []);
    // Somebody else's signature is no help.
    let wrong = SigningKey::from_bytes(&[8; 32]).sign(&bytes);
    let signatures = vec![wrong];
    let acted = alice
        .book
        .act(&TOPIC, create.clone(), Act { signatures, ..act });
    let failed = match acted.unwrap() {
        Acted::Done { failed, .. } => failed,
        Acted::Sign(_) => None,
    };
    assert!(
        matches!(failed, Some(DeedError::Operation(_))),
        "{failed:?}"
    );
    assert_eq!(alice.rows, rows);
    alice.act(create);
    // Keys, the group and the control message.
    assert_eq!(alice.signed, 3);
}

#[test]
fn a_page_refuses_a_useless_invite_and_a_long_name() {
    let mut alice = Page::new(1);
    alice.act(Deed::Create {
        name: None,
        history: false,
        members: Vec::new(),
    });
    let offer = Deed::Offer(Role::Reader, 0, NOW + 60);
    assert_eq!(alice.try_act(offer).unwrap_err().code(), "invalid");
    let long = Deed::Name("n".repeat(257));
    assert_eq!(alice.try_act(long).unwrap_err().code(), "too-large");
}

#[test]
fn an_invite_lets_in_as_many_as_it_says() {
    let (mut alice, mut bob, mut carol) = (Page::new(1), Page::new(2), Page::new(3));
    alice.act(Deed::Create {
        name: None,
        history: false,
        members: Vec::new(),
    });
    let invite = alice.act(Deed::Offer(Role::Reader, 1, NOW + 60)).unwrap();
    bob.act(Deed::Join(invite.clone()));
    carol.act(Deed::Join(invite));
    sync(&mut [&mut alice, &mut bob, &mut carol]);
    let roles = [&bob, &carol].map(|page| page.book.role(&TOPIC));
    assert!(roles.contains(&Some(Role::Reader)) && roles.contains(&None));
    let reader = [&mut bob, &mut carol]
        .into_iter()
        .find(|page| page.book.role(&TOPIC).is_some());
    assert_eq!(reader.unwrap().say("no").unwrap_err().code(), "not-allowed");
}
