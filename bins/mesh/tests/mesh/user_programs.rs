//! Programs of the user's in the place of services: `--run`.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Instant;

use application::{LEAVES, SERVICES};
use harness::{eventually, get, run};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::running::{Folder, Load, Mesh, command, makers, with_both_engines};

with_both_engines! {
    what_is_done_to_a_command_costs_no_greeting,
    a_changed_file_costs_no_greeting,
    the_proxies_count_who_answered,
}

/// Ours, which a mesh takes for any other: it listens on `PORT`.
pub(crate) const NAME: &str = concat!("name=", env!("CARGO_BIN_EXE_mesh"), " task name 127.0.0.1");
pub(crate) const GREETER: &str =
    concat!("greeter=", env!("CARGO_BIN_EXE_mesh"), " task greeter 127.0.0.1");

fn what_is_done_to_a_command_costs_no_greeting(engine: &[&str]) {
    let mut mesh = Mesh::start(&[engine, &["--run", NAME, "--run", GREETER]].concat());
    let (load, start) = (Load::start(mesh.front), Instant::now());
    let variables = |task: &str| {
        let environment =
            fs::read_to_string(format!("/proc/{}/environ", mesh.tasks[task])).unwrap();
        let names = environment.split_terminator('\0').map(|v| v.split('=').next().unwrap());
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let of_name = ["HOME", "HOSTNAME", "PATH", "PORT"];
    assert_eq!(variables("name-1"), of_name.map(String::from).into());
    let of_greeter = of_name.into_iter().chain(LEAVES.iter().map(|leaf| leaf.variable));
    assert_eq!(variables("greeter-1"), of_greeter.map(String::from).collect());

    load.goes_on_for(100);
    assert_eq!(mesh.ask(&["scale", "name", "3"]), "name: name-1, name-2, name-3\n");
    load.goes_on_for(100);
    assert_eq!(mesh.ask(&["scale", "name", "2"]), "name: name-1, name-2\n");
    mesh.ask(&["kill", "name-1"]);
    mesh.is_up_again("name-1");
    load.goes_on_for(100);
    assert_eq!(mesh.ask(&["fault", "name-2", "10%10ms"]), "name-2 is replaced\n");
    let said = "greeter replaced: greeter-1, greeter-2\n";
    assert_eq!(mesh.ask(&["release", "greeter", "green"]), said);
    mesh.ask(&["release", "name", "green", "--blue-green"]);
    load.goes_on_for(100);
    assert_eq!(mesh.ask(&["promote", "name"]), "name: name-3, name-4\n");
    load.goes_on_for(100);
    load.was_flawless(start);

    let last = makers(&get(mesh.front, "/").1);
    assert!(last["greeter"].ends_with(" green") && last["name"].ends_with(" green"), "{last:?}");
    mesh.ask(&["pause", "name-3"]);
    let status = mesh.status();
    assert_eq!(status["name-3"]["paused"], true);
    assert!(status["name-3"]["answered"].as_u64() > Some(0), "{status:?}");
    mesh.ask(&["resume", "name-3"]);
    // What another program makes of it is its own affair.
    mesh.ask(&["fault", "greeter-1", "of its own"]);
    let shown = mesh.ask(&["status"]);
    let command = NAME.strip_prefix("name=").unwrap();
    assert!(shown.lines().any(|line| line.trim() == command), "{shown}");
    assert!(shown.contains(", version green, fault of its own"), "{shown}");
}

fn a_changed_file_costs_no_greeting(engine: &[&str]) {
    let folder = Folder::new(&format!("watched-{}", engine.len()));
    let (watched, below) = (folder.0.to_str().unwrap(), folder.0.join("below"));
    fs::create_dir(&below).unwrap();
    let arguments = [engine, &["--run", NAME, "--watch", watched]].concat();
    let mesh = Mesh::start(&arguments);
    let (load, start) = (Load::start(mesh.front), Instant::now());
    load.goes_on_for(100);
    for change in ["name.py", "below/name.py"] {
        let before = mesh.pids();
        fs::write(folder.0.join(change), "a change").unwrap();
        mesh.event(|event| event["what"] == "name replaced: name-1, name-2");
        let is_new = |task: &String| before[task] != mesh.pids()[task];
        assert_eq!(before.keys().filter(|t| is_new(t)).collect::<Vec<_>>(), ["name-1", "name-2"]);
        let _ = mesh.process.lines();
    }
    load.goes_on_for(100);
    load.was_flawless(start);
}

/// Each task says that it is the same one, as `os.hostname()` does.
fn the_proxies_count_who_answered(engine: &[&str]) {
    let same = NAME.replace("name=", "name=env HOSTNAME=same ");
    let mesh = Mesh::start(&[engine, &["--run", &same]].concat());
    assert!(get(mesh.front, "/").1.contains("(same)"));
    let said = mesh.ask(&["load", "--connections", "2", "--seconds", "1"]);
    let counts = |service: &str| {
        let start = format!("answered: {service}-1 ");
        let line = said.lines().find_map(|line| line.strip_prefix(&start)).expect(&said);
        let (one, two) = line.split_once(&format!(", {service}-2 ")).expect(&said);
        [one, two].map(|count| count.parse::<u64>().unwrap())
    };
    let greetings: u64 = said.split(' ').next().unwrap().parse().unwrap();
    for service in SERVICES {
        let [one, two] = counts(service.name);
        // Those that were on their way at the end have been answered too.
        assert!((greetings..=greetings + 2).contains(&(one + two)), "{said}");
        assert!(one > 0 && two > 0, "{said}");
    }
    assert!(!said.contains("same"), "{said}");
    let answered = said.lines().filter(|line| line.starts_with("answered: "));
    assert_eq!(answered.count(), SERVICES.len(), "{said}");
}

#[test]
fn a_command_that_does_not_serve_is_said_in_one_line() {
    for (run_as, error) in [
        (
            "name=sh -c 'echo broken; exit 3'",
            "it ended (exit status: 3) before it listened; its output may say why",
        ),
        (
            "name=sleep 1000",
            "it does not listen within 30s: let it listen on 127.0.0.1, on the port in PORT",
        ),
    ] {
        let arguments = ["--port", "0", "--tasks", "1", "--run", run_as];
        let refused = run(command().args(arguments));
        assert_eq!(refused.stderr, format!("mesh: name-1 cannot start: {error}\n"));
        assert_eq!(refused.code, Some(1));
        assert_eq!(refused.stdout.contains("name-1      | broken\n"), run_as.contains("broken"));
    }
}

/// A shell whose service is a process of its own, in the background.
#[test]
fn a_command_gets_its_signal_and_what_it_leaves_behind_ends_with_it() {
    let service = NAME.strip_prefix("name=").unwrap();
    let shell = format!("name=sh -c 'trap \"echo quit\" QUIT; exec 3<&0; {service} <&3 & wait'");
    let mesh = Mesh::start(&["--run", &shell, "--stop-signal", "name=QUIT"]);
    let of_task = mesh.tasks["name-2"].as_raw();
    let children = format!("/proc/{of_task}/task/{of_task}/children");
    let child = fs::read_to_string(children).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(child), None).expect("it runs");
    mesh.ask(&["scale", "name", "1"]);
    mesh.event(|event| event["process"] == "name-2" && event["line"] == "quit");
    eventually("it is left behind", || kill(Pid::from_raw(child), None) == Err(Errno::ESRCH));
    assert_eq!(makers(&get(mesh.front, "/").1)["name"], "name-1");
}

#[test]
fn a_port_that_another_has_taken_meanwhile_is_left_to_it() {
    let folder = Folder::new("taken");
    let (port, service) = (folder.0.join("port"), NAME.strip_prefix("name=").unwrap());
    let program = format!(
        "name=sh -c 'if mkdir first; then echo $PORT > new; mv new port; \
         while [ -e port ]; do sleep 0.01; done; exit 1; fi; exec {service}'"
    );
    let other = thread::spawn(move || {
        eventually("it is not started", || port.exists());
        let taken: u16 = fs::read_to_string(&port).unwrap().trim().parse().unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from((Ipv4Addr::UNSPECIFIED, taken)).into()).unwrap();
        fs::remove_file(&port).unwrap();
        (socket, taken)
    });
    let mut start = command();
    start.current_dir(&folder.0).args(["--port", "0", "--tasks", "1", "--run", &program]);
    let mesh = Mesh::start_by(&mut start);
    let (_socket, taken) = other.join().unwrap();
    let address = &mesh.status()["name-1"]["address"];
    assert_ne!(address, &json!(format!("127.0.0.1:{taken}")));
    let told = mesh.process.lines();
    assert!(!told.iter().any(|line| line.contains(r#""event":"ended""#)), "{told:?}");
}

/// Programs that nobody here wrote, or in the way of the tutorial: `just user-programs`.
#[test]
#[ignore = "needs python3, node, nginx and Envoy: just user-programs"]
fn programs_of_others_lose_no_greeting() {
    let folder = Folder::new("of-others");
    let path = |file: &str| folder.0.join(file).to_str().unwrap().to_owned();
    let write = |file: &str, text: &str| fs::write(path(file), text).unwrap();
    write("index.html", "Ciao (python)");
    write("python.sh", r#"exec python3 -m http.server --directory "${0%/*}" "$PORT" 2>/dev/null"#);
    write("greeter.js", include_str!("user_programs/greeter.js"));
    write("nginx.sh", include_str!("user_programs/nginx.sh"));
    let [python, nginx] = ["python.sh", "nginx.sh"].map(|file| format!("sh {}", path(file)));
    let name = concat!("node ", env!("CARGO_MANIFEST_DIR"), "/../../examples/name.js");
    for engine in [&[][..], &["--proxy", "envoy"]] {
        for (name, greeting) in [(name, &python), (&nginx, &python)] {
            let signal = if name == nginx { "QUIT" } else { "TERM" };
            let runs = [
                format!("name={name}"),
                format!("greeting={greeting}"),
                format!("greeter=node {}", path("greeter.js")),
            ];
            let signal = format!("name={signal}");
            let mut arguments = vec!["--stop-signal", &signal];
            arguments.extend(runs.iter().flat_map(|run| ["--run", run.as_str()]));
            others_lose_no_greeting(&[engine, &arguments].concat());
        }
    }
}

fn others_lose_no_greeting(arguments: &[&str]) {
    let mesh = Mesh::start(arguments);
    let port = mesh.front.port().to_string();
    let load = |seconds: &str| {
        let options = ["--connections", "2", "--seconds", seconds];
        run(command().args(["load", "--port", &port]).args(options)).stdout
    };
    thread::scope(|scope| {
        let loading = scope.spawn(|| load("10"));
        assert_eq!(mesh.ask(&["scale", "name", "3"]), "name: name-1, name-2, name-3\n");
        mesh.ask(&["kill", "greeting-1"]);
        mesh.ask(&["fault", "name-1", "anything"]);
        mesh.ask(&["release", "name", "green", "--blue-green"]);
        mesh.ask(&["promote", "name"]);
        let said = loading.join().unwrap();
        println!("{arguments:?}: {said}");
        assert!(said.contains("\nerrors: none\n"), "{said}");
    });
    let said = load("2");
    for service in
        ["greeter-1", "greeter-2", "greeting-1", "greeting-2", "name-4", "name-5", "name-6"]
    {
        assert!(said.contains(&format!(" {service} ")), "{said}");
    }
    // Ended with its programs, which a mesh that is killed may leave behind.
    let answered = mesh.answered();
    assert!(answered["name-1"] > 0 && answered["name-4"] > 0, "{answered:?}");
}
