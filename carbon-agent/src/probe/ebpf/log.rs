//! What the kernel program has to say (a full table, nothing else), handed on to the agent's log.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};

pub struct Forward(Option<EbpfLogger<ToTracing>>);

impl Forward {
    pub fn of(bpf: &mut Ebpf) -> Self {
        Self(EbpfLogger::init_with_logger(bpf, ToTracing).ok())
    }

    pub fn flush(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.flush();
        }
    }
}

struct ToTracing;

impl Log for ToTracing {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.level() <= Level::Warn {
            tracing::warn!("kernel program: {}", record.args());
        } else {
            tracing::debug!("kernel program: {}", record.args());
        }
    }

    fn flush(&self) {}
}
