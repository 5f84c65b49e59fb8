//! How metrics are made and registered.

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core,
};

/// A gauge is set to a number that may be larger than it holds.
pub fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Counters of one name whose label has few values, all known: each exists from the start, so that its first
/// increase is seen, and none is looked up behind a lock.
#[derive(Debug)]
pub struct ByWord(Vec<(&'static str, IntCounter)>);

impl ByWord {
    /// So many more of this word.
    pub fn add(&self, word: &'static str, by: u64) {
        let found = self.0.iter().find(|(other, _)| *other == word);
        debug_assert!(found.is_some(), "{word} is not among the words");
        if let Some((_, counter)) = found {
            counter.inc_by(by);
        }
    }
}

/// Makes metrics and registers them.
pub struct Adder(pub Registry);

impl Adder {
    fn register<C: core::Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// A counter.
    pub fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(format!("pollgate_{name}"), help)?)
    }

    pub(super) fn counters(&self, name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
        self.counters_by(name, help, &[label])
    }

    pub(super) fn counters_by(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(format!("pollgate_{name}"), help), labels)?)
    }

    /// Counters whose label has one of these words.
    pub fn by_word(
        &self,
        name: &str,
        help: &str,
        label: &str,
        words: impl IntoIterator<Item = &'static str>,
    ) -> prometheus::Result<ByWord> {
        let counters = self.counters(name, help, label)?;
        Ok(ByWord(words.into_iter().map(|word| (word, counters.with_label_values(&[word]))).collect()))
    }

    /// A gauge.
    pub fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(format!("pollgate_{name}"), help)?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(format!("pollgate_{name}"), help), labels)?)
    }

    pub(super) fn float_gauges(&self, name: &str, help: &str, label: &str) -> prometheus::Result<GaugeVec> {
        self.register(GaugeVec::new(Opts::new(format!("pollgate_{name}"), help), &[label])?)
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        label: &str,
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::new(format!("pollgate_{name}"), help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(opts, &[label])?)
    }

    pub(super) fn float_gauge(&self, name: &str, help: &str) -> prometheus::Result<prometheus::Gauge> {
        self.register(prometheus::Gauge::new(format!("pollgate_{name}"), help)?)
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        let opts = HistogramOpts::new(format!("pollgate_{name}"), help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(opts)?)
    }
}
