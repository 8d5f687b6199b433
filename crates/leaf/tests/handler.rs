//! What a leaf does for handlers that ask much of it: answers of 64 KiB, and waiting.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use chassis::settings::{Env, Invalid};
use chassis::shutdown::QUIET;
use harness::{Client, eventually, get};
use leaf::{Answer, Handler, Request};
use may::coroutine;
use serving::serve;

mod serving;

/// The longest answer, and the longest behind which a leaf does not look at what the client took.
const LARGE: usize = 64 * 1024;
const MOST: usize = LARGE - 300;

/// `/wait` is being answered, and may be.
static WAITS: AtomicBool = AtomicBool::new(false);
static GO_ON: AtomicBool = AtomicBool::new(false);

struct Probe;

impl Handler for Probe {
    const NAME: &'static str = "probe";
    const VERSION: &'static str = "0";
    const ABOUT: &'static str = "asks much of a leaf";

    fn new(_: Env) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn answer(&self, request: &Request) -> Answer {
        match request.path() {
            "/large" => Answer::text::<200>("x".repeat(LARGE)),
            "/most" => Answer::text::<200>("x".repeat(MOST)),
            "/larger" => Answer::text::<200>("x".repeat(LARGE + 1)),
            "/wait" => {
                WAITS.store(true, SeqCst);
                while !GO_ON.load(SeqCst) {
                    coroutine::sleep(Duration::from_millis(10));
                }
                Answer::text::<200>("waited")
            }
            _ => Answer::text::<200>("short"),
        }
    }
}

fn request(path: &str, extra: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{extra}\r\n")
}

/// As much as is given in one go, 256 KiB.
fn row() -> String {
    let (most, large) = (request("/most", ""), request("/large", ""));
    format!("{most}{large}{most}{}", request("/large", "Connection: close\r\n"))
}

#[test]
fn answers_of_64_kib_arrive_whole() {
    let (address, ..) = serve::<Probe>();
    let too_long = "the answer is too long: it may have 64 KiB";
    assert_eq!(get(address, "/large"), (200, "x".repeat(LARGE)));
    assert_eq!(get(address, "/larger"), (500, too_long.into()));
    for room in [4096, 1024 * 1024] {
        let mut client = Client::with_room(address, room);
        client.send(row());
        for length in [MOST, LARGE, MOST, LARGE] {
            let head = client.head();
            assert_eq!(client.body(&head), vec![b'x'; length], "{head}");
        }
        client.expect_end();
    }
}

/// A known loss (docs/http.md): what the kernel has no room for when the input ends. To a client with
/// a receive buffer of 2 KiB it sends tiny segments, each with its overhead.
#[test]
fn an_answer_without_room_is_lost_when_the_input_ends() {
    let (address, ..) = serve::<Probe>();
    let mut client = Client::with_room(address, 1);
    client.send(row());
    let mut seen = Vec::new();
    client.share().read_to_end(&mut seen).expect("the end is no reset");
    let seen = String::from_utf8(seen).expect("UTF-8");
    assert!((2 * LARGE..4 * MOST).contains(&seen.len()), "{} bytes", seen.len());
    let body = |part: &str| part.split("HTTP").next().map(str::len);
    let bodies: Vec<_> = seen.split("\r\n\r\n").skip(1).map(body).take(2).collect();
    assert_eq!(bodies, [Some(MOST), Some(LARGE)]);
    assert_eq!(get(address, "/").0, 200);
}

#[test]
fn a_drain_waits_for_a_handler_that_waits() {
    let (address, shutdown, leaf) = serve::<Probe>();
    let mut waiting = Client::connect(address);
    waiting.send(request("/wait", ""));
    eventually("it is not asked", || WAITS.load(SeqCst));
    shutdown.begin();
    // Others are answered meanwhile.
    assert_eq!(get(address, "/"), (200, "short".into()));
    assert_eq!(get(address, "/health"), (503, "draining".into()));
    thread::sleep(2 * QUIET); // in which the drain must not end
    assert!(!leaf.is_finished() && !waiting.has_input());
    GO_ON.store(true, SeqCst);
    let answer = waiting.answer();
    assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("waited"), "{answer}");
    waiting.expect_end();
    leaf.join().unwrap().unwrap();
}
