//! Replaces the tasks of the user's programs when a file changes: `--watch`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use smol::Timer;

use crate::orchestrator::Orchestrator;

/// How often the files are looked at: a change is seen after two looks at most.
const INTERVAL: Duration = Duration::from_millis(250);
/// The most files that are looked at, which costs a hundredth of a CPU.
const MAX_FILES: usize = 1000;

/// Files, and when each was changed.
type Files = BTreeMap<PathBuf, Option<SystemTime>>;

/// Parses a path to watch.
pub(crate) fn parse(word: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(word);
    fs::metadata(&path).map_err(|error| error.to_string())?;
    if files(&path).len() > MAX_FILES {
        return Err(format!("has more than {MAX_FILES} files: give a smaller folder"));
    }
    Ok(path)
}

/// Watches, forever.
pub(crate) async fn watch<T>(path: PathBuf, mesh: &Orchestrator) -> T {
    let look = || {
        let path = path.clone();
        smol::unblock(move || files(&path))
    };
    let (mut last, mut has_changed) = (look().await, false);
    loop {
        Timer::after(INTERVAL).await;
        let now = look().await;
        if now != last {
            (last, has_changed) = (now, true);
        } else if has_changed {
            // Nothing more has changed: whoever writes several files has finished.
            has_changed = false;
            mesh.restart_user_programs().await;
        }
    }
}

/// The file, or the files in the folder and below it, those whose names begin with a dot left out.
fn files(path: &Path) -> Files {
    let mut found = Files::from([(path.to_owned(), changed(path))]);
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if is_hidden || found.len() > MAX_FILES {
                continue;
            }
            found.insert(entry.path(), changed(&entry.path()));
            // Not through a link, which could lead back.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    found
}

/// When a file was changed; a folder changes with the files that are in it.
fn changed(path: &Path) -> Option<SystemTime> {
    let found = fs::metadata(path).ok().filter(|found| !found.is_dir());
    found.and_then(|found| found.modified().ok())
}
