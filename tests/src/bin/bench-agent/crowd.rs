//! Thousands of cheap processes: children of one small helper (this binary again), gone when it goes.

use anyhow::{Context, Result, bail, ensure};
use std::{
    fmt,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Asleep for good.
    Idle,
    /// Each wakes so many times a second, out of step with the others.
    Active { hertz: u32 },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::Active { hertz } => write!(f, "active, {hertz} a second"),
        }
    }
}

pub struct Crowd(Child);

impl Crowd {
    /// Starts the processes and waits until they are all there and have come to rest.
    pub fn gather(kind: Kind, size: u32) -> Result<Self> {
        let kind = match kind {
            Kind::Idle => "idle".to_owned(),
            Kind::Active { hertz } => hertz.to_string(),
        };
        let child = Command::new(std::env::current_exe()?)
            .args(["--crowd", &kind, &size.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("the crowd's helper")?;
        let mut crowd = Self(child);
        let mut line = String::new();
        BufReader::new(crowd.0.stdout.take().context("a pipe")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "the crowd did not gather");
        sleep(Duration::from_secs(1));
        Ok(crowd)
    }

    /// Ends them all and waits until they are gone.
    pub fn dismiss(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        let status = self.0.wait()?;
        ensure!(status.success(), "the crowd: {status}");
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            // SAFETY: plain integers; the group's leader is our child, not yet waited for, so the number is its own.
            unsafe { libc::kill(-(self.0.id() as i32), libc::SIGKILL) };
            let _ = self.0.wait();
        }
    }
}

/// The helper's side: forks, says so, waits for the end of standard input, ends its children.
pub fn be(arguments: &[String]) -> Result<()> {
    let [kind, size] = arguments else { bail!("--crowd KIND PROCESSES") };
    let size: u32 = size.parse()?;
    let period = match kind.as_str() {
        "idle" => None,
        hertz => Some(Duration::from_secs(1) / hertz.parse::<u32>()?.max(1)),
    };
    let mut children = Vec::with_capacity(size as usize);
    let mut gathered = Ok(());
    for index in 0..size {
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            0 => member(period, index, size),
            -1 => {
                gathered = Err(std::io::Error::last_os_error()).context("fork");
                break;
            }
            pid => children.push(pid),
        }
    }
    if gathered.is_ok() {
        std::io::stdout().write_all(b"ready\n")?;
        std::io::stdout().flush()?;
        std::io::stdin().read_to_end(&mut Vec::new())?;
    }
    for pid in &children {
        // SAFETY: plain integers; a child of ours that nobody has waited for.
        unsafe { libc::kill(*pid, libc::SIGKILL) };
    }
    for pid in children {
        // SAFETY: a child of ours; its status is not asked for.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    }
    gathered
}

fn member(period: Option<Duration>, index: u32, size: u32) -> ! {
    // Nobody is left behind when the helper is killed.
    // SAFETY: plain integers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if let Some(period) = period {
        sleep(period * index / size);
    }
    loop {
        match period {
            Some(period) => sleep(period),
            // SAFETY: no preconditions.
            None => drop(unsafe { libc::pause() }),
        }
    }
}
