//! Prints events without blocking on a slow reader.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use crate::event::Event;
use crate::output::Output;

/// The length of the queue; events beyond it are dropped.
const WAITING: usize = 1024;
/// How long the end of the mesh waits for the queue to drain.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes on its own thread, because a full pipe, or a terminal stopped with Ctrl-S, blocks the
/// writer.
pub(crate) struct Printer {
    events: SyncSender<Event>,
    /// Closed when all is written.
    done: Receiver<()>,
}

impl Printer {
    /// # Errors
    ///
    /// No thread can be started.
    pub(crate) fn start(output: Output) -> io::Result<Self> {
        let (sender, events) = sync_channel(WAITING);
        let (writing, done) = channel::<()>();
        thread::Builder::new().spawn(move || {
            for event in events {
                output.print(&event);
            }
            drop(writing);
        })?;
        Ok(Self { events: sender, done })
    }

    pub(crate) fn print(&self, event: Event) {
        // Fails if the queue is full.
        let _ = self.events.try_send(event);
    }

    /// Waits for the queue to drain, for a limited time.
    pub(crate) fn finish(self) {
        drop(self.events);
        let _ = self.done.recv_timeout(PATIENCE);
    }
}
