//! The few questions that are asked of NVML, so that tests can answer them.

use crate::energy::EnergyError;
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

/// What one process used of a card during one of the driver's own samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub pid: u32,
    /// The driver's clock, microseconds.
    pub at: u64,
    /// Percent of the multiprocessors.
    pub sm_percent: u32,
}

/// Why a card does not answer, as far as it makes a difference to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CardError {
    /// No library, no driver, no card.
    Absent,
    Unsupported,
    NoPermission,
    Lost,
    Other(String),
}

impl CardError {
    pub(super) fn explain(&self, thing: &str) -> EnergyError {
        let (kind, what, remedy) = match self {
            Self::Absent => ("absent", "is not there".into(), "install NVIDIA's driver if there is such a card"),
            Self::Unsupported => (
                "unsupported",
                "is not told by this driver".into(),
                "use a card of Maxwell or later and a driver of this decade",
            ),
            Self::NoPermission => (
                "unreadable",
                "is refused by the driver".into(),
                "run as root, or grant access to /dev/nvidia* and /dev/nvidiactl (in a container: the driver capability `utility`)",
            ),
            Self::Lost => (
                "vanished",
                "has fallen off the bus or needs a reset".into(),
                "look into the kernel log (Xid); it is tried again each sample",
            ),
            Self::Other(text) => {
                ("unreadable", format!("cannot be read: {text}"), "check that nvidia-smi works on this host")
            }
        };
        EnergyError { kind, what: format!("{thing} {what}"), remedy: remedy.into() }
    }
}

/// Sorts NVML's answers by what they mean to us.
pub(super) fn classify(error: &NvmlError) -> CardError {
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound | NvmlError::DriverNotLoaded => CardError::Absent,
        NvmlError::NotSupported | NvmlError::FunctionNotFound | NvmlError::FailedToLoadSymbol(_) => {
            CardError::Unsupported
        }
        NvmlError::NoPermission => CardError::NoPermission,
        NvmlError::GpuLost | NvmlError::ResetRequired => CardError::Lost,
        other => CardError::Other(other.to_string()),
    }
}

pub(super) trait Cards: Send {
    fn count(&mut self) -> Result<u32, CardError>;
    fn name(&mut self, card: u32) -> String;
    /// Since the driver was loaded.
    fn energy_millijoules(&mut self, card: u32) -> Result<u64, CardError>;
    fn power_milliwatts(&mut self, card: u32) -> Result<u64, CardError>;
    /// Share of the last moment (a sixth of a second to a second, by card) during which anything ran.
    fn utilisation_percent(&mut self, card: u32) -> Result<u32, CardError>;
    /// Use by process in the driver's samples after `since`.
    fn users(&mut self, card: u32, since: u64) -> Result<Vec<Slice>, CardError>;
    /// Whether the card is cut up into instances (MIG).
    fn partitioned(&mut self, card: u32) -> bool;
}

/// The real one.
pub(super) struct Library(Nvml);

impl Library {
    pub(super) fn load() -> Result<Self, CardError> {
        Nvml::init().map(Self).map_err(|error| classify(&error))
    }

    fn ask<T>(
        &self,
        card: u32,
        question: impl FnOnce(&nvml_wrapper::Device<'_>) -> Result<T, NvmlError>,
    ) -> Result<T, CardError> {
        self.0.device_by_index(card).and_then(|device| question(&device)).map_err(|error| classify(&error))
    }
}

impl Cards for Library {
    fn count(&mut self) -> Result<u32, CardError> {
        self.0.device_count().map_err(|error| classify(&error))
    }

    fn name(&mut self, card: u32) -> String {
        self.ask(card, |device| device.name()).unwrap_or_else(|_| "unnamed".into())
    }

    fn energy_millijoules(&mut self, card: u32) -> Result<u64, CardError> {
        self.ask(card, |device| device.total_energy_consumption())
    }

    fn power_milliwatts(&mut self, card: u32) -> Result<u64, CardError> {
        self.ask(card, |device| device.power_usage()).map(u64::from)
    }

    fn utilisation_percent(&mut self, card: u32) -> Result<u32, CardError> {
        self.ask(card, |device| device.utilization_rates()).map(|rates| rates.gpu)
    }

    fn users(&mut self, card: u32, since: u64) -> Result<Vec<Slice>, CardError> {
        let samples = self.ask(card, |device| {
            match device.process_utilization_stats(since) {
                // Nobody used the card since then.
                Err(NvmlError::NotFound) => Ok(Vec::new()),
                answer => answer,
            }
        })?;
        // The driver fills unused places of its answer with zeros.
        let used = samples.into_iter().filter(|sample| sample.pid != 0 && sample.timestamp > since);
        Ok(used.map(|s| Slice { pid: s.pid, at: s.timestamp, sm_percent: s.sm_util }).collect())
    }

    fn partitioned(&mut self, card: u32) -> bool {
        self.ask(card, |device| device.mig_mode()).is_ok_and(|mode| mode.current != 0)
    }
}
