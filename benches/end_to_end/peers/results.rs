//! The figures of all rounds.

use std::collections::HashMap;

use crate::spread::Spread;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    Held,
    HeldAfterWaves,
    MessageCpu,
    MessageRate,
    MessageP50,
    MessageP99,
    ProxyCpu,
    ProxyRate,
}

impl Measure {
    pub fn unit(self) -> &'static str {
        match self {
            Self::Held | Self::HeldAfterWaves => " KiB",
            Self::MessageCpu | Self::ProxyCpu => " µs",
            Self::MessageP50 | Self::MessageP99 => " ms",
            Self::MessageRate | Self::ProxyRate => "/s",
        }
    }

    /// How many decimals mean something.
    pub fn decimals(self) -> usize {
        match self {
            Self::Held | Self::HeldAfterWaves | Self::MessageP50 | Self::MessageP99 => 2,
            Self::MessageCpu | Self::ProxyCpu => 1,
            Self::MessageRate | Self::ProxyRate => 0,
        }
    }
}

/// By what was measured, and by the name of the server.
#[derive(Default)]
pub struct Results(HashMap<(Measure, &'static str), Vec<f64>>);

impl Results {
    pub fn add(&mut self, measure: Measure, of: &'static str, figure: f64) {
        self.0.entry((measure, of)).or_default().push(figure);
    }

    /// `None` if it was not measured.
    pub fn spread(&self, measure: Measure, of: &'static str) -> Option<Spread> {
        self.0.get(&(measure, of)).map(|figures| Spread::of(figures))
    }
}
