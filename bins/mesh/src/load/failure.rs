//! Why there was no greeting.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use http_body_util::LengthLimitError;
use nix::errno::Errno;

/// By kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// Another status than 200.
    Status(u16),
    /// Another status, and there were too many different ones to count each.
    OtherStatus,
    /// Status 200, but no greeting.
    NoGreeting,
    /// More than so many bytes.
    TooLong(usize),
    NoHttp,
    UnknownHost,
    /// Not known within this time.
    LookUpLate(Duration),
    /// No connection, for what the system says of it.
    Connect(io::ErrorKind),
    /// No connection within this time.
    ConnectLate(Duration),
    /// The connection broke.
    Broken(io::ErrorKind),
    /// It ended in the middle of the answer, or before it.
    Closed,
    /// This process, or the machine, may open no more files: a connection is one.
    OutOfFiles,
    /// No answer within this time.
    Late(Duration),
    /// No connection was free before the end.
    NeverSent,
    /// Its answer was awaited when the load ended.
    Awaited,
}

impl Failure {
    /// Of a connection that does not come about.
    pub(super) fn of_connecting(error: &io::Error) -> Self {
        out_of_files(error).unwrap_or(Self::Connect(error.kind()))
    }

    /// Of a host that is looked up.
    pub(super) fn of_looking_up(error: &io::Error) -> Self {
        out_of_files(error).unwrap_or(Self::UnknownHost)
    }

    /// Of a request on a connection.
    pub(super) fn of_asking(error: &hyper::Error) -> Self {
        if error.is_parse() {
            return Self::NoHttp;
        }
        let mut cause = error.source();
        while let Some(error) = cause {
            match error.downcast_ref().map(io::Error::kind) {
                Some(io::ErrorKind::UnexpectedEof) => break,
                // Of a chunk's size, or what stands there.
                Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
                    return Self::NoHttp;
                }
                Some(kind) => return Self::Broken(kind),
                None => {}
            }
            cause = error.source();
        }
        Self::Closed
    }

    /// Of a body that is read.
    pub(super) fn of_reading(error: &(dyn Error + 'static), limit: usize) -> Self {
        if error.is::<LengthLimitError>() {
            return Self::TooLong(limit);
        }
        error.downcast_ref().map_or(Self::Closed, Self::of_asking)
    }
}

fn out_of_files(error: &io::Error) -> Option<Failure> {
    let number = error.raw_os_error()?;
    let files = [Errno::EMFILE, Errno::ENFILE].map(|errno| errno as i32);
    files.contains(&number).then_some(Failure::OutOfFiles)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::OtherStatus => f.write_str("of other statuses"),
            Self::NoGreeting => f.write_str("no greeting in the answer"),
            Self::TooLong(limit) => write!(f, "an answer of more than {} KiB", limit / 1024),
            Self::NoHttp => f.write_str("no HTTP in the answer"),
            Self::UnknownHost => f.write_str("unknown host"),
            Self::LookUpLate(limit) => write!(f, "host not looked up within {limit:?}"),
            Self::Connect(kind) => write!(f, "no connection: {kind}"),
            Self::ConnectLate(limit) => write!(f, "no connection within {limit:?}"),
            Self::Broken(kind) => write!(f, "connection broke: {kind}"),
            Self::Closed => f.write_str("connection closed before the end of the answer"),
            Self::OutOfFiles => f.write_str("no connection: out of files"),
            Self::Late(limit) => write!(f, "no answer within {limit:?}"),
            Self::NeverSent => f.write_str("never sent: no connection was free"),
            Self::Awaited => f.write_str("not answered when it ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_fails_in_ways_that_are_told_apart() {
        for (errno, expected) in [
            (Errno::ECONNREFUSED, "no connection: connection refused"),
            (Errno::ECONNRESET, "no connection: connection reset"),
            (Errno::EHOSTUNREACH, "no connection: host unreachable"),
            (Errno::ETIMEDOUT, "no connection: timed out"),
            (Errno::EMFILE, "no connection: out of files"),
            (Errno::ENFILE, "no connection: out of files"),
        ] {
            let error = io::Error::from(errno);
            assert_eq!(Failure::of_connecting(&error).to_string(), expected);
        }
        let unknown = io::Error::other("failed to lookup address information");
        assert_eq!(Failure::of_looking_up(&unknown), Failure::UnknownHost);
    }
}
