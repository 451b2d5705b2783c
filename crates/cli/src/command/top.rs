//! `panda top`

mod screen;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use p2panda_rpc::api;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::args::{NodeArgs, TopArgs};
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Written};
use crate::remote::Remote;
use screen::Screen;

/// Time to wait for the keyboard before checking whether the screen has gone.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Counters that are shown by second, with what they count.
const RATES: [(&str, &str); 8] = [
    ("operations_stored_total", "stored"),
    ("operations_published_total", "published"),
    ("operations_rejected_total", "refused"),
    ("entries_total", "shown"),
    ("rpc_requests_total", "requests"),
    ("udp_received_bytes_total", "bytes in"),
    ("udp_sent_bytes_total", "bytes out"),
    ("sync_sent_bytes_total", "sync out"),
];

/// State of the node at one moment.
struct Sample {
    at: Instant,
    status: api::NodeStatusResult,
    peers: Vec<api::PeerView>,
    numbers: Numbers,
}

/// Metrics by their name with labels, without the prefix.
#[derive(Default)]
struct Numbers(BTreeMap<String, f64>);

/// Activity of the node, per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Rate {
    what: &'static str,
    per_second: f64,
    total: f64,
}

/// One line of `panda top --json`.
#[derive(Serialize)]
struct TopLine<'a> {
    node: String,
    health: &'a str,
    up_seconds: u64,
    topics: u64,
    peers_connected: u64,
    sessions_live: u64,
    rates: &'a [Rate],
}

/// Shows what happens on the node that runs until `q`, Ctrl-C or a signal.
pub async fn run(args: &NodeArgs, top: TopArgs) -> Result<Outcome, Failure> {
    let Some(remote) = Face::running(args, false).await? else {
        return Err(crate::open::nothing_runs(args));
    };
    let mut interrupt = Interrupt::new()?;
    if top.json {
        return print(&remote, &top, &mut interrupt).await;
    }
    if !std::io::stdout().is_terminal() {
        return Err(Failure::NoTerminal);
    }
    let mut terminal = ratatui::try_init().map_err(Failure::Stdout)?;
    let shown = show(&remote, &top, &mut terminal, &mut interrupt).await;
    ratatui::restore();
    shown
}

async fn show(
    remote: &Remote,
    top: &TopArgs,
    terminal: &mut ratatui::DefaultTerminal,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let mut keys = keys();
    let mut before = Sample::take(remote).await?;
    loop {
        let sample = Sample::take(remote).await?;
        let screen = Screen::of(&sample, rates(&before, &sample));
        terminal
            .draw(|frame| screen.draw(frame))
            .map_err(Failure::Stdout)?;
        before = sample;
        tokio::select! {
            () = tokio::time::sleep(top.interval) => {}
            () = interrupt.wait() => return Ok(Outcome::Done),
            () = remote.client().closed() => return Err(Failure::Node(p2panda::Error::Closed)),
            _ = keys.recv() => return Ok(Outcome::Done),
        }
    }
}

/// Reports `q`, Esc and Ctrl-C. The thread ends when nobody listens any more.
fn keys() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            match event::poll(KEY_WAIT) {
                Ok(false) => {}
                Ok(true) if !is_end(event::read().ok()) => {}
                // Without a keyboard a signal ends it.
                Err(_) => return,
                Ok(true) => {
                    let _ = sender.blocking_send(());
                }
            }
        }
    });
    receiver
}

fn is_end(event: Option<Event>) -> bool {
    let Some(Event::Key(key)) = event else {
        return false;
    };
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
        || is_control && key.code == KeyCode::Char('c')
}

/// A line of JSON for each interval.
async fn print(
    remote: &Remote,
    top: &TopArgs,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let mut before = Sample::take(remote).await?;
    let mut left = top.count.unwrap_or(u64::MAX);
    while left > 0 {
        tokio::select! {
            () = tokio::time::sleep(top.interval) => {}
            () = interrupt.wait() => return Ok(Outcome::Done),
        }
        let sample = Sample::take(remote).await?;
        let status = &sample.status;
        let line = TopLine {
            node: status.node.to_string(),
            health: &status.health.state,
            up_seconds: status.up_seconds,
            topics: status.topics,
            peers_connected: status.peers_connected,
            sessions_live: status.sessions_live,
            rates: &rates(&before, &sample),
        };
        if output::json(&line).map_err(Failure::Stdout)? == Written::Closed {
            break;
        }
        before = sample;
        left -= 1;
    }
    Ok(Outcome::Done)
}

impl Sample {
    async fn take(remote: &Remote) -> Result<Sample, Failure> {
        let status = remote.status().await?;
        let peers = remote.call::<api::PeerList>(&api::Empty {}).await?.peers;
        let text = remote.call::<api::NodeMetrics>(&api::Empty {}).await?.text;
        Ok(Sample {
            at: Instant::now(),
            status,
            peers,
            numbers: Numbers::of(&text),
        })
    }
}

impl Numbers {
    /// Of the text for Prometheus.
    fn of(text: &str) -> Numbers {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let numbers = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let name = name.strip_prefix("p2panda_")?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Numbers(numbers.collect())
    }

    fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Those of a name with one label: the label and the number.
    fn labelled<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(full, value)| {
            let label = full.strip_prefix(name)?.strip_prefix('{')?;
            let (_, label) = label.split_once("=\"")?;
            Some((label.strip_suffix("\"}")?, *value))
        })
    }
}

/// Computes the activity between two samples, per second.
fn rates(before: &Sample, now: &Sample) -> Vec<Rate> {
    let seconds = now.at.duration_since(before.at).as_secs_f64();
    let rate = |(name, what): (&str, &'static str)| {
        let total = now.numbers.get(name);
        let more = (total - before.numbers.get(name)).max(0.0);
        let per_second = match seconds > 0.0 {
            true => more / seconds,
            false => 0.0,
        };
        Rate {
            what,
            per_second,
            total,
        }
    };
    RATES.into_iter().map(rate).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use super::*;

    #[test]
    fn numbers_are_read_from_the_text_of_the_metrics() {
        let numbers = Numbers::of(
            "# HELP p2panda_entries Entries\np2panda_entries_total 7\n\
             p2panda_consumer_offsets_behind{consumer=\"t1/x\"} 3\nother 9\n# EOF\n",
        );
        assert_eq!(numbers.get("entries_total"), 7.0);
        assert_eq!(numbers.get("other"), 0.0);
        let behind: Vec<_> = numbers.labelled("consumer_offsets_behind").collect();
        assert_eq!(behind, [("t1/x", 3.0)]);
    }
}
