//! `mesh`: the whole application on one machine.
//!
//! A small model of what AWS puts around the services: tasks that are restarted
//! when they die (ECS), proxies between them (Service Connect), and one more in front of
//! the greeters (the load balancer). The proxies are the mesh's own, or Envoy.
//!
//! | module | what it is for |
//! |---|---|
//! | `arguments` | the command line |
//! | `value` | ... the values in it |
//! | `misuse` | ... and its errors |
//! | `mesh` | the life of a mesh: its processes start, run and end |
//! | `orchestrator` | its tasks, and what changes them: scale, fault, release |
//! | `control` | commands from another terminal |
//! | `load` | the load generator |
//! | `check` | what is promised, asked of whatever runs |
//! | `task` | a task's name and variables |
//! | `supervisor` | keeps a process running |
//! | `program` | what that process runs, a task or an Envoy, and what its log reports |
//! | `user_program` | ... or a program of the user's, in the place of a service's |
//! | `watch` | ... whose tasks are replaced when a file changes |
//! | `child` | the mesh's own binary as that process |
//! | `engine` | the proxies, of one kind or the other: |
//! | `built_in` | ... the mesh's own |
//! | `envoy` | ... Envoys |
//! | `registration` | how the proxies learn of a process |
//! | `trace` | where the time of each request went |
//! | `overview` | what runs where |
//! | `event` | the events of a mesh |
//! | `output` | ... as text or JSON |
//! | `log_line` | ... a line of a task's log, shortened |
//! | `escape` | untrusted text, without control characters |
//! | `terminal` | what a terminal can show, and its width |
//! | `printer` | ... printed by a thread of its own |
//! | `folders` | where its sockets and files are |
//! | `connection` | a connection for HTTP requests |
//! | `within` | a future with a time limit |
//! | `loopback` | a port of 127.0.0.1 |

mod arguments;
mod built_in;
mod check;
mod child;
mod connection;
mod control;
mod engine;
mod envoy;
mod escape;
mod event;
mod folders;
mod load;
mod log_line;
mod loopback;
mod mesh;
mod misuse;
mod orchestrator;
mod output;
mod overview;
mod printer;
mod program;
mod registration;
mod supervisor;
mod task;
mod terminal;
mod trace;
mod user_program;
mod value;
mod watch;
mod within;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use arguments::{Action, Child, Options};
use chassis::cli::raise_open_files_limit;
use output::complain;
use user_program::UserPrograms;

/// The exit code for an invalid command line, as in shells and most tools.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os()) {
        Ok(Action::Run(options, programs)) => match smol::block_on(run(options, programs)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Ok(Action::Control(port, request)) => say(control::send(port, &request)),
        Ok(Action::Load(port, options)) => {
            raise_open_files_limit();
            say(load::run(options, port, control::look))
        }
        Ok(Action::Check(port, options)) => match check::run(&options, port) {
            Ok(checked) => match (say(Ok(checked.text)), checked.is_as_expected) {
                (said, true) => said,
                (_, false) => ExitCode::FAILURE,
            },
            Err(error) => fail(&error),
        },
        Ok(Action::RunChild(Child::Task { service, ip })) => child::serve(service, ip),
        Ok(Action::RunChild(Child::UserProgram { stop_signal, words })) => {
            fail(&child::become_user_program(stop_signal, &words))
        }
        Ok(Action::RunChild(Child::Envoy { executable, configuration })) => {
            fail(&child::become_envoy(&executable, &configuration))
        }
        Ok(Action::Print(text)) => say(Ok(text)),
        Err(error) => {
            complain(&error);
            ExitCode::from(USAGE)
        }
    }
}

async fn run(options: Options, programs: UserPrograms) -> io::Result<()> {
    raise_open_files_limit();
    envoy::remove_what_is_left();
    mesh::run(options, programs).await
}

fn say(words: Result<String, String>) -> ExitCode {
    let words = match words {
        Ok(words) => words,
        Err(error) => return fail(&error),
    };
    match writeln!(io::stdout(), "{}", words.trim_end()) {
        // The reader has seen enough.
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
