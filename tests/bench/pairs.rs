//! Medians of pairs. Both sides are measured alternately, so that changes of the machine's speed
//! affect both.

use std::time::{Duration, Instant};

/// Figures of streamwatch and of the baseline, in pairs.
#[derive(Debug, Default)]
pub struct Pairs {
    pub ours: Vec<f64>,
    pub bare: Vec<f64>,
}

impl Pairs {
    /// Measures `ours` and `bare` alternately.
    pub fn measure(
        pairs: usize,
        mut ours: impl FnMut() -> f64,
        mut bare: impl FnMut() -> f64,
    ) -> Self {
        let mut all = Self::default();
        for side in turns(pairs) {
            match side {
                Side::Ours => all.ours.push(ours()),
                Side::Bare => all.bare.push(bare()),
            }
        }
        all
    }

    /// Pairs derived from other figures, pair by pair.
    pub fn of(ours: impl IntoIterator<Item = f64>, bare: impl IntoIterator<Item = f64>) -> Self {
        Self {
            ours: ours.into_iter().collect(),
            bare: bare.into_iter().collect(),
        }
    }

    /// The median of the pairs' ratios.
    pub fn ratio(&self) -> f64 {
        let ratios = self.ours.iter().zip(&self.bare).map(|(o, b)| o / b);
        median(ratios.collect())
    }
}

/// The side to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Ours,
    Bare,
}

/// The sides to measure, in order. Every second pair starts with the baseline.
pub fn turns(pairs: usize) -> impl Iterator<Item = Side> {
    (0..pairs).flat_map(|n| match n % 2 {
        0 => [Side::Ours, Side::Bare],
        _ => [Side::Bare, Side::Ours],
    })
}

/// Measures streamwatch and the baseline alternately.
pub async fn in_turns<T>(
    pairs: usize,
    mut measure: impl AsyncFnMut(Side) -> T,
) -> (Vec<T>, Vec<T>) {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for side in turns(pairs) {
        let measured = measure(side).await;
        match side {
            Side::Ours => ours.push(measured),
            Side::Bare => bare.push(measured),
        }
    }
    (ours, bare)
}

/// The percentile: `percent` of the figures do not exceed it.
pub fn percentile(mut figures: Vec<f64>, percent: usize) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let at = (figures.len() * percent / 100).min(figures.len().saturating_sub(1));
    figures.get(at).copied().unwrap_or(f64::NAN)
}

/// The median; for an even number of figures, the mean of the middle two.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

/// The duration of `work` divided by `count`, in nanoseconds.
#[allow(clippy::disallowed_methods, reason = "what it takes is measured")]
pub fn ns_each(count: usize, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    ns(began.elapsed()) / count as f64
}

pub fn ns(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}
