//! Errors by scenario and method, as a table.

use super::formulas::{Kepler, Method, Ours, Scaphandre};
use super::machine::Machine;
use super::scenarios::Scenario;
use carbon_agent::attribution::weights::Policy;
use std::fmt::Write;

/// Each scenario is played so often, each time with other random numbers.
const SEEDS: u64 = 3;

/// One method's errors in one scenario, in percent of the truth.
#[derive(Clone, Debug)]
pub struct Row {
    pub scenario: &'static str,
    /// By method: its name, and the error of the load that it charges worst, over all seeds.
    pub errors: Vec<(&'static str, f64)>,
}

/// Plays a scenario and compares what each formula charges with the truth.
pub fn measure(scenario: &Scenario) -> Row {
    measure_with(scenario, |machine| {
        vec![
            Box::new(Ours::new(machine, Policy::Learned)),
            Box::new(Ours::new(machine, Policy::Time)),
            Box::new(Kepler),
            Box::new(Scaphandre),
        ]
    })
}

/// The same with methods of the caller's choice, made anew for each seed.
pub fn measure_with(scenario: &Scenario, methods: impl Fn(&Machine) -> Vec<Box<dyn Method>>) -> Row {
    let machine = &scenario.machine;
    let loads = machine.loads.len();
    let mut worst: Vec<(&'static str, f64)> = Vec::new();
    for seed in 1..=SEEDS {
        let mut methods = methods(machine);
        let mut charged = vec![vec![0.0; loads]; methods.len()];
        let mut truth = vec![0.0; loads];
        machine.play(scenario.seconds, scenario.sample_ms, seed, |played| {
            let counts = played.at > scenario.from;
            for (method, charged) in methods.iter_mut().zip(&mut charged) {
                let sample = method.charge(&played.raw, loads);
                if counts {
                    charged.iter_mut().zip(sample).for_each(|(sum, more)| *sum += more);
                }
            }
            if counts {
                truth.iter_mut().zip(played.truth).for_each(|(sum, more)| *sum += more);
            }
        });
        worst.resize(methods.len(), ("", 0.0));
        for ((method, charged), worst) in methods.iter().zip(&charged).zip(&mut worst) {
            let judged = machine.loads.iter().zip(charged.iter().zip(&truth)).filter(|(load, _)| load.judged);
            let errors = judged.map(|(_, (charged, truth))| 100.0 * (charged - truth).abs() / truth);
            *worst = (method.name(), errors.fold(worst.1, f64::max));
        }
    }
    Row { scenario: scenario.name, errors: worst }
}

/// The rows as Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from("| scenario |");
    let Some(first) = rows.first() else { return String::new() };
    for (method, _) in &first.errors {
        let _ = write!(text, " {method} |");
    }
    let _ = write!(text, "\n|---|{}\n", "---:|".repeat(first.errors.len()));
    for row in rows {
        let _ = write!(text, "| {} |", row.scenario);
        for (_, error) in &row.errors {
            let _ = write!(text, " {error:.1} % |");
        }
        text.push('\n');
    }
    text
}
