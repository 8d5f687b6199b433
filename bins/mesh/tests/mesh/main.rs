//! The whole application: on one machine, and as its manifests describe it.

mod application;
mod envoy;
mod manifests;
mod running;
