//! A router in user space, in a process of its own: it forwards IPv4 between the interfaces of its
//! namespace, where the kernel does not, and shapes what it forwards.
//!
//! Most kernels of small machines come without `netem`. A packet socket hands over what arrives,
//! a raw socket sends it on; both are plain system calls.

use std::io::{self, BufRead, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::error::Error;
use crate::network::Space;
use crate::shape::{Order, Shape, Shaper};

/// IPv4, as Ethernet calls it.
const ETHERNET_IPV4: u16 = 0x0800;
/// IP packets that the sender of a raw socket made itself.
const PROTOCOL_RAW: i32 = 255;
/// The longest packet.
const PACKET_BYTES_MAX: usize = 65_535;
/// Bytes that may wait at the packet socket.
const RECEIVE_BYTES: usize = 4 * 1024 * 1024;
/// Time for which the router sleeps when nothing is in progress.
const NOTHING_DUE: Duration = Duration::from_secs(60);

/// The router's process, from outside. It ends when this is dropped.
pub struct Router {
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Router {
    /// Starts to forward in a namespace.
    pub async fn start(space: &Space) -> Result<Router, Error> {
        let mut command = space.command(std::env::current_exe()?);
        command.arg("router");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let orders = child.stdin.take().ok_or(Error::Ended)?;
        let answers = child.stdout.take().ok_or(Error::Ended)?;
        let mut router = Router {
            orders,
            answers: BufReader::new(answers).lines(),
            _child: child,
        };
        router.answer().await?;
        Ok(router)
    }

    /// Shapes both directions between two hosts alike.
    pub async fn shape(&mut self, a: Ipv4Addr, b: Ipv4Addr, shape: Shape) -> Result<(), Error> {
        for (from, to) in [(a, b), (b, a)] {
            self.order(Order::Shape { from, to, shape }).await?;
        }
        Ok(())
    }

    /// Follows an order from now on.
    pub async fn order(&mut self, order: Order) -> Result<(), Error> {
        let line = serde_json::to_string(&order)? + "\n";
        self.orders.write_all(line.as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<(), Error> {
        let answer = self.answers.next_line().await?;
        answer.map(drop).ok_or(Error::Ended)
    }
}

/// Input of the forwarding thread.
enum Input {
    Packet(Vec<u8>, Instant),
    Order(Order),
    End,
}

/// Forwards until standard input ends: the process of a [`Router`].
pub fn serve() -> Result<(), Error> {
    let protocol = Protocol::from(i32::from(ETHERNET_IPV4.to_be()));
    let arriving = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
    arriving.set_recv_buffer_size(RECEIVE_BYTES)?;
    let raw = Protocol::from(PROTOCOL_RAW);
    let leaving = Socket::new(Domain::IPV4, Type::RAW, Some(raw))?;
    leaving.set_header_included_v4(true)?;

    let (inputs, input) = mpsc::channel();
    let packets = inputs.clone();
    thread::spawn(move || read_packets(arriving, &packets));
    thread::spawn(move || read_orders(&inputs));
    println!("ready");
    forward(&input, &leaving);
    Ok(())
}

fn read_packets(mut arriving: Socket, inputs: &mpsc::Sender<Input>) {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        let Ok(read) = arriving.read(&mut buffer) else {
            continue;
        };
        let packet = buffer.get(..read).and_then(checked);
        if let Some(packet) = packet
            && inputs.send(Input::Packet(packet, Instant::now())).is_err()
        {
            break;
        }
    }
}

/// The packet without what an interface added, and without a checksum of UDP: virtual interfaces
/// leave it to a hardware that is not there, and zero means that there is none.
fn checked(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = bytes.get(2..)?.first_chunk::<2>()?;
    let mut packet = bytes
        .get(..usize::from(u16::from_be_bytes(*length)))?
        .to_vec();
    let head = usize::from(packet.first()? & 0x0f) * 4;
    if packet.get(9) == Some(&17) {
        packet.get_mut(head + 6..head + 8)?.fill(0);
    }
    Some(packet)
}

fn read_orders(inputs: &mpsc::Sender<Input>) {
    for line in io::stdin().lock().lines() {
        let Ok(Ok(order)) = line.map(|line| serde_json::from_str(&line)) else {
            break;
        };
        if inputs.send(Input::Order(order)).is_err() {
            break;
        }
    }
    let _ = inputs.send(Input::End);
}

fn forward(inputs: &mpsc::Receiver<Input>, leaving: &Socket) {
    let mut shaper = Shaper::new(rand::random());
    loop {
        let now = Instant::now();
        while let Some((to, packet)) = shaper.arrived(now) {
            // A host that has gone, or whose link is down, gets nothing.
            let _ = leaving.send_to(&packet, &SocketAddrV4::new(to, 0).into());
        }
        let next = shaper.next_due();
        let wait = next.map_or(NOTHING_DUE, |next| next.saturating_duration_since(now));
        match inputs.recv_timeout(wait) {
            Ok(Input::Packet(packet, at)) => shaper.take(packet, at),
            Ok(Input::Order(order)) => {
                shaper.order(order);
                println!("done");
            }
            Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
