//! A real browser, headless Chromium, driven through chromedriver (W3C `WebDriver`).
//!
//! Tests that need it are `#[ignore]`d, because not every machine has it: `just browser`
//! runs them.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nix::unistd::Uid;
use serde_json::{Value, json};

use crate::client::Client;
use crate::process::Process;
use crate::wait::PATIENCE;

/// A browser with its own profile, which ends with the test.
#[derive(Debug)]
pub struct Browser {
    _driver: Process,
    address: SocketAddr,
    session: String,
}

impl Browser {
    /// Starts chromedriver, which starts Chromium.
    #[must_use]
    pub fn start() -> Self {
        // The free port that it finds for IPv6 may be in use for IPv4: then it ends, and another
        // one finds another port.
        let (driver, started) = loop {
            let driver = Process::start(Command::new("chromedriver").arg("--port=0"));
            let said = ["started successfully on port", "IPv4 port not available"];
            let line = driver.line(|line| said.iter().any(|words| line.contains(words)));
            if line.contains(said[0]) {
                break (driver, line);
            }
        };
        let port = started.trim_end_matches('.').rsplit(' ').next().and_then(|p| p.parse().ok());
        let address = ([127, 0, 0, 1], port.expect("a port in the line")).into();
        let mut browser = Self { _driver: driver, address, session: String::new() };

        let mut arguments = vec![
            "--headless",
            "--disable-gpu",
            // A container's /dev/shm is too small for it.
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        // Chromium's sandbox refuses to run as root.
        arguments.extend(Uid::effective().is_root().then_some("--no-sandbox"));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = browser.call("POST", "/session", &wanted);
        browser.session = format!("/session/{}", text(&session["sessionId"]));
        browser
    }

    /// Opens a page and waits until it has loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Opens a page in a new window, switches to it, and returns the window's handle.
    #[must_use]
    pub fn open_beside(&self, url: &str) -> String {
        let window = self.post("/window/new", &json!({ "type": "window" }));
        let handle = text(&window["handle"]);
        self.look_at(&handle);
        self.open(url);
        handle
    }

    /// The handle of the current window.
    #[must_use]
    pub fn window(&self) -> String {
        text(&self.call("GET", &format!("{}/window", self.session), &json!({})))
    }

    /// Switches to another window.
    pub fn look_at(&self, handle: &str) {
        self.post("/window", &json!({ "handle": handle }));
    }

    /// Clicks on the element that a CSS selector finds, as a mouse does.
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types into the focused element: `\u{e004}` is Tab, `\u{e006}` Enter.
    pub fn press(&self, keys: &str) {
        let strokes: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.post("/actions", &json!({ "actions": [keyboard] }));
    }

    /// The value of a JavaScript expression.
    #[must_use]
    pub fn value(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs a JavaScript statement.
    pub fn run(&self, statement: &str) {
        self.post("/execute/sync", &json!({ "script": statement, "args": [] }));
    }

    /// Waits until a JavaScript expression has the expected value.
    pub fn shows<T: Into<Value> + Debug>(&self, expression: &str, expected: T) {
        let (expected, end) = (expected.into(), Instant::now() + PATIENCE);
        loop {
            let value = self.value(expression);
            if value == expected {
                return;
            }
            assert!(Instant::now() < end, "{expression} is {value:#}; expected {expected:#}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the console has said since this was last asked: errors, and what the page's
    /// policy has blocked.
    #[must_use]
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().expect("a list");
        entries.iter().map(|entry| text(&entry["message"])).collect()
    }

    /// Waits until the console has a message that contains this.
    pub fn says(&self, expected: &str) {
        let end = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        while !said.iter().any(|line: &String| line.contains(expected)) {
            assert!(Instant::now() < end, "no {expected:?} in {said:#?}");
            std::thread::sleep(Duration::from_millis(10));
            said.extend(self.console());
        }
    }

    /// Resizes the window, in CSS pixels.
    pub fn resize(&self, width: u32, height: u32) {
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// Sets media features, such as `("prefers-color-scheme", "dark")`.
    pub fn prefer(&self, features: &[(&str, &str)]) {
        let features: Vec<_> =
            features.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// The whole page as a PNG.
    #[must_use]
    pub fn screenshot(&self) -> Vec<u8> {
        let options = json!({ "format": "png", "captureBeyondViewport": true });
        let shot = self.devtools("Page.captureScreenshot", &options);
        BASE64_STANDARD.decode(text(&shot["data"])).expect("base64")
    }

    fn element(&self, selector: &str) -> String {
        let query = json!({ "using": "css selector", "value": selector });
        let element = self.post("/element", &query);
        text(element.as_object().and_then(|element| element.values().next()).unwrap_or(&element))
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("{}{path}", self.session), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (value, status) = self.try_call(method, path, body);
        assert!(status == "200", "{method} {path} {body}: {status}: {value:#}");
        value
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> (Value, String) {
        let body = body.to_string();
        let mut client = Client::connect(self.address);
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        ));
        let answer = client.answer();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let mut answer: Value = serde_json::from_str(body).expect("JSON");
        (answer["value"].take(), head[9..12].to_owned())
    }
}

impl Drop for Browser {
    /// Ends Chromium; chromedriver, killed after it, would leave it behind.
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.try_call("DELETE", &self.session, &json!({}));
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
