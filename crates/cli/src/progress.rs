//! Progress on standard error: a bar on a terminal, nothing otherwise.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that counts up to `total`; without a total it shows the count. Hides itself where
/// standard error is not a terminal and goes away when dropped.
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts at zero.
    pub fn new(what: &'static str, total: Option<u64>) -> Progress {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let template = match total {
            Some(_) => "{msg} {wide_bar} {human_pos}/{human_len}",
            None => "{msg} {human_pos}",
        };
        let style = ProgressStyle::with_template(template).expect("the templates above are valid");
        bar.set_style(style);
        bar.set_message(what);
        Progress(bar)
    }

    /// Shows a new count.
    pub fn set(&self, count: u64) {
        self.0.set_position(count);
    }

    /// Counts some more.
    pub fn add(&self, count: u64) {
        self.0.inc(count);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
