//! Asks addresses for a sign of life before anything else is sent there
//! (`docs/protocol/network.md#5`).
//!
//! The question is a long-header packet of a version that no one speaks: anyone who speaks QUIC
//! answers with the versions that it does (RFC 9000, sections 6 and 17.2.1), without any state. The
//! endpoint itself cannot ask: it keeps what it was given once, and sends each later dial there as
//! well.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use p2panda_core::limits;
use p2panda_protocol::time::knock_patience;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::random;

/// The form of the version is reserved for this use (RFC 9000, section 15).
const NO_VERSION: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];
const LONG_HEADER: u8 = 0xc0;
const ID_BYTES: usize = 8;

type ConnectionId = [u8; ID_BYTES];

/// Local addresses of probes: those that the endpoint is bound to, with a separate port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Knocker {
    v4: SocketAddr,
    v6: Option<SocketAddr>,
    /// Between two questions, and until the last answer.
    interval: Duration,
    timeout: Duration,
}

/// Outcome of a probe.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Knocked {
    /// The address that answered first.
    pub(crate) first: Option<SocketAddr>,
    /// Addresses that nothing could be sent to from here.
    pub(crate) unsent: Vec<SocketAddr>,
}

impl Knocker {
    /// The round trip is that which a path is expected to have.
    pub(crate) fn new(v4: SocketAddrV4, v6: Option<SocketAddrV6>, round_trip: Duration) -> Self {
        Self {
            interval: limits::KNOCK_INTERVAL.max(round_trip * 2),
            timeout: knock_patience(limits::KNOCK_TIMEOUT, round_trip),
            v4: SocketAddr::from((*v4.ip(), 0)),
            v6: v6.map(|v6| SocketAddr::from((*v6.ip(), 0))),
        }
    }

    /// Asks each address [`limits::KNOCKS_MAX`] times at most, until one answers or
    /// [`limits::KNOCK_TIMEOUT`] is over. May be cancelled.
    pub(crate) async fn knock(&self, ask: &[SocketAddr]) -> Knocked {
        let mut knocked = Knocked::default();
        let mut asked = HashMap::new();
        for socket in ask {
            match random::seed().and_then(Question::new) {
                Some(question) => asked.insert(question.from, (*socket, question)),
                None => continue,
            };
        }
        let v4 = UdpSocket::bind(self.v4).await.ok();
        let v6 = match self.v6 {
            Some(v6) => UdpSocket::bind(v6).await.ok(),
            None => None,
        };
        let start = Instant::now();
        for round in 0..limits::KNOCKS_MAX as u32 {
            for (socket, question) in asked.values() {
                let from = if socket.is_ipv4() { &v4 } else { &v6 };
                let sent = match from {
                    Some(from) => from.send_to(&question.packet, *socket).await.is_ok(),
                    None => false,
                };
                if !sent && round == 0 {
                    knocked.unsent.push(*socket);
                }
            }
            let again = start + self.interval * (round + 1);
            let last = round + 1 == limits::KNOCKS_MAX as u32;
            let until = if last { start + self.timeout } else { again };
            knocked.first = tokio::select! {
                first = answer(v4.as_ref(), &asked, until) => first,
                first = answer(v6.as_ref(), &asked, until) => first,
            };
            if knocked.first.is_some() || knocked.unsent.len() == asked.len() {
                break;
            }
        }
        knocked
    }
}

/// A question to an address, until it is answered or times out.
struct Question {
    /// Of our choice, and what an answer is addressed to.
    from: ConnectionId,
    to: ConnectionId,
    packet: Vec<u8>,
}

impl Question {
    fn new(random: [u8; 32]) -> Option<Question> {
        let (from, rest) = random.split_first_chunk::<ID_BYTES>()?;
        let to = rest.first_chunk::<ID_BYTES>()?;
        let mut packet = vec![LONG_HEADER];
        packet.extend_from_slice(&NO_VERSION);
        for id in [to, from] {
            packet.push(ID_BYTES as u8);
            packet.extend_from_slice(id);
        }
        packet.resize(limits::KNOCK_BYTES, 0);
        Some(Question {
            from: *from,
            to: *to,
            packet,
        })
    }

    /// Returns `true` if a packet answers this question: the one with both ids in it, and no
    /// version.
    fn is_answered_by(&self, packet: &[u8]) -> bool {
        let mut head = vec![0; 4];
        for id in [&self.from, &self.to] {
            head.push(ID_BYTES as u8);
            head.extend_from_slice(id);
        }
        let long = packet.first().is_some_and(|first| first & 0x80 != 0);
        long && packet.get(1..).is_some_and(|rest| rest.starts_with(&head))
    }
}

/// The first address that answers on a socket, until then.
async fn answer(
    socket: Option<&UdpSocket>,
    asked: &HashMap<ConnectionId, (SocketAddr, Question)>,
    until: Instant,
) -> Option<SocketAddr> {
    let Some(socket) = socket else {
        sleep_until(until).await;
        return None;
    };
    let mut packet = [0; limits::KNOCK_BYTES];
    loop {
        let received = timeout_at(until, socket.recv_from(&mut packet))
            .await
            .ok()?;
        // On some systems an unreachable address shows up as an error here; others may answer yet.
        let Ok((len, from)) = received else {
            tokio::task::yield_now().await;
            continue;
        };
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let packet = packet.get(..len).unwrap_or_default();
        let mut asked = asked.values();
        let answered = asked
            .find(|(socket, question)| is_same(*socket, from) && question.is_answered_by(packet));
        if let Some((socket, _)) = answered {
            return Some(*socket);
        }
    }
}

fn is_same(asked: SocketAddr, from: SocketAddr) -> bool {
    let asked_ip: IpAddr = asked.ip().to_canonical();
    (asked_ip, asked.port()) == (from.ip(), from.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    fn knocker() -> Knocker {
        let v4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        Knocker::new(v4, None, limits::FIRST_ROUND_TRIP)
    }

    #[tokio::test]
    async fn a_silent_address_gets_two_datagrams() {
        let silent = UdpSocket::bind(loopback()).await.unwrap();
        let wrong = UdpSocket::bind(loopback()).await.unwrap();
        let ask = [&silent, &wrong].map(|socket| socket.local_addr().unwrap());
        let knocking = tokio::spawn(async move { knocker().knock(&ask).await });
        let mut buffer = [0; 2048];
        let (len, from) = wrong.recv_from(&mut buffer).await.unwrap();
        assert_eq!(len, limits::KNOCK_BYTES);
        let echo = buffer.get(..len).unwrap();
        wrong.send_to(echo, from).await.unwrap();
        assert_eq!(knocking.await.unwrap(), Knocked::default());
        for (socket, more) in [(silent, 2), (wrong, 1)] {
            let mut count = 0;
            while socket.try_recv_from(&mut buffer).is_ok() {
                count += 1;
            }
            assert_eq!(count, more);
        }
    }

    #[tokio::test]
    async fn every_quic_speaker_answers() {
        let endpoint = iroh::Endpoint::builder(iroh::endpoint::presets::Minimal)
            .alpns(vec![b"any".to_vec()])
            .clear_ip_transports()
            .bind_addr("127.0.0.1:0")
            .unwrap()
            .bind()
            .await
            .unwrap();
        let silent = UdpSocket::bind(loopback()).await.unwrap();
        let there = *endpoint.bound_sockets().first().unwrap();
        let ask = [silent.local_addr().unwrap(), there];
        assert_eq!(knocker().knock(&ask).await.first, Some(there));
        endpoint.close().await;
    }

    #[tokio::test]
    async fn a_probe_that_cannot_be_sent_is_reported() {
        let v6 = SocketAddr::from(([0x2a00, 0, 0, 0, 0, 0, 0, 1], 4));
        assert_eq!(knocker().knock(&[v6]).await.unsent, [v6]);
    }
}
