//! The tests of greeter's real binary, over real sockets.

mod browser;
mod common;
mod contract;
mod document;
mod edge;
mod forms;
mod openapi;
mod overload;
mod patience;
mod upstream;
