//! A leaf in the test's own process.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};

use chassis::Port;
use chassis::shutdown::Shutdown;
use harness::{Client, eventually};
use leaf::Handler;

/// Serves what this handler answers, until the shutdown begins.
pub(crate) fn serve<H: Handler>() -> (SocketAddr, Shutdown, JoinHandle<io::Result<()>>) {
    let service = leaf::service::<H>();
    let ports = Port::bind(&[Ipv4Addr::LOCALHOST.into()], 0).unwrap();
    let (address, shutdown) = (ports[0].address(), Shutdown::on_call());
    let settings = (service.settings)(&|_| None).unwrap();
    let stop = shutdown.clone();
    let leaf = thread::spawn(move || (service.run)(settings, ports, &stop));
    eventually("it does not listen", || Client::try_connect(address).is_some());
    (address, shutdown, leaf)
}
