//! The thread that seals for many members while the engine's thread continues.

use std::sync::Weak;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::drafted::DraftWork;
use crate::inbox::Message;

/// Thread to which work is handed over. The thread begins with the first work, and ends when this
/// is dropped.
pub(crate) struct Workshop {
    /// Queue for results. Nobody is kept waiting for the end of the queue by that.
    results: Weak<Sender<Message>>,
    work: Option<Sender<DraftWork>>,
}

impl Workshop {
    pub fn new(results: Weak<Sender<Message>>) -> Workshop {
        let work = None;
        Workshop { results, work }
    }

    pub fn take(&mut self, work: DraftWork) {
        let sender = self.work.get_or_insert_with(|| {
            let (sender, receiver) = channel();
            let results = self.results.clone();
            let thread = std::thread::Builder::new().name("p2panda-seal".into());
            let thread = thread.spawn(move || run(&receiver, &results));
            drop(thread.expect("the system has room for one thread"));
            sender
        });
        // The thread ends later than this, and takes what it is sent.
        let _ = sender.send(work);
    }
}

fn run(work: &Receiver<DraftWork>, results: &Weak<Sender<Message>>) {
    for work in work {
        let result = Message::Command(work.seal().into());
        // Otherwise nobody can be told any more.
        if let Some(results) = results.upgrade() {
            let _ = results.send(result);
        }
    }
}
