//! Every label set of `carbon_errors_total`, known from the start. A counter that appears with its first error comes
//! from nowhere: `increase()` and `rate()` see no step, and an alert misses it.

use crate::carbon::FaultKind;
use crate::energy::EnergyError;
use crate::export::files::Fault;
use crate::snapshot::Stage;
use crate::state::Store;
use std::borrow::Cow;

/// Kinds of errors that `stage` counts. Of intensity and functional units there can be more: other
/// HTTP statuses.
pub fn kinds(stage: Stage) -> Vec<Cow<'static, str>> {
    let named = |names: &[&'static str]| names.iter().copied().map(Cow::Borrowed).collect();
    match stage {
        Stage::Probe => named(&["sample"]),
        Stage::Energy => named(&EnergyError::KINDS),
        Stage::Intensity | Stage::FunctionalUnits => FaultKind::USUAL.into_iter().map(FaultKind::label).collect(),
        Stage::Files => named(&Fault::KINDS),
        Stage::State => named(&Store::KINDS),
        Stage::Config => named(&["reload"]),
    }
}
