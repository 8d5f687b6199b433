//! The whole application: on one machine, and as its manifests and its stack describe it.

mod application;
mod browser;
mod cloudformation;
mod envoy;
mod manifests;
mod running;
