//! Measurements of a scenario: one line of JSON per figure, and a table.

use serde::Serialize;

/// The figures of one scenario.
#[derive(Debug)]
pub struct Report {
    scenario: String,
    figures: Vec<Figure>,
}

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    scenario: String,
    figure: String,
    unit: &'static str,
    /// None if it never came to it.
    value: Option<f64>,
    /// The most that it may be.
    bar: Option<f64>,
    met: Option<bool>,
}

/// The head of the table.
pub const TABLE_HEAD: &str = "| scenario | figure | | bar | |\n|---|---|---|---|---|";

impl Report {
    /// Without a figure yet.
    pub fn new(scenario: impl Into<String>) -> Report {
        Report {
            scenario: scenario.into(),
            figures: Vec::new(),
        }
    }

    /// Adds a figure without a bar. It is printed at once.
    pub fn note(&mut self, figure: &str, unit: &'static str, value: Option<f64>) {
        self.add(figure, unit, value, None);
    }

    /// Adds a figure that must be there and at most `bar`. It is printed at once.
    pub fn hold(&mut self, figure: &str, unit: &'static str, value: Option<f64>, bar: f64) {
        self.add(figure, unit, value, Some(bar));
    }

    fn add(&mut self, name: &str, unit: &'static str, value: Option<f64>, bar: Option<f64>) {
        let figure = Figure {
            scenario: self.scenario.clone(),
            figure: name.to_owned(),
            unit,
            value,
            bar,
            met: bar.map(|bar| value.is_some_and(|value| value <= bar)),
        };
        if let Ok(line) = serde_json::to_string(&figure) {
            println!("{line}");
        }
        self.figures.push(figure);
    }

    /// Returns `true` if all bars are met.
    pub fn met(&self) -> bool {
        self.figures.iter().all(|figure| figure.met != Some(false))
    }

    /// The rows of the table.
    pub fn rows(&self) -> Vec<String> {
        self.figures.iter().map(Figure::row).collect()
    }
}

impl Figure {
    fn row(&self) -> String {
        let bar = self.bar.map_or(String::new(), |bar| {
            format!("≤ {} {}", short(bar), self.unit)
        });
        let met = match self.met {
            None => "",
            Some(true) => "met",
            Some(false) => "**missed**",
        };
        let value = match self.value {
            Some(value) => format!("{} {}", short(value), self.unit).trim().to_owned(),
            None => "never".to_owned(),
        };
        let (scenario, figure) = (&self.scenario, &self.figure);
        format!(
            "| {scenario} | {figure} | {value} | {} | {met} |",
            bar.trim()
        )
    }
}

/// Three digits.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 || value.fract() == 0.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// The value below which a part of the others are.
pub fn percentile(mut values: Vec<f64>, part: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let at = (values.len().saturating_sub(1) as f64 * part).round() as usize;
    values.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_missed_by_a_larger_or_missing_value() {
        let mut report = Report::new("a");
        report.note("b", "s", None);
        report.hold("c", "s", Some(30.0), 30.0);
        assert!(report.met());

        for value in [Some(30.1), None] {
            let mut report = Report::new("a");
            report.hold("c", "s", value, 30.0);
            assert!(!report.met());
        }
    }

    #[test]
    fn rows_show_value_bar_and_verdict() {
        let mut report = Report::new("star");
        report.note("sent", "kB", Some(1234.5));
        report.hold("all", "s", Some(1.256), 30.0);
        report.hold("all", "s", None, 30.0);
        let rows = [
            "| star | sent | 1234 kB |  |  |",
            "| star | all | 1.26 s | ≤ 30 s | met |",
            "| star | all | never | ≤ 30 s | **missed** |",
        ];
        assert_eq!(report.rows(), rows);
    }

    #[test]
    fn a_percentile_is_one_of_the_values_at_its_part_of_the_order() {
        assert_eq!(percentile(vec![3.0, 1.0, 2.0], 0.5), Some(2.0));
        // Between two values it is the upper one.
        assert_eq!(percentile(vec![4.0, 1.0, 3.0, 2.0], 0.5), Some(3.0));
        let hundred = || (1..=100_u8).rev().map(f64::from).collect::<Vec<_>>();
        for (part, value) in [(0.0, 1.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)] {
            assert_eq!(percentile(hundred(), part), Some(value), "{part}");
        }
        assert_eq!(percentile(vec![7.0], 0.99), Some(7.0));
        assert_eq!(percentile(vec![], 0.5), None);
    }
}
