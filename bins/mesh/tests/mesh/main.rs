//! The whole application: on one machine, in a browser, as its manifests and its stack say.

mod application;
mod browser;

mod envoy;

mod proxies;
mod running;
