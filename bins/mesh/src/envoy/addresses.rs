//! Who has which loopback address: a task its own, and a greeter one for each service it calls.

use std::net::{IpAddr, Ipv4Addr};

use application::{SERVICES, Service};

use crate::task::Task;

/// A task's own address, where its sidecar and its application listen.
pub(super) fn own_address(task: Task) -> IpAddr {
    Ipv4Addr::new(127, 0, place(task.service), task.number).into()
}

/// Where a greeter finds a leaf; Service Connect writes such addresses to /etc/hosts.
pub(super) fn virtual_address(greeter: Task, leaf: Service) -> IpAddr {
    Ipv4Addr::new(127, 255, greeter.number, place(leaf)).into()
}

/// All addresses that belong to a task.
pub(super) fn all_of(task: Task) -> impl Iterator<Item = IpAddr> {
    let others = task.service.calls().iter().map(move |leaf| virtual_address(task, *leaf));
    std::iter::once(own_address(task)).chain(others)
}

/// A service's place among all, from 1.
fn place(service: Service) -> u8 {
    let before = SERVICES.iter().take_while(|other| **other != service).count();
    // An application of this size has other troubles than its addresses.
    u8::try_from(1 + before).expect("fewer than 255 services")
}
