//! Tells what happens without waiting for whoever reads it.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use crate::event::Event;
use crate::output::Output;

/// Events that wait for a reader; any more are dropped.
const WAITING: usize = 1024;
/// How long the last of them wait when the mesh ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes on a thread of its own: a pipe that nobody reads, or a terminal that Ctrl-S has stopped,
/// keeps a writer for as long as it likes.
pub(crate) struct Teller {
    events: SyncSender<Event>,
    /// Closed when all is written.
    done: Receiver<()>,
}

impl Teller {
    /// # Errors
    ///
    /// There can be no other thread.
    pub(crate) fn start(output: Output) -> io::Result<Self> {
        let (events, told) = sync_channel(WAITING);
        let (writing, done) = channel::<()>();
        thread::Builder::new().spawn(move || {
            for event in told {
                output.tell(&event);
            }
            drop(writing);
        })?;
        Ok(Self { events, done })
    }

    pub(crate) fn tell(&self, event: Event) {
        // Fails while nobody reads.
        let _ = self.events.try_send(event);
    }

    /// Waits until everything is written, if somebody reads it.
    pub(crate) fn finish(self) {
        drop(self.events);
        let _ = self.done.recv_timeout(PATIENCE);
    }
}
