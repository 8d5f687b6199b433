//! The page in a real browser: `just browser`.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, mpsc};

use harness::peer::{ok, read_request};
use harness::{Browser, Client, Peer, Process};
use serde_json::json;

use crate::common::nobody;
use crate::common::pair::{command, greeter, peers};

/// The rows of the table of counts: service, task, answers, share, callers.
const ROWS: &str = "[...document.querySelectorAll('#counts tr')].map(\
    row => [...row.cells].map(cell => cell.textContent))";

fn text(id: &str) -> String {
    format!("document.getElementById('{id}').textContent")
}

fn open(address: SocketAddr) -> Browser {
    let browser = Browser::start();
    browser.open(&format!("http://{address}/any/path?query#fragment"));
    browser
}

/// A stand-in for greeter and all that is behind it: the page as greeter sends it, and for JSON
/// these answers, by their number from 0.
fn stand_in(answer: impl Fn(usize) -> String + Send + Sync + 'static) -> Peer {
    let (greeting, name) = peers();
    let (_process, address) = greeter(&greeting, &name);
    let get = "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n";
    let (page, count) = (Client::connect(address).send(get).answer(), AtomicUsize::new(0));
    Peer::start(move |_, mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let answer = if request.contains("application/json") {
                ok(&answer(count.fetch_add(1, SeqCst)))
            } else {
                page.clone().into()
            };
            let _ = stream.write_all(&answer);
        }
    })
}

/// A greeting of these leaf services, in this order, with as many tasks of each, by turns.
fn greeting_of(leaves: &[&str], tasks: usize, number: usize) -> String {
    let task = number % tasks + 1;
    let leaves = leaves.iter().map(|leaf| {
        format!(r#""{leaf}":{{"text":"a {leaf}","from":"{leaf}-{task}","elapsed_us":900}},"#)
    });
    let leaves: String = leaves.collect();
    format!(r#"{{"from":"greeter-{task}",{leaves}"elapsed_us":1000}}"#)
}

/// Holds if no text of the drawing lies on another or outside its box, and no box on another
/// or outside the drawing.
const DRAWN_APART: &str = "(() => {
    const inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1
        && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
    const apart = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1
        || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
    const allApart = (list) => list.every((a, i) => list.slice(i + 1).every((b) => apart(a, b)));
    const place = (element) => element.getBoundingClientRect();
    const shown = (text) => text.textContent && getComputedStyle(text).visibility === 'visible';
    const drawing = document.getElementById('drawing');
    const texts = (parent, which) => [...parent.querySelectorAll(which)].filter(shown).map(place);
    const tasks = [...drawing.querySelectorAll('.task')];
    return document.documentElement.scrollWidth <= innerWidth
        && allApart(tasks.map((task) => place(task.querySelector('.box'))))
        && allApart(texts(drawing, '.heading, .task text, text.bad'))
        && tasks.every((task) => {
            const box = place(task.querySelector('.box'));
            return inside(box, place(drawing)) && texts(task, 'text').every((text) => inside(text, box));
        });
})()";

/// The page names no service: it draws those that the answers name.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn any_number_of_services_is_drawn() {
    for (leaves, tasks) in [
        (&["name"][..], 1),
        (&["greeting", "name", "farewell"], 3),
        (&["one", "two", "three", "four", "five", "constructor"], 10),
    ] {
        let peer = stand_in(move |number| greeting_of(leaves, tasks, number));
        let browser = open(peer.address());
        browser.shows(DRAWN_APART, true);
        browser.click("[data-ask='100']");
        browser.shows(&text("greetings"), "100");
        let rows: Vec<_> = ["greeter"]
            .iter()
            .chain(leaves)
            .flat_map(|service| {
                (1..=tasks).map(move |n| json!([service, format!("{service}-{n}")]))
            })
            .collect();
        browser.shows(&format!("{ROWS}.map(row => row.slice(0, 2))"), rows.clone());
        let title =
            "[...document.querySelectorAll('.task:not(.balancer) title')].map(t => t.textContent)";
        let drawn: BTreeSet<_> = serde_json::from_value(browser.value(title)).unwrap();
        let expected = rows.iter().map(|row| row[1].as_str().unwrap().to_owned());
        assert_eq!(drawn, expected.collect::<BTreeSet<String>>());
        // A service's tasks have one colour of their own.
        let colours = "new Set([...document.querySelectorAll('.task:not(.balancer) .bar')].map(\
            bar => getComputedStyle(bar).fill)).size";
        browser.shows(colours, leaves.len() + 1);
        let said = leaves.iter().map(|leaf| format!("a {leaf} ({leaf}-")).collect::<Vec<_>>();
        let line = browser.value("document.querySelector('#lines li').textContent");
        assert!(said.iter().all(|said| line.as_str().unwrap().contains(said)), "{line}");
        for (width, height) in [(360, 740), (1280, 900), (1920, 1080)] {
            browser.resize(width, height);
            browser.shows("innerWidth", width);
            browser.shows(DRAWN_APART, true);
        }
        assert_eq!(browser.console(), [""; 0]);
    }
}

/// What was asked before it was cleared is in no figure when its answer comes.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn an_answer_that_comes_after_it_was_cleared_does_not_count() {
    let (go_on, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let peer = stand_in(move |number| {
        if number == 0 {
            wait.lock().unwrap().recv().unwrap();
        }
        greeting_of(&["name"], 1, number)
    });
    let browser = open(peer.address());
    browser.click("[data-ask='1']");
    browser.click("#clear");
    go_on.send(()).unwrap();
    // The browser has measured it; then so has the page.
    browser.shows("performance.getEntriesByType('resource').length", 1);
    browser.click("[data-ask='1']");
    browser.shows(&text("greetings"), "1");
    browser.shows("performance.getEntriesByType('resource').length", 2);
    browser.shows("seen.durations.length", 1);
}

#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn a_greeting_is_drawn_counted_and_printed() {
    let (greeting, name) = peers();
    let (_process, address) = greeter(&greeting, &name);
    let browser = open(address);
    browser.shows(&text("said"), "Ask ten times, and see who answers.");
    browser.click("[data-ask='1']");
    browser.shows(
        ROWS,
        json!([
            ["greeter", "greeter-1", "1", "100 %", "load balancer 1"],
            ["greeting", "greeting-1", "1", "100 %", "greeter-1 1"],
            ["name", "name-1", "1", "100 %", "greeter-1 1"],
        ]),
    );
    browser.shows(&text("lines"), "From greeter-1: Hello (greeting-1) Emelia (name-1)");
    browser.shows(&text("said"), "1 greeting. Tasks that answer: 1 greeter, 1 greeting, 1 name.");
    let drawn = "[...document.querySelectorAll('.task .host, .callcount')].map(t => t.textContent)";
    let names = ["1", "1", "1", "load balancer", "greeter-1", "greeting-1", "name-1"];
    browser.shows(drawn, names.to_vec());
    browser.shows("parseFloat(p50.textContent) > 0 && parseFloat(p99.textContent) > 0", true);

    browser.click("[data-ask='100']");
    browser.shows(&text("greetings"), "101");
    browser.click("#clear");
    browser.shows(ROWS, json!([]));
    browser.shows(&text("greetings"), "0");

    browser.run("rate.value = 50; rate.dispatchEvent(new Event('input'))");
    browser.shows(&text("rateText"), "50 a second");
    browser.click("#steady");
    browser.shows("Number(greetings.textContent) > 20", true);
    browser.click("#stop");
    browser.shows("steady.ariaPressed + document.getElementById('stop').disabled", "falsetrue");
    // Nothing but greetings was asked for, of nobody but greeter.
    let asked = "performance.getEntriesByType('resource').every(\
        entry => entry.initiatorType === 'fetch' && entry.name === location.origin + '/any/path')";
    browser.shows(asked, true);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn it_works_by_keyboard() {
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e006}";
    let (greeting, name) = peers();
    let (_process, address) = greeter(&greeting, &name);
    let browser = open(address);
    for (keys, said, greetings) in [(TAB, "Ask once", "1"), (TAB, "Ten times", "11")] {
        browser.press(keys);
        browser.shows("document.activeElement.textContent", said);
        browser.shows("getComputedStyle(document.activeElement).outlineStyle", "solid");
        browser.press(ENTER);
        browser.shows(&text("greetings"), greetings);
    }
    browser.press(&TAB.repeat(2));
    browser.press(" ");
    browser.shows("steady.ariaPressed", "true");
    // The arrow to the right.
    browser.press(&format!("{TAB}\u{e014}"));
    browser.shows(&text("rateText"), "11 a second");
    browser.press(&format!("{TAB}{ENTER}"));
    browser.shows("steady.ariaPressed", "false");
    browser.press(&format!("{TAB}{ENTER}"));
    browser.shows(&text("said"), "Cleared.");
}

/// Names that are markup, that are long, that are none: all are text, and all have room.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn whatever_the_hosts_are_called_they_are_text() {
    let long = format!("ip-10-0-1-252.{}\u{202e}.internal", "very-long.".repeat(20));
    let markup = "<script>alert(1)</script>";
    let image = "<img src=x onerror=alert(1)>";
    for (host, greeting, name) in [
        (markup, format!("<b>Hello ({image})"), "Emelia".to_owned()),
        ("greeter-1", format!("Hello ({long})"), format!("{long} (__proto__)")),
    ] {
        let (greeting_peer, name_peer) = (Peer::saying(&greeting), Peer::saying(&name));
        let mut command = command(&greeting_peer.url(), &name_peer.url());
        let (_process, address) = Process::serve(command.env("HOSTNAME", host));
        let browser = open(address);
        browser.click("[data-ask='100']");
        browser.shows(&text("greetings"), "100");
        browser.shows("document.querySelector('#lines li').textContent", {
            format!("From {host}: {greeting} {name}")
        });
        let from = |line: &str, none: &str| {
            let host = line.strip_suffix(')').and_then(|line| line.rsplit_once(" ("));
            host.map_or(none.to_owned(), |(_, host)| host.to_owned())
        };
        let none = ["a name task without a host", "gives no host"];
        let [titles, cells] =
            none.map(|none| [host.into(), from(&greeting, ""), from(&name, none)]);
        browser.shows(
            "[...document.querySelectorAll('.task:not(.balancer) title')].map(t => t.textContent)",
            titles.to_vec(),
        );
        browser.shows(&format!("{ROWS}.map(row => row[1])"), cells.to_vec());
        browser.shows("document.querySelectorAll('script, img, b').length", 1);

        for (width, height) in [(360, 740), (1920, 1080)] {
            browser.resize(width, height);
            browser.shows("innerWidth", width);
            browser.shows(DRAWN_APART, true);
        }
        assert_eq!(browser.console(), [""; 0]);
    }
}

/// Deployments bring new hosts for as long as a page is open.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn hosts_that_are_long_gone_are_forgotten() {
    let count = AtomicUsize::new(0);
    let name = Peer::start(move |_, mut stream| {
        while read_request(&mut stream).is_some() {
            let number = count.fetch_add(1, SeqCst) + 1;
            let _ = stream.write_all(&ok(&format!("Emelia (name-{number})")));
        }
    });
    let (greeting, _) = peers();
    let (_process, address) = greeter(&greeting, &name);
    let browser = open(address);
    browser.click("[data-ask='100']");
    browser.shows(&text("greetings"), "100");
    let names = format!("{ROWS}.filter(row => row[0] === 'name').map(row => row[1])");
    let latest: Vec<_> = (61..=100).map(|number| format!("name-{number}")).collect();
    browser.shows(&names, latest);
    // With the load balancer, greeter and greeting; and who calls those.
    browser.shows("document.querySelectorAll('.task').length", 43);
    browser.shows("document.querySelectorAll('.calls g').length", 42);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn failures_are_said_with_their_cause() {
    let (_port, down) = nobody();
    let (greeting, _) = peers();
    let (mut process, address) = Process::serve(&mut command(&greeting.url(), &down));
    let browser = open(address);
    browser.click("[data-ask='10']");
    browser.shows(&text("failed"), "10");
    browser.shows(&text("errors"), "502 name: connection refused (10 times)");
    browser.shows(&text("greetings"), "0");
    let drawn = "[...document.querySelectorAll('text.bad')].map(t => t.textContent).join('')";
    browser.shows(drawn, "10 failed");

    process.signal(nix::sys::signal::Signal::SIGKILL);
    process.wait();
    browser.click("[data-ask='1']");
    browser.shows(
        "[...errors.children].map(e => e.textContent)",
        json!(["502 name: connection refused (10 times)", "– load balancer: no connection (once)"]),
    );
    browser.shows(&text("said"), "0 greetings, 11 failed. Tasks that answer: 0 greeter, 0 name.");
}

/// That the console was empty elsewhere says something only if it would not be otherwise.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn the_policy_lets_nothing_else_run() {
    let (greeting, name) = peers();
    let (_process, address) = greeter(&greeting, &name);
    let (other, _) = peers();
    let browser = open(address);
    assert_eq!(browser.console(), [""; 0]);
    for (attempt, blocked) in [
        (
            "document.body.append(Object.assign(document.createElement('script'), { text: 'x' }))",
            "TrustedScript",
        ),
        ("document.body.innerHTML = '<p>'", "TrustedHTML"),
        ("document.body.setAttribute('style', 'color: red')", "style-src"),
        (&format!("fetch('{}').catch(() => 0)", other.url()), "connect-src"),
        (
            "document.body.append(Object.assign(document.createElement('img'), { src: '/' }))",
            "img-src",
        ),
        (
            "document.body.append(Object.assign(document.createElement('iframe'), { src: '/' }))",
            "frame-src",
        ),
    ] {
        browser.run(&format!("try {{ {attempt} }} catch {{ }}"));
        browser.says(blocked);
    }
    assert_eq!(other.connections(), 0);
}
