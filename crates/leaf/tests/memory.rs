//! A test with a process of its own: a leaf looks at the memory of all of it.

use std::hint::black_box;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

use chassis::settings::{Env, Invalid};
use harness::{Client, get};
use leaf::{Answer, Handler, Request};
use serving::serve;

mod serving;

/// Keeps 24 MiB from the start, and 64 KiB for each request.
struct Keeper(Mutex<Vec<Vec<u8>>>);

impl Handler for Keeper {
    const NAME: &'static str = "keeper";
    const VERSION: &'static str = "0";
    const ABOUT: &'static str = "keeps much";

    fn new(_: Env) -> Result<Self, Invalid> {
        Ok(Self(Mutex::new(vec![black_box(vec![1; 24 * 1024 * 1024])])))
    }

    fn answer(&self, _: &Request) -> Answer {
        // No two requests are answered at a time.
        self.0.lock().unwrap().push(black_box(vec![1; 64 * 1024]));
        Answer::text::<200>("kept")
    }
}

/// Under an emulator the same is true of each leaf: the emulator's own memory is more than the limit.
#[test]
fn what_a_handler_keeps_from_the_start_is_not_held_against_its_clients() {
    let (address, ..) = serve::<Keeper>();
    let mut slow = Client::connect(address);
    slow.send("GET / HTTP/1.1\r\n");
    // It grows by 5 MiB, and is looked at many times meanwhile.
    for _ in 0..80 {
        assert_eq!(get(address, "/"), (200, "kept".into()));
        sleep(Duration::from_millis(10));
    }
    assert!(slow.send("Host: x\r\n\r\n").answer().ends_with("kept"));
}
