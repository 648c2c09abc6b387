//! Components that come and go by themselves must not pile up: each is a series, a row an interval and a part of the
//! state, for good. Beyond a number of them the ones that nobody has used for longest are put together.

use super::{ComponentBook, Ledger, reserved};
use std::collections::HashSet;
use std::sync::Arc;

/// Components kept beside the configured and the reserved ones. Fewer than discovery makes at most, so that there is room
/// for those of the next interval.
pub const KEPT: usize = 750;

impl Ledger {
    /// Every component that has a row, and as `other` what was put together, if anything was.
    pub fn books(&self) -> impl Iterator<Item = (&str, &ComponentBook)> {
        let retired = (self.retired != ComponentBook::default()).then_some((reserved::OTHER, &self.retired));
        self.components.iter().map(|(name, book)| (&**name, book)).chain(retired)
    }

    /// Whether there are more components than are kept.
    pub fn is_crowded(&self, configured: &[Arc<str>]) -> bool {
        self.components.len() > KEPT + configured.len() + reserved::ALL.len() && self.excess(configured) > 0
    }

    fn excess(&self, configured: &[Arc<str>]) -> usize {
        self.components.keys().filter(|name| is_loose(name, configured)).count().saturating_sub(KEPT)
    }

    /// Puts together the components beyond [`KEPT`] that were unused for longest, and names them. Configured ones and
    /// those `in_use` stay. One that comes back begins anew, at zero. Call it when an interval has been closed: no sum
    /// changes by it.
    pub fn retire(&mut self, configured: &[Arc<str>], in_use: &HashSet<Arc<str>>) -> Vec<Arc<str>> {
        let excess = self.excess(configured);
        let may_go = |name: &&Arc<str>| is_loose(name, configured) && !in_use.contains(*name);
        let mut names: Vec<Arc<str>> = self.components.keys().filter(may_go).cloned().collect();
        names.sort_by_key(|name| {
            let used = self.last_used.get(name).copied().unwrap_or_default();
            (used, self.components[name].lifetime.energy.total())
        });
        names.truncate(excess);
        for name in &names {
            let book = self.components.remove(name).unwrap_or_default();
            self.last_used.remove(name);
            self.retired.run += book.run;
            self.retired.lifetime += book.lifetime;
            self.retired.period += book.period;
        }
        names
    }
}

/// Neither configured nor reserved.
fn is_loose(name: &Arc<str>, configured: &[Arc<str>]) -> bool {
    !configured.contains(name) && !reserved::ALL.contains(&&**name)
}
