//! Namespaces and the links between them.
//!
//! All of them lie in the rig's own mount namespace, so their names meet no others, and all go when
//! the rig's process ends.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::Error;

/// One address each: `10.NUMBER.0.1` and `10.NUMBER.0.2`.
const LINKS_MAX: u8 = 250;
/// Namespaces of all scenarios so far: no two have the same name.
static SPACES: AtomicU32 = AtomicU32::new(1);

/// A network namespace.
#[derive(Clone, Debug)]
pub struct Space {
    name: String,
}

/// A pair of interfaces between two namespaces, in a network of its own.
#[derive(Clone, Debug)]
pub struct Link {
    /// Of the interface at either end.
    device: String,
    /// Address at the first end.
    pub a: Ipv4Addr,
    /// Address at the second end.
    pub b: Ipv4Addr,
}

/// Parts of which a scenario is built.
#[derive(Debug, Default)]
pub struct Network {
    links: u8,
}

/// A namespace of a node, with the address at which others find it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The namespace.
    pub space: Space,
    /// Its address; of several, the first.
    pub addr: Ipv4Addr,
    /// Its link; of several, the first.
    pub link: Link,
}

impl Network {
    /// Nothing yet.
    pub fn new() -> Network {
        Network::default()
    }

    /// A namespace without a link.
    pub async fn space(&mut self) -> Result<Space, Error> {
        let name = format!("rig{}", SPACES.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name], "").await?;
        let space = Space { name };
        space.ip("link set lo up").await?;
        // Neighbour discovery would count as traffic.
        if Path::new("/proc/sys/net/ipv6").exists() {
            for which in ["all", "default"] {
                let setting = format!("ipv6/conf/{which}/disable_ipv6");
                space.set(&setting, "1").await?;
            }
        }
        Ok(space)
    }

    /// A link between two namespaces. Packets cross one by one: no batch of the kernel counts as one.
    pub async fn link(&mut self, a: &Space, b: &Space) -> Result<Link, Error> {
        if self.links == LINKS_MAX {
            return Err(Error::Links);
        }
        self.links += 1;
        let number = self.links;
        let link = Link {
            device: format!("link{number}"),
            a: Ipv4Addr::new(10, number, 0, 1),
            b: Ipv4Addr::new(10, number, 0, 2),
        };
        let device = &link.device;
        let other = &b.name;
        a.ip(&format!(
            "link add {device} type veth peer name {device} netns {other}"
        ))
        .await?;
        for (space, addr) in [(a, link.a), (b, link.b)] {
            space
                .ip(&format!(
                    "addr add {addr}/30 dev {device}\n\
                     link set {device} gso_max_segs 1\n\
                     link set {device} up"
                ))
                .await?;
        }
        Ok(link)
    }

    /// A namespace for a node behind a router.
    pub async fn behind(&mut self, router: &Space) -> Result<Place, Error> {
        let space = self.space().await?;
        let link = self.link(router, &space).await?;
        space
            .ip(&format!("route add default via {}", link.a))
            .await?;
        Ok(Place {
            space,
            addr: link.b,
            link,
        })
    }

    /// This many namespaces behind one router.
    pub async fn all_behind(&mut self, router: &Space, nodes: usize) -> Result<Vec<Place>, Error> {
        let mut places = Vec::with_capacity(nodes);
        for _ in 0..nodes {
            places.push(self.behind(router).await?);
        }
        Ok(places)
    }
}

impl Space {
    /// A command that runs in here, as the process that is spawned.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name));
        command.arg("--").arg(program);
        command
    }

    /// Sends what is for an address through a neighbour.
    pub async fn route(&self, to: Ipv4Addr, via: Ipv4Addr) -> Result<(), Error> {
        self.ip(&format!("route add {to} via {via}")).await
    }

    /// Lets the kernel forward between the links in here, or not, without a word to anybody.
    pub async fn forward(&self, on: bool) -> Result<(), Error> {
        self.set("ipv4/ip_forward", if on { "1" } else { "0" })
            .await
    }

    /// Forwards nothing from one address to another any more, without a word to either.
    pub async fn block(&self, from: Ipv4Addr, to: Ipv4Addr) -> Result<(), Error> {
        self.ip(&format!("rule add from {from} to {to} blackhole"))
            .await
    }

    /// Ends a [`Space::block`].
    pub async fn unblock(&self, from: Ipv4Addr, to: Ipv4Addr) -> Result<(), Error> {
        self.ip(&format!("rule del from {from} to {to} blackhole"))
            .await
    }

    /// Takes a link down at this end, or up again: the other end loses its carrier.
    pub async fn switch(&self, link: &Link, on: bool) -> Result<(), Error> {
        let state = if on { "up" } else { "down" };
        self.ip(&format!("link set {} {state}", link.device)).await
    }

    /// Lines for `ip`.
    async fn ip(&self, lines: &str) -> Result<(), Error> {
        run("ip", &["-n", &self.name, "-batch", "-"], lines).await
    }

    async fn set(&self, setting: &str, value: &str) -> Result<(), Error> {
        let net = format!("--net=/run/netns/{}", self.name);
        let path = format!("/proc/sys/net/{setting}");
        run("nsenter", &[&net, "--", "tee", &path], value).await
    }
}

/// Runs a program of the system.
pub async fn run(program: &str, arguments: &[&str], input: &str) -> Result<(), Error> {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = match input {
        "" => command.stdin(Stdio::null()).spawn()?,
        _ => command.stdin(Stdio::piped()).spawn()?,
    };
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(format!("{input}\n").as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Program {
        program: format!("{program} {} <<< {input:?}", arguments.join(" ")),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
