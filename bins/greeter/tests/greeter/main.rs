//! The tests of greeter's real binary, over real sockets.

mod common;
mod contract;
mod edge;
mod overload;
mod patience;
mod upstream;
