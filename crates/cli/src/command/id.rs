//! `panda id`

use p2panda::Node;

use crate::args::{IdArgs, NodeArgs};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Written};

/// Prints the id of the node, or `ID@ADDR` per address.
pub async fn run(args: &NodeArgs, id: IdArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let node = crate::open::node(args, false).await?;
    let printed = print(&node, id.addr).map_err(Failure::Stdout);
    interrupt.finish(node.shutdown()).await?;
    printed.map(|()| Outcome::Done)
}

fn print(node: &Node, addr: bool) -> std::io::Result<()> {
    let lines = if addr {
        addresses(node)
    } else {
        vec![node.id().to_string()]
    };
    for line in lines {
        if output::line(&line)? == Written::Closed {
            break;
        }
    }
    Ok(())
}

/// The addresses of a node in the form that `--bootstrap` takes.
pub fn addresses(node: &Node) -> Vec<String> {
    let id = node.id();
    node.net()
        .addr()
        .iter()
        .map(|addr| format!("{id}@{addr}"))
        .collect()
}
