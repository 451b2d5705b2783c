//! A node with its RPC on a Unix socket and a loopback port, for testing clients:
//! `cargo run -p p2panda-rpc --example serve -- DIR [--open TOPIC] [--rooms COUNT] [--unknown-keys invite]
//! [--origin ORIGIN] [--port PORT] [--peer NODE@ADDRESS] [--author-bytes BYTES]`. Its tokens are not
//! secret. Everybody may read and relay in the topics after `--open`; with `--rooms` in every topic that
//! they name, until the node keeps COUNT of them. Pages of the given origins may connect. The node keeps
//! at most BYTES of each other author.

#[path = "../tests/rpc/support.rs"]
mod support;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("name a directory")?;
    let mut wishes = support::Wishes::default();
    while let (Some(name), Some(value)) = (args.next(), args.next()) {
        match name.as_str() {
            "--open" => wishes.open.push(value.parse()?),
            "--rooms" => wishes.rooms = Some(value.parse()?),
            "--unknown-keys" if value == "invite" => wishes.invites = true,
            "--origin" => wishes.origins.push(value),
            "--port" => wishes.port = value.parse()?,
            "--peer" => {
                let (node, addr) = value.split_once('@').ok_or("a peer is NODE@ADDRESS")?;
                wishes.peers.push((node.parse()?, addr.parse()?));
            }
            "--author-bytes" => wishes.author_bytes = Some(value.parse()?),
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    std::fs::create_dir_all(&dir)?;
    support::serve(dir.as_ref(), wishes).await
}
