//! A process group: what is signalled, and what dies together.

use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::Reaper;

/// The group that a child of ours leads. Dropping it kills whatever is left in it.
///
/// Drop it soon after its leader was waited for: an empty group's number may be given to
/// somebody else, though not before all other numbers had their turn.
#[derive(Debug)]
pub(crate) struct Group {
    id: Pid,
    reaper: Option<Arc<Reaper>>,
}

impl Group {
    /// Of the leader with the process id `leader`, known to the reaper from now on.
    pub(crate) fn new(leader: u32, reaper: Option<Arc<Reaper>>) -> Option<Self> {
        let id = i32::try_from(leader).ok().and_then(Pid::from_raw)?;
        if let Some(reaper) = &reaper {
            reaper.watch(id);
        }
        Some(Self { id, reaper })
    }

    /// Asks all of it to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends all of it.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // The only failure is that nobody is left.
        let _ = kill_process_group(self.id, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        if let Some(reaper) = &self.reaper {
            reaper.forget(self.id);
        }
    }
}
