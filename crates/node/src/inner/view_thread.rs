//! The threads that the functions of views run on: begun, watched, and given up where a function does
//! not return (`docs/protocol/views.md#2`).

use std::sync::Arc;

use p2panda_core::limits::{VIEW_FUNCTION_LOOK, VIEW_FUNCTION_TIME_MAX};
use p2panda_engine::ViewCommand;
use p2panda_store::{StopReason, ViewStop};

use crate::inner::view_worker;
use crate::inner::views::Running;

/// Lets a version work that was opened, and watches it.
pub(crate) fn start(running: &Arc<Running>, position: u64) {
    tokio::spawn(watch(Arc::clone(running)));
    work_from(running, position);
}

/// A version that was stopped continues.
pub(crate) fn resume(running: &Arc<Running>, position: u64) {
    running.goes_on();
    work_from(running, position);
}

/// Lets a thread work from a position on; one before it ends.
fn work_from(running: &Arc<Running>, position: u64) {
    let generation = running.thread_begins();
    let worked = Arc::clone(running);
    let work = move || {
        view_worker::run(&worked, generation, position);
        worked.thread_ended();
    };
    let name = format!("view-{}", running.parts.name);
    if let Err(error) = std::thread::Builder::new().name(name).spawn(work) {
        tracing::error!(%error, "no thread for a view");
        running.thread_ended();
        let stop = ViewStop::new(position, StopReason::Storage, &error);
        running.stopped(generation, stop);
    }
}

/// Stops a view whose function does not return. The thread that runs it cannot be ended: it is given up,
/// and what it returns later counts for nothing.
async fn watch(running: Arc<Running>) {
    let mut working = running.works();
    loop {
        if running.is_closed() || working.changed().await.is_err() {
            return;
        }
        while *working.borrow_and_update() && !running.is_closed() {
            tokio::time::sleep(VIEW_FUNCTION_LOOK).await;
            if running.call_takes() < VIEW_FUNCTION_TIME_MAX {
                continue;
            }
            let (generation, offset) = running.call();
            let detail = "the function did not return in time";
            let stop = ViewStop::new(offset, StopReason::NoReturn, detail);
            let stored = running.ask(|reply| ViewCommand::Stop {
                key: running.key,
                stop: stop.clone(),
                reply,
            });
            if stored.await.is_ok() {
                running.stopped(generation, stop);
            }
        }
    }
}
