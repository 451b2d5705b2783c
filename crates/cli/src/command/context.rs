//! `panda context`

use serde::Serialize;

use crate::args::ContextCommand;
use crate::contexts::{Context, Contexts};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Done, Written};
use crate::remote::{INVITE, TOKEN};

/// Names nodes, and chooses one.
pub fn run(command: ContextCommand) -> Result<Outcome, Failure> {
    let mut contexts = Contexts::load()?;
    match command {
        ContextCommand::Ls { json } => list(&contexts, json),
        ContextCommand::Add {
            name,
            address: node,
            json,
        } => {
            let mut context = Context::of(node);
            context.token = std::env::var(TOKEN).ok();
            if let Ok(invite) = std::env::var(INVITE) {
                context.come_by(invite.trim())?;
            }
            contexts.add(&name, context)?;
            contexts.save()?;
            done(json, "add", &name)
        }
        ContextCommand::Use { name, json } => {
            contexts.current = match name.as_str() {
                "-" => None,
                name => contexts.get(name).map(|_| Some(name.to_owned()))?,
            };
            contexts.save()?;
            done(json, "use", &name)
        }
        ContextCommand::Rm { name, json } => {
            contexts.get(&name)?;
            contexts.context.remove(&name);
            contexts.current.take_if(|current| *current == name);
            contexts.save()?;
            done(json, "rm", &name)
        }
    }
}

fn done(json: bool, what: &'static str, name: &str) -> Result<Outcome, Failure> {
    output::done(json, &Done::new(what, name)).map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

/// A context as `panda context ls --json` prints it. Its token is not shown.
#[derive(Serialize)]
struct ContextLine<'a> {
    name: &'a str,
    node: &'a str,
    current: bool,
    token: bool,
    invite: bool,
}

fn list(contexts: &Contexts, json: bool) -> Result<Outcome, Failure> {
    for (name, context) in &contexts.context {
        let line = ContextLine {
            name,
            node: &context.node,
            current: contexts.current.as_ref() == Some(name),
            token: context.token.is_some(),
            invite: context.invite.is_some(),
        };
        let mark = if line.current { '*' } else { ' ' };
        let written = match json {
            true => output::json(&line),
            false => output::line(&format!("{mark} {name}  {}", output::visible(line.node))),
        };
        if written.map_err(Failure::Stdout)? == Written::Closed {
            break;
        }
    }
    Ok(Outcome::Done)
}
