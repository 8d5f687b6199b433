//! `mesh`: the whole application on one machine.
//!
//! What AWS puts around the three services is here in small: tasks that are started again
//! when they die (ECS), proxies between them (Service Connect), and one more in front of
//! the greeters (the load balancer). The proxies are the mesh's own, or Envoy.
//!
//! | module | what it is for |
//! |---|---|
//! | `arguments` | the command line |
//! | `mesh` | puts the parts together, and takes them apart |
//! | `supervisor` | keeps one process running |
//! | `program` | what that process is: a task, or an Envoy |
//! | `task` | the task's own process: a service, until its supervisor is gone |
//! | `built_in` | the mesh's own proxies |
//! | `envoy` | Envoy in their place |

mod arguments;
mod built_in;
mod envoy;
mod mesh;
mod program;
mod supervisor;
mod task;

use std::io;
use std::process::ExitCode;

use arguments::{Command, Options, Proxy};

fn main() -> ExitCode {
    match arguments::parse(std::env::args().skip(1)) {
        Ok(Command::Run(options)) => exit_code(smol::block_on(run(options))),
        Ok(Command::Task(service, ip)) => task::run(service, ip),
        Ok(Command::Envoy(executable, configuration)) => {
            exit_code(Err(program::become_envoy(&executable, &configuration)))
        }
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

async fn run(options: Options) -> io::Result<()> {
    match options.proxy {
        Proxy::BuiltIn => mesh::run(options, built_in::BuiltIn::new).await,
        Proxy::Envoy => mesh::run(options, envoy::Envoy::new).await,
    }
}

fn exit_code(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mesh: {error}");
            ExitCode::FAILURE
        }
    }
}
