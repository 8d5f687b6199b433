//! A connection's input buffer.

use std::io;

use crate::limits;
use crate::socket::Socket;

/// A queue of bytes: filled from a socket, used up from the front.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Always initialised; only `start..end` is input.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The bytes that were received and not yet used.
    #[must_use]
    pub fn unused(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Removes `count` bytes from the front, or all if there are fewer.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        let left = self.end - self.start;
        if left <= limits::READ_SIZE && self.bytes.len() > limits::READ_SIZE {
            // One large request must not cost memory for the rest of the connection, nor while
            // its answer waits to be read.
            self.bytes = self.unused().to_vec();
            (self.start, self.end) = (0, left);
        } else if left == 0 {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Waits for more input, but holds no more than `limit` bytes. Returns how many bytes came; 0
    /// is the end of input. Call it only while fewer than `limit` bytes are unused.
    ///
    /// # Errors
    ///
    /// Those of [`Socket::read`].
    pub fn fill(&mut self, socket: &Socket, limit: usize) -> io::Result<usize> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        // Enough for most input, also after a rest of the last.
        let size = if self.end < limits::READ_SIZE {
            limits::READ_SIZE
        } else {
            self.end + limits::READ_SIZE
        };
        let size = size.min(limit);
        if self.bytes.len() < size {
            if size > limits::READ_SIZE {
                // Reserved once, up to the limit; only pages that are written take memory.
                self.bytes.reserve_exact(limit - self.bytes.len());
            }
            self.bytes.resize(size, 0);
        }
        let count = socket.read(&mut self.bytes[self.end..size])?;
        self.end += count;
        Ok(count)
    }
}
