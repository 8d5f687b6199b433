//! `mesh`: the whole application on one machine.
//!
//! What AWS puts around the three services is here in small: tasks that are started again
//! when they die (ECS), proxies between them (Service Connect), and one more in front of
//! the greeters (the load balancer). The proxies are the mesh's own, or Envoy.
//!
//! | module | what it is for |
//! |---|---|
//! | `arguments` | the command line |
//! | `value` | ... the values in it |
//! | `misuse` | ... and what is wrong with it |
//! | `mesh` | the life of a mesh: its processes start, run and end |
//! | `orchestrator` | its tasks, and what changes them: scale, fault, release |
//! | `control` | what another terminal asks of it |
//! | `load` | greetings asked for from many connections at once, and what became of them |
//! | `task` | what a task is called, and its variables |
//! | `supervisor` | keeps a process running |
//! | `program` | what that process is, a task or an Envoy, and what its log tells |
//! | `child` | the mesh's own binary as that process |
//! | `engine` | what passes requests on, one of two: |
//! | `built_in` | ... the mesh's own proxies |
//! | `envoy` | ... Envoy in their place |
//! | `registration` | what becomes of a process, as the proxies are told |
//! | `overview` | what runs where |
//! | `event` | what happens |
//! | `output` | ... as it is told, to people or machines |
//! | `brief` | ... the lines of a task's log, short for people |
//! | `shown` | words of others, without what a terminal would obey |
//! | `terminal` | what a terminal may be sent, and how wide it is |
//! | `teller` | ... without waiting for them |
//! | `folders` | where its sockets and files are |
//! | `connection` | a connection for HTTP requests |
//! | `within` | a limit to how long something may take |
//! | `loopback` | a port that only this machine reaches |
//! | `lock` | locking what no holder leaves half-changed |

mod arguments;
mod brief;
mod built_in;
mod child;
mod connection;
mod control;
mod engine;
mod envoy;
mod event;
mod folders;
mod load;
mod lock;
mod loopback;
mod mesh;
mod misuse;
mod orchestrator;
mod output;
mod overview;
mod program;
mod registration;
mod shown;
mod supervisor;
mod task;
mod teller;
mod terminal;
mod value;
mod within;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use arguments::{Action, Child, Options};
use chassis::cli::raise_open_files_limit;
use output::complain;

/// The exit code for a command line that makes no sense, as in shells and most tools.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os()) {
        Ok(Action::Run(options)) => match smol::block_on(run(options)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Ok(Action::Ask(port, ask)) => say(control::ask(port, &ask)),
        Ok(Action::Load(port, options)) => {
            raise_open_files_limit();
            say(load::run(options, || control::front(port)))
        }
        Ok(Action::Be(Child::Task { service, ip })) => child::serve(service, ip),
        Ok(Action::Be(Child::Envoy { executable, configuration })) => {
            fail(&child::become_envoy(&executable, &configuration))
        }
        Ok(Action::Print(text)) => say(Ok(text)),
        Err(error) => {
            complain(&error);
            ExitCode::from(USAGE)
        }
    }
}

async fn run(options: Options) -> io::Result<()> {
    raise_open_files_limit();
    envoy::remove_what_is_left();
    mesh::run(options).await
}

fn say(words: Result<String, String>) -> ExitCode {
    let words = match words {
        Ok(words) => words,
        Err(error) => return fail(&error),
    };
    match writeln!(io::stdout(), "{}", words.trim_end()) {
        // Who reads no more has read what was wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(&format!("cannot write to standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

fn fail(error: &dyn Display) -> ExitCode {
    complain(error);
    ExitCode::FAILURE
}
