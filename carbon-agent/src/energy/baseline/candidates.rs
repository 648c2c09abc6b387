//! The estimators that were tried against the one that is used. `cargo test -p carbon-agent --lib baseline -- --ignored
//! --nocapture` prints the table of `docs/decisions/baseline.md`.

use super::simulation::{Seen, play, scenarios};
use super::*;
use crate::energy::Domain;

pub(super) trait Candidate {
    fn feed(&mut self, seen: &Seen);
    fn idle_watts(&self) -> Option<f64>;
}

/// The one in use.
#[derive(Default)]
pub(super) struct Levels(pub Baseline);

pub(super) const METER: Meter = Meter { domain: Domain::Package, socket: 0 };

impl Candidate for Levels {
    fn feed(&mut self, seen: &Seen) {
        let nanos = |seconds: f64| Nanos((seconds * 1e9) as u64);
        self.0.feed(
            METER,
            MicroJoules((seen.joules * 1e6) as u64),
            nanos(seen.seconds),
            nanos(seen.busy_cpus * seen.seconds),
            nanos(seen.cpus * seen.seconds),
        );
    }

    fn idle_watts(&self) -> Option<f64> {
        Some(self.0.idle(METER)?.power.watts())
    }
}

/// Median of the slopes between all pairs, then median of the intercepts, over the last two minutes.
#[derive(Default)]
struct TheilSen(VecDeque<(f64, f64, f64)>);

fn median(mut values: Vec<f64>) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    Some(*values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

impl Candidate for TheilSen {
    fn feed(&mut self, seen: &Seen) {
        self.0.push_back((seen.busy_cpus, seen.joules / seen.seconds, seen.seconds));
        while self.0.iter().map(|(_, _, seconds)| seconds).sum::<f64>() > 120.0 {
            self.0.pop_front();
        }
    }

    fn idle_watts(&self) -> Option<f64> {
        let points: Vec<_> = self.0.iter().step_by(self.0.len() / 120 + 1).collect();
        let mut slopes = Vec::new();
        for (index, a) in points.iter().enumerate() {
            slopes
                .extend(points[..index].iter().filter(|b| (a.0 - b.0).abs() > 1e-3).map(|b| (a.1 - b.1) / (a.0 - b.0)));
        }
        let slope = median(slopes).unwrap_or(0.0).max(0.0);
        median(points.iter().map(|point| point.1 - slope * point.0).collect()).map(|idle| idle.max(0.0))
    }
}

/// Recursive least squares, forgetting over about a minute, residuals clipped as Huber does.
struct Recursive {
    theta: [f64; 2],
    p: [[f64; 2]; 2],
    scale: f64,
    any: bool,
}

impl Default for Recursive {
    fn default() -> Self {
        Self { theta: [0.0; 2], p: [[1e4, 0.0], [0.0, 1e4]], scale: 10.0, any: false }
    }
}

impl Candidate for Recursive {
    fn feed(&mut self, seen: &Seen) {
        let forget = 0.5f64.powf(seen.seconds / 60.0);
        let (x, y) = ([1.0, seen.busy_cpus], seen.joules / seen.seconds);
        let px = [self.p[0][0] * x[0] + self.p[0][1] * x[1], self.p[1][0] * x[0] + self.p[1][1] * x[1]];
        let denominator = forget + x[0] * px[0] + x[1] * px[1];
        let error = y - self.theta[0] * x[0] - self.theta[1] * x[1];
        let clipped = if self.any { error.clamp(-3.0 * self.scale, 3.0 * self.scale) } else { error };
        self.scale = (0.98 * self.scale + 0.02 * 1.25 * error.abs()).max(0.1);
        self.any = true;
        for (theta, gain) in self.theta.iter_mut().zip(px) {
            *theta += gain / denominator * clipped;
        }
        for (row, a) in self.p.iter_mut().zip(px) {
            for (p, b) in row.iter_mut().zip(px) {
                *p = ((*p - a * b / denominator) / forget).clamp(-1e6, 1e6);
            }
        }
    }

    fn idle_watts(&self) -> Option<f64> {
        self.any.then_some(self.theta[0].max(0.0))
    }
}

/// The least power of each twentieth of the utilisation in the last two minutes, and a line through those.
#[derive(Default)]
struct Envelope(VecDeque<(f64, f64, f64, f64)>);

impl Candidate for Envelope {
    fn feed(&mut self, seen: &Seen) {
        self.0.push_back((seen.busy_cpus, seen.joules / seen.seconds, seen.seconds, seen.cpus));
        while self.0.iter().map(|(_, _, seconds, _)| seconds).sum::<f64>() > 120.0 {
            self.0.pop_front();
        }
    }

    fn idle_watts(&self) -> Option<f64> {
        let mut least: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for (load, power, _, cpus) in &self.0 {
            let level = least.entry((load / cpus * 20.0) as u32).or_insert((*load, *power));
            if *power < level.1 {
                *level = (*load, *power);
            }
        }
        let points: Vec<(Point, f64)> =
            least.values().map(|&(load, power)| (Point { load, cpus: 1.0, power, number: 0, level: 0 }, 1.0)).collect();
        let n = points.len() as f64;
        let mean = |of: fn(&Point) -> f64| points.iter().map(|(point, _)| of(point)).sum::<f64>() / n;
        let (x, y) = (mean(|p| p.load), mean(|p| p.power));
        let spread: f64 = points.iter().map(|(p, _)| (p.load - x).powi(2)).sum();
        let slope = points.iter().map(|(p, _)| (p.load - x) * (p.power - y)).sum::<f64>() / spread.max(1e-9);
        Some((y - slope.max(0.0) * x).max(0.0))
    }
}

/// What Kepler does: idle is the share of time that the CPUs were idle.
#[derive(Default)]
struct UsageRatio(f64);

impl Candidate for UsageRatio {
    fn feed(&mut self, seen: &Seen) {
        self.0 = seen.joules / seen.seconds * (1.0 - seen.busy_cpus / seen.cpus);
    }

    fn idle_watts(&self) -> Option<f64> {
        Some(self.0)
    }
}

/// How wrong the idle power is from `settle` seconds on, in percent of 15 W (one busy CPU): mean and worst.
fn score(
    candidate: &mut dyn Candidate,
    scenario: &simulation::Scenario,
    settle: &[(f64, f64)],
    seed: u64,
) -> (f64, f64) {
    let (mut sum, mut count, mut worst) = (0.0, 0.0, 0.0f64);
    play(scenario, seed, |t, seen| {
        candidate.feed(seen);
        if settle.iter().any(|&(from, to)| t >= from && t < to) && (t % 1.0) < seen.seconds {
            let error = candidate.idle_watts().map_or(100.0, |idle| (idle - seen.idle_watts).abs() / 15.0 * 100.0);
            sum += error;
            count += 1.0;
            worst = worst.max(error);
        }
    });
    (sum / count, worst)
}

#[test]
#[ignore = "prints the table of docs/decisions/baseline.md; takes a minute without optimisation"]
fn table() {
    println!(
        "| scenario | levels (used) | Theil–Sen | recursive | envelope | usage ratio |\n|---|---|---|---|---|---|"
    );
    for scenario in scenarios() {
        // A step of the truth at 120 s may take 60 s to follow.
        let step = scenario.name.contains("step");
        let settle: &[(f64, f64)] =
            if step { &[(15.0, 120.0), (180.0, f64::INFINITY)] } else { &[(15.0, f64::INFINITY)] };
        let candidates: [fn() -> Box<dyn Candidate>; 5] = [
            || Box::<Levels>::default(),
            || Box::<TheilSen>::default(),
            || Box::<Recursive>::default(),
            || Box::<Envelope>::default(),
            || Box::<UsageRatio>::default(),
        ];
        let cells: Vec<String> = candidates
            .iter()
            .map(|new| {
                let seeds = if scenario.seconds > 1000.0 { 1 } else { 5 };
                let scores: Vec<_> = (1..=seeds).map(|seed| score(new().as_mut(), &scenario, settle, seed)).collect();
                let mean = scores.iter().map(|score| score.0).sum::<f64>() / scores.len() as f64;
                let worst = scores.iter().map(|score| score.1).fold(0.0, f64::max);
                format!("{mean:.1} ({worst:.1})")
            })
            .collect();
        println!("| {} | {} |", scenario.name, cells.join(" | "));
    }
    for scenario in scenarios().iter().filter(|scenario| scenario.name.contains("step")) {
        let mut slowest = 0.0f64;
        for seed in 1..=5 {
            let mut candidate = Levels::default();
            play(scenario, seed, |t, seen| {
                candidate.feed(seen);
                let off = candidate.idle_watts().map_or(100.0, |idle| (idle - seen.idle_watts).abs());
                if t > 120.0 && off > 0.05 * seen.idle_watts {
                    slowest = slowest.max(t - 120.0);
                }
            });
        }
        println!("{}: within 5 % of the new idle power after {slowest:.0} s", scenario.name);
    }
}
