//! Conditions that a machine may not meet. A test that cannot run says why; in CI that is a failure.

/// Whether the test can go on: prints the reason and returns false where `met` is false, and fails in CI.
pub fn need(met: bool, what: &str) -> bool {
    if !met {
        println!("NOT RUN: this test needs {what}");
        assert!(std::env::var_os("CI").is_none(), "this test needs {what}, and CI must have it");
    }
    met
}

/// Root, for the kernel probe.
pub fn root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let uid = unsafe { libc::geteuid() };
    need(uid == 0, "root, to load the probe into the kernel")
}

/// A program on the PATH.
pub fn program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    need(found, &format!("the program {name}"))
}
