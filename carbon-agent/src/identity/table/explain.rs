//! Why a process is in its component, step by step, for people.

use super::{ANCESTORS, Basis, ProcessTable, at_home, bearer_at};
use crate::identity::Facts;
use crate::identity::cgroup::Placement;
use crate::identity::discovery;
use crate::identity::label::label;
use crate::identity::names::Answer;
use crate::identity::policy::{Policy, Verdict};
use crate::identity::rules::RuleSet;
use crate::ledger::reserved;
use crate::probe::ProcessKey;
use crate::units::Nanos;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// How long an explanation waits for the name of a container.
const PATIENCE: Duration = Duration::from_secs(2);

impl ProcessTable {
    /// Tells how the living process `pid` comes to its component; `None` when there is none. Command lines and
    /// environments are compared but not shown.
    pub fn explain(&mut self, pid: u32, policy: &mut Policy) -> Option<String> {
        let (mut facts, mut parent) = self.ancestor(pid, Nanos(u64::MAX))?;
        let mut text = String::new();
        let component = loop {
            describe(&mut text, &facts, parent);
            let component = self.tell(&mut text, &facts, policy);
            if component.is_some() || !policy.inherits() {
                break component;
            }
            let next = (parent != 0).then(|| self.ancestor(parent, facts.process.start)).flatten();
            let steps = text.matches("\nprocess ").count();
            let Some(next) = next.filter(|_| steps < ANCESTORS) else {
                line(&mut text, "it has no further ancestors to inherit from");
                break None;
            };
            if !at_home(facts.cgroup.as_deref(), next.0.cgroup.as_deref()) {
                line(&mut text, "its parent is outside its container: it inherits nothing");
                break None;
            }
            line(&mut text, "it inherits from its parent:");
            (facts, parent) = next;
        };
        let component = component.unwrap_or_else(|| reserved::UNASSIGNED.to_owned());
        let _ = write!(text, "component: {component}");
        Some(text)
    }

    /// What is known or decided of one process; its component if that settles it.
    fn tell(&self, text: &mut String, facts: &Facts, policy: &mut Policy) -> Option<String> {
        if let Some(known) = self.known_living(facts.process) {
            let why = match known.basis {
                Basis::Adopted => "is the measured command or descends from it",
                // Its parent at its birth may be gone by now: only the table remembers.
                Basis::Inherited => "inherited when it was born",
                Basis::Matched | Basis::Discovered | Basis::Nothing => "",
            };
            if !why.is_empty() {
                line(text, &format!("{why}: {}", known.component));
                return Some(known.component.to_string());
            }
        }
        wait_for_names(facts, policy.rules());
        match policy {
            Policy::Nothing => line(text, "components are not tracked (track_components: false)"),
            Policy::Rules(_) => {
                for step in policy.rules().into_iter().flat_map(|rules| rules.explain(facts)) {
                    line(text, &step.to_string().replace('\n', "\n  "));
                }
            }
            Policy::Discovery(_) => {
                line(text, "there are no rules: named after its machine, container, unit or executable")
            }
        }
        match policy.judge(facts) {
            Verdict::Matched(component) | Verdict::Discovered(component) => Some(component.to_string()),
            Verdict::Silent => None,
        }
    }

    /// The table's entry of a living process, whose start `/proc` tells only to the tick.
    fn known_living(&self, process: ProcessKey) -> Option<&super::Known> {
        let end_of_tick = Nanos(process.start.0 + self.sources.tick - 1);
        let known = bearer_at(&self.bearer, &self.known, process.pid, end_of_tick)?;
        let same = self.bearer[&process.pid].start.0 / self.sources.tick == process.start.0 / self.sources.tick;
        same.then_some(known)
    }
}

fn line(text: &mut String, said: &str) {
    let _ = writeln!(text, "  {said}");
}

fn describe(text: &mut String, facts: &Facts, parent: u32) {
    let _ = writeln!(text, "process {} ({}), parent {parent}", facts.process.pid, label(facts.comm.bytes()));
    if let Some(exe) = facts.exe() {
        line(text, &format!("exe {}", label(exe.as_bytes())));
    }
    let Some(cgroup) = &facts.cgroup else { return };
    for path in &cgroup.paths {
        line(text, &format!("cgroup {}", label(path.as_bytes())));
    }
    let Placement { unit, slice: _, container, pod, machine } = &cgroup.placement;
    if let Some(unit) = unit {
        line(text, &format!("unit {}", label(unit.as_bytes())));
    }
    if let Some(container) = container {
        wait(facts);
        let name = match facts.names() {
            Answer::Names(names) => discovery::container(&cgroup.placement, &names),
            Answer::Pending => None,
        };
        let name = name.unwrap_or_else(|| container.short_id().to_owned());
        line(text, &format!("container {} ({} {})", label(name.as_bytes()), container.engine.name(), container.id));
    }
    if let Some(pod) = pod {
        line(text, &format!("pod {pod}"));
    }
    if let Some(machine) = machine {
        line(text, &format!("virtual machine {}", label(machine.as_bytes())));
    }
}

/// Rules that look at names are to find them.
fn wait_for_names(facts: &Facts, rules: Option<&RuleSet>) {
    use crate::identity::rules::Field;
    if rules.is_none_or(|rules| [Field::Container, Field::Pod, Field::Namespace].iter().any(|f| rules.needs(*f))) {
        wait(facts);
    }
}

fn wait(facts: &Facts) {
    let begun = Instant::now();
    while facts.names() == Answer::Pending && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
}
