//! The books: what every process, component and meter used, by interval, by run and since the counters began.
//! Pure: rows go in, a closed interval comes out.

use crate::attribution::{Owner, Rows, apportion};
use crate::energy::{Domain, Meter, MeterDelta, Quality};
use crate::probe::ProcessKey;
use crate::snapshot::{EnergyByDomain, Usage};
use crate::units::{Emissions, MicroJoules, Nanos};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reserved component names of the contract.
pub mod reserved {
    pub const UNASSIGNED: &str = "unassigned";
    pub const KERNEL: &str = "kernel";
    pub const IDLE: &str = "idle";
    pub const UNATTRIBUTED: &str = "unattributed";
    pub const OTHER: &str = "other";
    /// All of them, for validation of configured names.
    pub const ALL: [&str; 5] = [UNASSIGNED, KERNEL, IDLE, UNATTRIBUTED, OTHER];
}

/// One sample, attributed: what is posted to the books.
#[derive(Clone, Debug, Default)]
pub struct Posting {
    pub duration: Nanos,
    pub energy: Rows,
    /// CPU time by owner; idle time and lost time under `Idle` and `Unattributed`.
    pub cpu: BTreeMap<Owner, Nanos>,
    pub meters: Vec<MeterDelta>,
    /// Milligrams of CO2e per kWh, PUE applied.
    pub intensity: u64,
}

/// What one component used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentBook {
    pub interval: Usage,
    pub run: Usage,
    pub lifetime: Usage,
    pub period: Emissions,
}

/// What one process used. It is dropped after the first interval in which the process is gone and used nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessBook {
    pub interval: Usage,
    pub run: Usage,
}

/// What one meter counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterBook {
    pub interval: MicroJoules,
    pub lifetime: MicroJoules,
}

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub components: Vec<SavedComponent>,
    pub meters: Vec<SavedMeter>,
    /// Length of the run so far.
    pub run: Nanos,
    #[serde(default)]
    pub amortised: Nanos,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedComponent {
    pub component: String,
    pub run: Usage,
    pub lifetime: Usage,
    pub period: Emissions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMeter {
    pub meter: Meter,
    pub lifetime: MicroJoules,
}

/// The books of a run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub components: BTreeMap<Arc<str>, ComponentBook>,
    /// By process and the component it was in; a process that changed its component has a book in each.
    pub processes: BTreeMap<(ProcessKey, Arc<str>), ProcessBook>,
    pub meters: BTreeMap<Meter, MeterBook>,
    /// Length of the running interval and of the run.
    pub interval: Nanos,
    pub run: Nanos,
    /// Time since the counters began for which embodied emissions are booked.
    pub amortised: Nanos,
    pub quality: Option<Quality>,
}

impl Ledger {
    /// Books with the components that exist from the start, so that their series exist before they run.
    pub fn with_components<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let always = [reserved::UNASSIGNED, reserved::KERNEL, reserved::IDLE, reserved::UNATTRIBUTED];
        let components =
            always.into_iter().chain(names).map(|name| (Arc::from(name), ComponentBook::default())).collect();
        Self { components, ..Self::default() }
    }

    /// Makes sure that these components have a series, at zero if they never ran.
    pub fn know(&mut self, names: &[Arc<str>]) {
        for name in names {
            self.components.entry(name.clone()).or_default();
        }
    }

    /// Adds one sample; `component_of` names the component of a task. Returns what each component spent in it, for
    /// emissions that a later value of the intensity corrects.
    pub fn post(
        &mut self,
        posting: &Posting,
        mut component_of: impl FnMut(ProcessKey, u32) -> Arc<str>,
    ) -> BTreeMap<Arc<str>, MicroJoules> {
        let mut spent: BTreeMap<Arc<str>, MicroJoules> = BTreeMap::new();
        self.interval += posting.duration;
        self.run += posting.duration;
        for delta in &posting.meters {
            let book = self.meters.entry(delta.meter).or_default();
            book.interval += delta.energy;
            book.lifetime += delta.energy;
        }
        let mut usages: BTreeMap<Owner, Usage> = BTreeMap::new();
        for (owner, cpu) in &posting.cpu {
            usages.entry(*owner).or_default().cpu += *cpu;
        }
        for (owner, energy) in &posting.energy {
            let usage = usages.entry(*owner).or_default();
            usage.energy += *energy;
            usage.emissions += Emissions::of(energy.total(), posting.intensity);
        }
        for (owner, usage) in usages {
            let component = match owner {
                Owner::Task { process, tid } => {
                    let component = component_of(process, tid);
                    let book = self.processes.entry((process, component.clone())).or_default();
                    book.interval += usage;
                    book.run += usage;
                    component
                }
                Owner::Kernel => Arc::from(reserved::KERNEL),
                Owner::Idle => Arc::from(reserved::IDLE),
                Owner::Unattributed => Arc::from(reserved::UNATTRIBUTED),
            };
            *spent.entry(component.clone()).or_default() += usage.energy.total();
            let book = self.components.entry(component).or_default();
            book.interval += usage;
            book.run += usage;
            book.lifetime += usage;
            book.period += usage.emissions;
        }
        spent
    }

    /// Corrects the components' emissions before the interval is closed. `change_of` is given a component and the most
    /// that can be taken off without any of its sums going back, and says what to add.
    pub fn correct_emissions(&mut self, mut change_of: impl FnMut(&Arc<str>, Emissions) -> i128) {
        for (name, book) in &mut self.components {
            // A period may have begun within the interval.
            let most = book.interval.emissions.min(book.period);
            let change = change_of(name, most).max(-(most.0 as i128));
            let sums =
                [&mut book.interval.emissions, &mut book.run.emissions, &mut book.lifetime.emissions, &mut book.period];
            for sum in sums {
                sum.0 = sum.0.saturating_add_signed(change);
            }
        }
    }

    /// Books what the open interval bears of making the machine, once, before it is read and closed. `between` tells
    /// the host's embodied emissions of a stretch of the time counted so far. They are divided by the energy of each
    /// component, exactly; where none was metered they are unattributed.
    pub fn book_embodied(&mut self, between: impl FnOnce(Nanos, Nanos) -> Emissions) {
        let begin = self.amortised;
        self.amortised += self.interval;
        let host = between(begin, self.amortised);
        let energies: Vec<u64> = self.components.values().map(|book| book.interval.energy.total().0).collect();
        let Some(parts) = divided(host, &energies) else {
            self.components.entry(Arc::from(reserved::UNATTRIBUTED)).or_default().bear(host);
            return;
        };
        for (book, part) in self.components.values_mut().zip(parts) {
            book.bear(part);
        }
    }

    /// The host's account of the interval, the run, the lifetime and the period: the sum of the components'.
    pub fn host(&self) -> ComponentBook {
        let mut host = ComponentBook::default();
        for book in self.components.values() {
            host.interval += book.interval;
            host.run += book.run;
            host.lifetime += book.lifetime;
            host.period += book.period;
        }
        host
    }

    /// Domains that some meter covers.
    pub fn domains(&self) -> Vec<Domain> {
        Domain::ALL.into_iter().filter(|d| self.meters.keys().any(|m| m.domain == *d)).collect()
    }

    /// Rows minus meters of the running interval, by covered domain: anything but 0 is a defect.
    pub fn residual(&self) -> Vec<(Domain, i64)> {
        let booked: EnergyByDomain = self.components.values().fold(EnergyByDomain::default(), |mut sum, book| {
            sum += book.interval.energy;
            sum
        });
        let metered = |domain: Domain| -> u64 {
            self.meters.iter().filter(|(m, _)| m.domain == domain).map(|(_, book)| book.interval.0).sum()
        };
        self.domains().into_iter().map(|d| (d, booked[d].0 as i64 - metered(d) as i64)).collect()
    }

    /// Ends the interval: its figures go to zero. Processes for which `gone` holds are forgotten when they used nothing
    /// in it: the last moments of a process, after its exit was told, may fall into the next interval, and must find
    /// its book and not begin another.
    pub fn close_interval(&mut self, gone: impl Fn(ProcessKey) -> bool) {
        self.interval = Nanos(0);
        for book in self.components.values_mut() {
            book.interval = Usage::default();
        }
        for book in self.meters.values_mut() {
            book.interval = MicroJoules(0);
        }
        self.processes
            .retain(|(process, _), book| std::mem::take(&mut book.interval) != Usage::default() || !gone(*process));
    }

    /// What is to survive a restart; call it when an interval has been closed.
    pub fn save(&self) -> Saved {
        let component = |(name, book): (&Arc<str>, &ComponentBook)| SavedComponent {
            component: name.to_string(),
            run: book.run,
            lifetime: book.lifetime,
            period: book.period,
        };
        let meter = |(meter, book): (&Meter, &MeterBook)| SavedMeter { meter: *meter, lifetime: book.lifetime };
        Saved {
            components: self.components.iter().map(component).collect(),
            meters: self.meters.iter().map(meter).collect(),
            run: self.run,
            amortised: self.amortised,
        }
    }

    /// Adds what was saved to the books. `run` and `period`: whether the run and the accounting period go on, too. A
    /// component that no rule names any more keeps its series, and the host its total.
    pub fn restore(&mut self, saved: &Saved, run: bool, period: bool) {
        for was in &saved.components {
            let book = self.components.entry(Arc::from(was.component.as_str())).or_default();
            book.lifetime += was.lifetime;
            if run {
                book.run += was.run;
            }
            if period {
                book.period += was.period;
            }
        }
        for was in &saved.meters {
            self.meters.entry(was.meter).or_default().lifetime += was.lifetime;
        }
        self.amortised += saved.amortised;
        if run {
            self.run += saved.run;
        }
    }

    /// Counts energy that nobody can be held to and that stands in the rows of an earlier run already: in the counters,
    /// not in the interval. So with the embodied emissions of that time, which `between` tells as for
    /// [`Ledger::book_embodied`].
    pub fn catch_up(
        &mut self,
        meters: &[MeterDelta],
        intensity: u64,
        duration: Nanos,
        between: impl FnOnce(Nanos, Nanos) -> Emissions,
    ) {
        let begin = self.amortised;
        self.amortised += duration;
        let embodied = between(begin, self.amortised);
        let mut energy = EnergyByDomain::default();
        for delta in meters {
            self.meters.entry(delta.meter).or_default().lifetime += delta.energy;
            energy[delta.meter.domain] += delta.energy;
        }
        let emissions = Emissions::of(energy.total(), intensity);
        let book = self.components.entry(Arc::from(reserved::UNATTRIBUTED)).or_default();
        book.lifetime += Usage { energy, emissions, embodied, ..Usage::default() };
        book.period += emissions;
    }

    /// Begins a new accounting period.
    pub fn begin_period(&mut self) {
        for book in self.components.values_mut() {
            book.period = Emissions::default();
        }
    }
}

impl ComponentBook {
    fn bear(&mut self, embodied: Emissions) {
        for usage in [&mut self.interval, &mut self.run, &mut self.lifetime] {
            usage.embodied += embodied;
        }
    }
}

/// Splits `total` by `weights` without a remainder, as [`apportion`] does for what fits in 64 bits: each part is its
/// exact share rounded down or up. `None` when no weight is positive.
fn divided(total: Emissions, weights: &[u64]) -> Option<Vec<Emissions>> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if sum == 0 {
        return None;
    }
    // Every weight gets as many whole times itself, and what is then left is less than the sum of the weights.
    let (times, rest) = (total.0 / sum, total.0 % sum);
    let rest = apportion(u64::try_from(rest).ok()?, weights)?;
    let part = |(weight, rest): (&u64, u64)| Emissions(times * u128::from(*weight) + u128::from(rest));
    Some(weights.iter().zip(rest).map(part).collect())
}

#[cfg(test)]
mod tests;
