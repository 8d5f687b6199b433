//! The page in a real browser: `just browser`.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use application::{EDGE, LEAVES, Service};
use harness::peer::{ok, read_request};
use harness::{Browser, Client, Peer, Process};
use serde_json::{Value, json};

use crate::common::pair::{self, command, greeter, peers};
use crate::common::{self, greet, nobody};

/// The rows of the table of counts: service, task, calls, failed, share, callers. Not the p50,
/// which nobody knows beforehand.
const ROWS: &str = "[...document.querySelectorAll('#counts tr')].map(\
    row => [...row.cells].map(cell => cell.textContent).toSpliced(5, 1))";
/// Of those, the edge's and the pair's.
const OF_PAIR: &str = ".filter(row => ['greeter', 'greeting', 'name'].includes(row[0]))";
/// The last events, newest first, without their times.
const EVENTS: &str =
    "[...events.children].map(item => item.textContent.replace(/^\\d\\d:\\d\\d:\\d\\d/, ''))";

fn text(id: &str) -> String {
    format!("document.getElementById('{id}').textContent")
}

fn open(address: SocketAddr) -> Browser {
    let browser = Browser::start();
    browser.open(&format!("http://{address}/any/path?query#fragment"));
    browser
}

/// A stand-in for greeter and all that is behind it: the page as greeter sends it, and for JSON
/// these answers, a status and a body, by their number from 0.
fn stand_in(answer: impl Fn(usize) -> (&'static str, String) + Send + Sync + 'static) -> Peer {
    let (greeting, name) = peers();
    let (_process, address) = greeter(&greeting, &name);
    let get = "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n";
    let (page, count) = (Client::connect(address).send(get).answer(), AtomicUsize::new(0));
    Peer::start(move |_, mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let answer = if request.contains("application/json") {
                let (status, body) = answer(count.fetch_add(1, SeqCst));
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            } else {
                page.clone()
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    })
}

/// A greeting of these leaf services, in this order, with as many tasks of each, by turns.
fn greeting_of(leaves: &[&str], tasks: usize, number: usize) -> (&'static str, String) {
    let task = number % tasks + 1;
    let leaves = leaves.iter().map(|leaf| {
        format!(r#""{leaf}":{{"text":"a {leaf}","from":"{leaf}-{task}","elapsed_us":900}},"#)
    });
    let leaves: String = leaves.collect();
    ("200 OK", format!(r#"{{"from":"greeter-{task}",{leaves}"elapsed_us":1000}}"#))
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
    const card = place(drawing.parentElement);
    return document.documentElement.scrollWidth <= innerWidth
        && texts(drawing, 'text').every((text) => inside(text, card))
        && allApart(tasks.map((task) => place(task.querySelector('.box'))))
        && allApart(texts(drawing, '.heading, .task text, .callcount'))
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
        let colours = "new Set([...document.querySelectorAll('.task:not(.balancer) .bar:not(.red)')].map(\
            bar => getComputedStyle(bar).fill)).size";
        browser.shows(colours, leaves.len() + 1);
        let said = leaves.iter().map(|leaf| format!("a {leaf} ({leaf}-")).collect::<Vec<_>>();
        let line = browser.value("document.querySelector('#lines li').textContent");
        assert!(said.iter().all(|said| line.as_str().unwrap().contains(said)), "{line}");
        drawn_apart_at(&browser, &[(320, 640), (360, 740), (1280, 900), (1920, 1080)]);
        assert_eq!(browser.console(), [""; 0]);
    }
}

/// In windows of these sizes, no text stands on another or leaves its box.
fn drawn_apart_at(browser: &Browser, sizes: &[(u32, u32)]) {
    for &(width, height) in sizes {
        browser.resize(width, height);
        browser.shows("innerWidth", width);
        browser.shows(DRAWN_APART, true);
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
    let (_process, address) = common::greeter();
    let services = [&[EDGE], LEAVES].concat();
    let tasks: Vec<_> = services.iter().map(|service| service.task(1)).collect();
    let browser = open(address);
    browser.shows(&text("said"), "Ask ten times, and see who answers.");
    browser.click("[data-ask='1']");
    let row = |(service, task): (&Service, &String)| {
        let caller = if *service == EDGE { "load balancer 1" } else { "greeter-1 1" };
        json!([service.name, task, "1", "0", "100 %", caller])
    };
    browser.shows(ROWS, services.iter().zip(&tasks).map(row).collect::<Vec<_>>());
    browser.shows(&text("lines"), common::GREETING.as_str());
    let events: Vec<_> = tasks.iter().rev().map(|task| format!("{task} answers.")).collect();
    browser.shows(EVENTS, events);
    let ones: Vec<_> = services.iter().map(|service| format!("1 {}", service.name)).collect();
    let said = format!("1 greeting. Tasks that answer: {}.", ones.join(", "));
    browser.shows(&text("said"), said);
    let drawn = "[...document.querySelectorAll('.task .host, .callcount')].map(t => t.textContent)";
    let mut names = vec!["1"; services.len()];
    names.push("load balancer");
    names.extend(tasks.iter().map(String::as_str));
    browser.shows(drawn, names);
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
    let markup = "<script>alert`1`</script>"; // a host has no parentheses
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
        let others = pair::others().map(|leaf| format!(" {}", common::said(leaf.name)));
        browser.shows("document.querySelector('#lines li').textContent", {
            format!("From {host}: {greeting} {name}{}", others.collect::<String>())
        });
        let from = |line: &str, none: &str| {
            let host = line.strip_suffix(')').and_then(|line| line.rsplit_once(" ("));
            host.map_or(none.to_owned(), |(_, host)| host.to_owned())
        };
        let none = ["a name task without a host", "gives no host"];
        let [titles, cells] =
            none.map(|none| vec![host.into(), from(&greeting, ""), from(&name, none)]);
        let with_others = |tasks: Vec<String>| {
            tasks.into_iter().chain(pair::others().map(|leaf| leaf.task(1))).collect::<Vec<_>>()
        };
        browser.shows(
            "[...document.querySelectorAll('.task:not(.balancer) title')].map(t => t.textContent)",
            with_others(titles),
        );
        browser.shows(&format!("{ROWS}.map(row => row[1])"), with_others(cells));
        browser.shows("document.querySelectorAll('script, img, b').length", 1);

        drawn_apart_at(&browser, &[(320, 640), (360, 740), (1920, 1080)]);
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
    browser.shows(&format!("{names}.length"), 41);
    browser.shows(&format!("{names}[40]"), "60 gone");
    // The latest: of four that are asked at a time, one may overtake another.
    let numbers = format!("{names}.slice(0, 40).map(name => Number(name.split('-')[1]))");
    let latest = "const all = [...Array(36).keys()].map(n => n + 65)";
    browser.shows(
        &format!("(() => {{ {latest}; return all.every(n => {numbers}.includes(n)); }})()"),
        true,
    );
    let answers = format!("{ROWS}.filter(row => row[0] === 'name').map(row => Number(row[2]))");
    browser.shows(&format!("{answers}.reduce((sum, count) => sum + count)"), 100);
    // With the load balancer, greeter and the other leaves; and who calls those.
    browser.shows("document.querySelectorAll('.task').length", 42 + LEAVES.len());
    browser.shows("document.querySelectorAll('.callcount').length", 40 + LEAVES.len());
    assert_eq!(browser.console(), [""; 0]);
}

/// A failure is counted where it happened: at the greeter that told of it, and at the service
/// that failed. It is printed as curl prints it.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn failures_are_said_with_their_cause() {
    let (_port, down) = nobody();
    let (greeting, _) = peers();
    let (mut process, address) = Process::serve(&mut command(&greeting.url(), &down));
    let browser = open(address);
    browser.click("[data-ask='10']");
    browser.shows(&text("failed"), "10");
    browser.shows(&text("greetings"), "0");
    let said = greet(address);
    let said = said.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(said, format!("name ({down}/): connection refused"));
    browser.shows("document.querySelector('#lines .bad').textContent", said);
    browser.shows(
        &format!("{ROWS}{OF_PAIR}"),
        json!([
            ["greeter", "greeter-1", "10", "10", "100 %", "load balancer 10"],
            ["greeting", "greeting-1", "10", "0", "100 %", "greeter-1 10"],
            ["name", "failed", "10", "10", "100 %", "greeter-1 10"],
        ]),
    );
    let red = "[...document.querySelectorAll('.failed .host, .wrong')].map(t => t.textContent)";
    browser.shows(&format!("{red}.filter(text => text)"), vec!["10 failed", "failed"]);
    // Of successes only.
    browser.shows("p50.textContent + p99.textContent + inside.textContent", "–––");
    browser.shows(&text("perSecond"), "0");

    process.signal(nix::sys::signal::Signal::SIGKILL);
    process.wait();
    browser.click("[data-ask='1']");
    let mut events = vec![
        "no connection".to_owned(),
        format!("{said} (10 times)"),
        "greeting-1 answers.".to_owned(),
        "greeter-1 answers.".to_owned(),
    ];
    events.extend(pair::others().map(|leaf| format!("{} answers.", leaf.task(1))));
    browser.shows(&format!("{EVENTS}.sort()"), sorted(json!(events)));
    browser.shows(
        &format!("{ROWS}[1]"),
        json!(["greeter", "failed", "1", "1", "9 %", "load balancer 1"]),
    );
    browser.shows(&text("said"), "no connection – 0 greetings, 11 failed.");
}

fn sorted(list: Value) -> Value {
    let mut list: Vec<String> = serde_json::from_value(list).unwrap();
    list.sort();
    list.into()
}

/// Whatever stands before greeter may answer for it, with anything.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn what_is_no_greeting_is_a_failure_of_what_stands_before_greeter() {
    let name = r#""name":{"text":"Emelia","from":"name-1"}"#;
    let leaves = |count| {
        let leaves = (0..count).map(|n| format!(r#""leaf{n}":{{"text":"x","from":null}}"#));
        format!(r#"{{"from":"greeter-1",{}}}"#, leaves.collect::<Vec<_>>().join(","))
    };
    let answers = [
        ("503 Service Unavailable", "load balancer: no task of greeter is up".to_owned()),
        ("502 Bad Gateway", "<script>alert(1)</script>".to_owned()),
        ("200 OK", "null".to_owned()),
        ("200 OK", "[1]".to_owned()),
        ("200 OK", format!("{{{name}}}")),
        ("200 OK", format!(r#"{{"from":7,{name}}}"#)),
        ("200 OK", r#"{"from":"greeter-1"}"#.to_owned()),
        ("200 OK", r#"{"from":"greeter-1","name":{"text":7,"from":"name-1"}}"#.to_owned()),
        ("200 OK", r#"{"from":"greeter-1","name":{"text":"Emelia","from":{}}}"#.to_owned()),
        ("200 OK", r#"{"from":"greeter-1","name":{"error":"refused"}}"#.to_owned()),
        (
            "502 Bad Gateway",
            format!(r#"{{"from":"greeter-1",{name},"error":{{"service":"name"}}}}"#),
        ),
        ("200 OK", leaves(13)),
    ];
    let lines: Vec<_> = answers.iter().map(|(_, body)| body.clone()).collect();
    let number = answers.len();
    // Times that are none are left out; a leaf may be called what every object has.
    let odd = r#"{"from":"greeter-1","toString":{"text":"x","from":"__proto__","elapsed_us":-1},"elapsed_us":"y","other":1}"#;
    let peer =
        stand_in(move |number| answers.get(number).cloned().unwrap_or(("200 OK", odd.to_owned())));
    let browser = open(peer.address());
    for (count, line) in lines.iter().enumerate() {
        browser.click("[data-ask='1']");
        browser.shows(&text("failed"), (count + 1).to_string());
        browser.shows("document.querySelector('#lines li').textContent", line.as_str());
    }
    browser.click("[data-ask='1']");
    browser.shows(
        ROWS,
        json!([
            ["greeter", "greeter-1", "1", "0", "8 %", "load balancer 1"],
            [
                "greeter",
                "failed",
                number.to_string(),
                number.to_string(),
                "92 %",
                format!("load balancer {number}")
            ],
            ["toString", "__proto__", "1", "0", "100 %", "greeter-1 1"],
        ]),
    );
    let said = browser.console();
    assert!(said.iter().all(|line| line.contains("Failed to load resource")), "{said:#?}");
}

/// A service whose calls fail now and then, and a greeter that always gets the failure, are not
/// silent; a task that no longer answers while the other does, is.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn nobody_is_called_silent_because_of_others_failures() {
    // As with round robin in step: greeter-2 always meets name-1, which hangs.
    let peer = stand_in(|number| {
        if number < 20 || number % 2 == 0 {
            return greeting_of(&["greeting", "name"], 2, number);
        }
        let body = r#"{"from":"greeter-2","greeting":{"text":"Hey","from":"greeting-2","elapsed_us":9},"name":{"error":"no answer in time","elapsed_us":9},"error":{"service":"name","url":"http://name:3000/","cause":"no answer in time","status":504},"elapsed_us":9}"#;
        ("504 Gateway Timeout", body.to_owned())
    });
    let browser = open(peer.address());
    for greetings in ["10", "20"] {
        browser.click("[data-ask='10']");
        browser.shows(&text("greetings"), greetings);
    }
    browser.click("[data-ask='100']");
    browser.shows(&text("failed"), "50");
    let rows = format!("{ROWS}.map(row => [row[1], row[2], row[3], row[4] === 'silent'])");
    let expected = json!([
        ["greeter-1", "60", "0", false],
        ["greeter-2", "60", "50", false],
        ["greeting-1", "60", "0", false],
        ["greeting-2", "60", "0", false],
        ["name-1", "60", "0", false],
        ["name-2", "10", "0", true],
        ["failed", "50", "50", false],
    ]);
    browser.shows(&rows, expected);
    let silent = "[...document.querySelectorAll('.task.silent text')].some(\
        text => text.textContent === 'silent')";
    browser.shows(silent, true);
    for scheme in ["light", "dark"] {
        browser.prefer(&[("prefers-color-scheme", scheme)]);
        browser.shows(CONTRAST_OF_SILENT, true);
    }
    // Long silent, it is counted and not drawn; when it answers, it is as before.
    browser.run(
        "const now = performance.now.bind(performance); performance.now = () => now() + 60000",
    );
    browser.shows(
        &format!("{rows}.map(row => row[0]).slice(4)"),
        json!(["name-1", "1 gone", "failed"]),
    );
    browser.shows("document.querySelectorAll('.task').length", 8);
}

/// Round robin interleaves its clients. Beside one that asks as often, at regular moments, a page
/// that did so too would always meet the same one of two tasks.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn no_healthy_task_is_silent_beside_a_client_in_step() {
    const PAUSE: Duration = Duration::from_millis(100);
    let began = OnceLock::new();
    let peer = stand_in(move |number| {
        // The other one's turns: half a pause from those of a page that keeps in step.
        let others = if number < 10 {
            0
        } else {
            let elapsed = began.get_or_init(Instant::now).elapsed() + PAUSE / 2;
            usize::try_from(elapsed.as_millis() / PAUSE.as_millis()).unwrap()
        };
        greeting_of(&["greeting", "name"], 2, number + others)
    });
    let browser = open(peer.address());
    browser.click("[data-ask='10']");
    browser.shows(&text("greetings"), "10");
    browser.click("#steady");
    browser.shows("Number(greetings.textContent) >= 150", true);
    browser.shows(&events_with("longer"), json!([]));
    browser.shows("document.querySelectorAll('.task.silent').length", 0);
}

/// Two windows of one browser, side by side.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn no_healthy_task_is_silent_for_two_pages_at_once() {
    let peer = stand_in(|number| greeting_of(&["greeting", "name"], 2, number));
    let browser = open(peer.address());
    let first = browser.window();
    let second = browser.open_beside(&peer.url());
    let windows = [first, second];
    for window in &windows {
        browser.look_at(window);
        browser.click("[data-ask='10']");
        browser.shows(&text("greetings"), "10");
        browser.run("rate.value = 20; rate.dispatchEvent(new Event('input'))");
    }
    for window in &windows {
        browser.look_at(window);
        browser.click("#steady");
    }
    for window in &windows {
        browser.look_at(window);
        browser.shows("Number(greetings.textContent) >= 250", true);
        let said = "[...events.children].filter(\
            item => /no longer|again/.test(item.textContent) || item.className).length";
        browser.shows(said, 0);
        browser.shows("document.querySelectorAll('.task.silent').length", 0);
        // Each page has met every task about as often as the other.
        let shares = format!("{ROWS}.map(row => parseInt(row[4])).every(n => n > 25 && n < 75)");
        browser.shows(&shares, true);
        assert_eq!(browser.console(), [""; 0]);
    }
}

/// The events that contain this, without their times, and whether they are red.
fn events_with(word: &str) -> String {
    format!(
        "[...events.children].filter(item => item.textContent.includes('{word}')).map(\
            item => [item.textContent.slice(8), item.className])"
    )
}

fn steadily_at_50(browser: &Browser) {
    browser.run("rate.value = 50; rate.dispatchEvent(new Event('input'))");
    browser.click("#steady");
}

/// What a release brings is named, and what it replaces; nothing of it is red. A release that
/// is taken back is one, too.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn a_release_is_told_as_one() {
    let is_green = Arc::new(AtomicBool::new(false));
    let peer = stand_in({
        let is_green = is_green.clone();
        move |number| {
            let name = match (is_green.load(SeqCst), number % 2) {
                (false, task) => format!("name-{}", task + 1),
                (true, task) => format!("name-{} green", task + 3),
            };
            let name = format!(r#""name":{{"text":"Emelia","from":"{name}","elapsed_us":9}}"#);
            ("200 OK", format!(r#"{{"from":"greeter-1",{name},"elapsed_us":9}}"#))
        }
    });
    let browser = open(peer.address());
    browser.click("[data-ask='100']");
    browser.shows(&text("greetings"), "100");
    steadily_at_50(&browser);
    for (green, told, drawn) in [
        (true, "name green started, name-1 and name-2 stopped.", ["name-3 green", "name-4 green"]),
        (
            false,
            "name without a version started, name-3 green and name-4 green stopped.",
            ["name-1", "name-2"],
        ),
    ] {
        is_green.store(green, SeqCst);
        browser.shows(&events_with(" started"), json!([[told, ""]]));
        browser.shows(
            &format!("{ROWS}.map(row => row[1])"),
            json!(["greeter-1", drawn[0], drawn[1], "2 gone"]),
        );
        browser.shows("document.querySelectorAll('#events .bad, .task.silent').length", 0);
        browser.shows(&events_with("no longer"), json!([]));
        // Both tasks had time to answer with the version before they are told of again.
        browser.run("document.getElementById('events').replaceChildren(); seen.events.clear()");
    }
    assert_eq!(browser.console(), [""; 0]);
}

/// A failure stands in red for as long as there are failures; then it is told that they are
/// over, and nothing but the counts says that they were.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn a_failure_that_is_over_is_no_longer_red() {
    let peer = stand_in(|number| {
        if !(10..20).contains(&number) {
            return greeting_of(&["greeting", "name"], 1, number);
        }
        let body = r#"{"from":"greeter-1","greeting":{"text":"Hey","from":"greeting-1","elapsed_us":9},"name":{"error":"answered 500","elapsed_us":9},"error":{"service":"name","url":"http://name:3000","cause":"answered 500","status":502},"elapsed_us":9}"#;
        ("502 Bad Gateway", body.to_owned())
    });
    let browser = open(peer.address());
    browser.click("[data-ask='10']");
    browser.shows(&text("greetings"), "10");
    browser.click("[data-ask='10']");
    browser.shows(&text("failed"), "10");
    let failing = json!([["name (http://name:3000): answered 500 (10 times)", "bad"]]);
    browser.shows(&events_with("answered 500"), failing);
    browser.shows("document.querySelectorAll('.failed.silent').length", 0);

    steadily_at_50(&browser);
    let over = json!([["name no longer fails, after 10 failures.", ""]]);
    browser.shows(&events_with("fail"), over);
    browser.shows(&events_with("answered 500"), json!([]));
    browser.shows("document.querySelectorAll('#events .bad, #counts .bad').length", 0);
    browser.shows("document.querySelectorAll('.failed.silent').length", 1);
    browser.shows("document.querySelector('#drawing').textContent.includes('500')", false);
    browser.shows(
        &format!("{ROWS}.at(-1)"),
        json!(["name", "failed", "10", "10", "over", "greeter-1 10"]),
    );
    let red = "getComputedStyle(document.querySelector('.failed .host')).fill";
    let muted = "getComputedStyle(document.querySelector('.heading')).fill";
    browser.shows(&format!("{red} === {muted}"), true);
    // The count stays, and is no alarm.
    let count =
        "[...document.querySelectorAll('.task text')].filter(t => / failed/.test(t.textContent))";
    browser.shows(
        &format!("{count}.map(t => [t.textContent, getComputedStyle(t).fill === {muted}])"),
        json!([["10 failed", true]]),
    );
    assert_eq!(browser.value(&text("failed")), "10");
}

/// When nobody answers, that is what is said first, and of no task.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn no_connection_is_said_before_all_else() {
    let (greeting, name) = peers();
    let (mut process, address) = greeter(&greeting, &name);
    let browser = open(address);
    browser.click("[data-ask='10']");
    browser.shows(&text("greetings"), "10");
    process.signal(nix::sys::signal::Signal::SIGKILL);
    process.wait();
    steadily_at_50(&browser);
    browser.shows(
        "[...document.querySelectorAll('.task.silent title')].map(t => t.textContent)",
        json!(["greeter-1"]),
    );
    browser.shows(&format!("{EVENTS}[0].replace(/\\d+/, 'N')"), "no connection (N times)");
    browser.shows(&text("said"), "no connection");
    browser.shows(&events_with("longer"), json!([]));
    browser.click("#stop");
    let said = format!("{}.replace(/\\d+ failed/, 'N failed')", text("said"));
    browser.shows(&said, "no connection – 10 greetings, N failed.");
}

/// The table of counts opens and closes when the user says so, however many tasks there are.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn counts_open_and_close_as_the_user_says() {
    // From the second click on there are ten tasks of each service.
    let peer = stand_in(|number| {
        greeting_of(&["greeting", "name"], if number < 10 { 2 } else { 10 }, number)
    });
    for is_open in [true, false] {
        let browser = open(peer.address());
        browser.click("[data-ask='10']");
        browser.shows(&text("greetings"), "10");
        if !is_open {
            browser.click("summary");
        }
        browser.click("[data-ask='100']");
        browser.shows(&text("greetings"), "110");
        browser.shows("document.querySelectorAll('.task').length", 31);
        browser.shows("document.querySelector('details').open", is_open);
        browser.click("summary");
        browser.click("[data-ask='10']");
        browser.shows(&text("greetings"), "120");
        browser.shows("document.querySelector('details').open", !is_open);
    }
}

/// Numbers are in order, wherever tasks are listed.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn the_tenth_comes_after_the_ninth() {
    let peer = stand_in(|number| {
        let task = number % 10 + 1;
        let name = format!(r#""name":{{"text":"a","from":"name-1 v{task}","elapsed_us":9}}"#);
        ("200 OK", format!(r#"{{"from":"greeter-{task}",{name},"elapsed_us":9}}"#))
    });
    let browser = open(peer.address());
    browser.click("[data-ask='100']");
    browser.shows(&text("greetings"), "100");
    let mut expected: Vec<_> = (1..=10).map(|n| format!("greeter-{n}")).collect();
    expected.extend((1..=10).map(|n| format!("name-1 v{n}")));
    browser.shows(&format!("{ROWS}.map(row => row[1])"), expected);

    let peer = stand_in(|number| {
        let task = number % 10 + 1;
        let name = r#""name":{"text":"a","from":"name-1","elapsed_us":9}"#;
        ("200 OK", format!(r#"{{"from":"greeter-{task}",{name},"elapsed_us":9}}"#))
    });
    let browser = open(peer.address());
    browser.click("[data-ask='100']");
    browser.shows(&text("greetings"), "100");
    let callers: Vec<_> = (1..=10).map(|n| format!("greeter-{n} 10")).collect();
    browser.shows(&format!("{ROWS}.at(-1)[5]"), callers.join(", "));
}

/// Holds if the word can be read: WCAG's 4.5 to 1 (success criterion 1.4.3).
const CONTRAST_OF_SILENT: &str = "(() => {
    const light = (element) => {
        const part = (value) => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
        const [red, green, blue] = getComputedStyle(element).fill.match(/\\d+/g).map((n) => part(n / 255));
        return .2126 * red + .7152 * green + .0722 * blue;
    };
    const task = document.querySelector('.task.silent');
    const opaque = [task, task.parentNode].every((element) => getComputedStyle(element).opacity === '1');
    const [a, b] = ['.box', '.small'].map((which) => light(task.querySelector(which)));
    return opaque && (Math.max(a, b) + .05) / (Math.min(a, b) + .05) >= 4.5;
})()";

/// What waits for its answer, what waits to be asked, and a rate that cannot be held.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn what_waits_is_shown() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let peer = stand_in(move |number| {
        // Until the test lets all of them go.
        let _ = wait.lock().unwrap().recv();
        greeting_of(&["name"], 1, number)
    });
    let browser = open(peer.address());
    browser.click("[data-ask='10']");
    browser.shows(&text("waiting"), "4");
    browser.shows(&text("queued"), "6");
    browser.run("rate.value = 50; rate.dispatchEvent(new Event('input'))");
    browser.click("#steady");
    browser.shows(&text("perSecond"), "0 of 50");
    browser.shows("perSecond.className", "bad");
    browser.click("#stop");
    browser.shows(&text("queued"), "0");
    browser.shows(&text("perSecond"), "0");
    drop(go_on);
    browser.shows(&text("waiting"), "0");
    browser.shows(&text("greetings"), "4");
}

/// A task that is slow looks slow: here each leaf's time is its own.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn the_slow_task_is_marked() {
    let count = AtomicUsize::new(0);
    let name = Peer::start(move |_, mut stream| {
        while read_request(&mut stream).is_some() {
            let number = count.fetch_add(1, SeqCst);
            let task = number % 2 + 1;
            let is_late = task == 2 && number < 12;
            std::thread::sleep(Duration::from_millis(if is_late { 400 } else { 0 }));
            let _ = stream.write_all(&ok(&format!("Emelia (name-{task})")));
        }
    });
    let (greeting, _) = peers();
    let (_process, address) = greeter(&greeting, &name);
    let browser = open(address);
    browser.click("[data-ask='10']");
    browser.shows(&text("greetings"), "10");
    let slow = "[...document.querySelectorAll('.task:has(.slow) title')].map(t => t.textContent)";
    browser.shows(slow, json!(["name-2"]));
    browser.shows(&events_with("slow"), json!([["name-2 is slow.", ""]]));
    let p50 = "Number([...document.querySelectorAll('#counts tr')].find(\
        row => row.cells[1].textContent === 'name-2').cells[5].textContent)";
    assert!(browser.value(p50).as_f64().unwrap() >= 400.0);
    browser.click("[data-ask='100']");
    browser.shows(slow, json!([]));
    let told = json!([["name-2 is no longer slow.", ""], ["name-2 is slow.", ""]]);
    browser.shows(&events_with("slow"), told);
}

/// Three late answers do not make a slow task.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn a_task_is_not_slow_by_chance() {
    let peer = stand_in(|number| {
        let (task, late) = (number % 2 + 1, if number % 2 == 0 { 30_000 } else { 900 });
        let name = format!(r#""name":{{"text":"a","from":"name-{task}","elapsed_us":{late}}}"#);
        ("200 OK", format!(r#"{{"from":"greeter-1",{name},"elapsed_us":{late}}}"#))
    });
    let browser = open(peer.address());
    for greetings in 1..=6 {
        browser.click("[data-ask='1']");
        browser.shows(&text("greetings"), greetings.to_string());
    }
    browser.shows(&format!("{ROWS}.map(row => row[2])"), json!(["6", "3", "3"]));
    browser.shows("document.querySelectorAll('.slow').length", 0);
    browser.click("[data-ask='10']");
    browser.shows(&events_with("slow"), json!([["name-1 is slow.", ""]]));
}

/// A version has a colour, its own name's if that is one, and is counted.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn versions_have_colours_and_shares() {
    let count = AtomicUsize::new(0);
    let name = Peer::start(move |_, mut stream| {
        while read_request(&mut stream).is_some() {
            let version = ["blue", "green", "green", "green"][count.fetch_add(1, SeqCst) % 4];
            let _ = stream.write_all(&ok(&format!("Emelia (name-1 {version})")));
        }
    });
    let (greeting, _) = peers();
    let mut command = command(&greeting.url(), &name.url());
    let (_process, address) = Process::serve(command.env("VERSION", "v1.2"));
    let browser = open(address);
    browser.click("[data-ask='100']");
    browser.shows(&text("greetings"), "100");
    let headings = "[...document.querySelectorAll('.heading')].map(t => t.textContent)";
    let mut expected = vec!["greeter● v1.2 100 %", "greeting", "name● blue 25 %● green 75 %"];
    expected.extend(pair::others().map(|leaf| leaf.name));
    browser.shows(headings, expected);
    browser.shows(
        &format!("{ROWS}{OF_PAIR}"),
        json!([
            ["greeter", "greeter-1 v1.2", "100", "0", "100 %", "load balancer 100"],
            ["greeting", "greeting-1", "100", "0", "100 %", "greeter-1 100"],
            ["name", "name-1 blue", "25", "0", "25 %", "greeter-1 25"],
            ["name", "name-1 green", "75", "0", "75 %", "greeter-1 75"],
        ]),
    );
    let colours = "new Set([...document.querySelectorAll('.task .bar:not(.red)')].map(\
        bar => getComputedStyle(bar).fill)).size";
    browser.shows(colours, 3 + LEAVES.len());
    assert_eq!(browser.console(), [""; 0]);
}

/// Ten tasks of each service fit a screen; and what a page should have is there.
#[test]
#[ignore = "needs chromium and chromedriver: just browser"]
fn ten_tasks_fit_a_screen() {
    let peer = stand_in(|number| greeting_of(&["greeting", "name"], 10, number));
    let browser = open(peer.address());
    browser.resize(1280, 900);
    browser.click("[data-ask='100']");
    browser.shows(&text("greetings"), "100");
    browser.shows("document.querySelectorAll('.task').length", 31);
    browser.click("summary");
    browser.shows("document.documentElement.scrollHeight", 900);
    browser.shows("document.querySelectorAll('main').length", 1);
    browser.shows("document.querySelector('meta[name=description]').content.length > 0", true);
    // A URL's characters (RFC 3986).
    let icon = "document.querySelector('link[rel=icon]').getAttribute('href')";
    browser.shows(&format!("/^[\\w:/?#@!$&'()*+,;=.~%-]+$/.test({icon})"), true);
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
