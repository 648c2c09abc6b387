//! The only file that knows all stages: opens them, moves samples from one to the next, and says how each is doing.

use crate::attribution::IdlePolicy;
use crate::attribution::weights::{self, Policy as WeightPolicy};
use crate::carbon::{Amortisation, Pace, Pricing, SciBooks, UnitCounts};
use crate::clock::{self, SleepWatch};
use crate::config::{self, Config, EnergyChoice, FunctionalUnit, IntensitySource, ProbeChoice, WeightsChoice};
use crate::division::{self, Division, KnownIdle};
use crate::energy::baseline::{Baseline, State};
use crate::energy::nvml::Gpus;
use crate::energy::{self, Domain, EnergyError, Quality};
use crate::export::host_facts::memory_used;
use crate::identity::rules::RuleSet;
use crate::identity::{Host, Policy, ProcessTable};
use crate::interval;
use crate::ledger::Ledger;
use crate::period::Period;
use crate::posting::{self, Terms};
use crate::probe::{self, CpuMethod, ProbeError};
use crate::recording::{Header, Recorder};
use crate::sampler::Sampler;
use crate::snapshot::{ComponentRow, IntensityInForce, Method, Snapshot, Stage};
use crate::state::{self, Moment};
use crate::topology::Topology;
use crate::units::Nanos;
use std::path::PathBuf;
use std::time::Duration;

mod reload;
mod resume;
mod stages;
pub use resume::Resume;
pub use stages::Stages;

/// The agent's own component.
pub const OWN_COMPONENT: &str = "carbon-agent";

/// A stage that cannot be opened: the run cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("carbon.probe: {0}")]
    Probe(#[from] ProbeError),
    #[error("carbon.weights: `cycles` cannot be had: {0}")]
    Weights(ProbeError),
    #[error("carbon.energy: {0}")]
    Energy(#[from] EnergyError),
    #[error("carbon.components: {0}")]
    Rules(#[from] globset::Error),
    #[error("{0}")]
    Intensity(String),
    #[error("carbon.components: the threads that read functional units do not start: {0}")]
    FunctionalUnits(std::io::Error),
}

/// The pipeline from the sources to the books.
pub struct Agent {
    sampler: Sampler,
    division: Division,
    table: ProcessTable,
    policy: Policy,
    ledger: Ledger,
    pricing: Pricing,
    /// The declared sources and the PUE that `pricing` was started with.
    priced_by: (Vec<IntensitySource>, f64),
    embodied: Option<Amortisation>,
    /// `None` where no component has a functional unit.
    counts: Option<UnitCounts>,
    /// The units that `counts` was started with.
    functional_units: Vec<FunctionalUnit>,
    sci: SciBooks,
    /// Whether the open interval is the time in which the agent was down.
    gap: bool,
    idle: IdlePolicy,
    /// Whether the probe was opened to keep threads apart.
    threads_apart: bool,
    recorder: Option<Recorder>,
    process_top: usize,
    host_procfs: PathBuf,
    period: Period,
    sleep: SleepWatch,
    boot_id: Option<String>,
    pub stages: Stages,
}

impl Agent {
    /// Opens the probe and the meters in the order the configuration declares and takes the first reading, so that
    /// the books begin now.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        Self::open_from(config, None)
    }

    /// The same, going on from what an earlier run left.
    pub fn open_from(config: &Config, earlier: Option<&Resume>) -> Result<Self, OpenError> {
        let policy = Policy::new(RuleSet::compile(&config.components)?, config.track_components);
        let mut stages = Stages::default();

        let threads_apart = policy.needs_threads();
        let (probe, probe_fallback) = probe::open(probe_choice(config), &probe_options(config, threads_apart))?;
        stages.opened(Stage::Probe, probe.describe(), probe_fallback.map(|why| why.to_string()));

        let (energy, passed_over) =
            energy::open(energy_choice(config), &energy_roots(config), model_overrides(config))?;
        let mut reasons: Vec<String> = passed_over.iter().map(ToString::to_string).collect();
        let mut meters = energy.describe();
        let gpus = Gpus::open(energy.cards()).unwrap_or_else(|error| {
            reasons.push(error.to_string());
            None
        });
        if let Some(gpus) = &gpus {
            meters = format!("{meters}; {}", gpus.describe());
        }
        stages.opened(Stage::Energy, meters, (!reasons.is_empty()).then(|| reasons.join("; ")));

        let pricing = Pricing::start(&config.intensity, &config.state_dir, config.pue, Pace::default())
            .map_err(OpenError::Intensity)?;
        stages.show_as(pricing.stage(jiff::Timestamp::now()));
        stages.opened(Stage::Files, "not written yet".to_owned(), None);

        let policy_of_weights = weight_policy(config.weights, &energy.method(), probe.cycles())?;
        let division = Division::new(Baseline::default(), weights::of(policy_of_weights));
        let ledger = Ledger::with_components(policy.components().iter().map(AsRef::as_ref));
        let mut agent = Self {
            sampler: Sampler { probe, energy, gpus, topology: Topology::read(&config.host.sysfs) },
            division,
            table: ProcessTable::new(Host::new(&config.host.procfs, &config.host.sysfs)),
            policy,
            ledger,
            pricing,
            priced_by: (config.intensity.clone(), config.pue),
            embodied: config.embodied.map(Amortisation::new),
            counts: start_counts(config)?,
            functional_units: config.functional_units.clone(),
            sci: SciBooks::default().reconfigured(&config.functional_units),
            gap: false,
            idle: idle_policy(config.idle),
            threads_apart,
            recorder: None,
            process_top: config.process_top,
            host_procfs: config.host.procfs.clone(),
            period: Period::new(config.accounting_period, Moment::now()),
            sleep: SleepWatch::new(clock::monotonic(), clock::boottime()),
            boot_id: state::boot_id(&config.host.procfs),
            stages,
        };
        // What measuring costs is a row like any other.
        agent.table.adopt(std::process::id(), OWN_COMPONENT);
        match earlier {
            Some(earlier) => agent.resume(config, earlier)?,
            // Everything before this moment belongs to nobody's books.
            None => drop(agent.sampler.sample()?),
        }
        Ok(agent)
    }

    /// Identity of the eBPF object in use; empty where none is.
    pub fn probe_object(&self) -> String {
        match self.sampler.probe.method() {
            CpuMethod::Ebpf => probe::ebpf::built_in_object(),
            CpuMethod::Procfs => String::new(),
        }
    }

    /// Puts a process that was just started, and its descendants, into a component.
    pub fn adopt(&mut self, pid: u32, component: &str) {
        self.table.adopt(pid, component);
    }

    /// Takes a sample and posts it. A probe that fails loses the sample, not the run: the stage says so.
    pub fn sample(&mut self) {
        let mut raw = match self.sampler.sample() {
            Ok(raw) => raw,
            Err(error) => {
                self.stages.failed(Stage::Probe, "sample", error.to_string());
                return;
            }
        };
        self.stages.works(Stage::Probe);
        self.stages.faults(Stage::Energy, &raw.energy.faults);

        self.table.observe(&raw.cpu, &mut self.policy);
        for user in &mut raw.gpus.users {
            user.process = self.table.bearer(user.pid);
        }

        let slept = self.sleep.look(clock::monotonic(), clock::boottime());
        let source = &self.sampler.energy;
        let known: KnownIdle = raw
            .energy
            .deltas
            .iter()
            .filter(|delta| delta.meter.domain != Domain::Gpu)
            .filter_map(|delta| {
                Some((delta.meter, source.idle_part(delta, division::available(delta.meter, &raw.load))?))
            })
            .collect();
        let length = Nanos(raw.cpu.end.0.saturating_sub(raw.cpu.begin.0));
        let price = self.pricing.price(jiff::Timestamp::now(), length);
        let intensity = price.milligrams_per_kwh;
        let terms = Terms { idle: self.idle, intensity, asleep: slept.is_some(), ..Terms::default() };
        let table = &self.table;
        let component_of = |process, tid| table.component(process, tid);
        if let Some(recorder) = &mut self.recorder {
            recorder.sample(&raw, &known, intensity, component_of);
        }
        let mut posting = self.division.divide(&raw, &self.sampler.topology, &known, terms, component_of);
        if let Some(slept) = slept {
            tracing::info!("the machine slept for {:.0} s; what was spent meanwhile is unattributed", slept.seconds());
            posting::to_nobody(&mut posting);
        }
        if self.period.observe(Moment::now()) {
            self.ledger.begin_period();
        }
        let spent = self.ledger.post(&posting, component_of);
        self.pricing.booked(price, spent);
    }

    /// Where CPU time comes from.
    pub fn cpu_method(&self) -> CpuMethod {
        self.sampler.probe.method()
    }

    /// Waits until every live source of intensity has answered or failed once: for a run too short to be corrected.
    pub fn wait_for_intensity(&self, limit: Duration) {
        self.pricing.wait_for_first_answers(limit);
    }

    /// Writes every sample from now on to `out`, for [`crate::recording::replay`].
    pub fn record(&mut self, out: Box<dyn std::io::Write + Send>) -> Header {
        let header = Header {
            cpu_time: self.sampler.probe.method(),
            energy: self.sampler.energy_method(),
            quality: self.quality(),
            idle: self.idle,
            weights: self.division.policy(),
            topology: self.sampler.topology.pairs(),
            components: self.policy.components().iter().map(ToString::to_string).collect(),
            baseline: self.division.baseline.save(),
        };
        self.recorder = Some(Recorder::new(out, &header));
        header
    }

    /// Ends the recording: whether all of it was written.
    pub fn end_recording(&mut self) -> std::io::Result<()> {
        self.recorder.take().map_or(Ok(()), Recorder::finish)
    }

    /// The books of the run so far, and what was learned for them.
    pub fn books(&self) -> (&Ledger, &Division) {
        (&self.ledger, &self.division)
    }

    /// Ends the interval and returns what is to be said about it.
    pub fn close_interval(&mut self) -> Snapshot {
        let now = jiff::Timestamp::now();
        self.pricing.settle(&mut self.ledger);
        self.stages.show_as(self.pricing.stage(now));
        if let Some(embodied) = &self.embodied {
            self.ledger.book_embodied(|from, to| embodied.between(from, to));
        }
        let components = self.component_rows();
        let method = self.method();
        let mut errors = self.stages.errors();
        errors.extend(self.pricing.errors().into_iter().map(|(kind, count)| (Stage::Intensity, kind, count)));
        let of_counts = self.counts.iter().flat_map(UnitCounts::errors);
        errors.extend(of_counts.map(|(kind, count)| (Stage::FunctionalUnits, kind, count)));
        let host = self.ledger.host();
        let baseline = &self.division.baseline;
        let snapshot = Snapshot {
            timestamp: now,
            duration: self.ledger.interval,
            run_duration: self.ledger.run,
            method,
            quality: self.quality(),
            domains: self.ledger.domains(),
            host: host.interval,
            host_run: host.run,
            host_lifetime: host.lifetime,
            period_emissions: host.period,
            meters: interval::meter_rows(&self.ledger, |meter| {
                baseline.idle(meter).filter(|idle| idle.state == State::Known).map(|idle| idle.power.watts())
            }),
            components,
            processes: interval::process_rows(&self.ledger, &mut self.table, self.process_top),
            residual: self.ledger.residual(),
            intensity: IntensityInForce::from(&self.pricing.in_force(now)),
            memory_used: memory_used(&self.host_procfs),
            embodied: self.embodied.is_some(),
            probe_cost: self.sampler.probe.cost(),
            stages: self.stages.states(),
            errors,
        };
        let table = &self.table;
        self.ledger.close_interval(|process| table.is_gone(process));
        self.gap = false;
        self.table.forget_ended();
        snapshot
    }
}

impl Agent {
    /// The rows of the components, with what is known of their functional units so far. What is asked for here is known
    /// when the next interval is closed: nobody waits for it.
    fn component_rows(&mut self) -> Vec<ComponentRow> {
        let mut rows = interval::component_rows(&self.ledger);
        // Nobody counted while the agent was down.
        if let (Some(counts), false) = (&self.counts, self.gap) {
            let counted = counts.take();
            counts.ask();
            self.stages.show_as_said(counts.stage());
            for row in &mut rows {
                let counted = counted.get(&row.component).copied();
                row.sci = self.sci.close(&row.component, counted, &row.interval, self.ledger.interval);
            }
        }
        rows
    }

    fn method(&mut self) -> Method {
        Method {
            cpu_time: self.sampler.probe.method(),
            energy: self.sampler.energy_method(),
            baseline: self.baseline_method().to_owned(),
            weights: self.division.policy(),
            intensity: self.pricing.methods(),
        }
    }

    fn baseline_method(&self) -> &'static str {
        if self.sampler.energy.method().starts_with("model:") {
            "model"
        } else if self.division.baseline.state() == State::Known {
            "learned"
        } else {
            "learning"
        }
    }

    fn quality(&self) -> Quality {
        self.sampler.energy.quality()
    }
}

/// The longest that a count of functional units may take; at most the interval, so that one reading ends before the next.
const COUNT_PATIENCE: Duration = Duration::from_secs(5);

/// Starts to read the counts of functional units, if there are any.
fn start_counts(config: &Config) -> Result<Option<UnitCounts>, OpenError> {
    if config.functional_units.is_empty() {
        return Ok(None);
    }
    let timeout = config.measurement_interval.min(COUNT_PATIENCE);
    UnitCounts::start(&config.functional_units, timeout).map(Some).map_err(OpenError::FunctionalUnits)
}

/// Who bears idle energy, as the configuration says.
pub fn idle_policy(choice: config::IdlePolicy) -> IdlePolicy {
    match choice {
        config::IdlePolicy::Separate => IdlePolicy::Separate,
        config::IdlePolicy::Proportional => IdlePolicy::Proportional,
        config::IdlePolicy::Even => IdlePolicy::Even,
    }
}

/// The policy that weighs CPU time. A model draws its energy from CPU time, the same for everybody: there is nothing
/// to learn from it.
fn weight_policy(
    choice: WeightsChoice,
    energy: &str,
    cycles: Result<(), ProbeError>,
) -> Result<WeightPolicy, OpenError> {
    Ok(match choice {
        WeightsChoice::Auto if energy.starts_with("model:") => WeightPolicy::Time,
        WeightsChoice::Auto | WeightsChoice::Learned => WeightPolicy::Learned,
        WeightsChoice::Time => WeightPolicy::Time,
        WeightsChoice::Cycles => {
            cycles.map_err(OpenError::Weights)?;
            WeightPolicy::Cycles
        }
    })
}

fn probe_choice(config: &Config) -> probe::Choice {
    match config.probe.source {
        ProbeChoice::Auto => probe::Choice::Auto,
        ProbeChoice::Ebpf => probe::Choice::Ebpf,
        ProbeChoice::Procfs => probe::Choice::Procfs,
    }
}

/// What the configuration says to the probe.
pub fn probe_options(config: &Config, threads: bool) -> probe::Options {
    probe::Options {
        host_procfs: config.host.procfs.clone(),
        cells_per_cpu: config.probe.cells_per_cpu,
        threads,
        interrupts: config.probe.interrupts == config::Interrupts::On,
        ..probe::Options::default()
    }
}

fn energy_choice(config: &Config) -> energy::Choice {
    match config.energy.source {
        EnergyChoice::Auto => energy::Choice::Auto,
        EnergyChoice::Rapl => energy::Choice::Rapl,
        EnergyChoice::Perf => energy::Choice::Perf,
        EnergyChoice::Hwmon => energy::Choice::Hwmon,
        EnergyChoice::Model => energy::Choice::Model,
    }
}

/// Where the configuration says that the host's files are.
pub fn energy_roots(config: &Config) -> energy::Roots {
    energy::Roots {
        sysfs: config.host.sysfs.clone(),
        procfs: config.host.procfs.clone(),
        powercap: config.energy.powercap.clone(),
    }
}

/// The estimation model's watts, where the configuration overrides them.
pub fn model_overrides(config: &Config) -> energy::Overrides {
    energy::Overrides { min_watts: config.energy.model_min_watts, max_watts: config.energy.model_max_watts }
}
