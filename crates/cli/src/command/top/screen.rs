//! The screen of `panda top`.

use p2panda_rpc::api;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Borders, Row, Table};

use super::{Rate, Sample};
use crate::command::contact::name;
use crate::output::visible;

/// All that is on the screen.
pub(super) struct Screen {
    node: Vec<String>,
    rates: Vec<Rate>,
    /// Name, state, path, round trip, sessions.
    peers: Vec<[String; 5]>,
    /// Name, offsets behind, age of the oldest.
    consumers: Vec<[String; 3]>,
}

impl Screen {
    pub(super) fn of(sample: &Sample, rates: Vec<Rate>) -> Screen {
        let status = &sample.status;
        let health = match &status.health.reason {
            Some(why) => format!("{}: {}", status.health.state, visible(why)),
            None => status.health.state.clone(),
        };
        let numbers = &sample.numbers;
        let budget = numbers.get("budget_used_bytes");
        let node = vec![
            format!(
                "{} {} · up {} s · {health}",
                name(status.node),
                status.version,
                status.up_seconds
            ),
            format!(
                "topics {} · nodes connected {} of {} · sessions live {} of {} · held for others {} · logs blocked {}",
                status.topics,
                status.peers_connected,
                status.peers,
                status.sessions_live,
                status.sessions,
                bytes(budget),
                status.logs_blocked,
            ),
        ];
        let ages: Vec<_> = numbers.labelled("consumer_oldest_age_seconds").collect();
        let consumer = |(consumer, behind): (&str, f64)| {
            let age = ages.iter().find(|(name, _)| *name == consumer);
            let age = age.map_or(0.0, |(_, age)| *age);
            [
                visible(consumer),
                format!("{behind:.0}"),
                format!("{age:.0} s"),
            ]
        };
        let behind = numbers.labelled("consumer_offsets_behind");
        let mut peers: Vec<_> = sample.peers.iter().collect();
        peers.sort_by_key(|peer| (!peer.connected, peer.node));
        Screen {
            node,
            rates,
            peers: peers.into_iter().map(of_peer).collect(),
            consumers: behind.map(consumer).collect(),
        }
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let rows = u16::try_from(self.rates.len()).unwrap_or(u16::MAX);
        let consumers = match self.consumers.len() {
            0 => 0,
            count => u16::try_from(count.min(8)).unwrap_or(8) + 2,
        };
        let areas = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(rows.saturating_add(2)),
            Constraint::Min(3),
            Constraint::Length(consumers),
            Constraint::Length(1),
        ]);
        let [node, rates, peers, waiting, keys] = areas.areas(frame.area());
        let lines: Vec<Line<'_>> = self.node.iter().map(|line| Line::from(&**line)).collect();
        frame.render_widget(Text::from(lines), node);
        frame.render_widget(self.rate_table(), rates);
        let head = ["node", "state", "path", "round trip", "sessions"];
        let widths = [Constraint::Fill(1); 5];
        frame.render_widget(table("nodes", &head, &self.peers, widths), peers);
        if consumers > 0 {
            let head = ["consumer", "behind", "oldest"];
            let widths = [
                Constraint::Fill(2),
                Constraint::Fill(1),
                Constraint::Fill(1),
            ];
            frame.render_widget(table("consumers", &head, &self.consumers, widths), waiting);
        }
        frame.render_widget(Line::from("q ends").dim(), keys);
    }

    fn rate_table(&self) -> Table<'_> {
        let row = |rate: &Rate| {
            let shown = match rate.what.starts_with("bytes") || rate.what == "sync out" {
                true => [bytes(rate.per_second), bytes(rate.total)],
                false => [
                    format!("{:.1}", rate.per_second),
                    format!("{:.0}", rate.total),
                ],
            };
            let [per_second, total] = shown;
            Row::new([rate.what.to_owned(), per_second, total])
        };
        let rows: Vec<_> = self.rates.iter().map(row).collect();
        let widths = [Constraint::Fill(1); 3];
        let head = Row::new(["", "per second", "in all"]).style(Style::new().bold());
        let block = Block::new().borders(Borders::TOP).title("rates");
        Table::new(rows, widths).header(head).block(block)
    }
}

fn table<'a, const N: usize>(
    title: &'static str,
    head: &[&'static str; N],
    rows: &'a [[String; N]],
    widths: [Constraint; N],
) -> Table<'a> {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| Row::new(row.iter().map(|cell| &**cell)))
        .collect();
    let head = Row::new(head.iter().copied()).style(Style::new().bold());
    let block = Block::new().borders(Borders::TOP).title(title);
    Table::new(rows, widths).header(head).block(block)
}

fn of_peer(peer: &api::PeerView) -> [String; 5] {
    let path = match (peer.connected, peer.relayed) {
        (false, _) => "",
        (true, true) => "relay",
        (true, false) => "direct",
    };
    let rtt = peer.rtt_us.filter(|_| peer.connected);
    [
        name(peer.node),
        match &peer.why {
            Some(why) => format!("{} ({why})", peer.state),
            None => peer.state.clone(),
        },
        path.to_owned(),
        rtt.map_or_else(String::new, |us| format!("{:.1} ms", us as f64 / 1_000.0)),
        peer.sessions.to_string(),
    ]
}

/// Bytes as people read them.
fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let (mut bytes, mut unit) = (bytes, 0);
    while bytes >= 1_024.0 && unit + 1 < UNITS.len() {
        bytes /= 1_024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{bytes:.digits$} {}", UNITS.get(unit).unwrap_or(&"B"))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn lines(screen: &Screen, width: u16, height: u16) -> Vec<String> {
        let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
        let Ok(_) = terminal.draw(|frame| screen.draw(frame));
        let buffer = terminal.backend().buffer();
        let cells = buffer.content().chunks(usize::from(width));
        cells
            .map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>())
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    fn screen() -> Screen {
        Screen {
            node: vec!["1a2b3c4d 0.1.0 · up 7 s · ok".into(), "3 topics".into()],
            rates: vec![
                Rate {
                    what: "stored",
                    per_second: 12.5,
                    total: 100.0,
                },
                Rate {
                    what: "bytes in",
                    per_second: 2_048.0,
                    total: 3.0 * 1_048_576.0,
                },
            ],
            peers: vec![["5e6f7a8b", "live", "direct", "1.5 ms", "2"].map(str::to_owned)],
            consumers: vec![["t1/printer\\n", "9", "4 s"].map(str::to_owned)],
        }
    }

    #[test]
    fn the_screen_shows_rates_nodes_and_consumers() {
        let drawn = lines(&screen(), 80, 24);
        let cells = |text: &str| {
            let line = drawn.iter().find(|line| line.starts_with(text));
            let words = line.map_or("", |line| line).split_whitespace();
            words.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(cells("1a2b3c4d"), "1a2b3c4d 0.1.0 · up 7 s · ok");
        assert_eq!(cells("stored"), "stored 12.5 100");
        assert_eq!(cells("bytes in"), "bytes in 2.0 KiB 3.0 MiB");
        assert_eq!(cells("5e6f7a8b"), "5e6f7a8b live direct 1.5 ms 2");
        assert_eq!(cells("t1/printer"), "t1/printer\\n 9 4 s");
        assert_eq!(cells("q ends"), "q ends");
    }

    #[test]
    fn a_small_terminal_does_not_panic() {
        for (width, height) in [(1, 1), (20, 3), (80, 6), (200, 4)] {
            let drawn = lines(&screen(), width, height);
            assert_eq!(drawn.len(), usize::from(height));
        }
    }
}
