//! What several rounds measured.

use std::fmt::{self, Display, Formatter};

/// Of at least one figure.
#[derive(Clone, Copy)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(figures: &[f64]) -> Self {
        let mut figures = figures.to_vec();
        figures.sort_by(f64::total_cmp);
        Self { least: figures[0], median: figures[figures.len() / 2], most: figures[figures.len() - 1] }
    }
}

/// The median, and between which figures it lies; each with the decimals that are asked for.
impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(1);
        let Self { least, median, most } = self;
        write!(f, "{median:.decimals$} ({least:.decimals$}..{most:.decimals$})")
    }
}
