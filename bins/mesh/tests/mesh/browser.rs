//! The page, in a real browser, shows what the mesh does: `just browser`.

use std::collections::BTreeMap;

use application::SERVICES;
use harness::Browser;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::running::Mesh;

/// Each task's calls, as the table of counts has them.
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
         row => row.cells[1].textContent === '{task}')?.cells[4].textContent === 'silent'"
    );
    browser.shows(&row, silent);
    let faded = "[...document.querySelectorAll('.task.silent title')].map(t => t.textContent)";
    browser.shows(&format!("{faded}.includes('{task}')"), silent);
}

/// The events that contain this, without their times, and whether they are red.
fn events_with(word: &str) -> String {
    format!(
        "[...events.children].filter(item => item.textContent.includes('{word}')).map(\
            item => [item.textContent.slice(8), item.className])"
    )
}

#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn ten_clicks_show_every_task_and_the_counts_of_the_mesh() {
    let mesh = Mesh::start(&[]);
    let browser = open(&mesh);
    browser.click("[data-ask='10']");
    browser.shows("greetings.textContent", "10");
    let expected: BTreeMap<_, _> = mesh.tasks.keys().map(|task| (task, 5)).collect();
    browser.shows(COUNTS, json!(expected));
    browser.shows("document.querySelectorAll('.task:not(.balancer)').length", mesh.tasks.len());
    // A line for every call.
    let calls = "[...document.querySelectorAll('.callcount')].reduce(\
        (sum, text) => sum + Number(text.textContent), 0)";
    browser.shows(calls, 10 * SERVICES.len());

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

/// Ten of 110 greetings fail, for nobody answers for name: what the page counts is what the
/// mesh counts, and what nobody answered stands beside it.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn failures_are_counted_where_they_happen() {
    let mesh = Mesh::start(&[]);
    let browser = open(&mesh);
    browser.click("[data-ask='100']");
    browser.shows("greetings.textContent", "100");
    let names = ["name-1", "name-2"];
    for task in names {
        mesh.hang(task);
    }
    browser.click("[data-ask='10']");
    browser.shows("failed.textContent", "10");
    for task in names {
        mesh.kill(task, Signal::SIGCONT);
    }
    browser.shows("greetings.textContent", "100");
    let failed = "Object.fromEntries([...document.querySelectorAll('#counts tr')].map(\
        row => [row.cells[1].textContent, Number(row.cells[3].textContent)]).filter(row => row[1]))";
    browser.shows(failed, json!({ "greeter-1": 5, "greeter-2": 5, "failed": 10 }));
    let red = "[...document.querySelectorAll('.task .wrong, .failed .host')].map(t => t.textContent).filter(t => t)";
    browser.shows(red, json!(["5 failed", "5 failed", "failed"]));
    let shown = browser.value(COUNTS);
    drop(browser);

    let mut counted = mesh.answered();
    *counted.get_mut("greeter-1").expect("a greeter") -= 1;
    counted.insert("failed".to_owned(), 10);
    assert_eq!(json!(counted), shown);
}

/// One that hangs is silent; greeter's tasks, and greeting's, which have to do with the same
/// failures, are not.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn a_leaf_that_hangs_is_silent_alone() {
    let mesh = Mesh::start(&[]);
    let browser = open(&mesh);
    browser.click("[data-ask='10']");
    browser.shows("greetings.textContent", "10");
    mesh.hang("name-1");
    browser.run("rate.value = 50");
    browser.click("#steady");
    shows_silent(&browser, "name-1", true);
    browser.shows("perSecond.textContent.endsWith(' of 50')", true);
    mesh.kill("name-1", Signal::SIGCONT);
    shows_silent(&browser, "name-1", false);
    let silent = "[...events.children].map(item => item.textContent).filter(\
        text => text.includes('no longer answers')).length";
    browser.shows(silent, 1);
    let cause = "[...events.children].some(item => /name \\(http:.*\\): no answer in time/.test(item.textContent))";
    browser.shows(cause, true);
}

/// A fault fails what it is told to, a delay is amber, and a release has its colour: all of it
/// while the page is open, from another terminal.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn faults_and_releases_are_drawn() {
    let mesh = Mesh::start(&[]);
    let browser = open(&mesh);
    mesh.ask(&["fault", "name-1", "100%500"]);
    // Each name task has every other call: four failures, one less than take a task out.
    for _ in 0..8 {
        browser.click("[data-ask='1']");
    }
    browser.shows("greetings.textContent", "4");
    browser.shows("failed.textContent", "4");
    let cause = "[...events.children].some(item => /name \\(http:.*\\): answered 500/.test(item.textContent))";
    browser.shows(cause, true);

    // The repair is told, and the failure's line goes.
    mesh.ask(&["fault", "name-1", "none"]);
    mesh.ask(&["fault", "greeting-1", "100%300ms"]);
    browser.run("rate.value = 50");
    browser.click("#steady");
    let slow = "[...document.querySelectorAll('.task:has(.slow) title')].map(t => t.textContent)";
    browser.shows(slow, json!(["greeting-1"]));
    browser.shows(&events_with("slow"), json!([["greeting-1 is slow.", ""]]));
    browser.shows(&events_with("fail"), json!([["name no longer fails, after 4 failures.", ""]]));
    browser.shows(&events_with("answered 500"), json!([]));

    mesh.ask(&["release", "greeting", "green"]);
    browser.shows("drawing.textContent.includes('green 100 %')", true);
    let told = "greeting green started, greeting-1 and greeting-2 stopped.";
    browser.shows(&events_with("greeting green"), json!([[told, ""]]));
    mesh.ask(&["release", "name", "v2", "--blue-green"]);
    mesh.ask(&["promote", "name"]);
    let told = "name v2 started, name-1 and name-2 stopped.";
    browser.shows(&events_with("name v2"), json!([[told, ""]]));
    browser.click("#stop");
    browser.shows("failed.textContent", "4");
    // Nothing of all this was a failure, or is one still.
    browser.shows("document.querySelectorAll('#events .bad').length", 0);
    browser.shows(&events_with("no longer answers"), json!([]));
}

/// Two pages ask the same mesh at the same rate: each meets every task, and calls none silent.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn two_pages_at_once_raise_no_alarm() {
    let mesh = Mesh::start(&[]);
    let browser = open(&mesh);
    let first = browser.window();
    let second = browser.open_beside(&format!("http://{}", mesh.front));
    for window in [&first, &second] {
        browser.look_at(window);
        browser.click("[data-ask='10']");
        browser.shows("greetings.textContent", "10");
    }
    for window in [&first, &second] {
        browser.look_at(window);
        browser.click("#steady");
    }
    for window in [&first, &second] {
        browser.look_at(window);
        browser.shows("Number(greetings.textContent) >= 150", true);
        browser.shows("document.querySelectorAll('.task:not(.balancer)').length", mesh.tasks.len());
        browser.shows("document.querySelectorAll('.task.silent, #events .bad').length", 0);
        browser.shows(&events_with("longer"), json!([]));
        browser.shows("failed.textContent", "0");
    }
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
    browser.shows("document.querySelectorAll('.task:not(.balancer)').length", mesh.tasks.len());
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn a_leaf_that_is_killed_fades_and_comes_back() {
    let mut mesh = Mesh::start(&[]);
    let browser = open(&mesh);
    browser.run("rate.value = 50");
    browser.click("#steady");
    browser.shows("document.querySelectorAll('.task:not(.balancer)').length", mesh.tasks.len());
    // It comes back a little later each time: in the end, 3.2 s.
    for _ in 0..5 {
        mesh.kill("name-1", Signal::SIGKILL);
        mesh.is_up_again("name-1");
    }
    mesh.kill("name-1", Signal::SIGKILL);
    shows_silent(&browser, "name-1", true);
    mesh.is_up_again("name-1");
    shows_silent(&browser, "name-1", false);
    browser.shows(&events_with("name-1 no longer"), json!([["name-1 no longer answers.", ""]]));
    browser.shows(&events_with("again"), json!([["name-1 answers again.", ""]]));
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
    browser.shows("document.querySelectorAll('.task:not(.balancer)').length", mesh.tasks.len());
    mesh.answered();
    browser.shows("events.textContent.includes('no connection')", true);
    shows_silent(&browser, "greeter-1", true);

    let mesh = Mesh::start_at(&port, &["--tasks", "3"]);
    assert_eq!(mesh.front.port().to_string(), port);
    browser.shows(
        "document.querySelectorAll('.task:not(.balancer, .failed)').length",
        mesh.tasks.len(),
    );
    for task in mesh.tasks.keys() {
        shows_silent(&browser, task, false);
    }
    // Shares are of the last seconds: soon even, however much the older ones had answered.
    let even = "[...document.querySelectorAll('#counts tr')].filter(row => /\\d$/.test(row.cells[1].textContent))\
        .every(row => /^3[234] %$/.test(row.cells[4].textContent))";
    browser.shows(even, true);
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
