//! The files of the days, and what is in them.

use crate::Arguments;
use crate::rows::{Dice, Machine, run_info};
use anyhow::{Context, Result, ensure};
use carbon_agent::export::files::name;
use carbon_agent::export::json;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Weekly rotation with `delaycompress`: what is older than this is in gzip.
const PLAIN_DAYS: u32 = 14;
/// Damaged lines of a day.
const DAMAGE: u64 = 5;

/// What was written.
#[derive(Default)]
pub struct Written {
    pub lines: u64,
    /// Before compression.
    pub bytes: u64,
    pub on_disk: u64,
    pub compressed: u64,
    pub damaged: u64,
    host_microjoules: u64,
    /// By component and by day.
    microjoules: BTreeMap<String, u64>,
}

/// Writes all days that end with yesterday.
pub fn write(folder: &Path, arguments: &Arguments) -> Result<Written> {
    fs::create_dir_all(folder)?;
    let next = AtomicU32::new(1);
    let work = || -> Result<Written> {
        let mut sum = Written::default();
        loop {
            let ago = next.fetch_add(1, Ordering::Relaxed);
            if ago > arguments.days {
                return Ok(sum);
            }
            sum.add(day(folder, arguments, ago).with_context(|| format!("{ago} days ago"))?);
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut sum = Written::default();
        for handle in handles {
            sum.add(handle.join().expect("a worker only writes")?);
        }
        Ok(sum)
    })
}

/// The file of one day: `ago` days before today (UTC).
fn day(folder: &Path, arguments: &Arguments, ago: u32) -> Result<Written> {
    const DAY: i64 = 86_400;
    let midnight = Timestamp::from_second(Timestamp::now().as_second() / DAY * DAY - i64::from(ago) * DAY)?;
    let date = name::day_of(midnight);
    let rotation = if ago <= PLAIN_DAYS { String::new() } else { format!(".{}.gz", 1 + ago / 7) };
    let path = folder.join(format!("{}{rotation}", name::of_day(date)));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let mut written = Written::default();
    if rotation.is_empty() {
        lines(&mut file, &mut written, arguments, midnight, ago)?;
    } else {
        let mut encoder = GzEncoder::new(&mut file, Compression::default());
        lines(&mut encoder, &mut written, arguments, midnight, ago)?;
        encoder.finish()?;
        written.compressed = 1;
    }
    file.flush()?;
    written.on_disk = fs::metadata(&path)?.len();
    written.microjoules.insert(date.to_string(), written.host_microjoules);
    Ok(written)
}

fn lines(
    file: &mut impl Write,
    written: &mut Written,
    arguments: &Arguments,
    midnight: Timestamp,
    seed: u32,
) -> Result<()> {
    let mut machine = Machine::new(arguments, seed.into());
    let mut dice = Dice::new(u64::from(seed) + 1000);
    let run = run_info(arguments);
    let intervals = 86_400 / arguments.seconds;
    let every = (u64::from(intervals) / DAMAGE).max(1);
    for n in 0..intervals {
        // An interval that ends at midnight is the next day's.
        let end = midnight + SignedDuration::from_secs((n * arguments.seconds).into());
        let snapshot = machine.interval(end);
        let rows = json::lines(&snapshot, &run);
        file.write_all(&rows)?;
        written.lines += 1 + (snapshot.components.len() + snapshot.processes.len()) as u64;
        written.bytes += rows.len() as u64;
        written.host_microjoules += snapshot.host.energy.total().0;
        for row in &snapshot.components {
            let sum = written.microjoules.entry(row.component.clone()).or_default();
            *sum += row.interval.energy.total().0;
        }
        if u64::from(n) % every == 0 && written.damaged < DAMAGE {
            // A line cut off by a crash, bytes of a bad sector, and so on.
            let damage = match dice.roll(3) {
                0 => rows[..rows.len().min(300)].to_vec(),
                1 => vec![0; 512],
                _ => b"{\"schema\":\"other/1\",\"record\":\"host\"}".to_vec(),
            };
            file.write_all(&damage)?;
            file.write_all(b"\n")?;
            written.lines += 1;
            written.damaged += 1;
            written.bytes += damage.len() as u64 + 1;
        }
    }
    Ok(())
}

impl Written {
    fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.on_disk += other.on_disk;
        self.compressed += other.compressed;
        self.damaged += other.damaged;
        self.host_microjoules += other.host_microjoules;
        for (name, microjoules) in other.microjoules {
            *self.microjoules.entry(name).or_default() += microjoules;
        }
    }

    /// Whether a report says what was written.
    pub fn compare(&self, report: &Value, view: &str) -> Result<()> {
        let microjoules = |row: &Value| (row["energy_joules"].as_f64().unwrap_or(-1.0) * 1e6).round();
        let host = microjoules(&report["host"]);
        ensure!(host == self.host_microjoules as f64, "host: {host} µJ instead of {}", self.host_microjoules);
        for (field, wanted) in [("lines", self.lines), ("lines_damaged", self.damaged)] {
            ensure!(report[field] == wanted, "{field}: {} instead of {wanted}", report[field]);
        }
        if view == "process" {
            return Ok(());
        }
        for row in report["rows"].as_array().context("rows")? {
            let name = row["name"].as_str().context("a name")?;
            let wanted = self.microjoules.get(name).with_context(|| format!("{name} was never written"))?;
            ensure!(microjoules(row) == *wanted as f64, "{name}: {} instead of {wanted}", microjoules(row));
        }
        Ok(())
    }
}
