//! What a connection has received and not yet used.

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
        if left <= limits::READ && self.bytes.len() > limits::READ {
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
        // Most input needs no more room than this, also behind what is left of the last.
        let size = if self.end < limits::READ { limits::READ } else { self.end + limits::READ };
        let size = size.min(limit);
        if self.bytes.len() < size {
            if size > limits::READ {
                // All the room there may be, once. It takes memory only where it is written to.
                self.bytes.reserve_exact(limit - self.bytes.len());
            }
            self.bytes.resize(size, 0);
        }
        let count = socket.read(&mut self.bytes[self.end..size])?;
        self.end += count;
        Ok(count)
    }
}
