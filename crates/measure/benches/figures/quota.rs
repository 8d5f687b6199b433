//! A quarter of a CPU.

use std::fs;
use std::path::{Path, PathBuf};

use harness::Process;

/// Fargate's floor.
pub(crate) const FLOOR: f64 = 0.25;

/// The floor for a process, until dropped: a control group of its own.
pub(crate) struct Quota(PathBuf);

impl Quota {
    /// Confines it, or says why it cannot.
    pub(crate) fn new(process: &Process) -> Result<Self, String> {
        let (period, quota) = (100_000, format!("{:.0}", FLOOR * 100_000.0));
        let name = format!("greeter-bench-{}", process.pid());
        // Version 1 has a tree for CPU, version 2 one for everything.
        let [v1, v2] = ["cpu", ""].map(|tree| Path::new("/sys/fs/cgroup").join(tree).join(&name));
        let (folder, file, limit) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            (v2, "cpu.max", format!("{quota} {period}"))
        } else {
            (v1, "cpu.cfs_quota_us", quota)
        };
        let why = |path: &Path, error| {
            format!("not measured, it takes root and control groups: {}: {error}", path.display())
        };
        fs::create_dir(&folder).map_err(|error| why(&folder, error))?;
        let group = Self(folder);
        for (file, value) in [(file, limit), ("cgroup.procs", process.pid().to_string())] {
            let file = group.0.join(file);
            fs::write(&file, value).map_err(|error| why(&file, error))?;
        }
        Ok(group)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // A group goes when nothing is left in it.
        if let (Some(parent), Ok(processes)) =
            (self.0.parent(), fs::read_to_string(self.0.join("cgroup.procs")))
        {
            for process in processes.lines() {
                let _ = fs::write(parent.join("cgroup.procs"), process);
            }
        }
        let _ = fs::remove_dir(&self.0);
    }
}
