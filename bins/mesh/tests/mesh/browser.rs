//! The page, in a real browser, shows what the mesh does: `just browser`.

use harness::Browser;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::running::Mesh;

/// Each task's answers, as the table of counts has them.
const COUNTS: &str = "Object.fromEntries([...document.querySelectorAll('#counts tr')].map(\
    row => [row.cells[1].textContent, Number(row.cells[2].textContent)]))";

fn open(mesh: &Mesh) -> Browser {
    let browser = Browser::start();
    browser.open(&format!("http://{}", mesh.front));
    browser
}

fn shows_silent(browser: &Browser, task: &str, silent: bool) {
    let row = format!(
        "[...document.querySelectorAll('#counts tr')].find(\
         row => row.cells[1].textContent === '{task}')?.cells[3].textContent === 'silent'"
    );
    browser.shows(&row, silent);
    let faded = "[...document.querySelectorAll('.task.silent title')].map(t => t.textContent)";
    browser.shows(&format!("{faded}.includes('{task}')"), silent);
}

#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn ten_clicks_show_six_tasks_and_the_counts_of_the_mesh() {
    let mesh = Mesh::start(&[]);
    let browser = open(&mesh);
    browser.click("[data-ask='10']");
    browser.shows("greetings.textContent", "10");
    let expected = json!({
        "greeter-1": 5, "greeter-2": 5, "greeting-1": 5, "greeting-2": 5, "name-1": 5, "name-2": 5,
    });
    browser.shows(COUNTS, expected);
    browser.shows("document.querySelectorAll('.task:not(.balancer)').length", 6);
    // A line for every call.
    let calls = "[...document.querySelectorAll('.callcount')].reduce(\
        (sum, text) => sum + Number(text.textContent), 0)";
    browser.shows(calls, 30);

    browser.click("[data-ask='100']");
    browser.shows("greetings.textContent", "110");
    let shown = browser.value(COUNTS);
    assert_eq!(browser.console(), [""; 0]);
    drop(browser);

    let mut counted = mesh.answered();
    // The page itself came from the first of them.
    *counted.get_mut("greeter-1").expect("a greeter") -= 1;
    assert_eq!(json!(counted), shown);
}

/// Through the load balancer and a sidecar come more headers than a leaf would take.
#[test]
#[ignore = "needs chromium, chromedriver and Envoy: just browser"]
fn a_browser_is_greeted_through_envoy() {
    let mesh = Mesh::start(&["--proxy", "envoy"]);
    let browser = open(&mesh);
    browser.click("[data-ask='10']");
    browser.shows("greetings.textContent", "10");
    browser.shows("failed.textContent", "0");
    browser.shows("document.querySelectorAll('.task:not(.balancer)').length", 6);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn a_leaf_that_is_killed_fades_and_comes_back() {
    let mut mesh = Mesh::start(&[]);
    let browser = open(&mesh);
    browser.run("rate.value = 50");
    browser.click("#steady");
    browser.shows("document.querySelectorAll('.task:not(.balancer)').length", 6);
    // It comes back a little later each time: in the end, 3.2 s.
    for _ in 0..5 {
        mesh.kill("name-1", Signal::SIGKILL);
        mesh.is_up_again("name-1");
    }
    mesh.kill("name-1", Signal::SIGKILL);
    shows_silent(&browser, "name-1", true);
    mesh.is_up_again("name-1");
    shows_silent(&browser, "name-1", false);
    browser.click("#stop");
    browser.shows("failed.textContent", "0");
    assert_eq!(browser.console(), [""; 0]);
}

/// The page stays open while the mesh is started again, in its place, with one task more.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn tasks_that_are_added_appear() {
    let mesh = Mesh::start(&[]);
    let (browser, port) = (open(&mesh), mesh.front.port().to_string());
    browser.run("rate.value = 50");
    browser.click("#steady");
    browser.shows("document.querySelectorAll('.task:not(.balancer)').length", 6);
    mesh.answered();
    browser.shows("errors.textContent.includes('load balancer: no connection')", true);
    shows_silent(&browser, "greeter-1", true);

    let mesh = Mesh::start(&["--tasks", "3", "--port", &port]);
    assert_eq!(mesh.front.port().to_string(), port);
    browser.shows("document.querySelectorAll('.task:not(.balancer)').length", 9);
    for task in mesh.tasks.keys() {
        shows_silent(&browser, task, false);
    }
    browser.click("#stop");
    // Nothing but the failures that were to be expected.
    let said = browser.console();
    let unexpected = said.iter().find(|line| {
        !["net::ERR_", "502 (Bad Gateway)", "503 (Service Unavailable)"]
            .iter()
            .any(|expected| line.contains(expected))
    });
    assert_eq!(unexpected, None);
}
