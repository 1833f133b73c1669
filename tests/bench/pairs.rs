//! Medians of pairs: what is compared is measured in turns, so that a machine's moods hit both.

use std::time::{Duration, Instant};

/// Ours and the baseline's figures, one pair after another.
#[derive(Debug, Default)]
pub struct Pairs {
    pub ours: Vec<f64>,
    pub bare: Vec<f64>,
}

impl Pairs {
    /// Measures `ours` and `bare` in turns; each second pair begins with the other.
    pub fn measure(
        pairs: usize,
        mut ours: impl FnMut() -> f64,
        mut bare: impl FnMut() -> f64,
    ) -> Self {
        let mut all = Self::default();
        for n in 0..pairs {
            if n % 2 == 0 {
                all.ours.push(ours());
                all.bare.push(bare());
            } else {
                all.bare.push(bare());
                all.ours.push(ours());
            }
        }
        all
    }

    /// The median of the pairs' ratios.
    pub fn ratio(&self) -> f64 {
        let ratios = self.ours.iter().zip(&self.bare).map(|(o, b)| o / b);
        median(ratios.collect())
    }
}

/// The median; of an even number the mean of the two in the middle.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

/// How long `work` takes, for each of its `count` things, in nanoseconds.
pub fn ns_each(count: usize, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    ns(began.elapsed()) / count as f64
}

pub fn ns(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}
