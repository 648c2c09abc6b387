//! Processes of unusual shape, for the probe's tests: `probe-shapes SHAPE [ARGUMENTS]`.

use std::{
    env, fs, io,
    os::unix::process::CommandExt,
    process::Command,
    ptr,
    sync::mpsc,
    thread::{self, sleep},
    time::{Duration, Instant},
};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let millis = |index: usize| arguments[index].parse().expect("milliseconds");
    match arguments[0].as_str() {
        "burn" => burn(millis(1)),
        // The probe itself, for a caller that takes privileges away first.
        "open" => match carbon_tests::kernel::try_open() {
            Ok(mut probe) => {
                carbon_tests::kernel::sample(&mut probe);
                println!("{}; books closed", carbon_agent::probe::Probe::describe(&probe));
            }
            Err(error) => println!("{error}"),
        },
        // The leader ends at once, a thread works on.
        "leader-leaves" => {
            let time = millis(1);
            thread::spawn(move || {
                burn(time);
                std::process::exit(0);
            });
            // SAFETY: ends this thread only; nothing of it is used afterwards.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        // exec called by another thread than the leader: the thread takes over the leader's pid.
        "exec-from-thread" => {
            let worker = thread::spawn(|| {
                Command::new("sh").args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"]).exec()
            });
            let _ = worker.join();
        }
        // A daemon: its parent ends right away; its pid is written to a file.
        "double-fork" => {
            // SAFETY: single-threaded here.
            if unsafe { libc::fork() } == 0 {
                fs::write(&arguments[1], format!("{} {}", std::process::id(), parent())).expect("write");
                // Let the parent go first, then run under the adoptive one.
                while parent().to_string() == arguments[2] {
                    sleep(Duration::from_millis(1));
                }
                burn(30);
            }
        }
        // vfork: the parent stands still until the child has ended.
        "vfork" => {
            // SAFETY: a child on a stack of its own that shares memory, as vfork does; it only burns and ends.
            let status = unsafe {
                let mut stack = vec![0u8; 256 * 1024];
                let top = stack.as_mut_ptr().add(stack.len()).cast();
                let flags = libc::CLONE_VFORK | libc::CLONE_VM | libc::SIGCHLD;
                let child = libc::clone(burn_child, top, flags, ptr::null_mut());
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0);
                println!("{child}");
                status
            };
            assert_eq!(status, 0);
        }
        // Many children one after another, each with a name of its own: e-0, o-1, e-2 …; the even ones work a little.
        "serial" => {
            for number in 0..millis(1) {
                let kind = if number % 2 == 0 { 'e' } else { 'o' };
                let name = std::ffi::CString::new(format!("{kind}-{number}")).expect("a name");
                // SAFETY: single-threaded here; the child only renames itself, burns and ends.
                unsafe {
                    let child = libc::fork();
                    if child == 0 {
                        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
                        burn(u64::from(kind == 'e'));
                        libc::_exit(0);
                    }
                    assert!(child > 0, "fork: {}", std::io::Error::last_os_error());
                    libc::waitpid(child, ptr::null_mut(), 0);
                }
            }
        }
        // Threads with names of their own.
        "threads" => {
            let workers = ["llm-worker-1", "llm-worker-2"].map(|name| {
                let time = millis(1);
                thread::Builder::new().name(name.into()).spawn(move || burn(time)).expect("thread")
            });
            for worker in workers {
                worker.join().expect("join");
            }
        }
        // Threads with these names; each line of standard input ("300 100") says how many milliseconds of CPU time each
        // of them is to use. Says "done" when all have.
        "workers" => {
            let start = |name: &String| {
                let (jobs, waiting) = mpsc::channel::<u64>();
                let (tell, done) = mpsc::channel::<()>();
                let work = move || {
                    for millis in waiting {
                        burn(millis);
                        let _ = tell.send(());
                    }
                };
                thread::Builder::new().name(name.clone()).spawn(work).expect("thread");
                (jobs, done)
            };
            let workers: Vec<_> = arguments[1..].iter().map(start).collect();
            for line in io::stdin().lines() {
                let line = line.expect("text");
                let jobs = line.split(' ').map(|word| word.parse().expect("milliseconds"));
                for ((worker, _), millis) in workers.iter().zip(jobs) {
                    worker.send(millis).expect("the thread waits");
                }
                for (_, done) in &workers {
                    done.recv().expect("the thread works");
                }
                println!("done");
            }
        }
        shape => panic!("no shape {shape}"),
    }
}

extern "C" fn burn_child(_: *mut libc::c_void) -> libc::c_int {
    burn(60);
    0
}

fn parent() -> i32 {
    // SAFETY: no preconditions.
    unsafe { libc::getppid() }
}

/// Uses this much CPU time.
fn burn(millis: u64) {
    let used = || {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a pointer to a local.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let begin = used();
    let limit = Instant::now() + Duration::from_secs(30);
    while used() - begin < Duration::from_millis(millis) && Instant::now() < limit {}
}
