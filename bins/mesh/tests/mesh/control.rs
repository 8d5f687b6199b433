//! What another terminal asks of a mesh: to say how it is, to scale, to break, to release.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use application::{LEAVES, SERVICES, Service};
use harness::{Client, PATIENCE, Process, eventually, get, run};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::running::{Each, Folder, Load, Mesh, command, each, first, makers, with_both_engines};

with_both_engines! {
    scaling_under_load_costs_no_greeting,
    a_rolling_release_under_load_costs_no_greeting,
    a_blue_green_release_under_load_costs_no_greeting,
    a_blue_green_release_is_rolled_back,
    a_task_is_paused_resumed_and_killed,
    a_task_is_given_a_fault_and_loses_it,
    a_task_that_always_fails_is_taken_out,
    a_new_process_is_new_to_the_proxies,
}

/// The makers of some greetings.
fn seen(mesh: &Mesh, headers: &str) -> Each<BTreeSet<String>> {
    let mut seen = first(0);
    let mut client = Client::connect(mesh.front);
    for _ in 0..24 {
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
        let answer = client.answer();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        for (seen, maker) in seen.values_mut().zip(makers(body).into_values()) {
            seen.insert(maker);
        }
    }
    seen
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(String::from).into()
}

/// The load balancer's Envoy takes a new task in after a health check: until then, it waits.
fn eventually_seen(mesh: &Mesh, expected: &Each<BTreeSet<String>>) {
    eventually(&format!("{expected:?} are not seen"), || seen(mesh, "") == *expected);
}

fn scaling_under_load_costs_no_greeting(engine: &[&str]) {
    let mesh = Mesh::start(engine);
    let (load, start) = (Load::start(mesh.front), Instant::now());
    load.goes_on_for(100);
    assert_eq!(mesh.ask(&["scale", "name", "4"]), "name: name-1, name-2, name-3, name-4\n");
    assert_eq!(mesh.ask(&["scale", "greeter", "3"]), "greeter: greeter-1, greeter-2, greeter-3\n");
    load.goes_on_for(100);
    let mut scaled = first(2);
    scaled.insert("name", set(["name-1", "name-2", "name-3", "name-4"]));
    scaled.insert("greeter", set(["greeter-1", "greeter-2", "greeter-3"]));
    eventually_seen(&mesh, &scaled);
    for Service { name, .. } in SERVICES {
        assert_eq!(mesh.ask(&["scale", name, "1"]), format!("{name}: {name}-1\n"));
        load.goes_on_for(100);
    }
    load.was_flawless(start);
    assert_eq!(seen(&mesh, ""), first(1));
    assert_eq!(
        mesh.status().into_keys().collect::<BTreeSet<_>>(),
        first(1).into_values().flatten().collect()
    );
    assert_eq!(mesh.ask(&["scale", "name", "2"]), "name: name-1, name-2\n");
    let mut once_more = first(1);
    once_more.insert("name", set(["name-1", "name-2"]));
    eventually_seen(&mesh, &once_more);

    let answered = mesh.answered();
    let all = scaled.into_values().flatten().collect::<BTreeSet<_>>();
    let told = answered.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(told, all, "those that have gone, too: {answered:?}");
    assert!(answered.values().all(|&count| count > 0), "{answered:?}");
}

fn a_rolling_release_under_load_costs_no_greeting(engine: &[&str]) {
    let mesh = Mesh::start(engine);
    let (load, start) = (Load::start(mesh.front), Instant::now());
    for Service { name, .. } in SERVICES {
        load.goes_on_for(100);
        let said = format!("{name} replaced: {name}-1, {name}-2\n");
        assert_eq!(mesh.ask(&["release", name, "green"]), said);
    }
    load.goes_on_for(100);
    load.was_flawless(start);
    let green = each(|service| [1, 2].map(|number| service.task(number) + " green").into());
    assert_eq!(seen(&mesh, ""), green);
    for (name, task) in mesh.status() {
        assert_eq!(task["version"], "green", "{name}");
        assert_ne!(task["pid"], mesh.tasks[&name].as_raw(), "{name}");
    }
}

const TEST: &str = "X-Amzn-Ecs-Blue-Green-Test: 1\r\n";

fn a_blue_green_release_under_load_costs_no_greeting(engine: &[&str]) {
    let mesh = Mesh::start(engine);
    let (load, start) = (Load::start(mesh.front), Instant::now());
    load.goes_on_for(100);
    let said = mesh.ask(&["release", "name", "green", "--blue-green"]);
    assert!(said.starts_with("name has test traffic at name-3, name-4: "), "{said}");
    load.goes_on_for(100);
    let [blue, green] = [set(["name-1", "name-2"]), set(["name-3 green", "name-4 green"])];
    assert_eq!(seen(&mesh, "")["name"], blue, "without the header");
    assert_eq!(seen(&mesh, TEST)["name"], green, "with it");
    assert_eq!(seen(&mesh, TEST)["greeting"], set(["greeting-1", "greeting-2"]), "another service");
    assert_eq!(mesh.status()["name-3"]["traffic"], "test");

    assert_eq!(mesh.ask(&["promote", "name"]), "name: name-3, name-4\n");
    load.goes_on_for(100);
    load.was_flawless(start);
    assert_eq!(seen(&mesh, "")["name"], green);
    assert_eq!(seen(&mesh, TEST)["name"], green);
}

/// Of greeter too, behind the load balancer.
fn a_blue_green_release_is_rolled_back(engine: &[&str]) {
    let mesh = Mesh::start(&[engine, &["--tasks", "1"]].concat());
    for service in ["greeter", "greeting"] {
        mesh.ask(&["release", service, "green", "--blue-green"]);
        let [blue, green] = [format!("{service}-1"), format!("{service}-2 green")];
        eventually("green is not there", || seen(&mesh, TEST)[service] == set([&green]));
        assert_eq!(seen(&mesh, "")[service], set([&blue]));
        assert_eq!(mesh.ask(&["rollback", service]), format!("{service}: {service}-1\n"));
        assert_eq!(seen(&mesh, TEST)[service], set([&blue]));
    }
}

fn a_task_is_paused_resumed_and_killed(engine: &[&str]) {
    let mut mesh = Mesh::start(engine);
    let pid = mesh.tasks["name-1"].as_raw();
    assert_eq!(mesh.ask(&["pause", "name-1"]), format!("SIGSTOP to name-1, process {pid}\n"));
    assert_eq!(mesh.status()["name-1"]["paused"], true);
    let status = mesh.ask(&["status"]);
    assert!(status.lines().any(|l| l.contains("name-1 ") && l.contains(", paused")), "{status}");
    assert_eq!(mesh.ask(&["resume", "name-1"]), format!("SIGCONT to name-1, process {pid}\n"));
    assert_eq!(mesh.status()["name-1"]["paused"], false);
    assert_eq!(mesh.ask(&["kill", "name-1"]), format!("SIGKILL to name-1, process {pid}\n"));
    mesh.is_up_again("name-1");
    assert_eq!(mesh.status()["name-1"]["pid"], mesh.tasks["name-1"].as_raw());
    assert_eq!(get(mesh.front, "/").0, 200);
}

/// It is replaced under load, by a task with the variable and by one without.
fn a_task_is_given_a_fault_and_loses_it(engine: &[&str]) {
    let mesh = Mesh::start(engine);
    let (load, start) = (Load::start(mesh.front), Instant::now());
    let mut pids = BTreeSet::from([mesh.tasks["name-1"].as_raw().into()]);
    for (fault, expected) in [("10%10ms", json!("10%10ms")), ("none", json!(null))] {
        load.goes_on_for(100);
        assert_eq!(mesh.ask(&["fault", "name-1", fault]), "name-1 is replaced\n");
        let task = &mesh.status()["name-1"];
        assert_eq!(task["fault"], expected);
        assert!(pids.insert(task["pid"].as_i64().unwrap()), "the same process");
    }
    load.goes_on_for(100);
    load.was_flawless(start);
}

/// What proxies hold against a task ends with its process: when it is repaired, when it is started
/// again, when another task gets its name.
fn a_new_process_is_new_to_the_proxies(engine: &[&str]) {
    let mut mesh = Mesh::start(engine);
    let is_out = |mesh: &Mesh, task: &str| mesh.status()[task]["ejected_by"] != json!([]);
    for _ in 0..2 {
        mesh.ask(&["fault", "greeting-1", "100%503"]);
        eventually("it is not taken out", || {
            seen(&mesh, "");
            is_out(&mesh, "greeting-1")
        });
        mesh.ask(&["fault", "greeting-1", "none"]);
        eventually_seen(&mesh, &first(2));
        assert!(!is_out(&mesh, "greeting-1"));
    }
    mesh.ask(&["fault", "name-1", "100%503"]);
    eventually("it is not taken out", || {
        seen(&mesh, "");
        is_out(&mesh, "name-1")
    });
    mesh.tasks = mesh.pids();
    // What was told of it before.
    let _ = mesh.process.lines();
    mesh.kill("name-1", Signal::SIGKILL);
    mesh.is_up_again("name-1");
    assert!(!is_out(&mesh, "name-1"), "before it fails again");
    mesh.ask(&["scale", "name", "1"]);
    mesh.ask(&["release", "name", "none"]);
    mesh.ask(&["fault", "name-1", "none"]);
    mesh.ask(&["scale", "name", "2"]);
    eventually_seen(&mesh, &first(2));
}

/// A 503 is tried again on another task: no greeting is lost. After five, nobody asks there.
fn a_task_that_always_fails_is_taken_out(engine: &[&str]) {
    let mesh = Mesh::start(engine);
    let (load, start) = (Load::start(mesh.front), Instant::now());
    assert_eq!(mesh.ask(&["fault", "name-1", "100%503"]), "name-1 is replaced\n");
    let is_out = |task: &str| mesh.status()[task]["ejected_by"] != json!([]);
    eventually("name-1 is not taken out", || is_out("name-1"));
    assert!(!is_out("name-2"));
    load.goes_on_for(100);
    load.was_flawless(start);
}

#[test]
fn every_mistake_is_one_line_that_says_what_is_right() {
    let mesh = Mesh::start(&["--tasks", "1"]);
    let names =
        |services: &[Service]| services.iter().map(|s| s.name).collect::<Vec<_>>().join(", ");
    let no_cook = format!("there is no service cook: give one of {}", names(SERVICES));
    let no_faults =
        format!("greeter-1 cannot inject faults: give a task of one of {}", names(LEAVES));
    for (ask, error) in [
        ("scale cook 2", no_cook.as_str()),
        ("scale name 0", "0 tasks are not possible: give 1 to 32"),
        ("scale name 33", "33 tasks are not possible: give 1 to 32"),
        ("kill name", "name is not a task: give a service and a number, as in name-1"),
        ("kill name-01", "name-01 is not a task: give a service and a number, as in name-1"),
        ("pause name-2", "there is no name-2: give one of name-1"),
        ("fault greeter-1 10%503", &no_faults),
        ("fault name-7 none", "there is no name-7: give one of name-1"),
        (
            "promote name",
            "name has no blue-green release: cargo mesh release name VERSION --blue-green",
        ),
    ] {
        let refused = mesh.try_to_ask(&ask.split(' ').collect::<Vec<_>>());
        assert_eq!(refused.stderr, format!("mesh: {error}\n"));
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{ask}");
    }
    // What a service would refuse itself: no task is started, and none is replaced.
    for (ask, error) in [
        (["release", "name", "two words"], r#"VERSION="two words" is not a version: "#),
        (["release", "name", ""], r#"VERSION="" is not a version: "#),
        (["fault", "name-1", "20%"], r#"FAULT="20%" is no fault: set it to 20%503, "#),
        (["fault", "name-1", ""], r#"FAULT="" is no fault: set it to 20%503, "#),
    ] {
        let refused = mesh.try_to_ask(&ask).stderr;
        assert!(refused.starts_with(&format!("mesh: {error}")), "{refused}");
        assert_eq!(refused.lines().count(), 1);
        assert!(refused.ends_with(", or give none\n"), "{refused}");
    }
    assert_eq!(mesh.status()["name-1"]["pid"], mesh.tasks["name-1"].as_raw());
    let told = mesh.process.lines();
    assert!(!told.iter().any(|line| line.contains(r#""event":"ended""#)), "{told:?}");

    mesh.ask(&["release", "name", "green", "--blue-green"]);
    for ask in ["scale name 2", "release name red", "release name red --blue-green"] {
        let refused = mesh.try_to_ask(&ask.split(' ').collect::<Vec<_>>()).stderr;
        let error =
            "name has a blue-green release: cargo mesh promote name, or cargo mesh rollback name";
        assert_eq!(refused, format!("mesh: {error}\n"));
    }
}

/// A folder for control sockets.
struct Runtime(Folder);

impl Runtime {
    fn new(name: &str) -> Self {
        Self(Folder::new(name))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command();
        command.env("XDG_RUNTIME_DIR", &self.0.0).args(arguments);
        command
    }

    fn refused(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments)).stderr
    }

    /// A mesh, and its port.
    fn mesh(&self) -> (Process, String) {
        let arguments = ["--json", "--port", "0", "--tasks", "1"];
        let process = Process::start(&mut self.command(&arguments));
        let up = process.line(|line| line.starts_with(r#"{"event":"up""#));
        let up: Value = serde_json::from_str(&up).unwrap();
        let port = up["address"].as_str().unwrap().rsplit(':').next().unwrap();
        (process, port.to_owned())
    }
}

#[test]
fn each_mesh_has_its_own_control_which_only_its_owner_reaches() {
    let runtime = Runtime::new("control");
    let none = "mesh: no mesh runs: start one in another terminal with cargo mesh\n";
    assert_eq!(runtime.refused(&["status"]), none);

    let (mut first, port) = runtime.mesh();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let socket = runtime.0.0.join("mesh").join(format!("{port}.sock"));
    assert_eq!((mode(socket.parent().unwrap()), mode(&socket)), (0o700, 0o600));
    assert_eq!(runtime.refused(&["status"]), "", "the only one needs no port");
    let refused = runtime.refused(&["status", "--port", "1"]);
    assert_eq!(refused, format!("mesh: no mesh runs on port 1: give --port one of {port}\n"));

    let (mut second, other) = runtime.mesh();
    let mut both = [port.parse::<u16>().unwrap(), other.parse().unwrap()];
    both.sort_unstable();
    let several =
        format!("mesh: several meshes run: give --port one of {}, {}\n", both[0], both[1]);
    assert_eq!(runtime.refused(&["status"]), several);
    assert_eq!(runtime.refused(&["scale", "name", "2", "--port", &other]), "");

    // One that was killed is forgotten; one that ends takes its socket with it.
    second.signal(Signal::SIGKILL);
    second.wait();
    assert_eq!(runtime.refused(&["status"]), "");
    first.signal(Signal::SIGTERM);
    first.wait();
    assert_eq!(runtime.refused(&["status"]), none);
    assert_eq!(fs::read_dir(socket.parent().unwrap()).unwrap().count(), 0);

    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = runtime.refused(&["--port", "0"]);
    assert!(refused.contains("is not a folder of this user's alone: "), "{refused}");
}

/// The worst that can come over the socket: the mesh goes on, and answers whoever asks.
#[test]
fn clients_that_mean_its_control_no_good_do_no_harm() {
    let runtime = Runtime::new("no-good");
    let (mesh, port) = runtime.mesh();
    let socket = runtime.0.0.join("mesh").join(format!("{port}.sock"));
    let connect = || {
        let stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    for (sent, answer) in [
        (&b"\n"[..], r#"{"Err":"not understood: "#),
        (b"GET / HTTP/1.1\r\n\r\n", r#"{"Err":"not understood: "#),
        (b"\xff\xfe\n", r#"{"Err":"not understood: "#),
        (br#"{"ask":"format"}"#, r#"{"Err":"not understood: unknown variant `format`"#),
        (br#"{"ask":"scale","service":"name","tasks":-1}"#, r#"{"Err":"not understood: "#),
        (br#"{"ask":"scale","service":"name","tasks":0}"#, r#"{"Err":"0 tasks are not"#),
        (b"[[[[[[[[", r#"{"Err":"not understood: "#),
    ] {
        let (mut stream, mut got) = (connect(), String::new());
        stream.write_all(sent).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.read_to_string(&mut got).unwrap();
        assert!(got.trim_start().starts_with(answer), "{sent:?}: {got}");
    }
    // Megabytes without an end of line: it reads no more than a line may have.
    let mut endless = connect();
    let sent = std::iter::repeat_with(|| endless.write_all(&[b'x'; 4096])).take(16_000);
    assert!(sent.into_iter().any(|result| result.is_err()), "it takes 64 MB");
    // More than it serves at a time, who say nothing: given up in time.
    let mut silent: Vec<_> = (0..64).map(|_| connect()).collect();
    for stream in &mut silent {
        let mut got = String::new();
        let _ = stream.read_to_string(&mut got);
        let late = json!({"Err": "not understood: timed out"}).to_string() + "\n";
        assert!(got.is_empty() || got == late, "{got}");
    }
    assert_eq!(runtime.refused(&["status"]), "");
    assert!(mesh.memory() < 100_000, "{} KiB", mesh.memory());
}
