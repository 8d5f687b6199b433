//! Takes the README's pictures of the page, into the folder that is named: `just picture`.

use std::path::PathBuf;
use std::process::Command;

use harness::{Browser, Process};

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("which folder?"));
    let mesh = Process::start(Command::new("cargo").args(["mesh", "--json", "--port", "0"]));
    let up = mesh.line(|line| line.starts_with(r#"{"event":"up""#));
    let up: serde_json::Value = serde_json::from_str(&up).expect("a line of JSON");
    let browser = Browser::start();
    browser.open(&format!("http://{}", up["address"].as_str().expect("the load balancer's")));
    browser.resize(1280, 800);
    browser.click("[data-ask='100']");
    browser.shows("greetings.textContent", "100");
    browser.click("#steady");
    browser.shows("Number(greetings.textContent) >= 150", true);
    for scheme in ["light", "dark"] {
        browser.prefer(&[("prefers-color-scheme", scheme)]);
        // At the rate that is asked for, and with no name in a script that this machine may have
        // no font for.
        browser.shows(
            r"perSecond.textContent === '10' && document.querySelectorAll('.pulse').length > 3
                && !/[^\0-\u052f]/.test(lines.textContent)",
            true,
        );
        let file = folder.join(format!("page-{scheme}.png"));
        std::fs::write(&file, browser.screenshot()).expect("the folder is there");
        println!("{}", file.display());
    }
}
