//! The kinds of failures.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use http_body_util::LengthLimitError;
use nix::errno::Errno;

/// Why a request got no greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// Another status than 200.
    Status(u16),
    /// Another status, once there are too many different ones to count separately.
    OtherStatus,
    /// Status 200, but no greeting.
    NoGreeting,
    /// An answer of more than this many bytes.
    TooLong(usize),
    NoHttp,
    UnknownHost,
    /// The host was not looked up within this time.
    LookUpTimeout(Duration),
    /// No connection, for this reason of the system.
    Connect(io::ErrorKind),
    /// No connection within this time.
    ConnectTimeout(Duration),
    /// The connection broke.
    Broken(io::ErrorKind),
    /// The connection ended before the end of the answer.
    Closed,
    /// The process or the machine is out of file descriptors.
    OutOfFiles,
    /// No answer within this time.
    Timeout(Duration),
    /// No connection was free before the end.
    NeverSent,
    /// Not yet answered when the load ended.
    Awaited,
}

impl Failure {
    /// The failure of a connection attempt.
    pub(super) fn of_connection(error: &io::Error) -> Self {
        out_of_files(error).unwrap_or(Self::Connect(error.kind()))
    }

    /// The failure of a look-up.
    pub(super) fn of_lookup(error: &io::Error) -> Self {
        out_of_files(error).unwrap_or(Self::UnknownHost)
    }

    /// The failure of a request on a connection.
    pub(super) fn of_request(error: &hyper::Error) -> Self {
        if error.is_parse() {
            return Self::NoHttp;
        }
        let mut cause = error.source();
        while let Some(error) = cause {
            match error.downcast_ref().map(io::Error::kind) {
                Some(io::ErrorKind::UnexpectedEof) => break,
                // An invalid chunk size.
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

    /// The failure of reading a body.
    pub(super) fn of_body(error: &(dyn Error + 'static), limit: usize) -> Self {
        if error.is::<LengthLimitError>() {
            return Self::TooLong(limit);
        }
        error.downcast_ref().map_or(Self::Closed, Self::of_request)
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
            Self::LookUpTimeout(limit) => write!(f, "host not looked up within {limit:?}"),
            Self::Connect(kind) => write!(f, "no connection: {kind}"),
            Self::ConnectTimeout(limit) => write!(f, "no connection within {limit:?}"),
            Self::Broken(kind) => write!(f, "connection broke: {kind}"),
            Self::Closed => f.write_str("connection closed before the end of the answer"),
            Self::OutOfFiles => f.write_str("no connection: out of files"),
            Self::Timeout(limit) => write!(f, "no answer within {limit:?}"),
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
            assert_eq!(Failure::of_connection(&error).to_string(), expected);
        }
        let unknown = io::Error::other("failed to lookup address information");
        assert_eq!(Failure::of_lookup(&unknown), Failure::UnknownHost);
    }
}
