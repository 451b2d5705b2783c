//! `panda pub` by the node that runs.

use std::time::Duration;

use p2panda::{Body, VerifyingKey};
use p2panda_rpc::api;
use p2panda_rpc::delivery::Delivered;
use tokio::sync::mpsc;

use super::{AHEAD, Input, Published, read, say, until_failure};
use crate::args::PubArgs;
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::remote::Remote;

/// Bytes of content that go into one request, whose frame takes 1 MiB of base64.
const REQUEST_BYTES_MAX: usize = 600 * 1024;

/// Bytes that a message takes in a request next to its content.
const MESSAGE_BYTES: usize = 64;

/// Publishes everything, waits for a peer and says who has it.
pub async fn run(
    remote: Remote,
    named: Vec<VerifyingKey>,
    publish: PubArgs,
    mut interrupt: Interrupt,
) -> Result<Outcome, Failure> {
    let work = async {
        let (sender, inputs) = mpsc::channel(AHEAD);
        tokio::spawn(read(publish.file.clone(), sender));
        let topic = publish.topic.topic.to_string();
        let mut published = store(&remote, &topic, inputs, &mut interrupt).await?;
        let mut asked = api::TopicDeliveredParams {
            topic,
            named,
            wait_ms: milliseconds(publish.wait),
        };
        if !published.interrupted {
            // The request below returns the result.
            tokio::select! {
                waited = remote.call::<api::TopicDelivered>(&asked) => drop(waited?),
                () = interrupt.wait() => {}
            }
        }
        asked.wait_ms = 0;
        let delivered = remote.call::<api::TopicDelivered>(&asked).await?;
        published.delivered = delivered_of(&delivered);
        let has_newest = has_published(&delivered);
        published.not_kept = delivered.not_kept;
        let face = Face::Running(remote.clone());
        say(&face, &publish, &published, has_newest).await
    };
    remote.until_gone(work).await
}

/// Returns `true` if the node has published something in the topic.
pub fn has_published(delivered: &api::TopicDeliveredResult) -> bool {
    // In a space it may be something else than messages.
    delivered.newest.is_some() || delivered.unsent > 0 || delivered.sent > 0
}

/// The numbers of a result.
pub fn delivered_of(delivered: &api::TopicDeliveredResult) -> Delivered {
    Delivered {
        stored: count(delivered.stored),
        sent: count(delivered.sent),
        is_enough: delivered.is_enough || !has_published(delivered),
    }
}

fn count(peers: u64) -> usize {
    usize::try_from(peers).unwrap_or(usize::MAX)
}

pub fn milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// Publishes what is read until its end, an error or a signal.
async fn store(
    remote: &Remote,
    topic: &str,
    mut inputs: mpsc::Receiver<Input>,
    interrupt: &mut Interrupt,
) -> Result<Published, Failure> {
    let progress = Progress::new("published", None);
    let mut published = Published {
        published: 0,
        delivered: Delivered::default(),
        not_kept: Vec::new(),
        interrupted: false,
    };
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            read = inputs.recv_many(&mut batch, AHEAD) => if read == 0 { break },
            () = interrupt.wait() => {
                published.interrupted = true;
                break;
            }
        }
        let (bodies, failure) = until_failure(&mut batch);
        for bodies in requests(bodies) {
            let stored = bodies.len() as u64;
            publish(remote, topic, bodies).await?;
            published.published += stored;
            progress.add(stored);
        }
        batch.clear();
        if let Some(failure) = failure {
            return Err(failure);
        }
    }
    Ok(published)
}

/// In the same order, as many together as a request takes; a larger one is alone.
fn requests(bodies: Vec<Body>) -> Vec<Vec<Body>> {
    let (mut requests, mut request, mut bytes) = (Vec::new(), Vec::new(), 0);
    for body in bodies {
        let takes = body.as_bytes().len() + MESSAGE_BYTES;
        if !request.is_empty() && bytes + takes > REQUEST_BYTES_MAX {
            requests.push(std::mem::take(&mut request));
            bytes = 0;
        }
        bytes += takes;
        request.push(body);
    }
    requests.extend((!request.is_empty()).then_some(request));
    requests
}

async fn publish(remote: &Remote, topic: &str, bodies: Vec<Body>) -> Result<(), Failure> {
    let mut messages = Vec::with_capacity(bodies.len());
    for body in bodies {
        messages.push(api::NewMessage {
            content: Some(content(remote, &body).await?),
            ..api::NewMessage::default()
        });
    }
    // One that is published alone may be larger than a batch.
    match <[api::NewMessage; 1]>::try_from(messages) {
        Ok([message]) => {
            let params = api::PublishParams {
                topic: topic.to_owned(),
                message,
                wait: None,
            };
            remote.call::<api::Publish>(&params).await?;
        }
        Err(messages) => {
            let topic = topic.to_owned();
            let params = api::PublishBatchParams { topic, messages };
            remote.call::<api::PublishBatch>(&params).await?;
        }
    }
    Ok(())
}

/// A content as a request has it; one that is too large for that is sent before.
pub async fn content(remote: &Remote, body: &Body) -> Result<api::Content, Failure> {
    match body.as_bytes().len() > REQUEST_BYTES_MAX {
        true => upload(remote, body).await,
        false => Ok(api::Content::Cbor(body.as_bytes().clone().into())),
    }
}

/// Sends a content in parts.
async fn upload(remote: &Remote, body: &Body) -> Result<api::Content, Failure> {
    let mut upload = None;
    for part in body.as_bytes().chunks(REQUEST_BYTES_MAX) {
        let data = part.to_vec().into();
        let params = api::UploadParams { upload, data };
        upload = Some(remote.call::<api::Upload>(&params).await?.upload);
    }
    Ok(api::Content::Upload(api::Uploaded {
        number: upload.unwrap_or_default(),
        kind: api::UploadKind::Cbor,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_what_fits_and_a_larger_message_is_alone() {
        let body = |bytes: usize| Body::from(vec![0; bytes]);
        let sizes = |bodies| requests(bodies).iter().map(Vec::len).collect::<Vec<_>>();
        assert!(requests(Vec::new()).is_empty());
        assert_eq!(
            sizes(vec![body(1), body(1), body(REQUEST_BYTES_MAX)]),
            [2, 1]
        );
        let half = REQUEST_BYTES_MAX / 2;
        assert_eq!(sizes(vec![body(half), body(half), body(1)]), [1, 2]);
    }
}
