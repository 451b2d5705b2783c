//! Quotas of clients (`docs/protocol/rpc.md#11`).

use std::sync::Arc;

use p2panda_core::limits::{
    RPC_CONNECTIONS_MAX, RPC_LARGE_BYTES_MAX, RPC_REQUEST_BYTES_PER_SECOND,
    RPC_REQUESTS_PER_SECOND, RPC_SUBSCRIPTIONS_MAX,
};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::api::{Code, RpcError};

/// Quotas of each client. They do not apply to the Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Connections and streams of events.
    pub connections: usize,
    /// Subscriptions of a connection.
    pub subscriptions: usize,
    /// Requests in a second; as many at once.
    pub requests_per_second: u64,
    /// Bytes of requests in a second; as many at once.
    pub bytes_per_second: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Quotas {
            connections: RPC_CONNECTIONS_MAX,
            subscriptions: RPC_SUBSCRIPTIONS_MAX,
            requests_per_second: RPC_REQUESTS_PER_SECOND,
            bytes_per_second: RPC_REQUEST_BYTES_PER_SECOND,
        }
    }
}

/// Use by one client.
#[derive(Debug)]
pub(crate) struct Client {
    quotas: Option<Quotas>,
    connections: Arc<Semaphore>,
    large: Arc<Semaphore>,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    requests: f64,
    bytes: f64,
    at: Instant,
}

impl Client {
    pub(crate) fn new(quotas: Quotas) -> Arc<Self> {
        Arc::new(Client {
            connections: Arc::new(Semaphore::new(quotas.connections)),
            large: Arc::new(Semaphore::new(RPC_LARGE_BYTES_MAX)),
            buckets: Mutex::new(Buckets {
                requests: quotas.requests_per_second as f64,
                bytes: quotas.bytes_per_second as f64,
                at: Instant::now(),
            }),
            quotas: Some(quotas),
        })
    }

    pub(crate) fn unlimited() -> Arc<Self> {
        Arc::new(Client {
            quotas: None,
            connections: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            large: Arc::new(Semaphore::new(0)),
            buckets: Mutex::new(Buckets {
                requests: 0.0,
                bytes: 0.0,
                at: Instant::now(),
            }),
        })
    }

    /// Takes a request of that many bytes out of the buckets, which fill by themselves.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), RpcError> {
        let Some(quotas) = self.quotas else {
            return Ok(());
        };
        let (requests, bytes_max) = (
            quotas.requests_per_second as f64,
            quotas.bytes_per_second as f64,
        );
        let now = Instant::now();
        let mut buckets = self.buckets.lock();
        let seconds = now.saturating_duration_since(buckets.at).as_secs_f64();
        buckets.at = now;
        buckets.requests = (buckets.requests + seconds * requests).min(requests);
        buckets.bytes = (buckets.bytes + seconds * bytes_max).min(bytes_max);
        if buckets.requests < 1.0 || buckets.bytes < 1.0 {
            let error = RpcError::new(
                Code::Quota,
                "this client has reached its limit of requests per second",
            );
            return Err(error.hint("wait a second, and send several messages in one publish.batch"));
        }
        buckets.requests -= 1.0;
        // A large request is let through and paid for afterwards.
        buckets.bytes -= bytes as f64;
        Ok(())
    }

    /// A connection of this client, until the permit is dropped.
    pub(crate) fn connect(&self) -> Result<OwnedSemaphorePermit, RpcError> {
        let permit = Arc::clone(&self.connections).try_acquire_owned();
        permit.map_err(|_| {
            RpcError::new(
                Code::Quota,
                "this client has reached its limit of connections",
            )
            .hint("close one, or use one for everything")
        })
    }

    /// Bytes of large messages that may be on their way to this client; `None` without a bound.
    pub(crate) fn large(&self) -> Option<Arc<Semaphore>> {
        self.quotas.is_some().then(|| Arc::clone(&self.large))
    }

    /// Returns the maximum number of subscriptions of a connection.
    pub(crate) fn subscriptions_max(&self) -> usize {
        self.quotas
            .map_or(usize::MAX, |quotas| quotas.subscriptions)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn buckets_empty_and_fill_again_with_time() {
        let client = Client::new(Quotas {
            requests_per_second: 10,
            bytes_per_second: 1_000,
            ..Quotas::default()
        });
        for _ in 0..10 {
            client.take(1).unwrap();
        }
        assert_eq!(client.take(1).unwrap_err().kind(), Code::Quota);
        tokio::time::advance(Duration::from_millis(100)).await;
        client.take(1).unwrap();
        assert!(client.take(1).is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        client.take(3_000).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(client.take(1).unwrap_err().kind(), Code::Quota);
        tokio::time::advance(Duration::from_secs(2)).await;
        client.take(1).unwrap();
    }

    #[tokio::test]
    async fn connections_are_bounded_and_given_back() {
        let client = Client::new(Quotas {
            connections: 2,
            ..Quotas::default()
        });
        let (one, _two) = (client.connect().unwrap(), client.connect().unwrap());
        assert_eq!(client.connect().unwrap_err().kind(), Code::Quota);
        drop(one);
        let _place = client.connect().unwrap();
    }
}
