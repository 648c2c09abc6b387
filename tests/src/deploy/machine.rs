//! A real systemd that boots from the root file system, as a container with the capabilities and the system call that
//! the probe needs. What happens in it is gone when it ends.

use crate::debian::{self, Release};
use crate::need;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Where the container sees the host's processes: the probe reports the host's pids, whoever loads it.
pub const HOST_PROCFS: &str = "/run/hostproc";

/// A booted machine; it is shut down when dropped.
pub struct Machine {
    nspawn: Child,
    leader: String,
    cgroups: Vec<PathBuf>,
}

impl Machine {
    /// Boots Debian, or says why not.
    pub fn boot() -> Option<Self> {
        Self::boot_on(Release::Bookworm)
    }

    /// Boots another release.
    pub fn boot_on(release: Release) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !debian::possible() || !need::program("systemd-nspawn") || !need::program("nsenter") {
            return None;
        }
        let root = debian::root_of(release).expect("debootstrap makes the root");
        let name = format!("carbon-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let cgroups = cgroups(&name);
        let mut nspawn = Command::new("systemd-nspawn");
        nspawn
            .arg("-D")
            .arg(root)
            .arg(format!("--machine={name}"))
            .args(["--register=no", "--keep-unit", "--boot", "--console=pipe", "--volatile=overlay"])
            .args(["--private-network", "--capability=CAP_BPF,CAP_PERFMON", "--system-call-filter=bpf"])
            .args(["--bind=/sys/fs/bpf", &format!("--bind-ro=/proc:{HOST_PROCFS}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let members: Vec<PathBuf> = cgroups.iter().map(|group| group.join("cgroup.procs")).collect();
        // SAFETY: between fork and exec only system calls are made: setsid, and writes to files opened here.
        unsafe {
            nspawn.pre_exec(move || {
                libc::setsid();
                for file in &members {
                    fs::write(file, "0")?;
                }
                Ok(())
            });
        }
        let nspawn = nspawn.spawn().expect("systemd-nspawn starts");
        let mut machine = Self { nspawn, leader: String::new(), cgroups };
        machine.leader = machine.wait_for_leader();
        let state = until(Duration::from_secs(60), || {
            let output = machine.enter().args(["systemctl", "is-system-running"]).output().ok()?;
            let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            matches!(state.as_str(), "running" | "degraded").then_some(state)
        });
        assert!(state.is_some(), "systemd does not come up in the container");
        Some(machine)
    }

    fn wait_for_leader(&mut self) -> String {
        let pid = self.nspawn.id();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let leader = until(Duration::from_secs(20), || {
            let children = fs::read_to_string(&children).ok()?;
            // There are helpers at first; init is the one that is process 1 inside.
            children.split_whitespace().find(|child| is_init(child)).map(str::to_owned)
        });
        leader.expect("systemd-nspawn starts an init")
    }

    /// A command in the container's namespaces, without its limits.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.leader, "--all"]).stdin(Stdio::null());
        command
    }

    /// Runs a shell script as root under the container's own limits.
    pub fn try_run(&self, script: &str) -> Output {
        // systemd expands variables in arguments; these are the shell's.
        let script = script.replace('$', "$$");
        self.enter()
            .args(["systemd-run", "--wait", "--pipe", "--quiet", "--collect", "--", "/bin/sh", "-c", &script])
            .output()
            .expect("nsenter runs")
    }

    /// Runs a script that must succeed; its standard output.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let output = self.try_run(script);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}: {}\n{stdout}\n{stderr}", output.status);
        stdout.into_owned()
    }

    /// Runs the script until it succeeds and returns its output.
    #[track_caller]
    pub fn wait_for(&self, limit: Duration, script: &str) -> String {
        let seen = until(limit, || {
            let output = self.try_run(script);
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        });
        seen.unwrap_or_else(|| {
            let journal = self.try_run("journalctl --no-pager --lines=30; tail -5 /var/log/tta/staging/carbon.log");
            panic!("not within {limit:?}: {script}\n{}", String::from_utf8_lossy(&journal.stdout))
        })
    }

    /// Writes a file into the container.
    pub fn put(&self, path: &str, contents: &[u8]) {
        let script = r#"mkdir -p "$(dirname "$0")" && cat > "$0""#;
        let mut shell = self.enter();
        let mut shell =
            shell.args(["/bin/sh", "-c", script, path]).stdin(Stdio::piped()).spawn().expect("nsenter runs");
        shell.stdin.take().expect("a pipe").write_all(contents).expect("the container takes the file");
        assert!(shell.wait().expect("the shell ends").success(), "{path} can be written");
    }

    /// Copies a file of the host into a folder of the container.
    pub fn put_file(&self, file: &Path, folder: &str) -> String {
        let name = file.file_name().expect("a file").to_string_lossy();
        let target = format!("{folder}/{name}");
        self.put(&target, &fs::read(file).expect("the file can be read"));
        target
    }

    /// A configuration whose intervals are short, and the host's processes where the container sees them, by way of the
    /// staging guide's environment file.
    pub fn put_environment(&self, more: &str) {
        let guide = fs::read_to_string(crate::agent::repository().join("deploy/tta/environment")).expect("it is kept");
        let guide = guide.replace("MEASUREMENT_INTERVAL=\"15\"", "MEASUREMENT_INTERVAL=\"2\"");
        let text = format!("{guide}\nexport CARBON_HOST__PROCFS={HOST_PROCFS}\n{more}");
        self.put("/etc/tta/staging/environment", text.as_bytes());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Ok(leader) = self.leader.parse::<i32>() {
            // SAFETY: kill takes plain integers; SIGRTMIN+4 asks systemd to power off.
            unsafe { libc::kill(leader, libc::SIGRTMIN() + 4) };
        }
        if until(Duration::from_secs(15), || self.nspawn.try_wait().ok().flatten()).is_none() {
            let _ = self.nspawn.kill();
            let _ = self.nspawn.wait();
        }
        for group in &self.cgroups {
            remove_group(group);
        }
    }
}

/// A control group for the container in each hierarchy that systemd uses.
fn cgroups(name: &str) -> Vec<PathBuf> {
    let base = Path::new("/sys/fs/cgroup");
    let hierarchies = if base.join("cgroup.procs").exists() {
        vec![base.to_owned()]
    } else {
        ["systemd", "unified"].map(|hierarchy| base.join(hierarchy)).into_iter().filter(|path| path.is_dir()).collect()
    };
    let groups: Vec<PathBuf> = hierarchies.into_iter().map(|hierarchy| hierarchy.join(name)).collect();
    for group in &groups {
        fs::create_dir_all(group).expect("control groups can be made");
    }
    groups
}

/// Removes a control group with those that the container made in it.
fn remove_group(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    // What is still busy goes with the machine.
    let _ = fs::remove_dir(group);
}

fn is_init(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    inside.is_some_and(|pids| pids.split_whitespace().count() > 1 && pids.ends_with("\t1"))
        && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd")
}

/// Tries every 100 ms until there is an answer.
pub fn until<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = attempt() {
            return Some(answer);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
