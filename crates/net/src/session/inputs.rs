//! Converts events of streams and answers of the node to inputs of a session.

use std::collections::VecDeque;

use bytes::Bytes;
use iroh::endpoint::{ConnectionError, ReadError, WriteError};
use p2panda_core::{Gap, Heights, Page, Wanted};
use p2panda_protocol::ranges::SharedHeads;
use p2panda_protocol::sync::Input;
use tokio::sync::oneshot;

use crate::request::{Stored, Totals};

/// The one question that may be unanswered, batches to store aside.
#[derive(Debug)]
pub(super) enum Answer {
    Heights(oneshot::Receiver<(Heights, u64, Vec<Gap>)>),
    Heads(oneshot::Receiver<SharedHeads>),
    Evidence(oneshot::Receiver<Vec<Bytes>>),
    OldestHeights(oneshot::Receiver<Heights>),
    Totals(oneshot::Receiver<Totals>),
    Page(oneshot::Receiver<Page>),
    /// `None`: it is the turn of another session.
    Wanted(Option<oneshot::Receiver<Wanted>>),
}

/// A peer that closes the connection, or resets the stream, has ended the session itself; anything else
/// is a loss.
fn lost(error: &ConnectionError) -> Input {
    match error {
        ConnectionError::ApplicationClosed(_) => Input::EndOfStream,
        _ => Input::Lost,
    }
}

pub(super) fn unread(error: &ReadError) -> Input {
    match error {
        ReadError::ConnectionLost(error) => lost(error),
        ReadError::Reset(_) => Input::EndOfStream,
        _ => Input::Lost,
    }
}

pub(super) fn unwritten(error: &WriteError) -> Input {
    match error {
        WriteError::ConnectionLost(error) => lost(error),
        WriteError::Stopped(_) => Input::EndOfStream,
        _ => Input::Lost,
    }
}

pub(super) async fn next_answer(answer: &mut Option<Answer>) -> Option<Input> {
    match answer {
        Some(Answer::Heights(reply)) => {
            reply
                .await
                .ok()
                .map(|(heights, arrival, gaps)| Input::Heights {
                    heights,
                    arrival,
                    gaps,
                })
        }
        Some(Answer::Heads(reply)) => reply.await.ok().map(Input::Heads),
        Some(Answer::Evidence(reply)) => reply.await.ok().map(Input::Evidence),
        Some(Answer::OldestHeights(reply)) => reply.await.ok().map(Input::OldestHeights),
        Some(Answer::Totals(reply)) => reply.await.ok().map(|totals| Input::Totals {
            operations: totals.operations,
            bytes: totals.bytes,
            ranges: totals.ranges,
        }),
        Some(Answer::Page(reply)) => reply.await.ok().map(Input::Page),
        Some(Answer::Wanted(Some(reply))) => {
            let wanted = reply.await.ok()?;
            Some(Input::Wanted(Some(wanted)))
        }
        Some(Answer::Wanted(None)) => Some(Input::Wanted(None)),
        None => None,
    }
}

pub(super) async fn next_stored(
    stores: &mut VecDeque<oneshot::Receiver<Stored>>,
) -> Option<Stored> {
    stores.front_mut()?.await.ok()
}
