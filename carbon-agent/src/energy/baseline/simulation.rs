//! Machines with a known idle power, to hold estimators against.

/// A small generator (xorshift64*): the same sequence on every machine.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Evenly in 0..1.
    pub(super) fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Gaussian, mean 0, standard deviation 1 (sum of twelve).
    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// What the machine does in one sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub idle_watts: f64,
    pub active_watts: f64,
    pub busy_cpus: f64,
}

/// One sample as an estimator sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub seconds: f64,
    pub joules: f64,
    pub busy_cpus: f64,
    pub cpus: f64,
    pub idle_watts: f64,
    pub active_watts: f64,
}

pub(super) struct Scenario {
    pub name: &'static str,
    pub cpus: f64,
    pub seconds: f64,
    pub interval: f64,
    /// Share of samples with a spike of up to 60 W that no busy time explains.
    pub outliers: f64,
    pub truth: fn(f64, &mut Random) -> Now,
}

const fn scenario(name: &'static str, seconds: f64, truth: fn(f64, &mut Random) -> Now) -> Scenario {
    Scenario { name, cpus: 4.0, seconds, interval: 1.0, outliers: 0.0, truth }
}

/// Daemons and timers: a percent or two of a CPU.
fn background(random: &mut Random) -> f64 {
    0.01 + 0.02 * random.unit()
}

fn plain(idle_watts: f64, busy_cpus: f64) -> Now {
    Now { idle_watts, active_watts: 15.0 * busy_cpus, busy_cpus }
}

/// Work that comes and goes in stretches of five seconds, between nothing and three CPUs.
fn stretches(t: f64, random: &mut Random) -> f64 {
    let level = [0.0, 1.0, 3.0, 0.3, 2.0, 1.5, 0.1][(t / 5.0) as usize % 7];
    background(random) + level
}

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("idle 3 s, then one core for 10 min", 600.0, |t, random| {
            plain(20.0, background(random) + if t < 3.0 { 0.0 } else { 0.97 })
        }),
        Scenario {
            interval: 0.1,
            ..scenario("the same, sampled at 0.1 s", 600.0, |t, random| {
                plain(20.0, background(random) + if t < 3.0 { 0.0 } else { 0.97 })
            })
        },
        scenario("idle 1 s, then one core for 6 h", 21_600.0, |t, random| {
            plain(20.0, background(random) + if t < 1.0 { 0.0 } else { 0.97 })
        }),
        Scenario {
            interval: 0.1,
            ..scenario("turns of 1 s, 5 and 25 W, after 2 s of rest", 120.0, |t, random| {
                let rest = background(random);
                let watts = match t {
                    _ if t < 2.0 => 0.0,
                    _ if (t as u64).is_multiple_of(2) => 5.0,
                    _ => 25.0,
                };
                let busy = if t < 2.0 { 0.0 } else { 1.0 };
                Now { idle_watts: 20.0, active_watts: 15.0 * rest + watts * busy, busy_cpus: rest + busy }
            })
        },
        scenario("changing load", 300.0, |t, random| plain(20.0, stretches(t, random))),
        Scenario {
            outliers: 0.1,
            ..scenario("changing load, 10 % outliers", 300.0, |t, random| plain(20.0, stretches(t, random)))
        },
        scenario("idle steps from 20 to 35 W at 120 s", 300.0, |t, random| {
            plain(if t < 120.0 { 20.0 } else { 35.0 }, stretches(t, random))
        }),
        scenario("idle steps from 35 to 20 W at 120 s", 300.0, |t, random| {
            plain(if t < 120.0 { 35.0 } else { 20.0 }, stretches(t, random))
        }),
        scenario("step 20 to 35 W, never at rest", 300.0, |t, random| {
            plain(if t < 120.0 { 20.0 } else { 35.0 }, 0.5 + stretches(t, random))
        }),
        scenario("loads of 5 and 25 W per CPU, rests", 600.0, |t, random| {
            let rest = background(random);
            let (cool, hot) = [(0.0, 0.0), (1.0, 0.0), (1.0, 2.0), (0.0, 1.0)][(t / 7.0) as usize % 4];
            Now { idle_watts: 20.0, active_watts: 15.0 * rest + 5.0 * cool + 25.0 * hot, busy_cpus: rest + cool + hot }
        }),
        scenario("5 W load, then 25 W load, after 5 s of rest", 600.0, |t, random| {
            let rest = background(random);
            let watts = if t < 5.0 {
                0.0
            } else if t < 300.0 {
                5.0
            } else {
                25.0
            };
            let busy = if t < 5.0 { 0.0 } else { 1.0 };
            Now { idle_watts: 20.0, active_watts: 15.0 * rest + watts * busy, busy_cpus: rest + busy }
        }),
        scenario("turbo: 20 W the first CPU, 12 W the others", 300.0, |t, random| {
            let busy = stretches(t, random);
            Now { idle_watts: 20.0, active_watts: 20.0 * busy.min(1.0) + 12.0 * (busy - 1.0).max(0.0), busy_cpus: busy }
        }),
        scenario("one core from the first sample on", 120.0, |_, random| plain(20.0, 0.97 + background(random))),
    ]
}

/// Plays a scenario: energy with 0.5 % noise, busy time with the 10 ms ticks of `/proc/stat` behind the energy.
pub(super) fn play(scenario: &Scenario, seed: u64, mut each: impl FnMut(f64, &Seen)) {
    let mut random = Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut owed = 0.0;
    let mut t = 0.0;
    while t < scenario.seconds {
        let now = (scenario.truth)(t, &mut random);
        // The interval itself jitters by a percent.
        let seconds = scenario.interval * (1.0 + 0.01 * (random.unit() - 0.5));
        // The meter's busy time is in ticks, those of each CPU apart; what is not yet shown comes with the next sample.
        let rounding: f64 =
            (0..scenario.cpus as usize).map(|_| 0.01 * random.unit()).sum::<f64>() * now.busy_cpus.min(1.0);
        let watts_per_cpu = if now.busy_cpus > 0.0 { now.active_watts / now.busy_cpus } else { 0.0 };
        let active = now.active_watts * seconds + watts_per_cpu * (owed - rounding);
        owed = rounding;
        let mut joules = (now.idle_watts * seconds + active) * (1.0 + 0.005 * random.normal());
        if random.unit() < scenario.outliers {
            joules += 60.0 * random.unit() * seconds;
        }
        t += seconds;
        let seen = Seen {
            seconds,
            joules: joules.max(0.0),
            busy_cpus: now.busy_cpus,
            cpus: scenario.cpus,
            idle_watts: now.idle_watts,
            active_watts: now.active_watts,
        };
        each(t, &seen);
    }
}
