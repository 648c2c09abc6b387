//! One source and its thread: asks, learns, keeps, waits.

use super::{Pace, Shared};
use crate::carbon::cache::Cache;
use crate::carbon::fault::{Fault, FaultKind};
use crate::carbon::series::{Point, Series};
use crate::carbon::source::{News, Poll};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::{SignedDuration, Timestamp};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How far back values are kept, in memory and on disk.
const KEEP: SignedDuration = SignedDuration::from_hours(48);

/// One source and its thread.
pub struct Worker {
    pub shared: Arc<Shared>,
    /// Among the declared sources.
    pub index: usize,
    /// Among those that run.
    pub number: usize,
    pub poll: Box<dyn Poll>,
    /// `None` for a file: that is asked at its pace whatever came of it, a provider with growing waits.
    pub cache: Option<Cache>,
    pub pace: Pace,
    pub cache_fails: bool,
}

impl Worker {
    /// What can be known before the thread runs: the last values of an earlier run, or the file.
    pub fn begin(&mut self, now: Timestamp) {
        match self.cache.as_ref().map(|cache| cache.load(now)) {
            Some(Ok(points)) => self.learn(now, |series| series.merge(points)),
            Some(Err(fault)) => self.count(&fault),
            None => {
                let news = self.poll.poll(now);
                self.take(news, now);
            }
        }
    }

    pub fn run(mut self) {
        let pace = self.pace.poll.unwrap_or_else(|| self.poll.pace());
        // A file was read before the thread began.
        let mut wait = if self.cache.is_some() { Duration::ZERO } else { pace };
        let mut retries = None;
        loop {
            if self.shared.stopped_within(wait) {
                return;
            }
            let now = Timestamp::now();
            let news = self.poll.poll(now);
            wait = match &news {
                Err(fault) if self.cache.is_some() => {
                    let next = retries.get_or_insert_with(|| self.retries()).next();
                    // The server's wish is a minimum; jitter on top keeps a fleet from coming back as one.
                    let own = next.unwrap_or(self.pace.retry_max);
                    fault.retry_after.map_or(own, |asked| own.max(asked + own.min(asked / 4)))
                }
                _ => {
                    retries = None;
                    pace
                }
            };
            self.take(news, now);
        }
    }

    fn retries(&self) -> backon::ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(self.pace.retry_min)
            .with_max_delay(self.pace.retry_max)
            .with_factor(2.0)
            .with_jitter()
            .without_max_times()
            .build()
    }

    fn take(&mut self, news: Result<News, Fault>, now: Timestamp) {
        match news {
            Ok(News::None) => {}
            Ok(News::Points(points)) => {
                self.learn(now, |series| series.merge(points));
                self.judge(now);
                self.keep();
            }
            Ok(News::Whole(points)) => {
                self.learn(now, |series| series.replace_from(points));
                self.judge(now);
            }
            Err(fault) => {
                self.count(&fault);
                self.stand(Some(fault));
            }
        }
        self.shared.state().heard[self.number] = true;
        self.shared.changed.notify_all();
    }

    /// Changes the series; where that changes a value, what was booked may be priced anew.
    fn learn(&self, now: Timestamp, change: impl FnOnce(&mut Series)) {
        let mut sources = self.shared.sources.write().unwrap_or_else(PoisonError::into_inner);
        let value = |point: &Point| (point.valid_from, point.valid_until, point.grams_per_kwh);
        let series = &mut Arc::make_mut(&mut sources).declared_mut(self.index).series;
        let before: Vec<_> = series.points().iter().map(value).collect();
        change(series);
        let changed = !series.points().iter().map(value).eq(before);
        series.forget_before(now.checked_sub(KEEP).unwrap_or(Timestamp::MIN));
        drop(sources);
        if changed {
            self.shared.state().generation += 1;
        }
    }

    /// After an answer: a source whose newest value is no longer in force is answering and yet of no use.
    fn judge(&self, now: Timestamp) {
        let sources = self.shared.sources.read().unwrap_or_else(PoisonError::into_inner).clone();
        let series = &sources.declared()[self.index].series;
        // A provider's clock may be a little ahead: what has yet to begin is not stale.
        let stale = series.latest().filter(|newest| series.at(now.max(newest.valid_from)).is_none());
        let fault =
            stale.map(|newest| Fault::new(FaultKind::Stale, format!("its newest value is of {}", newest.valid_from)));
        if let Some(fault) = &fault {
            self.count(fault);
        }
        self.stand(fault);
    }

    /// Notes how the source stands; a change is logged, the same again is not.
    fn stand(&self, fault: Option<Fault>) {
        let mut sources = self.shared.sources.write().unwrap_or_else(PoisonError::into_inner);
        let source = Arc::make_mut(&mut sources).declared_mut(self.index);
        let method = source.series.label.method.clone();
        let kind = |fault: &Option<Fault>| fault.as_ref().map(|fault| fault.kind);
        let changed = kind(&source.fault) != kind(&fault);
        source.fault = fault.clone();
        drop(sources);
        match fault {
            Some(fault) if changed => tracing::warn!(source = method, kind = %fault.kind.label(), "{}", fault.message),
            None if changed => tracing::info!(source = method, "carbon intensity is heard again"),
            _ => {}
        }
    }

    fn count(&self, fault: &Fault) {
        *self.shared.state().faults.entry(fault.kind).or_default() += 1;
    }

    fn keep(&mut self) {
        let Some(cache) = &self.cache else {
            return;
        };
        let sources = self.shared.sources.read().unwrap_or_else(PoisonError::into_inner).clone();
        match cache.store(sources.declared()[self.index].series.points()) {
            Ok(()) => self.cache_fails = false,
            Err(fault) => {
                self.count(&fault);
                if !std::mem::replace(&mut self.cache_fails, true) {
                    tracing::warn!("the last carbon intensity cannot be kept: {fault}");
                }
            }
        }
    }
}
