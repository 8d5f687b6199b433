//! The whole application on this machine: as it is asked, as a browser shows it, through Envoy.

mod application;
mod browser;
mod check;
mod control;
mod envoy;
mod life;
mod load;
mod proxies;
mod requests;
mod running;
mod trace;
mod user_programs;
