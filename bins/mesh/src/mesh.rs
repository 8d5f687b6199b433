//! Puts the parts together, and takes them apart.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_signal::{Signal, Signals};
use smol::channel::{self, Receiver, Sender};
use smol::future;
use smol::stream::StreamExt;
use smol::{Async, Task};

use crate::arguments::{Options, Service};
use crate::proxy::{Proxy, listen};
use crate::supervisor::{Notice, Supervisor};
use crate::target::Target;

/// Runs the application until Ctrl-C or SIGTERM, then drains it.
///
/// # Errors
///
/// The load balancer's port cannot be had.
pub(crate) async fn run(options: Options) -> io::Result<()> {
    // First, so that a signal during the start is not lost.
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    let port = options.port;
    let front = listen(port).map_err(|error| {
        let text = format!("cannot listen on 127.0.0.1:{port}: {error}; --port chooses another");
        io::Error::new(error.kind(), text)
    })?;

    let (notices, told) = channel::unbounded();
    let (stopper, stop) = channel::bounded(1);
    let start = |service: Service, environment: Vec<(&'static str, String)>| {
        Tier::start(service, options.tasks, &environment, &notices, &stop)
    };
    let name = start(Service::Name, vec![]);
    let greeting = start(Service::Greeting, vec![]);
    let name_proxy = Running::start("name-service", &name, listen(0)?)?;
    let greeting_proxy = Running::start("greeting-service", &greeting, listen(0)?)?;
    let urls = vec![("NAME_URL", name_proxy.url()), ("GREETING_URL", greeting_proxy.url())];
    let greeter = start(Service::Greeter, urls);
    let load_balancer = Running::start("load balancer", &greeter, front)?;
    let proxies = [load_balancer, greeting_proxy, name_proxy];

    // Returns when the signal comes; the notices go on for ever.
    let show = show(&told, options.tasks * 3, &proxies);
    let signalled = async {
        signals.next().await;
    };
    future::or(show, signalled).await;

    say("stopping: every task finishes what it has");
    let [load_balancer, ..] = &proxies;
    load_balancer.proxy.close();
    drop(stopper);
    let tasks: Vec<_> = [greeter, greeting, name].into_iter().flat_map(|t| t.running).collect();
    drop(notices);
    let drained = async {
        for task in tasks {
            task.await;
        }
    };
    let show_rest = async {
        while let Ok(notice) = told.recv().await {
            show_one(&notice);
        }
    };
    let again = async {
        signals.next().await;
        say("stopping at once");
    };
    future::or(
        async {
            future::zip(drained, show_rest).await;
        },
        again,
    )
    .await;
    for proxy in &proxies {
        proxy.say_counts();
    }
    Ok(())
}

/// The tasks of one service.
struct Tier {
    targets: Vec<Arc<Target>>,
    running: Vec<Task<()>>,
}

impl Tier {
    fn start(
        service: Service,
        tasks: usize,
        environment: &[(&'static str, String)],
        notices: &Sender<Notice>,
        stop: &Receiver<()>,
    ) -> Self {
        let targets: Vec<_> = (1..=tasks)
            .map(|number| Arc::new(Target::new(format!("{}-{number}", service.name()))))
            .collect();
        let running = targets.iter().map(|target| {
            let supervisor = Supervisor {
                service,
                target: target.clone(),
                environment: [environment, &[("PORT", "0".to_owned())]].concat(),
                notices: notices.clone(),
                stop: stop.clone(),
            };
            smol::spawn(supervisor.run())
        });
        Self { running: running.collect(), targets }
    }
}

/// A proxy that accepts connections, until it is dropped.
struct Running {
    proxy: Arc<Proxy>,
    port: u16,
    _accepting: Task<()>,
}

impl Running {
    fn start(name: &'static str, tier: &Tier, listener: Async<TcpListener>) -> io::Result<Self> {
        let port = listener.get_ref().local_addr()?.port();
        let proxy = Proxy::new(name, tier.targets.clone());
        let accepting = smol::spawn(proxy.clone().serve(listener));
        Ok(Self { proxy, port, _accepting: accepting })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn say_counts(&self) {
        let counts: Vec<_> = self
            .proxy
            .targets
            .iter()
            .map(|target| format!("{} {}", target.name, target.answered.load(Relaxed)))
            .collect();
        say(&format!("{} answered: {}", self.proxy.name, counts.join(", ")));
    }
}

/// Shows what the tasks do; once all are up, what runs where.
async fn show(told: &Receiver<Notice>, tasks: usize, proxies: &[Running]) {
    let mut up = BTreeMap::new();
    while let Ok(notice) = told.recv().await {
        show_one(&notice);
        if let Notice::Up { task, address, pid } = notice {
            let was_complete = up.len() == tasks;
            up.insert(task.clone(), format!("{address}, process {pid}"));
            if was_complete {
                say(&format!("{task} is up again: {address}, process {pid}"));
            } else if up.len() == tasks {
                show_all(proxies, &up);
            }
        }
    }
}

fn show_all(proxies: &[Running], up: &BTreeMap<String, String>) {
    let mut lines = vec!["up and running".to_owned(), String::new()];
    for running in proxies {
        lines.push(format!("  {:<18} {}", running.proxy.name, running.url()));
        for target in &running.proxy.targets {
            let place = up.get(&target.name).map_or("", String::as_str);
            lines.push(format!("    {:<16} {place}", target.name));
        }
    }
    let url = proxies[0].url();
    lines.push(format!("\n  try: for i in $(seq 10); do curl -w '\\n' {url}; done"));
    lines.push("  Ctrl-C ends everything\n".to_owned());
    say(&lines.join("\n"));
}

fn show_one(notice: &Notice) {
    match notice {
        Notice::Up { .. } => {}
        Notice::Died { task, how, delay } => {
            say(&format!("{task} ended ({how}); it is started again in {delay:?}"));
        }
        Notice::Line { task, line } => print(task, line),
    }
}

fn say(text: &str) {
    print("mesh", text);
}

/// One line, with who says it in front; on a terminal the tasks' own lines are dim.
fn print(who: &str, text: &str) {
    let dim = who != "mesh" && io::stdout().is_terminal();
    let (on, off) = if dim { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
    // Nobody may be there to read it any more: the mesh runs on.
    let _ = writeln!(io::stdout(), "{on}{who:<11} | {text}{off}");
}
