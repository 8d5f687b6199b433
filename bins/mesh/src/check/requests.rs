//! The experiments that only ask: the tutorial's greetings, and what HTTP clients do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use application::{EDGE, LEAVES};
use hyper::body::Bytes;
use hyper::http::request::Builder;
use hyper::{Request, Response, StatusCode, Version, header};
use serde::Deserialize;
use smol::Timer;

use super::table::{Miss, Outcome, Table};
use super::world::World;
use crate::load::{Client, Load, Report, Target, responders};

/// What a browser sends behind a load balancer, besides Accept and Host.
const BROWSER: &str = "sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-ch-ua-arch sec-ch-ua-model \
    sec-ch-ua-bitness sec-ch-prefers-color-scheme sec-fetch-site sec-fetch-mode sec-fetch-user \
    sec-fetch-dest sec-gpc dnt priority pragma cache-control upgrade-insecure-requests user-agent \
    accept-language referer cookie";

/// Makes them all.
///
/// # Errors
///
/// The mesh no longer says which tasks it has.
pub(super) async fn all(
    table: &mut Table,
    target: &Arc<Target>,
    world: &World,
) -> Result<(), String> {
    let tasks = world.tasks().await?;
    table.row("ten greetings", ten_greetings(target)).await;
    // As many as a person's clicks, and over in two seconds.
    let many = Load::start(target, 16, 100, Duration::from_secs(2)).wait().await;
    table.add("many connections", is_flawless(&many.lock()));
    table.add("every task answers", every_task(many.lock().answered(), &tasks));
    table.add("evenness", evenness(many.lock().answered()));
    let edges = many.lock().answered().first().map_or(0, BTreeMap::len);
    table.row("one connection", one_connection(target, edges)).await;
    table.row("keep-alive", keep_alive(target)).await;
    table.row("HEAD", head(target)).await;
    let get = || Request::get(&target.path);
    let page = get().header(header::ACCEPT, "text/html");
    // Apache's HttpClient offers it with every request.
    let upgrade = get().header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "TLS/1.2");
    for (point, request, expected) in [
        ("another method", Request::post(&target.path), "405, Allow: GET, HEAD, OPTIONS"),
        ("/health", Request::get("/health"), "200, ok"),
        (
            "a browser's headers",
            BROWSER.split(' ').fold(page, |request, name| request.header(name, "x")),
            "200, the page",
        ),
        ("Upgrade: TLS/1.2", upgrade, "200, a greeting"),
        ("HTTP/1.0", get().version(Version::HTTP_10), "200, a greeting"),
        ("JSON", json(target), "200, a greeting as docs/openapi.json has it"),
    ] {
        table.row(point, one(target, request, expected)).await;
    }
    Ok(())
}

async fn ten_greetings(target: &Arc<Target>) -> Outcome {
    for _ in 0..10 {
        greeting(&mut Client::new(target.clone())).await?;
    }
    Ok("10 of 10, a connection each".to_owned())
}

/// Who made a greeting: of the edge, and of each leaf.
pub(super) async fn greeting(client: &mut Client) -> Result<Vec<String>, Miss> {
    makers(&client.greeting().await?)
}

pub(super) fn makers(line: &str) -> Result<Vec<String>, Miss> {
    let all = responders(line).filter(|makers| makers.len() == 1 + LEAVES.len());
    all.ok_or_else(|| format!("no greeting: {line:.200}").into())
}

/// Whether all requests of a load got a greeting.
pub(super) fn is_flawless(report: &Report) -> Outcome {
    match report.errors() {
        0 => Ok(format!("{} greetings, none failed", report.greetings())),
        _ => Err(format!("{} greetings; failed: {}", report.greetings(), report.failures()).into()),
    }
}

/// What each service has: its name, and how often each of its tasks answered.
fn services(
    answered: &[BTreeMap<String, u64>],
) -> impl Iterator<Item = (&str, &BTreeMap<String, u64>)> {
    std::iter::once(&EDGE).chain(LEAVES).map(|service| service.name).zip(answered)
}

fn every_task(answered: &[BTreeMap<String, u64>], expected: &[String]) -> Outcome {
    // Behind its name it has its version.
    let names = || answered.iter().flat_map(BTreeMap::keys).filter_map(|who| who.split(' ').next());
    match expected.iter().find(|task| !names().any(|name| name == *task)) {
        Some(silent) => Err(format!("{silent} does not answer").into()),
        None if answered.is_empty() => Err("nobody answers".to_owned().into()),
        None => {
            let counts = services(answered).map(|(name, tasks)| format!("{} {name}", tasks.len()));
            Ok(counts.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The chance that tasks which are drawn by lot, all with the same chance, are found uneven.
const FALSE_ALARM: f64 = 1e-6;

/// Hoeffding's bound for a sum of `n` draws: it is further than t from what is expected with a chance of
/// 2 exp(-2 t² / n) at most; here for any of all tasks. Turns are more even than lots.
fn evenness(answered: &[BTreeMap<String, u64>]) -> Outcome {
    let real = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let tasks = answered.iter().map(BTreeMap::len).sum::<usize>() as u64;
    let (mut counts, mut is_even, mut allowed) = (Vec::new(), tasks > 0, 0.0);
    for (name, tasks_of) in services(answered) {
        let of_each: Vec<_> = tasks_of.values().map(u64::to_string).collect();
        counts.push(format!("{name} {}", of_each.join("/")));
        let all = real(tasks_of.values().sum());
        let expected = all / real(tasks_of.len() as u64);
        allowed = (all / 2.0 * (2.0 * real(tasks) / FALSE_ALARM).ln()).sqrt();
        is_even &= tasks_of.values().all(|&count| (real(count) - expected).abs() <= allowed);
    }
    let what = format!("{}; chance allows {allowed:.0} more or less", counts.join(", "));
    if is_even { Ok(what) } else { Err(what.into()) }
}

/// Requests are balanced, not connections: those of one go to several tasks of the edge, if it has some.
async fn one_connection(target: &Arc<Target>, edges: usize) -> Outcome {
    let (mut client, mut counts) = (Client::new(target.clone()), BTreeMap::new());
    for _ in 0..40 {
        let edge = greeting(&mut client).await?.swap_remove(0);
        *counts.entry(edge).or_insert(0) += 1;
    }
    let of_each: Vec<_> = counts.values().map(i32::to_string).collect();
    let what = format!("40 greetings, {} {}", EDGE.name, of_each.join("/"));
    match client.opened {
        1 if counts.len() > 1 || edges <= 1 => Ok(what),
        opened => Err(format!("{what}, {opened} connections").into()),
    }
}

async fn keep_alive(target: &Arc<Target>) -> Outcome {
    let mut client = Client::new(target.clone());
    greeting(&mut client).await?;
    Timer::after(Duration::from_secs(1)).await;
    greeting(&mut client).await?;
    expect(client.opened == 1, "used again after 1 s", || "closed within 1 s".to_owned())
}

async fn head(target: &Arc<Target>) -> Outcome {
    let mut client = Client::new(target.clone());
    let answer = client.exchange(Request::head(&target.path)).await?;
    // What is behind it is the next answer, and no body.
    greeting(&mut client).await?;
    let length = field(&answer, header::CONTENT_LENGTH).parse().unwrap_or(0);
    let is_so = answer.status() == StatusCode::OK && length > 0 && client.opened == 1;
    expect(is_so, "200, a length, no body", || shown(&answer))
}

async fn one(target: &Arc<Target>, request: Builder, expected: &str) -> Outcome {
    let answer = Client::new(target.clone()).exchange(request).await?;
    let found = shown(&answer);
    expect(found == expected, expected, || found)
}

/// Asks for JSON.
pub(super) fn json(target: &Target) -> Builder {
    Request::get(&target.path).header(header::ACCEPT, "application/json")
}

fn expect(is_so: bool, what: &str, otherwise: impl FnOnce() -> String) -> Outcome {
    if is_so { Ok(what.to_owned()) } else { Err(otherwise().into()) }
}

fn field(answer: &Response<Bytes>, name: header::HeaderName) -> &str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What came, in words.
pub(super) fn shown(answer: &Response<Bytes>) -> String {
    let body = String::from_utf8_lossy(answer.body());
    let what = match field(answer, header::CONTENT_TYPE) {
        _ if answer.status() == StatusCode::METHOD_NOT_ALLOWED => {
            format!("Allow: {}", field(answer, header::ALLOW))
        }
        "text/html; charset=utf-8" => "the page".to_owned(),
        "application/json" if is_greeting(&body) => "a greeting as docs/openapi.json has it".into(),
        _ if makers(&body).is_ok() => "a greeting".to_owned(),
        _ => format!("{body:.100}"),
    };
    format!("{}, {what}", answer.status().as_u16())
}

/// Whether it is one in JSON, with what each leaf said.
fn is_greeting(body: &str) -> bool {
    let greeting: Option<Greeting> = serde_json::from_str(body).ok();
    greeting.is_some_and(|it| LEAVES.iter().all(|leaf| it.said.contains_key(leaf.name)))
}

/// A greeting in JSON, as the schema `Greeting` of docs/openapi.json has it.
#[derive(Deserialize)]
#[expect(dead_code, reason = "what is required")]
struct Greeting {
    from: String,
    elapsed_us: u64,
    #[serde(flatten)]
    said: BTreeMap<String, Said>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what is required")]
struct Said {
    text: String,
    // Without it a missing one would be null.
    #[serde(deserialize_with = "Option::deserialize")]
    from: Option<String>,
    elapsed_us: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answered(counts: &[[u64; 2]]) -> Vec<BTreeMap<String, u64>> {
        let of = |counts: &[u64; 2]| {
            (1..).map(|n| format!("t-{n}")).zip(counts.iter().copied()).collect()
        };
        counts.iter().map(of).collect()
    }

    #[test]
    fn what_chance_makes_of_equal_tasks_is_even_and_what_it_does_not_is_not() {
        // Of 200 draws, 40.4 for six tasks.
        for (one, is_even) in [(100, true), (60, true), (140, true), (59, false), (141, false)] {
            let answered = answered(&[[100, 100], [100, 100], [one, 200 - one]]);
            assert_eq!(evenness(&answered).is_ok(), is_even, "{one} of 200");
        }
        assert!(evenness(&[]).is_err(), "nobody answered");
    }

    /// The document's own example, without each field that it requires, and with one that it does not know.
    #[test]
    fn a_greeting_is_what_the_document_says() {
        let document: Value =
            serde_json::from_str(include_str!("../../../../docs/openapi.json")).unwrap();
        let schemas = &document["components"]["schemas"];
        let mut example = schemas["Greeting"]["examples"][0].clone();
        for leaf in LEAVES {
            // The document does not know one that has been added.
            let said = example["name"].clone();
            example.as_object_mut().unwrap().entry(leaf.name).or_insert(said);
        }
        let is_one = |value: &Value| is_greeting(&value.to_string());
        assert!(is_one(&example));
        for (schema, place) in [("Greeting", ""), ("Said", "/name")] {
            for field in schemas[schema]["required"].as_array().unwrap() {
                let mut without = example.clone();
                let object = without.pointer_mut(place).unwrap().as_object_mut().unwrap();
                object.remove(field.as_str().unwrap()).unwrap();
                assert!(!is_one(&without), "without {place}/{field}");
            }
        }
        let mut other = example.clone();
        other["name"]["other"] = json!(1);
        assert!(!is_one(&other));
        let mut nobody = example.clone();
        nobody["name"]["from"] = json!(null);
        assert!(is_one(&nobody));
    }
}
