//! What the service manager is told (`sd_notify`): nothing where none asked.

use sd_notify::NotifyState;
use std::time::Duration;

/// Tells the manager. One that does not listen must not end the run.
fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager cannot be told: {error}");
    }
}

/// The first reading is taken and the port is bound.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Around a reload: a manager that knows `Type=notify-reload` waits for [`ready`]; the time tells it which.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The manager's watchdog, fed by the thread that samples: if that stops, for whatever reason, the manager notices.
#[derive(Clone, Copy, Debug)]
pub struct Watchdog {
    /// How long the thread may wait before it must show itself again.
    patience: Option<Duration>,
}

impl Watchdog {
    /// As the environment asks (`WATCHDOG_USEC`).
    pub fn of_environment() -> Self {
        Self { patience: sd_notify::watchdog_enabled().map(|limit| limit / 2) }
    }

    pub fn alive(self) {
        if self.patience.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// As much of `wait` as may pass before [`Watchdog::alive`] is due: a sample may be a day away.
    pub fn slice(self, wait: Duration) -> Duration {
        self.patience.map_or(wait, |patience| wait.min(patience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_cut_only_where_somebody_watches() {
        let hour = Duration::from_secs(3600);
        assert_eq!(Watchdog { patience: None }.slice(hour), hour);
        let watched = Watchdog { patience: Some(Duration::from_secs(15)) };
        assert_eq!(watched.slice(hour), Duration::from_secs(15));
        assert_eq!(watched.slice(Duration::from_secs(1)), Duration::from_secs(1));
    }
}
