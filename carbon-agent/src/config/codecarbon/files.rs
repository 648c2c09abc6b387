//! CodeCarbon's files: where they lie, and whether they may be believed.

use super::FILE_NAME;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// No such file is longer.
const LIMIT: u64 = 1 << 20;

/// Where CodeCarbon's files may lie, and whose they may be.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The weakest first.
    pub directories: Vec<PathBuf>,
    /// Users whose files are read. A directory that others may write to (`/tmp`) must not configure root's agent.
    pub owners: Vec<u32>,
}

/// A file that is there: its text, or why it was not read.
#[derive(Clone, Debug)]
pub struct Text {
    pub path: PathBuf,
    pub contents: Result<String, String>,
}

impl Places {
    /// Of this process: the home directory and the current one; root, its own user, and who called sudo.
    pub fn of_process() -> Self {
        // SAFETY: geteuid has no preconditions and cannot fail.
        let user = unsafe { libc::geteuid() };
        let caller = std::env::var("SUDO_UID").ok().and_then(|id| id.parse().ok()).filter(|_| user == 0);
        Self {
            directories: std::env::home_dir().into_iter().chain(std::env::current_dir()).collect(),
            owners: [0, user].into_iter().chain(caller).collect(),
        }
    }

    /// The files that are there, the weakest first. A missing one is no matter; one that cannot be read is
    /// CodeCarbon's to complain of, but said.
    pub fn read(&self) -> Vec<Text> {
        let mut texts: Vec<Text> = Vec::new();
        for directory in &self.directories {
            let path = directory.join(FILE_NAME);
            // Started in the home directory, both are one.
            if texts.iter().any(|text| text.path == path) {
                continue;
            }
            match self.text(&path) {
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                contents => texts.push(Text { path, contents: contents.map_err(|error| error.to_string()) }),
            }
        }
        texts
    }

    fn text(&self, path: &Path) -> io::Result<String> {
        // Opening a FIFO would wait for a writer.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("is not a regular file"));
        }
        if !self.owners.contains(&metadata.uid()) {
            return Err(io::Error::other(format!(
                "belongs to another user (uid {}), whose settings are not taken",
                metadata.uid()
            )));
        }
        if metadata.len() > LIMIT {
            return Err(io::Error::other(format!("is longer than {} MiB", LIMIT >> 20)));
        }
        let mut text = String::new();
        file.take(LIMIT).read_to_string(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_of_strangers_and_what_is_no_file_are_passed_over_and_said() {
        let root = tempfile::tempdir().unwrap();
        let [home, here, odd] = ["home", "here", "odd"].map(|name| root.path().join(name));
        for directory in [&home, &here, &odd] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(home.join(FILE_NAME), "one").unwrap();
        fs::create_dir(odd.join(FILE_NAME)).unwrap();
        let me = fs::metadata(&home).unwrap().uid();
        let read = |directories: &[&PathBuf], owners: &[u32]| {
            Places { directories: directories.iter().map(|path| (*path).clone()).collect(), owners: owners.to_vec() }
                .read()
                .into_iter()
                .map(|text| text.contents)
                .collect::<Vec<_>>()
        };
        assert_eq!(read(&[&home, &here], &[me]), [Ok("one".to_owned())]);
        assert_eq!(read(&[&home, &home], &[me]), [Ok("one".to_owned())]);
        let [Err(why)] = &read(&[&home], &[me + 1])[..] else { panic!("read") };
        assert!(why.contains("another user"), "{why}");
        let [Err(why)] = &read(&[&odd], &[me])[..] else { panic!("read") };
        assert!(why.contains("not a regular file"), "{why}");
    }
}
