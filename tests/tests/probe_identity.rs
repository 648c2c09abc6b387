//! A process is who it is: through exec, reparenting, odd threads and reused pids.

use carbon_agent::probe::{Options, TypeInformation};
use carbon_tests::kernel::{Running, check_near, newest, of, open, options, reap, sample, shell, time_of};
use carbon_tests::need::need;
use std::{
    collections::HashSet,
    fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

fn shape(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_probe-shapes"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("probe-shapes")
}

fn said(child: &mut Child) -> String {
    let mut text = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
    text
}

#[test]
fn short_lives_between_two_samples_arrive_whole() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    sample(&mut probe);
    let child = shell("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do /bin/true; done; :");
    let pid = child.id();
    let truth = reap(child);
    let sample = sample(&mut probe);
    let born: HashSet<u32> =
        sample.tasks.iter().filter(|task| task.parent == pid).map(|task| task.process.pid).collect();
    assert_eq!(born.len(), 20);
    let mut total = time_of(&sample, pid);
    for pid in born {
        let last = newest(&sample, pid).unwrap();
        assert_eq!(last.comm.to_string(), "true");
        assert!(last.exited && last.cgroup != 0 && !last.kernel_thread, "{last:?}");
        let starts: HashSet<_> = of(&sample, pid).iter().map(|task| task.process.start).collect();
        assert_eq!(starts.len(), 1);
        total += time_of(&sample, pid);
    }
    // wait4 counts a child with what it has itself waited for. Switching away after the last bookkeeping of the
    // scheduler is in ours only.
    check_near(total, truth, 0.08);
}

#[test]
fn a_reused_pid_is_another_process() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    sample(&mut probe);
    let first = shell("i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done");
    let pid = first.id();
    let truth = reap(first);
    // The next fork gets the number after this one, unless someone else on this machine is faster.
    for _ in 0..200 {
        if fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).is_err() {
            need(false, "to write /proc/sys/kernel/ns_last_pid");
            return;
        }
        let second = Command::new("/bin/true").spawn().unwrap();
        let again = second.id() == pid;
        reap(second);
        if again {
            let sample = sample(&mut probe);
            let mut starts: Vec<_> = of(&sample, pid).iter().map(|task| task.process.start).collect();
            starts.sort();
            starts.dedup();
            assert_eq!(starts.len(), 2, "{:?}", of(&sample, pid));
            let time = |start| -> u64 {
                let own = of(&sample, pid).into_iter().filter(|task| task.process.start == start);
                own.map(|task| task.time.0).sum()
            };
            check_near(time(starts[0]), truth, 0.04);
            assert!(time(starts[1]) > 0 && time(starts[1]) < truth);
            return;
        }
    }
    panic!("pid {pid} could not be had again");
}

#[test]
fn exec_from_another_thread_keeps_the_process() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    sample(&mut probe);
    let child = shape(&["exec-from-thread"]);
    let pid = child.id();
    let truth = reap(child);
    let sample = sample(&mut probe);
    check_near(time_of(&sample, pid), truth, 0.04);
    let starts: HashSet<_> = of(&sample, pid).iter().map(|task| task.process.start).collect();
    assert_eq!(starts.len(), 1);
    assert_eq!(newest(&sample, pid).unwrap().comm.to_string(), "sh");
}

#[test]
fn threads_outlive_the_leader_and_the_process_with_them() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    sample(&mut probe);
    let child = shape(&["leader-leaves", "300"]);
    let pid = child.id();
    sleep(Duration::from_millis(120));
    let first = sample(&mut probe);
    assert!(time_of(&first, pid) > 0);
    assert!(of(&first, pid).iter().all(|task| !task.exited), "{:?}", of(&first, pid));
    let truth = reap(child);
    let second = sample(&mut probe);
    check_near(time_of(&first, pid) + time_of(&second, pid), truth, 0.04);
    assert!(of(&second, pid).iter().any(|task| task.exited));
    assert_eq!(of(&first, pid)[0].process, of(&second, pid)[0].process);
}

#[test]
fn a_daemon_keeps_its_true_parent_in_the_sample_of_its_birth() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    // $$ is the daemon's parent here.
    let script = format!("exec {} double-fork {} $$", env!("CARGO_BIN_EXE_probe-shapes"), file.display());
    sample(&mut probe);
    let child = shell(&script);
    let parent = child.id();
    reap(child);
    sleep(Duration::from_millis(300));
    let text = fs::read_to_string(&file).unwrap();
    let daemon: u32 = text.split(' ').next().unwrap().parse().unwrap();
    let sample = sample(&mut probe);
    assert!(time_of(&sample, daemon) >= 30_000_000);
    assert!(of(&sample, daemon).iter().all(|task| task.parent == parent), "{:?}", of(&sample, daemon));
}

#[test]
fn a_vforked_childs_time_is_its_own() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    sample(&mut probe);
    let mut parent = shape(&["vfork"]);
    let pid = parent.id();
    let child: u32 = said(&mut parent).trim().parse().unwrap();
    reap(parent);
    let sample = sample(&mut probe);
    check_near(time_of(&sample, child), 60_000_000, 0.10);
    assert!(time_of(&sample, pid) < 20_000_000);
    assert_eq!(newest(&sample, child).unwrap().parent, pid);
}

#[test]
fn a_process_that_changes_its_cgroup_is_seen_in_the_new_one() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    let unified = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    let Some(root) = unified.iter().find(|root| root.join("cgroup.controllers").exists()) else {
        need(false, "a cgroup v2 hierarchy");
        return;
    };
    let group = root.join(format!("probe-test-{}", std::process::id()));
    fs::create_dir(&group).unwrap();
    let busy = Running::start(Command::new("sh").args(["-c", "while :; do /bin/true; done"]));
    sleep(Duration::from_millis(50));
    let first = sample(&mut probe);
    fs::write(group.join("cgroup.procs"), busy.pid().to_string()).unwrap();
    sample(&mut probe);
    sleep(Duration::from_millis(50));
    let second = sample(&mut probe);
    let inode = fs::metadata(&group).unwrap().ino();
    let (before, after) = (newest(&first, busy.pid()).unwrap().cgroup, newest(&second, busy.pid()).unwrap().cgroup);
    drop(busy);
    sleep(Duration::from_millis(50));
    fs::remove_dir(&group).unwrap();
    assert_eq!(after, inode);
    assert_ne!(before, inode);
}

#[test]
fn threads_have_rows_of_their_own_when_asked_for() {
    let wanted = Options { threads: true, ..options() };
    let Some(mut probe) = open(&wanted) else {
        return;
    };
    sample(&mut probe);
    let child = shape(&["threads", "60"]);
    let pid = child.id();
    let truth = reap(child);
    let sample = sample(&mut probe);
    check_near(time_of(&sample, pid), truth, 0.04);
    for name in ["llm-worker-1", "llm-worker-2"] {
        let rows: Vec<_> = of(&sample, pid);
        // The newest record of the thread has its name; on another CPU it may still have had its maker's.
        let tid = rows.iter().find(|task| task.comm.to_string() == name).expect(name).tid;
        assert_ne!(tid, pid);
        let time: u64 = rows.iter().filter(|task| task.tid == tid).map(|task| task.time.0).sum();
        check_near(time, 60_000_000, 0.10);
    }
}

#[test]
fn a_full_table_loses_detail_but_never_time() {
    let tiny = Options { cells_per_cpu: 4, ..options() };
    let Some(mut probe) = open(&tiny) else { return };
    sample(&mut probe);
    let child = shell("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do /bin/true; done");
    reap(child);
    // `sample` checks that the books close.
    let full = sample(&mut probe);
    let lost: u64 = full.cpus.iter().map(|window| window.lost.0).sum();
    assert!(lost > 0);
    assert!(full.tasks.len() <= 5 * full.cpus.len());
    use carbon_agent::probe::Probe;
    assert!(probe.cost().lost.0 >= lost);
    // The old entries are gone, there is room again.
    let child = Command::new("sleep").arg("0.01").spawn().unwrap();
    let pid = child.id();
    reap(child);
    let _ = (pid, sample(&mut probe));
}

#[test]
fn without_type_information_the_books_close_all_the_same() {
    let plain = Options { type_information: TypeInformation::Ignored, ..options() };
    let Some(mut probe) = open(&plain) else {
        return;
    };
    sample(&mut probe);
    let child = shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 0.1; exec sleep 0.2");
    let pid = child.id();
    sleep(Duration::from_millis(50));
    let first = sample(&mut probe);
    let truth = reap(child);
    let second = sample(&mut probe);
    check_near(time_of(&first, pid) + time_of(&second, pid), truth, 0.04);
    assert_eq!(newest(&second, pid).unwrap().comm.to_string(), "sleep");
    assert_eq!(newest(&first, pid).unwrap().process, newest(&second, pid).unwrap().process);
    assert_eq!(newest(&first, pid).unwrap().parent, std::process::id());
}

#[test]
fn interrupts_told_apart_are_in_the_books() {
    let apart = Options { interrupts: true, ..options() };
    let Some(mut probe) = open(&apart) else {
        return;
    };
    sample(&mut probe);
    let child = shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done");
    let pid = child.id();
    let truth = reap(child);
    let sample = sample(&mut probe);
    assert!(sample.cpus.iter().map(|window| window.interrupts.0).sum::<u64>() > 0);
    check_near(time_of(&sample, pid), truth, 0.10);
}
