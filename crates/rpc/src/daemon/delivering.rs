//! Sends what consumers deliver, within credit and budget (`docs/protocol/rpc.md#5`).

use std::collections::HashMap;
use std::sync::Arc;

use p2panda::{Consumer, Delivery, Message, Topic};
use p2panda_core::limits::{RPC_FRAME_MESSAGES_MAX, RPC_READ_BYTES_MAX};

use super::filling::{Filling, Lacks};
use super::map;
use super::sending::{Gone, Sender, Views, least, tell_end};
use super::subscription::Open;
use crate::api::RpcError;

/// A delivery that was made and not sent: enough to read it again.
struct Waiting {
    topic: Topic,
    offset: u64,
    count: u32,
    /// With which the client settles it.
    number: Option<u64>,
    lacks: Lacks,
}

impl Waiting {
    /// The message as the client is shown it.
    fn text(&self, alias: &str, message: &Message, header: bool) -> String {
        let mut view = map::message(alias, message, header);
        (view.count, view.delivery) = (Some(self.count), self.number);
        serde_json::to_string(&view).unwrap_or_default()
    }
}

/// What the deliveries of a consumer are shown with.
struct Shown<'a> {
    open: &'a Open,
    views: Views,
    aliases: HashMap<Topic, String>,
}

impl Sender {
    /// Sends what a consumer delivers. What was delivered and lacks credit or budget waits without its
    /// content, which is read again.
    pub async fn deliver(
        self,
        subscription: u64,
        mut consumer: Consumer,
        open: Arc<Open>,
        keeps: bool,
    ) {
        let places = consumer.handle().position().into_iter();
        let topics: Vec<Topic> = places.map(|place| place.topic).collect();
        let shown = Shown {
            open: &open,
            views: Views {
                header: self.header,
                keeps,
            },
            aliases: self.service.aliases_of(&topics),
        };
        let delivered = self.deliver_all(subscription, &mut consumer, &shown);
        if let Err(error) = delivered.await {
            tell_end(&self.notes, subscription, error).await;
        }
    }

    async fn deliver_all(
        &self,
        subscription: u64,
        consumer: &mut Consumer,
        shown: &Shown<'_>,
    ) -> Result<(), RpcError> {
        loop {
            self.credit.until(1).await;
            let batch = consumer
                .fetch(RPC_FRAME_MESSAGES_MAX)
                .max_bytes((self.credit.left() / 2).clamp(1, RPC_READ_BYTES_MAX));
            let batch = batch.await.map_err(|error| map::error(&error))?;
            for delivery in &batch {
                let may = self.service.may_open(self.opens_spaces, delivery.topic());
                may.await?;
            }
            let mut filling = Filling::new(subscription, &self.credit, self.budget.empty());
            let mut later = Vec::new();
            for delivery in batch {
                let waits = !later.is_empty();
                later.extend(self.show(&mut filling, waits, delivery, shown));
            }
            if self.pass_on(filling).await.is_err() {
                return Ok(());
            }
            for waiting in later {
                if self.again(subscription, waiting).await?.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Adds a delivery to a notification. Returns what is to be read again if it does not fit, or if an earlier
    /// one `waits` already.
    fn show(
        &self,
        filling: &mut Filling<'_>,
        waits: bool,
        delivery: Delivery,
        shown: &Shown<'_>,
    ) -> Option<Waiting> {
        let Shown { open, views, .. } = shown;
        let topic = delivery.topic();
        let alias = shown.aliases.get(&topic).cloned();
        let alias = alias.unwrap_or_else(|| self.service.aliases.of(&topic));
        let Some(message) = delivery.message() else {
            let (_, pruned) = views.of(vec![delivery], open, |_| alias.clone());
            for what in pruned {
                filling.add_pruned(&serde_json::to_string(&what).unwrap_or_default());
            }
            return None;
        };
        let (offset, least) = (message.offset(), least(message));
        let token = delivery.token().filter(|_| views.keeps);
        let mut waiting = Waiting {
            topic,
            offset,
            count: delivery.count(),
            number: token.map(|token| open.keep(topic, offset, token)),
            lacks: Lacks(least),
        };
        if waits || filling.has_room(least).is_err() {
            return Some(waiting);
        }
        let text = waiting.text(&alias, message, views.header);
        drop(delivery);
        waiting.lacks = filling.add(text).err()?;
        Some(waiting)
    }

    /// Sends a delivery that waited, once there is credit and budget for it.
    async fn again(
        &self,
        subscription: u64,
        mut waiting: Waiting,
    ) -> Result<Result<(), Gone>, RpcError> {
        let Waiting { topic, offset, .. } = waiting;
        loop {
            let Lacks(needed) = waiting.lacks;
            self.credit.until(needed).await;
            let room = self.budget.take(needed).await;
            let mut filling = Filling::new(subscription, &self.credit, room);
            let reading = self.service.reads.acquire().await;
            let handle = self.service.node.topic(topic);
            let page = handle.messages(offset.saturating_sub(1), 1, 1).await;
            let page = page.map_err(|error| map::error(&error))?;
            self.service.may_open(self.opens_spaces, topic).await?;
            let found = page.into_iter().find(|message| message.offset() == offset);
            // One that was deleted since is delivered no more.
            let Some(message) = found else {
                return Ok(Ok(()));
            };
            let alias = self.service.aliases.of(&topic);
            let text = waiting.text(&alias, &message, self.header);
            drop(message);
            let added = filling.add(text);
            drop(reading);
            match added {
                Ok(()) => return Ok(self.pass_on(filling).await),
                Err(lacks) => waiting.lacks = lacks,
            }
        }
    }
}
