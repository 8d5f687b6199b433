//! Loopback addresses: one for each task, and for each greeter one per service that it calls.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use application::{SERVICES, Service};

use crate::task::Task;

/// How many addresses a task's sidecar listens on. Each new process of the task uses the next one:
/// Envoy identifies hosts by address, and would count the last process's failures against it. Two
/// would be enough if Envoy always read a list before the next one is written.
pub(super) const TURNS: u8 = 4;

/// Where a task's application listens: the first of its addresses.
pub(super) fn own_address(task: Task) -> IpAddr {
    in_turn(task, 0)
}

/// Where a task's sidecar is found in this turn.
pub(super) fn address_in_turn(task: Task, turn: u8, port: u16) -> SocketAddr {
    SocketAddr::new(in_turn(task, turn), port)
}

fn in_turn(task: Task, turn: u8) -> IpAddr {
    Ipv4Addr::new(127, turn, place(task.service), task.number).into()
}

/// All addresses that a task's sidecar listens on.
pub(super) fn inbound(task: Task) -> impl Iterator<Item = IpAddr> {
    (0..TURNS).map(move |turn| in_turn(task, turn))
}

/// Where a greeter finds a leaf; Service Connect writes such addresses to /etc/hosts.
pub(super) fn virtual_address(greeter: Task, leaf: Service) -> IpAddr {
    Ipv4Addr::new(127, 255, greeter.number, place(leaf)).into()
}

/// Whose application or sidecar is at an address.
pub(super) fn task_at(ip: IpAddr) -> Option<Task> {
    let IpAddr::V4(ip) = ip else { return None };
    let [_, _, place, number] = ip.octets();
    let service = *SERVICES.get(usize::from(place).checked_sub(1)?)?;
    (ip.is_loopback() && number > 0).then_some(Task { service, number })
}

/// All addresses that belong to a task.
pub(super) fn all_of(task: Task) -> impl Iterator<Item = IpAddr> {
    let others = task.service.calls().iter().map(move |leaf| virtual_address(task, *leaf));
    inbound(task).chain(others)
}

/// A service's place among all, from 1.
fn place(service: Service) -> u8 {
    let before = SERVICES.iter().take_while(|other| **other != service).count();
    // An application of this size has other troubles than its addresses.
    u8::try_from(1 + before).expect("fewer than 255 services")
}
