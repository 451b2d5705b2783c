//! A node with its RPC on a Unix socket and a free port of the loopback interface, for trying clients:
//! `cargo run -p p2panda-rpc --example serve -- DIR`. Its tokens are no secret.

#[path = "../tests/rpc/support.rs"]
mod support;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args_os().nth(1).ok_or("name a directory")?;
    std::fs::create_dir_all(&dir)?;
    support::serve(dir.as_ref()).await
}
