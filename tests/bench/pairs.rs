//! Medians of pairs: what is compared is measured in turns, so that a machine's moods hit both.

use std::time::{Duration, Instant};

/// Ours and the baseline's figures, one pair after another.
#[derive(Debug, Default)]
pub struct Pairs {
    pub ours: Vec<f64>,
    pub bare: Vec<f64>,
}

impl Pairs {
    /// Measures `ours` and `bare` in turns.
    pub fn measure(
        pairs: usize,
        mut ours: impl FnMut() -> f64,
        mut bare: impl FnMut() -> f64,
    ) -> Self {
        let mut all = Self::default();
        for whose in turns(pairs) {
            match whose {
                Whose::Ours => all.ours.push(ours()),
                Whose::Bare => all.bare.push(bare()),
            }
        }
        all
    }

    /// The same from other figures, which belong together one by one.
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

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Ours,
    Bare,
}

/// Whose turn it is, one after another; each second pair begins with the other.
pub fn turns(pairs: usize) -> impl Iterator<Item = Whose> {
    (0..pairs).flat_map(|n| match n % 2 {
        0 => [Whose::Ours, Whose::Bare],
        _ => [Whose::Bare, Whose::Ours],
    })
}

/// Measures ours and the baseline in turns.
pub async fn in_turns<T>(
    pairs: usize,
    mut measure: impl AsyncFnMut(Whose) -> T,
) -> (Vec<T>, Vec<T>) {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for whose in turns(pairs) {
        let measured = measure(whose).await;
        match whose {
            Whose::Ours => ours.push(measured),
            Whose::Bare => bare.push(measured),
        }
    }
    (ours, bare)
}

/// The value that `percent` of the figures do not exceed.
pub fn percentile(mut figures: Vec<f64>, percent: usize) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let at = (figures.len() * percent / 100).min(figures.len().saturating_sub(1));
    figures.get(at).copied().unwrap_or(f64::NAN)
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
#[allow(clippy::disallowed_methods, reason = "what it takes is measured")]
pub fn ns_each(count: usize, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    ns(began.elapsed()) / count as f64
}

pub fn ns(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}
