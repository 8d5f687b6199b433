//! The life of a mesh: what it starts from, what it inherits, and how it ends, on a machine where
//! others do what they like with its files, its terminal and its folders.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use application::LEAVES;
use harness::{Client, Finished, Process, after, eventually, fill, get, run, with_files};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::running::{BUSY, Folder, Mesh, command, command_of, each, makers, with_both_engines};

with_both_engines! {
    a_mesh_whose_program_is_gone_goes_on,
    the_end_of_the_terminal_drains_and_ends_everything,
    what_a_killed_mesh_has_left_is_removed_by_the_next,
    a_hung_task_is_named_when_it_is_waited_for,
    a_release_is_given_up_when_the_mesh_ends,
    a_mesh_that_nobody_reads_any_more_goes_on,
    a_mesh_that_nobody_reads_for_a_while_goes_on,
}

impl Folder {
    /// The mesh, which has its sockets and files here.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command();
        command.env("XDG_RUNTIME_DIR", &self.0).env("TMPDIR", &self.0).args(arguments);
        command
    }

    /// What it holds of a mesh.
    fn entries(&self) -> BTreeSet<String> {
        let names = |folder: &Path| -> Vec<_> {
            let entries = fs::read_dir(folder).into_iter().flatten();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        [names(&self.0), names(&self.0.join("mesh"))].concat().into_iter().collect()
    }
}

/// As when cargo builds it again, and when its folder is removed.
fn a_mesh_whose_program_is_gone_goes_on(engine: &[&str]) {
    let folder = Folder::new(&format!("gone-{}", engine.len()));
    let program = folder.0.join("mesh");
    fs::copy(env!("CARGO_BIN_EXE_mesh"), &program).unwrap();
    let mut of_copy = command_of(&program);
    let mut mesh = Mesh::start_by(of_copy.args(["--port", "0", "--tasks", "1"]).args(engine));
    fs::remove_file(&program).unwrap();
    fs::write(&program, "another").unwrap();
    mesh.kill("name-1", Signal::SIGKILL);
    mesh.is_up_again("name-1");
    assert_eq!(mesh.ask(&["scale", "greeting", "2"]), "greeting: greeting-1, greeting-2\n");
    drop(folder);
    assert_eq!(mesh.ask(&["fault", "greeting-1", "none"]), "greeting-1 is replaced\n");
    assert_eq!(mesh.ask(&["release", "name", "v2"]), "name replaced: name-1\n");
    assert_eq!(makers(&get(mesh.front, "/").1)["name"], "name-1 v2");
}

/// The mesh alone says what its tasks are, as ECS does.
#[test]
fn tasks_inherit_nothing_of_the_shell() {
    let mut command = command();
    let wrong = ["VERSION", "FAULT", "PORT", "HOSTNAME", "MAX_CONNECTIONS", "NAME_URL", "OTHER"];
    command.envs(wrong.map(|name| (name, "not for a task")));
    let mesh = Mesh::start_by(command.args(["--port", "0", "--tasks", "1"]));
    assert_eq!(makers(&get(mesh.front, "/").1), each(|service| service.task(1)));
    let variables = |task: &str| {
        let environment = fs::read(format!("/proc/{}/environ", mesh.tasks[task])).unwrap();
        let environment = String::from_utf8(environment).unwrap();
        let names = environment.split_terminator('\0').map(|v| v.split('=').next().unwrap());
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(variables("name-1"), ["HOSTNAME", "PORT"].map(String::from).into());
    let urls = LEAVES.iter().map(|leaf| leaf.variable.to_owned());
    let of_greeter = variables("name-1").into_iter().chain(urls).collect();
    assert_eq!(variables("greeter-1"), of_greeter);
}

/// An ordinary shell allows 1,024 files, which are for programs that use select(2).
#[test]
fn the_soft_limit_of_files_is_raised() {
    const FEW: &str = "ulimit -Sn 64";
    let mut limited = after(FEW, command().args(["--port", "0", "--tasks", "1"]));
    let mesh = Mesh::start_by(&mut limited);
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(mesh.front)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for client in &mut clients {
        let answer = client.answer();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let url = format!("http://{}", mesh.front);
    let load = ["load", "--connections", "100", "--seconds", "1", &url];
    let said = run(&mut after(FEW, command().args(load)));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stdout.contains("errors: none"), "{}", said.stdout);
}

/// Where the hard limit is as low, whoever is too many waits, and the mesh does not spin.
#[test]
fn more_clients_than_files_are_waited_for() {
    const FILES: usize = 100;
    let mut limited = with_files(100, command().args(["--port", "0", "--tasks", "1"]));
    let limited = limited.envs(std::env::vars_os());
    let mesh = Mesh::start_by(limited);
    let clients: Vec<_> = (0..2 * FILES).map(|_| Client::connect(mesh.front)).collect();
    let files = || fs::read_dir(format!("/proc/{}/fd", mesh.process.pid())).unwrap().count();
    eventually("it has files left", || files() >= FILES - 1);
    let before = mesh.process.cpu_time();
    thread::sleep(Duration::from_secs(1));
    let spent = mesh.process.cpu_time().saturating_sub(before);
    assert!(spent < Duration::from_millis(500), "{spent:?} in a second, for nothing");
    drop(clients);
    assert_eq!(get(mesh.front, "/").0, 200);
}

/// Also a request on its way is answered. From a terminal that closes, SIGHUP comes twice.
fn the_end_of_the_terminal_drains_and_ends_everything(engine: &[&str]) {
    let arguments = [engine, &["--port", "0", "--tasks", "1"]].concat();
    // The tests themselves may run under nohup.
    let hears = r#"set -- env --default-signal=HUP "$@""#;
    // The shell inherits nothing, and Envoy has to be found.
    let found = ["PATH", "ENVOY"].map(|name| (name, env::var_os(name).unwrap_or_default()));
    let mut mesh = Mesh::start_by(&mut after(hears, command().envs(found).args(arguments)));
    mesh.ask(&["fault", "name-1", "100%1500ms"]);
    mesh.tasks = mesh.pids();
    let mut client = Client::connect(mesh.front);
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    thread::sleep(Duration::from_millis(300));
    mesh.process.signal(Signal::SIGHUP);
    let _ = mesh.event(|event| event["event"] == "stopping");
    mesh.process.signal(Signal::SIGHUP);
    let answer = client.answer();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (status, _) = mesh.process.wait();
    assert_eq!(status.code(), Some(0));
    assert_eq!(mesh.left(), [""; 0]);
    assert!(mesh.folder().is_none_or(|folder| !folder.exists()), "{:?} is left", mesh.folder());
}

#[test]
fn under_nohup_it_outlives_its_terminal() {
    let mut ignoring = after("trap '' HUP", command().args(["--port", "0", "--tasks", "1"]));
    let mut mesh = Mesh::start_by(&mut ignoring);
    mesh.process.signal(Signal::SIGHUP);
    mesh.kill("name-1", Signal::SIGKILL);
    mesh.is_up_again("name-1");
    assert_eq!(get(mesh.front, "/").0, 200);
}

/// But nothing of one that lives, and nothing of others.
fn what_a_killed_mesh_has_left_is_removed_by_the_next(engine: &[&str]) {
    let folder = Folder::new(&format!("left-{}", engine.len()));
    let start = || {
        let arguments = [&["--port", "0", "--tasks", "1"], engine].concat();
        Mesh::start_by(&mut folder.command(&arguments))
    };
    for other in ["mesh-envoys-file", "mesh-other"] {
        fs::write(folder.0.join(other), "").unwrap();
    }
    fs::create_dir(folder.0.join("mesh-folder")).unwrap();
    let others = folder.entries();
    let mut killed = start();
    let of_killed: BTreeSet<_> = folder.entries().difference(&others).cloned().collect();
    // As of one that was killed while it started.
    let early = folder.0.join("mesh").join("1.new");
    drop(UnixListener::bind(&early).unwrap());
    killed.process.signal(Signal::SIGKILL);
    killed.process.wait();
    // Its Envoys see its end a moment later.
    eventually("a process is left", || killed.left().is_empty());
    assert!(of_killed.is_subset(&folder.entries()), "{of_killed:?}");

    let mut mesh = start();
    let of_mesh: BTreeSet<_> = folder.entries().difference(&others).cloned().collect();
    let of_both: Vec<_> = of_killed.intersection(&of_mesh).collect();
    assert_eq!(of_both, ["mesh"]);
    assert!(!early.exists());
    let mut other = start();
    assert!(of_mesh.is_subset(&folder.entries()), "{of_mesh:?} of one that lives");
    for mesh in [&mut mesh, &mut other] {
        assert_eq!(get(mesh.front, "/").0, 200);
        mesh.process.signal(Signal::SIGTERM);
        mesh.process.wait();
    }
    assert_eq!(&folder.entries() - &["mesh".to_owned()].into(), others);
}

/// What it says to whom.
fn to(output: impl Into<Stdio>, command: &mut Command) -> Finished {
    let child = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the command starts");
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let code = child.wait().unwrap().code();
    Finished { code, stdout: String::new(), stderr }
}

#[test]
fn a_reader_that_is_gone_or_a_full_disk_ends_it_quietly() {
    let mesh = Mesh::start(&["--tasks", "1"]);
    let port = mesh.front.port().to_string();
    let load = ["load", "--seconds", "1", "--connections", "1", "--port", &port];
    let status = ["status", "--port", &port];
    for arguments in
        [&["--help"][..], &["help"], &["--version"], &["task", "--help"], &status, &load]
    {
        let (reader, gone) = std::io::pipe().unwrap();
        drop(reader);
        let said = to(gone, command().args(arguments));
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{arguments:?}");

        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let said = to(full, command().args(arguments));
        let error =
            "mesh: cannot write to standard output: No space left on device (os error 28)\n";
        assert_eq!((said.code, said.stderr.as_str()), (Some(1), error), "{arguments:?}");
    }
    // Nor does it matter whether anybody can be told.
    for arguments in [&["--nope"][..], &["--tasks", "0"], &["kill", "name-9", "--port", &port]] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let code = command().args(arguments).stderr(full).status().unwrap().code();
        assert!(code == Some(1) || code == Some(2), "{arguments:?}: {code:?}");
    }
}

/// As when `| head` has enough: a mesh is there to serve.
fn a_mesh_that_nobody_reads_any_more_goes_on(engine: &[&str]) {
    let (mesh, front, reader, _) = start_in_pipe(engine);
    drop(reader);
    serves_and_ends(mesh, front);
}

/// As when Ctrl-S stops the terminal, or `| less` waits for a key.
fn a_mesh_that_nobody_reads_for_a_while_goes_on(engine: &[&str]) {
    let (mesh, front, _reader, output) = start_in_pipe(engine);
    fill(output);
    serves_and_ends(mesh, front);
}

/// A mesh that is up, the load balancer's address, and both ends of what it writes to.
fn start_in_pipe(engine: &[&str]) -> (Child, SocketAddr, BufReader<PipeReader>, PipeWriter) {
    let (reader, output) = std::io::pipe().unwrap();
    let mut start = command();
    start.args(["--port", "0", "--tasks", "1"]).args(engine).stdin(Stdio::null());
    let mesh = start.stdout(output.try_clone().unwrap()).spawn().unwrap();
    let mut reader = BufReader::new(reader);
    let mut line = |wanted: &str| {
        let mut lines = reader.by_ref().lines().map(Result::unwrap);
        lines.find(|line| line.contains(wanted)).unwrap()
    };
    let front = line("load balancer").split("http://").nth(1).unwrap().parse().unwrap();
    line("Ctrl-C");
    (mesh, front, reader, output)
}

fn serves_and_ends(mut mesh: Child, front: SocketAddr) {
    let port = front.port().to_string();
    let ask = |arguments: &[&str]| run(command().args(arguments).args(["--port", &port]));
    for version in ["v2", "v3"] {
        assert_eq!(ask(&["release", "name", version]).code, Some(0));
        assert_eq!(makers(&get(front, "/").1)["name"], format!("name-1 {version}"));
    }
    kill(Pid::from_raw(mesh.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(mesh.wait().unwrap().code(), Some(0));
}

#[test]
fn a_folder_that_cannot_be_used_is_named_with_its_variable() {
    let folder = Folder::new("folders");
    let long = folder.0.join("d".repeat(90));
    fs::create_dir(&long).unwrap();
    let file = folder.0.join("file");
    File::create(&file).unwrap();
    let missing = folder.0.join("not").join("there");
    let refused = |variables: [(&str, &Path); 2], arguments: &[&str]| {
        let said = run(command().args(arguments).envs(variables));
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{variables:?}");
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
        said.stderr
    };
    for (bad, why) in [
        (long.as_path(), "and 107 is the limit"),
        (&file, "Not a directory"),
        (&missing, "No such file or directory"),
        (Path::new("relative"), "it is not an absolute path"),
        (Path::new("/two\nlines"), "its name is not plain text"),
    ] {
        let named = |said: String, variable: &str| {
            let remedy = format!(": set {variable} to a folder in which you can write\n");
            assert!(said.starts_with("mesh: cannot use "), "{said}");
            assert!(said.contains(bad.to_str().unwrap().lines().next().unwrap()), "{said}");
            assert!(said.contains(why) && said.ends_with(&remedy), "{said}");
        };
        let good = folder.0.as_path();
        for arguments in [&["--port", "0"][..], &["status"]] {
            let runtime = [("XDG_RUNTIME_DIR", bad), ("TMPDIR", good)];
            named(refused(runtime, arguments), "XDG_RUNTIME_DIR");
            let temporary = [("XDG_RUNTIME_DIR", Path::new("")), ("TMPDIR", bad)];
            named(refused(temporary, arguments), "TMPDIR");
        }
    }
}

/// With Envoy, whose files are in `TMPDIR`.
fn a_temporary_folder_that_envoy_cannot_use_is_named(arguments: &[&str]) {
    let folder = Folder::new("temporary");
    for bad in [folder.0.join("not there"), folder.0.join("d".repeat(90)), "relative".into()] {
        let said = run(folder.command(arguments).env("TMPDIR", &bad));
        assert_eq!(said.code, Some(1));
        assert!(said.stderr.contains(bad.to_str().unwrap()), "{}", said.stderr);
        let remedy = ": set TMPDIR to a folder in which you can write\n";
        assert!(said.stderr.ends_with(remedy), "{}", said.stderr);
    }
    // One with a blank, and with what a shell would take for its own.
    let blank = folder.0.join("it's $HOME here");
    fs::create_dir(&blank).unwrap();
    let arguments = [arguments, &["--tasks", "1"]].concat();
    let process = Process::start(folder.command(&arguments).env("TMPDIR", &blank));
    let statistics = process.line(|line| line.contains("statistics: "));
    let ask = statistics.split("statistics: ").nth(1).unwrap();
    let _ = process.line(|line| line.contains("Ctrl-C"));
    let answer = run(Command::new("sh").args(["-c", ask]));
    assert!(answer.stdout.contains("cluster.application."), "{ask}: {}", answer.stderr);
}

mod with_envoy {
    needs_envoy::tests! {
        (&["--port", "0", "--proxy", "envoy"])
        a_temporary_folder_that_envoy_cannot_use_is_named,
    }
}

/// It may be bytes that are no text, in the middle of a character or not.
#[test]
fn a_log_is_read_to_its_end_whatever_is_in_it() {
    let folder = Folder::new("log");
    let envoy = folder.0.join("envoy");
    // Behind the first line is more than a pipe holds: nobody is made to wait.
    let script = "#!/bin/sh\nprintf 'caf\\351\\n' >&2\nhead -c 200000 /dev/zero >&2\n\
                  printf '\\nthis is why\\n' >&2\nexit 3\n";
    fs::write(&envoy, script).unwrap();
    fs::set_permissions(&envoy, Permissions::from_mode(0o755)).unwrap();
    let arguments = ["--port", "0", "--tasks", "1", "--proxy", "envoy"];
    let said = run(folder.command(&arguments).env("ENVOY", &envoy));
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.ends_with("-envoy cannot start: this is why\n"), "{}", said.stderr);
    assert!(said.stdout.contains("-envoy | caf\u{fffd}\n"), "{}", said.stdout);
}

/// Otherwise nobody knows what the silence is for.
fn a_hung_task_is_named_when_it_is_waited_for(engine: &[&str]) {
    let mut mesh = Mesh::start(engine);
    mesh.hang("name-1");
    mesh.process.signal(Signal::SIGINT);
    let awaited = mesh.event(|event| {
        event["event"] == "awaited" && event["processes"].as_array().unwrap().len() == 1
    });
    assert_eq!(awaited["processes"][0]["process"], "name-1");
    assert_eq!(awaited["processes"][0]["pid"], mesh.tasks["name-1"].as_raw());
    mesh.process.signal(Signal::SIGINT);
    mesh.process.wait();
    assert_eq!(mesh.left(), [""; 0]);
}

/// Its client learns it, and no task waits for it.
fn a_release_is_given_up_when_the_mesh_ends(engine: &[&str]) {
    let mut mesh = Mesh::start(engine);
    mesh.hang("name-1");
    let port = mesh.front.port().to_string();
    let client =
        thread::spawn(move || run(command().args(["release", "name", "v2", "--port", &port])));
    // The new one is there, and the old one cannot drain.
    let is_new = |event: &serde_json::Value| {
        event["event"] == "started" && event["process"] == "name-1" && event["again"] == false
    };
    let _ = mesh.event(is_new);
    mesh.process.signal(Signal::SIGINT);
    let _ = mesh.event(|event| {
        event["event"] == "awaited" && event["processes"].as_array().unwrap().len() == 1
    });
    mesh.process.signal(Signal::SIGTERM);
    mesh.process.wait();
    assert_eq!(mesh.left(), [""; 0]);
    let answer = client.join().unwrap();
    assert_eq!(answer.code, Some(1));
    let ended = ["mesh: the mesh ends\n", " has ended, or has too many clients\n"];
    assert!(ended.iter().any(|end| answer.stderr.ends_with(end)), "{}", answer.stderr);
    let lines = mesh.process.lines();
    assert!(
        !lines.iter().any(|line| line.contains(r#""process":"name-2","address""#)),
        "{lines:?}"
    );
}

/// One that Ctrl-Z has suspended takes connections, and answers nothing.
#[test]
fn a_suspended_mesh_is_told_from_a_busy_one() {
    let mesh = Mesh::start(&["--tasks", "1"]);
    let port = mesh.front.port();
    let ask = |arguments: &[&str]| mesh.try_to_ask(arguments);
    mesh.process.signal(Signal::SIGSTOP);
    for arguments in [&["status"][..], &["load"], &["release", "name", "v2"]] {
        let asked = ask(arguments);
        assert_eq!((asked.code, asked.stdout.as_str()), (Some(1), ""), "{arguments:?}");
        let error = format!(
            "mesh: the mesh on port {port} does not answer: if Ctrl-Z has suspended it, \
             fg resumes it\n"
        );
        assert_eq!(asked.stderr, error);
    }
    mesh.process.signal(Signal::SIGCONT);
    assert_eq!(mesh.status()["name-1"]["version"], json!(null), "nobody waits for that any more");

    // A busy one gives signs of life: a task that hangs takes 15 s to be replaced.
    mesh.kill("name-1", Signal::SIGSTOP);
    let asked = ask(&["release", "name", "v3"]);
    assert_eq!((asked.code, asked.stderr.as_str()), (Some(0), BUSY));
    assert_eq!(makers(&get(mesh.front, "/").1)["name"], "name-1 v3");
}

/// More ask it than the kernel keeps for it.
#[test]
fn nobody_waits_for_ever_for_a_suspended_mesh() {
    let folder = Folder::new("suspended");
    let mesh = Mesh::start_by(&mut folder.command(&["--port", "0", "--tasks", "1"]));
    mesh.process.signal(Signal::SIGSTOP);
    let socket = folder.0.join("mesh").join(format!("{}.sock", mesh.front.port()));
    let socket = SockAddr::unix(socket).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        if client.connect(&socket).is_err() {
            break;
        }
        waiting.push(client);
    }
    let asked = run(&mut folder.command(&["status"]));
    assert_eq!(asked.code, Some(1));
    assert!(asked.stderr.contains(" does not answer: "), "{}", asked.stderr);
    drop(waiting);
    mesh.process.signal(Signal::SIGCONT);
    // Until it has seen that they are gone, it turns away whoever is one too many.
    eventually("it does not answer", || run(&mut folder.command(&["status"])).code == Some(0));
}
