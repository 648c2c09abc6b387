//! `carbon-agent explain PID`: which rule, inheritance or discovery puts a process into its component.

use super::Failure;
use crate::agent::process_table;
use crate::config::Config;
use crate::identity::Policy;
use crate::identity::rules::RuleSet;

/// The steps, as text. The process is judged now, as a freshly started agent would.
pub fn explain(config: &Config, pid: u32) -> Result<String, Failure> {
    let rules =
        RuleSet::compile(&config.components).map_err(|error| Failure::usage(format!("carbon.components: {error}")))?;
    let mut policy = Policy::new(rules, config.track_components);
    let mut table = process_table(config);
    let gone = || Failure::job(format!("no process {pid} in {}", config.host.procfs.display()));
    table.explain(pid, &mut policy).map(|text| text + "\n").ok_or_else(gone)
}
