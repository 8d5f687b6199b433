//! Joins spans to traces, and keeps those: all of them within bounds.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use smol::Timer;

use super::span::{Context, Place, Span};
use super::waterfall::waterfall;
use crate::within::within;

/// How many traces are kept, the last that came.
const LAST: usize = 1000;
/// How many of the slowest are kept of each minute, and how many of the failed.
const OF_A_MINUTE: usize = 10;
/// How many such minutes are kept.
const MINUTES: usize = 60;
/// A trace is complete so long after its root came: ten times what an Envoy waits before it sends a
/// span, because it may be short of CPU.
const SETTLE: Duration = envoy_config::SPANS_WITHIN.saturating_mul(10);
/// How long a span may wait for its root, at least. No request takes longer.
const GENERATION: Duration = Duration::from_secs(20);
/// How many spans may wait in a generation, some 12 MB. The oldest go first.
const MAX_WAITING: usize = 64 * 1024;
/// How many spans a trace may have. With two leaves, each tried three times, it has 24.
const MAX_SPANS: usize = 256;
/// How long the next request is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// The spans in order, each before its children. Those that are shown have a depth, from 0. A hop
/// between two proxies has a span of each, and only the first is shown.
pub(crate) type Trace = Vec<(Option<usize>, Span)>;

/// Which traces are meant.
#[derive(Clone, Copy)]
pub(crate) struct Which {
    /// Only failed ones.
    pub(crate) failed: bool,
    /// The slowest so many; else the last of the failed.
    pub(crate) slowest: Option<u16>,
}

/// All traces of a mesh.
#[derive(Default)]
pub(crate) struct Traces(Mutex<State>);

#[derive(Default)]
struct State {
    /// The spans that have come before their root, by their parents': the last generation, and the
    /// one before.
    waiting: [Generation; 2],
    /// The roots that wait for the rest, and since when.
    roots: VecDeque<(Instant, Span)>,
    last: VecDeque<Arc<Trace>>,
    minutes: VecDeque<Minute>,
}

#[derive(Default)]
struct Generation {
    since: Option<Instant>,
    count: usize,
    spans: HashMap<Context, Vec<Span>>,
}

struct Minute {
    since: Instant,
    slowest: Vec<Arc<Trace>>,
    failed: VecDeque<Arc<Trace>>,
}

impl Traces {
    /// Takes a span in.
    pub(crate) fn add(&self, span: Span) {
        let (mut state, now) = (self.0.lock(), Instant::now());
        state.settle(now);
        if span.is_root() {
            // As many as can come in a second are fewer.
            if state.roots.len() < MAX_WAITING {
                state.roots.push_back((now, span));
            }
        } else if let Some(parent) = span.parent {
            let since = *state.waiting[0].since.get_or_insert(now);
            if now.duration_since(since) > GENERATION || state.waiting[0].count >= MAX_WAITING {
                state.waiting.swap(0, 1);
                state.waiting[0] = Generation { since: Some(now), ..Generation::default() };
            }
            let parent = Context { span: parent, ..span.context };
            state.waiting[0].count += 1;
            state.waiting[0].spans.entry(parent).or_default().push(span);
        }
    }

    /// The next request's, as text or JSON.
    ///
    /// # Errors
    ///
    /// None comes in time.
    pub(crate) async fn next(&self, json: bool) -> Result<String, String> {
        let asked = micros(SystemTime::now());
        let next = async {
            loop {
                if let Some(trace) = self.find(|trace| trace[0].1.start >= asked) {
                    return shown(&[trace], json);
                }
                Timer::after(LOOK).await;
            }
        };
        let none = format!("no request came within {PATIENCE:?}: send one after this command");
        within(PATIENCE, next).await.unwrap_or(Err(none))
    }

    fn find(&self, wanted: impl Fn(&Trace) -> bool) -> Option<Arc<Trace>> {
        let mut state = self.0.lock();
        state.settle(Instant::now());
        state.last.iter().find(|trace| wanted(trace)).cloned()
    }

    /// Waits until what has come by now is complete.
    pub(crate) async fn settled(&self) {
        Timer::after(SETTLE + envoy_config::SPANS_WITHIN).await;
    }

    /// Those that are meant, of all that are kept, as text or JSON.
    ///
    /// # Errors
    ///
    /// None that is known: they can be written as JSON.
    pub(crate) fn kept(&self, which: Which, json: bool) -> Result<String, String> {
        let mut state = self.0.lock();
        state.settle(Instant::now());
        let of_minutes =
            state.minutes.iter().flat_map(|minute| minute.slowest.iter().chain(&minute.failed));
        // Once each, in the order in which they came.
        let kept = of_minutes.chain(&state.last).map(|trace| {
            let root = &trace[0].1;
            ((root.start, root.context), trace)
        });
        let kept: BTreeMap<_, _> = kept.collect();
        let meant = kept.into_values().rev().filter(|t| !which.failed || t[0].1.has_failed());
        let mut meant: Vec<_> = meant.cloned().collect();
        drop(state);
        if which.slowest.is_some() {
            meant.sort_by_key(|trace| std::cmp::Reverse(trace[0].1.duration));
        }
        meant.truncate(which.slowest.map_or(OF_A_MINUTE, usize::from));
        match (meant.is_empty(), which.failed) {
            (true, true) if !json => Ok("no request has failed".to_owned()),
            (true, false) if !json => Ok("no request has come yet".to_owned()),
            _ => shown(&meant, json),
        }
    }
}

fn shown(traces: &[Arc<Trace>], json: bool) -> Result<String, String> {
    if !json {
        return Ok(traces.iter().map(|trace| waterfall(trace)).collect::<Vec<_>>().join("\n"));
    }
    let spans = |trace: &Arc<Trace>| trace.iter().map(|(_, span)| span.clone()).collect::<Vec<_>>();
    let traces: Vec<_> = traces.iter().map(spans).collect();
    serde_json::to_string(&traces).map_err(|error| error.to_string())
}

impl State {
    /// Joins the traces that are complete now.
    fn settle(&mut self, now: Instant) {
        while let Some((since, _)) = self.roots.front()
            && now.duration_since(*since) >= SETTLE
            && let Some((since, root)) = self.roots.pop_front()
        {
            let mut trace = Vec::new();
            self.gather(root, 0, true, &mut trace);
            self.keep(Arc::new(trace), since);
        }
    }

    /// Appends a span and all below it.
    fn gather(&mut self, span: Span, depth: usize, is_shown: bool, trace: &mut Trace) {
        let below = self.waiting.iter_mut().filter_map(|generation| {
            let children = generation.spans.remove(&span.context)?;
            generation.count -= children.len();
            Some(children)
        });
        let mut below: Vec<_> = below.flatten().collect();
        // Calls in the order of a greeting, whichever was first; attempts in the order of time.
        let turn = |service| application::SERVICES.iter().position(|other| *other == service);
        below.sort_by_key(|child| (child.place.service().map(turn), child.start));
        let place = span.place.clone();
        trace.push((is_shown.then_some(depth), span));
        for mut child in below {
            if let (Place::Application, Place::Sidecar(task)) = (&child.place, &place) {
                child.place = Place::Task(*task);
            }
            // Which also bounds how deep this goes.
            if trace.len() < MAX_SPANS {
                let is_shown = child.place != place;
                self.gather(child, depth + usize::from(is_shown), is_shown, trace);
            }
        }
    }

    fn keep(&mut self, trace: Arc<Trace>, came: Instant) {
        let minute = Duration::from_mins(1);
        if self.minutes.back().is_none_or(|last| came.duration_since(last.since) >= minute) {
            let [slowest, failed] = [(); 2].map(|()| Vec::new());
            self.minutes.push_back(Minute { since: came, slowest, failed: failed.into() });
        }
        if self.minutes.len() > MINUTES {
            self.minutes.pop_front();
        }
        if let Some(minute) = self.minutes.back_mut() {
            minute.slowest.push(trace.clone());
            minute.slowest.sort_by_key(|trace| std::cmp::Reverse(trace[0].1.duration));
            minute.slowest.truncate(OF_A_MINUTE);
            if trace[0].1.has_failed() {
                minute.failed.push_back(trace.clone());
            }
            if minute.failed.len() > OF_A_MINUTE {
                minute.failed.pop_front();
            }
        }
        self.last.push_back(trace);
        if self.last.len() > LAST {
            self.last.pop_front();
        }
    }
}

/// A time as spans have it.
pub(crate) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::span::{Kind, Place};
    use super::*;

    fn span(id: u64, parent: Option<u64>) -> Span {
        let place = parent.map_or(Place::front("GET", "/"), |_| Place::Proxy(application::EDGE));
        let context = Context { trace: 7, span: id };
        Span { context, parent, kind: Kind::Server, place, start: id, duration: 1, status: 200 }
    }

    #[test]
    fn the_last_and_the_slowest_and_the_failed_of_each_minute_are_kept_and_no_more() {
        let (traces, start) = (Traces::default(), Instant::now());
        for id in 0..30_000 {
            let mut root = span(id, None);
            root.duration += u64::from(id == 3);
            root.status += if id % 100 == 5 { 303 } else { 0 };
            let came = start + Duration::from_millis(200 * id);
            let mut state = traces.0.lock();
            state.roots.push_back((came, root));
            state.settle(came + SETTLE);
        }
        let found = |failed, slowest| {
            let traces = traces.kept(Which { failed, slowest }, true).unwrap();
            let traces: Vec<Vec<serde_json::Value>> = serde_json::from_str(&traces).unwrap();
            traces.iter().map(|trace| trace[0]["timestamp"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        // The first minute of 100 is forgotten.
        assert!(!found(false, Some(u16::MAX)).contains(&3));
        assert_eq!(found(true, None)[..2], [29_905, 29_805]);
        assert_eq!(found(true, Some(u16::MAX)).len(), 3 * MINUTES);
        // Half of a thousand's are in the minutes, too.
        let all = found(false, Some(u16::MAX)).len();
        assert!((LAST..=LAST + 2 * OF_A_MINUTE * MINUTES).contains(&all), "{all}");
    }

    #[test]
    fn spans_without_end_do_not_take_memory_without_end() {
        let mut state = Traces::default();
        for id in 1..3 * MAX_WAITING as u64 {
            // A chain, as deep as it is long.
            state.add(span(id, Some(id - 1)));
        }
        let state = state.0.get_mut();
        let waiting = state.waiting.iter().map(|its| its.spans.len()).sum::<usize>();
        assert!(waiting <= 2 * MAX_WAITING, "{waiting}");
        let first = state.waiting[1].spans.keys().map(|context| context.span).min().unwrap();
        let mut trace = Vec::new();
        state.gather(span(first, None), 0, true, &mut trace);
        assert_eq!(trace.len(), MAX_SPANS);
    }
}
