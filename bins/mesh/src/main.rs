//! `mesh`: the whole application on one machine.
//!
//! What AWS puts around the three services is here in small: tasks that are started again
//! when they die (ECS), a round-robin proxy in front of each service (Service Connect),
//! and one more in front of the greeters (the load balancer).
//!
//! | module | what it is for |
//! |---|---|
//! | `arguments` | the command line |
//! | `mesh` | puts the parts together, and takes them apart |
//! | `supervisor` | keeps one task running |
//! | `task` | the task's own process: a service, until its supervisor is gone |
//! | `target` | a task as a proxy sees it: an address, and connections kept open |
//! | `proxy` | HTTP from clients to targets, balanced per request |

mod arguments;
mod mesh;
mod proxy;
mod supervisor;
mod target;
mod task;

use std::process::ExitCode;

use arguments::Command;

fn main() -> ExitCode {
    match arguments::parse(std::env::args().skip(1)) {
        Ok(Command::Run(options)) => match smol::block_on(mesh::run(options)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("mesh: {error}");
                ExitCode::FAILURE
            }
        },
        Ok(Command::Task(service)) => task::run(service),
        Ok(Command::Print(text)) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("mesh: {error}\n\n{}", arguments::USAGE);
            ExitCode::from(2)
        }
    }
}
