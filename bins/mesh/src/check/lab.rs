//! The experiments that break, scale and release the last leaf, and put it back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use application::{EDGE, LEAVES, Service};
use envoy_config::policy::{EJECT_AFTER, EJECT_AT_LEAST, TEST_HEADER};
use hyper::{Request as Http, StatusCode};
use serde_json::Value;
use smol::Timer;

use super::requests::{greeting, is_flawless, json, makers, shown};
use super::table::{Miss, Outcome, Table};
use super::world::World;
use crate::control::Request;
use crate::load::{Client, Load, Target};
use crate::within::within;

/// The version that is released.
const VERSION: &str = "checked";
const NONE: &str = "none";
/// How late a slow leaf is, in milliseconds.
const LATE: u128 = 300;
/// A task that was ejected gets requests again within this: an ejection, and Envoy's next look.
const BACK: Duration = Duration::from_secs(90);
/// For whatever has changed to get requests.
const PAUSE: Duration = Duration::from_millis(500);

/// Makes them all.
///
/// # Errors
///
/// The world is not as it was started, or is not put back: one line with the remedy.
pub(super) async fn all(
    table: &mut Table,
    target: &Arc<Target>,
    world: &World,
) -> Result<(), String> {
    let lab = Lab::new(target, world).await?;
    let fault = |fault: String| Request::Fault { task: lab.first.clone(), fault };
    let well = || fault(NONE.to_owned());

    let point = "a 503 is tried again";
    lab.breaks(table, point, fault(format!("100%503,100%{LATE}ms")), lab.late(), well()).await?;
    lab.ejects(table, fault("100%500".to_owned()), well()).await?;
    lab.breaks(table, "a slow leaf", fault(format!("100%{LATE}ms")), lab.late(), well()).await?;
    let (pause, resume) = (lab.first.clone(), lab.first.clone());
    let (pause, resume) = (Request::Pause { task: pause }, Request::Resume { task: resume });
    lab.breaks(table, "a hung leaf", pause, lab.hung(), resume).await?;

    let (count, service) = (lab.tasks.len(), || lab.leaf.name.to_owned());
    let scale = |tasks: usize| Request::Scale {
        service: service(),
        tasks: u8::try_from(tasks).unwrap_or(u8::MAX),
    };
    let release = |version: &str, blue_green| Request::Release {
        service: service(),
        version: version.to_owned(),
        blue_green,
    };
    let promote = || Request::Promote { service: service() };
    let kill = vec![Request::Kill { task: lab.last.clone() }];
    table.row("a killed task under load", lab.under_load(kill, count)).await;
    lab.answers(&lab.last).await?;
    let scaled = vec![scale(count + 1), scale(count)];
    table.row("scaling under load", lab.under_load(scaled, count + 1)).await;
    let rolled = vec![release(VERSION, false), release(NONE, false)];
    table.row("a rolling release under load", lab.under_load(rolled, 2 * count)).await;
    let (green, back) = (release(VERSION, true), Request::Rollback { service: service() });
    lab.breaks(table, "the header reaches green alone", green, lab.header(), back).await?;
    // Twice, so that the tasks have their numbers again.
    let promoted = vec![release(VERSION, true), promote(), release(NONE, true), promote()];
    table.row("a blue-green release under load", lab.under_load(promoted, 2 * count)).await;
    match world.is_changed().await? {
        None => Ok(()),
        Some(task) => Err(format!("{task} is not as it was: start another mesh")),
    }
}

struct Lab<'a> {
    target: &'a Arc<Target>,
    world: &'a World,
    /// Which service is experimented with.
    leaf: Service,
    tasks: Vec<String>,
    /// How many tasks the edge has.
    edges: usize,
    first: String,
    last: String,
}

impl<'a> Lab<'a> {
    async fn new(target: &'a Arc<Target>, world: &'a World) -> Result<Self, String> {
        let leaf = LEAVES[LEAVES.len() - 1];
        let mut tasks = world.tasks().await?;
        if tasks.is_empty() {
            return Err(format!(
                "--lab needs a mesh or compose.yaml on this machine, and {target} is neither: leave it out"
            ));
        }
        let of = |service: Service| {
            move |task: &String| task.rsplit_once('-').is_some_and(|(name, _)| name == service.name)
        };
        let edges = tasks.iter().filter(|task| of(EDGE)(task)).count();
        tasks.retain(of(leaf));
        tasks.sort();
        let [first, .., last] = &tasks[..] else {
            return Err(format!("--lab needs two tasks of {}: start another mesh", leaf.name));
        };
        let (first, last) = (first.clone(), last.clone());
        match world.is_changed().await? {
            None => Ok(Self { target, world, leaf, tasks, edges, first, last }),
            Some(task) => Err(format!(
                "--lab needs a mesh as it was started, and {task} is changed: start another"
            )),
        }
    }

    fn client(&self) -> Client {
        Client::new(self.target.clone())
    }

    /// Makes an experiment with something changed, which is then changed back.
    async fn breaks(
        &self,
        table: &mut Table,
        point: &'static str,
        change: Request,
        experiment: impl Future<Output = Outcome>,
        back: Request,
    ) -> Result<(), String> {
        if let Err(miss) = self.world.ask(change).await {
            table.add(point, Err(miss));
            return Ok(());
        }
        table.row(point, experiment).await;
        self.put_back(back).await
    }

    async fn put_back(&self, back: Request) -> Result<(), String> {
        let (Ok(()) | Err(Miss::NotHere(_))) = self.world.ask(back).await else {
            return Err(format!("{} cannot be put back: start another mesh", self.first));
        };
        self.answers(&self.first).await
    }

    /// Waits until a task gets requests of every task of the edge, which an ejection may delay. So its
    /// failures before count no more.
    async fn answers(&self, task: &str) -> Result<(), String> {
        let (mut client, mut askers) = (self.client(), BTreeSet::new());
        let asked = async {
            while askers.len() < self.edges {
                match greeting(&mut client).await {
                    Ok(makers) if makers.iter().any(|maker| maker == task) => {
                        askers.extend(makers.into_iter().next());
                    }
                    _ => drop(Timer::after(PAUSE / 10).await),
                }
            }
        };
        let late = || format!("{task} gets no requests after {BACK:?}: start another mesh");
        within(BACK, asked).await.ok_or_else(late)
    }

    /// The first task is late: greetings are too, and none is lost.
    async fn late(&self) -> Outcome {
        let (mut longest, mut client) = (0, self.client());
        for _ in 0..8 {
            let start = Instant::now();
            greeting(&mut client).await?;
            longest = longest.max(start.elapsed().as_millis());
        }
        let what = format!("8 of 8 greetings, the longest took {longest} ms");
        if longest < LATE { Err(what.into()) } else { Ok(what) }
    }

    /// The first task hangs: greeter waits for it as long as it waits for any.
    async fn hung(&self) -> Outcome {
        let mut client = self.client();
        for _ in 0..8 * self.tasks.len() {
            let start = Instant::now();
            let answer = client.exchange(json(self.target)).await?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::GATEWAY_TIMEOUT => {
                    return Ok(format!("504 after {:.1} s", start.elapsed().as_secs_f64()));
                }
                _ => return Err(shown(&answer).into()),
            }
        }
        Err("no greeting waits for it".to_owned().into())
    }

    /// The first task answers 500, until it is ejected, and again when it is back: three rows.
    async fn ejects(
        &self,
        table: &mut Table,
        change: Request,
        back: Request,
    ) -> Result<(), String> {
        let mut last = Instant::now();
        let mut failed = Err(Miss::NotHere("nothing failed".to_owned()));
        let fails = async {
            self.world.ask(change).await?;
            let found = self.failures(&mut last).await?;
            let all: u32 = found.values().sum();
            failed = ejected(&found);
            match all {
                0 => Err("no greeting fails".to_owned().into()),
                _ => Ok(format!("502, {all} times")),
            }
        };
        table.row("a 500 is not tried again", fails).await;
        let is_ejected = failed.is_ok();
        table.add("failures in a row eject", failed);
        let returns = async {
            let (mut client, mut status) = (self.client(), StatusCode::OK);
            while is_ejected && status == StatusCode::OK {
                Timer::after(PAUSE / 10).await;
                status = client.exchange(json(self.target)).await?.status();
            }
            let what =
                format!("it gets requests again after {:.0} s", last.elapsed().as_secs_f64());
            // A greeting's time less: its failure was earlier than its answer.
            let is_early = last.elapsed() + PAUSE < EJECT_AT_LEAST;
            if is_early { Err(what.into()) } else { Ok(what) }
        };
        table.row("an ejection lasts 30 s", returns).await;
        self.put_back(back).await
    }

    /// How many greetings of each task of the edge fail until no more do; and when the last one did.
    async fn failures(&self, last: &mut Instant) -> Result<BTreeMap<String, u32>, Miss> {
        let (mut failed, mut greeted, mut client) = (BTreeMap::new(), 0, self.client());
        while greeted < 20 * self.tasks.len() {
            let answer = client.exchange(json(self.target)).await?;
            match answer.status() {
                StatusCode::OK => greeted += 1,
                StatusCode::BAD_GATEWAY => {
                    let failure: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
                    let from = failure["from"].as_str().unwrap_or_default().to_owned();
                    *failed.entry(from).or_insert(0) += 1;
                    (greeted, *last) = (0, Instant::now());
                    if failed.values().sum::<u32>() > 100 {
                        return Err("nobody ejects it".to_owned().into());
                    }
                }
                _ => return Err(shown(&answer).into()),
            }
        }
        Ok(failed)
    }

    /// Changes under load, of which no greeting may be lost, and of which so many different tasks of
    /// the leaf come to answer.
    async fn under_load(&self, changes: Vec<Request>, tasks: usize) -> Outcome {
        let load = Load::start(self.target, 8, 100, Duration::from_mins(3));
        Timer::after(PAUSE).await;
        for change in changes {
            self.world.ask(change).await?;
            Timer::after(PAUSE).await;
        }
        let report = load.stop().await;
        let report = report.lock();
        let what = is_flawless(&report)?;
        match report.answered().last().map_or(0, BTreeMap::len) {
            found if found == tasks => Ok(what),
            found => Err(format!("{what}, of {found} tasks, not {tasks}").into()),
        }
    }

    async fn header(&self) -> Outcome {
        let mut client = self.client();
        for _ in 0..20 {
            for is_test in [true, false] {
                let mut request = Http::get(&self.target.path);
                if is_test {
                    request = request.header(TEST_HEADER, "1");
                }
                let answer = client.exchange(request).await?;
                let line = String::from_utf8_lossy(answer.body());
                let is_green = makers(&line)?.last().is_some_and(|who| who.ends_with(VERSION));
                if is_green != is_test {
                    return Err(format!("with the header {is_test}: {line}").into());
                }
            }
        }
        Ok("20 with it green, 20 without it not".to_owned())
    }
}

/// Whose proxies ejected a task after how many failures.
fn ejected(failed: &BTreeMap<String, u32>) -> Outcome {
    let edge = EDGE.name;
    if !failed.is_empty() && failed.values().all(|&count| count == EJECT_AFTER) {
        Ok(format!("{EJECT_AFTER}, for each {edge} by itself"))
    } else if failed.values().sum::<u32>() == EJECT_AFTER {
        Ok(format!("{EJECT_AFTER}, for every {edge} together"))
    } else {
        Err(format!("not {EJECT_AFTER}, but {failed:?}").into())
    }
}
