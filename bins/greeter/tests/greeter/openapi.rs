//! `docs/openapi.json`, held against what the real binary answers: every answer it lists is
//! asked for, and is as it says.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use application::LEAVES;
use harness::{Client, PATIENCE, Process, Traffic};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{command, greeter, greeter_with_name, in_time, nobody, timely};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PAGE: &str = "text/html; charset=utf-8";
const NOTHING: &str = "";

/// The forms of a failure.
const FAILURES: [(&str, &str, &str); 4] =
    [("GET", "*/*", TEXT), ("GET", JSON, JSON), ("HEAD", "*/*", TEXT), ("HEAD", JSON, JSON)];

/// More greetings at a time than greeter makes calls to one service, 1,024.
const TOO_MANY: usize = 1200;

#[test]
fn every_answer_it_lists_is_as_it_says() {
    let mut survey = Survey::new();
    let (process, address) = greeter();
    for method in ["GET", "HEAD"] {
        for (accept, form) in [("*/*", TEXT), (JSON, JSON), ("text/html", PAGE)] {
            survey.ask(address, &[method, "/", accept], "200", form);
        }
    }
    survey.ask(address, &["OPTIONS", "/", "*/*"], "204", NOTHING);
    survey.ask(address, &["POST", "/", JSON], "405", TEXT);
    survey.ask(address, &["GET", "/health", JSON], "200", TEXT);
    for (method, path) in
        [("GET", "/"), ("HEAD", "/"), ("OPTIONS", "/"), ("POST", "/"), ("GET", "/health")]
    {
        let bad = [method, path, "text/html\r\nContent-Length: none"];
        survey.ask(address, &bad, "default", TEXT);
    }
    let _traffic = Traffic::start(address);
    process.signal(Signal::SIGTERM);
    let _ = process.line(|line| line.contains(r#""event":"drain""#));
    survey.ask(address, &["GET", "/health", "text/html"], "503", TEXT);

    let (_port, down) = nobody();
    let (_process, address) = greeter_with_name(&down);
    for (method, accept, form) in FAILURES {
        survey.ask(address, &[method, "/", accept], "502", form);
    }
    survey.overwhelm();

    assert_eq!(survey.seen, survey.document.answers(), "answers seen, and answers listed");
}

#[test]
fn its_examples_are_as_it_says() {
    let document = Document::read();
    let mut count = 0;
    let schemas = document.0["components"]["schemas"].as_object().expect("schemas");
    for (name, schema) in schemas {
        for example in schema["examples"].as_array().into_iter().flatten() {
            document.check(schema, example, name);
            count += 1;
        }
    }
    assert_eq!(count, 3);
    assert_eq!(document.0["info"]["version"], env!("CARGO_PKG_VERSION"));
}

/// An answer as the document lists it: method, path, status, media type.
type Listed = [String; 4];

struct Survey {
    document: Document,
    seen: BTreeSet<Listed>,
}

impl Survey {
    fn new() -> Self {
        Self { document: Document::read(), seen: BTreeSet::new() }
    }

    /// Asks for an answer that the document lists, and checks that it is as it says.
    fn ask(&mut self, address: SocketAddr, request: &[&str; 3], status: &str, media: &str) {
        let answer = in_time(|| {
            let mut client = Client::connect(address);
            send(&mut client, request);
            timely(receive(&mut client, request[0], media))
        });
        if status != "default" {
            assert_eq!(&answer[9..12], status, "{answer}");
        }
        self.check(request, status, media, &answer);
    }

    /// Asks for more greetings than there can be, of services that never answer, until both
    /// failures have come in each form: too many calls, and no answer in time.
    fn overwhelm(&mut self) {
        // A file for either end of each connection.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the limit may be raised so far");
        let (port, url) = nobody();
        // The kernel takes more calls than there are: nobody here has to be quick.
        let silent = port.listen().expect("a free port");
        thread::spawn(move || silent.incoming().collect::<Vec<_>>());
        let mut command = command();
        command.envs(LEAVES.iter().map(|leaf| (leaf.variable, &url)));
        let (process, address) = Process::serve(&mut command);

        let mut clients: Vec<_> = (0..TOO_MANY).map(|_| Client::connect(address)).collect();
        let (mut missing, end) = (2 * FAILURES.len(), Instant::now() + PATIENCE);
        // A slow machine needs a second try to make so many calls within their two seconds.
        while missing > 0 {
            assert!(Instant::now() < end, "{missing} failures did not come");
            // greeter finds them all at once, however long this takes.
            process.signal(Signal::SIGSTOP);
            for (client, (method, accept, _)) in clients.iter_mut().zip(FAILURES.iter().cycle()) {
                send(client, &[method, "/", accept]);
            }
            process.signal(Signal::SIGCONT);
            for (client, (method, accept, form)) in clients.iter_mut().zip(FAILURES.iter().cycle())
            {
                let answer = receive(client, method, form);
                let status = &answer[9..12];
                assert!(["503", "504"].contains(&status), "{answer}");
                if self.check(&[method, "/", accept], status, form, &answer) {
                    missing -= 1;
                }
            }
        }
    }

    /// Whether it is the first answer of its kind; it must be as the document says.
    fn check(
        &mut self,
        [method, path, _]: &[&str; 3],
        status: &str,
        media: &str,
        answer: &str,
    ) -> bool {
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let listed = self.document.answer(method, path, status);
        let header = |name: &str| {
            head.split("\r\n").find_map(|line| line.strip_prefix(&format!("{name}: ")))
        };
        for (name, described) in listed["headers"].as_object().into_iter().flatten() {
            let value = header(name).unwrap_or_else(|| panic!("no {name} in {answer}"));
            let described = self.document.resolve(described);
            self.document.check(&described["schema"], &value.into(), name);
        }
        assert_eq!(header("Content-Type").unwrap_or(NOTHING), media, "{answer}");
        if media != NOTHING {
            let content = &listed["content"][media];
            assert!(content.is_object(), "{method} {path} {status} does not list {media}");
            let value = match media {
                JSON => serde_json::from_str(body).unwrap_or(Value::Null),
                _ => body.into(),
            };
            if *method != "HEAD" {
                self.document.check(&content["schema"], &value, "body");
            }
        }
        self.seen.insert([*method, *path, status, media].map(String::from))
    }
}

fn send(client: &mut Client, [method, path, accept]: &[&str; 3]) {
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"));
}

fn receive(client: &mut Client, method: &str, media: &str) -> String {
    if method == "HEAD" || media == NOTHING { client.head() } else { client.answer() }
}

struct Document(Value);

impl Document {
    fn read() -> Self {
        let text = include_str!("../../../../docs/openapi.json");
        Self(serde_json::from_str(text).expect("JSON"))
    }

    /// All that it lists.
    fn answers(&self) -> BTreeSet<Listed> {
        let mut answers = BTreeSet::new();
        for (path, methods) in self.0["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
                    let content = self.resolve(answer)["content"].as_object();
                    let media = content.map_or(vec![NOTHING], |content| {
                        content.keys().map(String::as_str).collect()
                    });
                    for media in media {
                        let method = method.to_ascii_uppercase();
                        answers.insert([&method, path, status, media].map(ToString::to_string));
                    }
                }
            }
        }
        answers
    }

    fn answer(&self, method: &str, path: &str, status: &str) -> &Value {
        let operation = &self.0["paths"][path][method.to_ascii_lowercase()];
        let answer = &operation["responses"][status];
        assert!(answer.is_object(), "{method} {path} {status} is not listed");
        self.resolve(answer)
    }

    /// What a `$ref` refers to.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            None => value,
            Some(reference) => {
                let pointer = reference.strip_prefix('#').expect("in this document");
                self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} is not there"))
            }
        }
    }

    /// Checks a value against a schema.
    fn check(&self, schema: &Value, value: &Value, what: &str) {
        let fault = self.fault(schema, value, what);
        assert!(fault.is_none(), "{}", fault.unwrap_or_default());
    }

    /// What is wrong with a value by a schema, as far as the document uses JSON Schema: it may
    /// not use what is not checked here.
    fn fault(&self, schema: &Value, value: &Value, what: &str) -> Option<String> {
        let schema = self.resolve(schema);
        for (keyword, rule) in schema.as_object().expect("a schema") {
            let holds = match keyword.as_str() {
                "description" | "examples" => true,
                "const" => value == rule,
                "enum" => rule.as_array().expect("a list").contains(value),
                "type" => {
                    let types = rule.as_array().cloned().unwrap_or(vec![rule.clone()]);
                    types.iter().any(|kind| is(value, kind.as_str().expect("a name")))
                }
                "minLength" => value.as_str().map(|s| s.chars().count() as u64) >= rule.as_u64(),
                "minimum" => value.as_u64() >= rule.as_u64(),
                "required" => {
                    let mut names = rule.as_array().expect("a list").iter();
                    names.all(|name| value.get(name.as_str().expect("a name")).is_some())
                }
                "properties" => {
                    let mut schemas = rule.as_object().expect("schemas").iter();
                    let fault = schemas.find_map(|(name, schema)| {
                        value.get(name).and_then(|value| self.fault(schema, value, name))
                    });
                    if fault.is_some() {
                        return fault;
                    }
                    true
                }
                "oneOf" => {
                    let schemas = rule.as_array().expect("schemas").iter();
                    schemas.filter(|schema| self.fault(schema, value, what).is_none()).count() == 1
                }
                "additionalProperties" => {
                    let known = schema["properties"].as_object().expect("schemas");
                    let members = value.as_object().expect("an object").iter();
                    let mut others = members.filter(|(key, _)| !known.contains_key(*key));
                    if *rule == false {
                        others.next().is_none()
                    } else {
                        let fault = others.find_map(|(key, value)| self.fault(rule, value, key));
                        if fault.is_some() {
                            return fault;
                        }
                        true
                    }
                }
                other => panic!("{other} is not checked here"),
            };
            if !holds {
                return Some(format!("{what} is {value}; {keyword}: {rule}"));
            }
        }
        None
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("type {other} is not checked here"),
    }
}
