//! How each stage is doing: degradation as data, said once when it begins and once when it ends.

use crate::energy::EnergyError;
use crate::snapshot::{Stage, StageState, StageStatus};
use std::collections::BTreeMap;

/// The state of every stage, and the errors counted since the start.
#[derive(Debug, Default)]
pub struct Stages {
    /// What the stage is when all is well: its description and, where it is a fallback, why.
    opened: BTreeMap<Stage, StageState>,
    /// What is wrong now.
    trouble: BTreeMap<Stage, StageState>,
    errors: BTreeMap<(Stage, String), u64>,
}

impl Stages {
    /// A stage was opened; `fallback` tells why it is not what it should be.
    pub fn opened(&mut self, stage: Stage, description: String, fallback: Option<String>) {
        let state = match fallback {
            None => StageState { stage, status: StageStatus::Ok, reason: description },
            Some(why) => {
                let reason = format!("{description}, because {why}");
                tracing::warn!(stage = stage.name(), "{reason}");
                StageState { stage, status: StageStatus::Degraded, reason }
            }
        };
        self.opened.insert(stage, state);
    }

    /// Takes over what a stage says of itself; said in the log when it changes between good and less.
    pub fn show_as(&mut self, state: StageState) {
        let before = self.opened.get(&state.stage).map_or(StageStatus::Ok, |before| before.status);
        if state.status > before {
            tracing::warn!(stage = state.stage.name(), "{}", state.reason);
        } else if state.status < before {
            tracing::info!(stage = state.stage.name(), "{}", state.reason);
        }
        self.opened.insert(state.stage, state);
    }

    /// The same for what was logged already, with words of its own.
    pub fn show_as_said(&mut self, state: StageState) {
        self.opened.insert(state.stage, state);
    }

    /// A stage that is no longer there.
    pub fn closed(&mut self, stage: Stage) {
        self.opened.remove(&stage);
    }

    /// Counts an error and shows the stage as failed until [`Stages::works`].
    pub fn failed(&mut self, stage: Stage, kind: &str, reason: String) {
        self.trouble(stage, StageStatus::Failed, kind, reason);
    }

    /// Counts an error and shows the stage as degraded until [`Stages::works`].
    pub fn degraded(&mut self, stage: Stage, kind: &str, reason: String) {
        self.trouble(stage, StageStatus::Degraded, kind, reason);
    }

    /// The same for what was logged already, with words of its own.
    pub fn degraded_as_said(&mut self, stage: Stage, kind: &str, reason: String) {
        self.count(stage, kind);
        self.trouble.insert(stage, StageState { stage, status: StageStatus::Degraded, reason });
    }

    fn count(&mut self, stage: Stage, kind: &str) {
        *self.errors.entry((stage, kind.to_owned())).or_default() += 1;
    }

    fn trouble(&mut self, stage: Stage, status: StageStatus, kind: &str, reason: String) {
        self.count(stage, kind);
        self.show(stage, status, reason);
    }

    /// Shows a state and logs it, unless it is shown already.
    fn show(&mut self, stage: Stage, status: StageStatus, reason: String) {
        let state = StageState { stage, status, reason };
        if self.trouble.get(&stage) != Some(&state) {
            tracing::warn!(stage = stage.name(), "{}", state.reason);
            self.trouble.insert(stage, state);
        }
    }

    /// The stage works again.
    pub fn works(&mut self, stage: Stage) {
        if self.trouble.remove(&stage).is_some() {
            tracing::info!(stage = stage.name(), "works again");
        }
    }

    /// Takes in the faults of a reading; none means that the stage works.
    pub fn faults(&mut self, stage: Stage, faults: &[EnergyError]) {
        if faults.is_empty() {
            self.works(stage);
            return;
        }
        for fault in faults {
            self.count(stage, fault.kind);
        }
        let mut reasons: Vec<String> = faults.iter().map(ToString::to_string).collect();
        reasons.sort();
        reasons.dedup();
        self.show(stage, StageStatus::Degraded, reasons.join("; "));
    }

    /// One state a stage.
    pub fn states(&self) -> Vec<StageState> {
        self.opened.iter().map(|(stage, state)| self.trouble.get(stage).unwrap_or(state).clone()).collect()
    }

    /// Errors since the start, by stage and kind.
    pub fn errors(&self) -> Vec<(Stage, String, u64)> {
        self.errors.iter().map(|((stage, kind), count)| (*stage, kind.clone(), *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(stages: &Stages) -> StageStatus {
        stages.states()[0].status
    }

    #[test]
    fn trouble_shows_while_it_lasts_and_is_counted_for_good() {
        let mut stages = Stages::default();
        stages.opened(Stage::Energy, "powercap".to_owned(), None);
        assert_eq!(status(&stages), StageStatus::Ok);
        let fault = EnergyError { kind: "vanished", what: "package-0 is gone".into(), remedy: "wait".into() };
        stages.faults(Stage::Energy, std::slice::from_ref(&fault));
        stages.faults(Stage::Energy, &[fault]);
        assert_eq!(status(&stages), StageStatus::Degraded);
        assert_eq!(stages.states()[0].reason, "package-0 is gone; wait");
        stages.faults(Stage::Energy, &[]);
        assert_eq!(status(&stages), StageStatus::Ok);
        assert_eq!(stages.errors(), [(Stage::Energy, "vanished".to_owned(), 2)]);
    }

    #[test]
    fn a_fallback_is_degraded_and_says_why() {
        let mut stages = Stages::default();
        stages.opened(Stage::Probe, "procfs".to_owned(), Some("CAP_BPF is missing".to_owned()));
        assert_eq!(status(&stages), StageStatus::Degraded);
        assert_eq!(stages.states()[0].reason, "procfs, because CAP_BPF is missing");
    }
}
