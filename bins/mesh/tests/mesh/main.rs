//! The whole application: on one machine, in a browser, and as its manifests describe it.

mod application;
mod browser;
mod envoy;
mod manifests;
mod running;
