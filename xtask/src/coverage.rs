//! `cargo xtask coverage`: the share of our lines that tests run, by crate and module; fails where it is too small.
//!
//! The unit tests and the suites that drive the agent as a child process count, each process with a profile of its own.
//! Suites that package or install the agent run another build of it and are left to the plain `cargo test`, as are
//! those that hold it to what it may cost: an instrumented program costs more.

use crate::root;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Suites of `tests/` that run the agent as it is built here, and take little time.
const SUITES: [&str; 8] = ["agent_books", "bad_input", "exec", "metrics", "probe_books", "reload", "replay", "restart"];

#[derive(clap::Args)]
pub struct Arguments {
    /// Percent of the lines that tests must run
    #[arg(long, default_value_t = 85.0)]
    fail_under: f64,
    /// Unit tests only
    #[arg(long)]
    lib: bool,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let environment = Environment::prepare()?;
    let mut units = environment.cargo(&["test", "--quiet", "--package", "carbon-agent", "--package", "carbon-common"]);
    done(units.arg("--lib"))?;
    if !arguments.lib {
        let mut suites = environment.cargo(&["test", "--quiet", "--no-fail-fast", "--package", "carbon-tests"]);
        done(suites.args(SUITES.iter().flat_map(|suite| ["--test", suite])))?;
    }
    let report = environment.target.join("coverage.json");
    let mut export = environment.cargo(&["llvm-cov", "report", "--json", "--summary-only", "--output-path"]);
    done(export.arg(&report))?;
    let lines = by_module(&fs::read(&report)?)?;
    print!("{}", table(&lines));
    let all = lines.values().flat_map(BTreeMap::values).fold(Lines::default(), Lines::plus);
    ensure!(
        all.percent() >= arguments.fail_under,
        "{:.1} % of the lines are run by tests: {} % are asked for",
        all.percent(),
        arguments.fail_under
    );
    Ok(())
}

/// Where instrumented programs are built, and how.
struct Environment {
    target: PathBuf,
    variables: Vec<(String, String)>,
}

impl Environment {
    fn prepare() -> Result<Self> {
        let target = root().join("target/coverage");
        fs::create_dir_all(&target)?;
        // The agent also runs as other users, and they leave their profiles here.
        fs::set_permissions(&target, Permissions::from_mode(0o1777))?;
        let mut environment = Self { target, variables: tools()? };
        let shown = environment.cargo(&["llvm-cov", "show-env"]).output().context("cargo")?;
        ensure!(shown.status.success(), "`cargo install cargo-llvm-cov` gives the tool: {}", text(&shown.stderr));
        for line in text(&shown.stdout).lines() {
            let (name, value) = line.split_once('=').context("NAME=VALUE")?;
            let value = value.trim_matches('\'').trim_matches('"');
            environment.variables.push((name.to_owned(), value.to_owned()));
        }
        // What an earlier run left would be counted again.
        done(&mut environment.cargo(&["llvm-cov", "clean", "--profraw-only"]))?;
        Ok(environment)
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(root()).args(arguments);
        command.env("CARGO_TARGET_DIR", &self.target);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// `llvm-cov` and `llvm-profdata` must be of the compiler's LLVM: those of the toolchain (`rustup component add
/// llvm-tools`, which cargo-llvm-cov finds by itself), else those that Debian has for the same version.
fn tools() -> Result<Vec<(String, String)>> {
    let rustc = |argument: &[&str]| -> Result<String> {
        let output = Command::new("rustc").args(argument).output().context("rustc")?;
        Ok(text(&output.stdout))
    };
    let version = rustc(&["-vV"])?;
    let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let (host, llvm) =
        (field("host:").context("rustc names its host")?, field("LLVM version:").context("and its LLVM")?);
    if Path::new(rustc(&["--print", "sysroot"])?.trim()).join(format!("lib/rustlib/{host}/bin/llvm-cov")).exists() {
        return Ok(Vec::new());
    }
    let major = llvm.split('.').next().unwrap_or_default();
    let tool = |name: &str| format!("/usr/lib/llvm-{major}/bin/{name}");
    ensure!(
        Path::new(&tool("llvm-cov")).exists(),
        "no llvm-cov of LLVM {major}: `rustup component add llvm-tools`, or Debian's package llvm-{major}"
    );
    Ok(vec![("LLVM_COV".to_owned(), tool("llvm-cov")), ("LLVM_PROFDATA".to_owned(), tool("llvm-profdata"))])
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
struct Lines {
    count: u64,
    covered: u64,
}

impl Lines {
    fn plus(self, other: &Self) -> Self {
        Self { count: self.count + other.count, covered: self.covered + other.covered }
    }

    fn percent(self) -> f64 {
        if self.count == 0 { 0.0 } else { 100.0 * self.covered as f64 / self.count as f64 }
    }
}

/// Lines by crate, then by module: the first name below `src`. Only what is shipped counts, not the tests' own code.
fn by_module(json: &[u8]) -> Result<BTreeMap<String, BTreeMap<String, Lines>>> {
    #[derive(Deserialize)]
    struct Export {
        data: Vec<Data>,
    }
    #[derive(Deserialize)]
    struct Data {
        files: Vec<File>,
    }
    #[derive(Deserialize)]
    struct File {
        filename: PathBuf,
        summary: Summary,
    }
    #[derive(Deserialize)]
    struct Summary {
        lines: Lines,
    }
    let export: Export = serde_json::from_slice(json).context("the report of llvm-cov")?;
    let mut crates: BTreeMap<String, BTreeMap<String, Lines>> = BTreeMap::new();
    for file in export.data.into_iter().flat_map(|data| data.files) {
        let Ok(path) = file.filename.strip_prefix(root()) else { continue };
        let mut parts = path.iter().map(|part| part.to_string_lossy().into_owned());
        let (Some(name), Some(_src), Some(module)) = (parts.next(), parts.next(), parts.next()) else { continue };
        if !matches!(name.as_str(), "carbon-agent" | "carbon-common") || path.ends_with("tests.rs") {
            continue;
        }
        let module = module.trim_end_matches(".rs").to_owned();
        let lines = crates.entry(name).or_default().entry(module).or_default();
        *lines = lines.plus(&file.summary.lines);
    }
    Ok(crates)
}

fn table(crates: &BTreeMap<String, BTreeMap<String, Lines>>) -> String {
    let mut text = String::new();
    let mut row = |name: &str, lines: Lines| {
        text += &format!("{name:<32} {:>6} of {:>6} lines {:>6.1} %\n", lines.covered, lines.count, lines.percent());
    };
    let mut all = Lines::default();
    for (name, modules) in crates {
        let sum = modules.values().fold(Lines::default(), Lines::plus);
        row(name, sum);
        for (module, lines) in modules {
            row(&format!("  {module}"), *lines);
        }
        all = all.plus(&sum);
    }
    row("all", all);
    text
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn done(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?} does not start"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
