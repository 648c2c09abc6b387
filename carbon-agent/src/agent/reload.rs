//! Taking over another configuration while running.

use super::{Agent, OpenError, idle_policy, start_counts};
use crate::carbon::{Amortisation, Pace, Pricing};
use crate::config::Config;
use crate::identity::Policy;
use crate::identity::rules::RuleSet;
use crate::snapshot::Stage;
use crate::state::Moment;

impl Agent {
    /// Takes over what may change while running. Either all of it or, where a part is unusable, nothing. Every process
    /// is judged again; what it used so far stays where it was booked, so no counter goes back.
    pub fn reconfigure(&mut self, config: &Config) -> Result<(), OpenError> {
        let policy = Policy::new(RuleSet::compile(&config.components)?, config.track_components);
        let wanted = (config.intensity.clone(), config.pue);
        let pricing = if wanted == self.priced_by {
            None
        } else {
            let mut pricing = Pricing::start(&config.intensity, &config.state_dir, config.pue, Pace::default())
                .map_err(OpenError::Intensity)?;
            pricing.resume(self.pricing.outstanding().clone());
            Some(pricing)
        };
        let counts = if config.functional_units == self.functional_units { None } else { Some(start_counts(config)?) };
        // From here on nothing fails.
        if policy.needs_threads() && !self.threads_apart {
            tracing::warn!("rules on `thread` take hold at the next start: the probe does not keep threads apart yet");
        }
        self.policy = policy;
        self.table.judge_all(&mut self.policy);
        self.ledger.know(self.policy.components());
        if let Some(pricing) = pricing {
            self.pricing = pricing;
            self.priced_by = wanted;
            self.stages.show_as(self.pricing.stage(jiff::Timestamp::now()));
        }
        self.embodied = config.embodied.map(Amortisation::new);
        if let Some(counts) = counts {
            self.counts = counts;
            self.functional_units.clone_from(&config.functional_units);
            self.sci = self.sci.reconfigured(&config.functional_units);
            self.stages.closed(Stage::FunctionalUnits);
        }
        self.idle = idle_policy(config.idle);
        self.process_top = config.process_top;
        if self.period.change(config.accounting_period, Moment::now()) {
            self.ledger.begin_period();
        }
        self.stages.works(Stage::Config);
        Ok(())
    }

    /// A configuration that was to be taken over is unusable: said once as an error, shown until a good one comes.
    pub fn refuse(&mut self, why: &str) {
        tracing::error!(stage = Stage::Config.name(), "the configuration was not reloaded, the old one holds: {why}");
        let reason = format!("the last reload failed, the configuration from before holds: {why}");
        self.stages.degraded_as_said(Stage::Config, "reload", reason);
    }
}
