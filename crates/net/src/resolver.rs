//! Resolves a host name on separate threads, because getaddrinfo(3) would block the worker.
//!
//! A look-up queries IPv6 and IPv4, each on a thread; the first good answer is enough to continue. A
//! query without an answer is sent again after [`limits::QUERY_RETRY`]: a packet may be lost, and musl
//! would retry too late for the caller.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use may::coroutine::{self, Coroutine};
use parking_lot::{Mutex, MutexGuard};

use crate::deadline::Deadlines;
use crate::limits;
use crate::lookup::{self, Family, NotFound};

/// The function that queries the system; tests replace it.
pub type LookUp = fn(&str, u16, Family) -> Result<Vec<SocketAddr>, NotFound>;

/// The addresses of one host.
#[derive(Debug)]
pub struct Resolver {
    host: String,
    port: u16,
    /// The host is an IP address, which needs no look-up.
    is_address: bool,
    look_up: LookUp,
    state: Mutex<State>,
}

/// Why there are no addresses.
#[derive(Debug)]
pub enum ResolveError {
    /// The look-up of this host took too long.
    TimedOut(String),
    /// The look-up of this host failed.
    Failed(String, NotFound),
}

impl ResolveError {
    /// Whether this is a timeout, here or in the system.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Failed(_, NotFound::NoAnswer))
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(host) => write!(f, "looking up {host} takes too long"),
            Self::Failed(host, why) => write!(f, "cannot look up {host}: {why}"),
        }
    }
}

impl std::error::Error for ResolveError {}

#[derive(Debug, Default)]
struct State {
    /// The addresses found last, which are used until newer ones are found.
    addresses: Option<Arc<[SocketAddr]>>,
    /// The latest look-up's queries, in the order of [`FAMILIES`].
    queries: [Query; 2],
    /// The number of the latest look-up.
    look_up: u64,
    /// When that one began.
    began: Option<Instant>,
    /// When it got its first good answer.
    found: Option<Instant>,
    /// When the last look-up began because all addresses had failed.
    unscheduled: Option<Instant>,
    /// The coroutines that are parked until there is an answer, each with the id of its deadline.
    waiting: Vec<(u64, Coroutine)>,
}

const FAMILIES: [Family; 2] = [Family::V6, Family::V4];

#[derive(Debug, Default)]
struct Query {
    /// The addresses of this family that were found last.
    addresses: Vec<SocketAddr>,
    /// The result in the latest look-up; `None` while there is none.
    answer: Option<Result<(), NotFound>>,
    /// When the query was sent last.
    sent: Option<Instant>,
    /// How many threads wait for an answer to the latest look-up.
    open: u32,
    /// How many wait for an answer to any look-up: a finished one leaves its threads behind. At most
    /// [`limits::MAX_QUERIES`], so that a name server that hangs costs no more threads.
    in_flight: u32,
}

impl State {
    /// Whether the latest look-up has ended, if there was one. Once one family is resolved, the other
    /// has [`limits::RESOLUTION_DELAY`] left.
    fn has_ended(&self, now: Instant) -> bool {
        let waited = |at: Instant| now.saturating_duration_since(at) >= limits::RESOLUTION_DELAY;
        self.began.is_none()
            || self.queries.iter().all(|query| query.answer.is_some())
            || self.found.is_some_and(waited)
    }

    /// Whether it is time for another look-up.
    fn is_due(&self, now: Instant) -> bool {
        let rest =
            if self.addresses.is_some() { limits::ADDRESS_TTL } else { limits::LOOKUP_INTERVAL };
        self.began.is_none_or(|at| now.saturating_duration_since(at) >= rest)
    }

    /// The known addresses that are not among these.
    fn others_than(&self, tried: &[SocketAddr]) -> Vec<SocketAddr> {
        let known = self.addresses.as_deref().unwrap_or_default();
        known.iter().filter(|address| !tried.contains(address)).copied().collect()
    }

    /// Why the latest look-up failed: IPv4's error, unless that is only that there is no address.
    fn failure(&self) -> NotFound {
        let [v6, v4] = &self.queries;
        match (&v4.answer, &v6.answer) {
            (Some(Err(NotFound::NoAddress)), Some(Err(why))) | (Some(Err(why)), _) => why.clone(),
            _ => NotFound::NoAnswer,
        }
    }

    /// Takes over the results of the latest look-up so far. A family without a result keeps its old
    /// addresses, unless it is certain that there are none.
    fn take_over(&mut self) {
        if !self.queries.iter().any(|query| matches!(query.answer, Some(Ok(())))) {
            return;
        }
        for query in &mut self.queries {
            if let Some(Err(why)) = &query.answer
                && why.is_certain()
            {
                query.addresses.clear();
            }
        }
        // Interleaved, so that many unreachable addresses of one family do not delay the other.
        let longest = self.queries.iter().map(|query| query.addresses.len()).max();
        let mut addresses = Vec::new();
        for place in 0..longest.unwrap_or_default() {
            addresses.extend(self.queries.iter().filter_map(|q| q.addresses.get(place)));
        }
        self.addresses = Some(addresses.into());
    }
}

impl Resolver {
    /// Finds the addresses of `host`, with this port. An IPv6 address may stand in brackets, as
    /// in a URL.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Arc<Self> {
        Self::with(host, port, lookup::look_up)
    }

    /// The same, with a replacement for the system's resolver.
    #[must_use]
    pub fn with(host: &str, port: u16, look_up: LookUp) -> Arc<Self> {
        let host = host.trim_matches(['[', ']']).to_owned();
        let addresses: Option<Arc<[_]>> =
            host.parse::<IpAddr>().ok().map(|ip| Arc::from([SocketAddr::new(ip, port)]));
        let is_address = addresses.is_some();
        let state = State { addresses, ..State::default() };
        Arc::new(Self { host, port, is_address, look_up, state: Mutex::new(state) })
    }

    /// Returns the addresses, at least one. Waits only while none are known, and until `end` at the
    /// latest. Call it inside a coroutine.
    ///
    /// # Errors
    ///
    /// The look-up has not ended by `end`, or it failed, at most [`limits::LOOKUP_INTERVAL`] ago.
    pub fn resolve(
        self: &Arc<Self>,
        deadlines: &Deadlines,
        end: Instant,
    ) -> Result<Arc<[SocketAddr]>, ResolveError> {
        let mut state = self.state.lock();
        let now = Instant::now();
        if !self.is_address && state.has_ended(now) && state.is_due(now) {
            self.begin(&mut state, now);
        }
        let state = self.wait(state, deadlines, end, |state| state.addresses.is_some());
        if let Some(addresses) = &state.addresses {
            return Ok(addresses.clone());
        }
        let host = self.host.clone();
        Err(if state.has_ended(Instant::now()) {
            ResolveError::Failed(host, state.failure())
        } else {
            ResolveError::TimedOut(host)
        })
    }

    /// Returns other addresses than these, which all failed. If none is known, it looks the host up
    /// again, at most once in [`limits::LOOKUP_INTERVAL`], and waits until `end` at the latest. Call it
    /// inside a coroutine.
    pub(crate) fn resolve_others(
        self: &Arc<Self>,
        tried: &[SocketAddr],
        deadlines: &Deadlines,
        end: Instant,
    ) -> Vec<SocketAddr> {
        if self.is_address {
            return Vec::new();
        }
        let mut state = self.state.lock();
        let now = Instant::now();
        let rested = |at: Instant| now.saturating_duration_since(at) >= limits::LOOKUP_INTERVAL;
        let may_look = state.has_ended(now) && state.unscheduled.is_none_or(rested);
        if may_look && state.others_than(tried).is_empty() {
            state.unscheduled = Some(now);
            self.begin(&mut state, now);
        }
        self.wait(state, deadlines, end, |state| !state.others_than(tried).is_empty())
            .others_than(tried)
    }

    /// Begins a look-up.
    fn begin(self: &Arc<Self>, state: &mut State, now: Instant) {
        state.look_up += 1;
        (state.began, state.found) = (Some(now), None);
        for family in FAMILIES {
            let query = &mut state.queries[family as usize];
            (query.answer, query.open) = (None, 0);
            self.send_query(state, family, now);
        }
    }

    /// Sends a query on a thread of its own.
    fn send_query(self: &Arc<Self>, state: &mut State, family: Family, now: Instant) {
        let look_up = state.look_up;
        let query = &mut state.queries[family as usize];
        let failed = if query.in_flight < limits::MAX_QUERIES {
            let this = self.clone();
            let asks = move || {
                let found = (this.look_up)(&this.host, this.port, family);
                this.answered(family, look_up, found);
            };
            match thread::Builder::new().spawn(asks) {
                Ok(_) => {
                    query.sent = Some(now);
                    query.open += 1;
                    query.in_flight += 1;
                    return;
                }
                Err(error) => NotFound::Failed(error.to_string()),
            }
        } else {
            NotFound::NoAnswer
        };
        if query.open == 0 {
            query.answer = Some(Err(failed));
        }
    }

    /// Handles the answer to a query of this look-up.
    fn answered(&self, family: Family, look_up: u64, found: Result<Vec<SocketAddr>, NotFound>) {
        let mut state = self.state.lock();
        let is_latest = look_up == state.look_up;
        let query = &mut state.queries[family as usize];
        query.in_flight -= 1;
        if !is_latest {
            return;
        }
        query.open -= 1;
        if query.answer.is_some() {
            return; // a retry of the query was answered before
        }
        match found {
            Ok(addresses) => {
                query.addresses = addresses;
                query.answer = Some(Ok(()));
                state.found.get_or_insert_with(Instant::now);
            }
            // Another packet may still bring an answer.
            Err(why) if !why.is_certain() && query.open > 0 => return,
            Err(why) => query.answer = Some(Err(why)),
        }
        state.take_over();
        for (_, waiting) in std::mem::take(&mut state.waiting) {
            waiting.unpark();
        }
    }

    /// Waits until `enough` is true or the look-up has ended, and until `end` at the latest. Retries
    /// queries without an answer.
    fn wait<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        deadlines: &Deadlines,
        end: Instant,
        enough: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let mut now = Instant::now();
        if enough(&state) || state.has_ended(now) {
            return state;
        }
        let deadline = deadlines.watch_this();
        while now < end && !enough(&state) && !state.has_ended(now) {
            for family in FAMILIES {
                let query = &state.queries[family as usize];
                let waited = |at: Instant| now.saturating_duration_since(at) >= limits::QUERY_RETRY;
                if query.answer.is_none()
                    && query.in_flight < limits::MAX_QUERIES
                    && query.sent.is_none_or(waited)
                {
                    self.send_query(&mut state, family, now);
                }
            }
            let next =
                state.found.map_or(now + limits::QUERY_RETRY, |at| at + limits::RESOLUTION_DELAY);
            deadline.set(next.min(end));
            state.waiting.push((deadline.id(), coroutine::current()));
            drop(state);
            coroutine::park();
            state = self.state.lock();
            state.waiting.retain(|(id, _)| *id != deadline.id());
            now = Instant::now();
        }
        state
    }

    /// Knows these addresses of `host`, for as long as they are fresh.
    #[cfg(test)]
    pub(crate) fn knowing(host: &str, addresses: &[SocketAddr], look_up: LookUp) -> Arc<Self> {
        let resolver = Self::with(host, 80, look_up);
        let mut state = resolver.state.lock();
        (state.addresses, state.began) = (Some(addresses.into()), Some(Instant::now()));
        for query in &mut state.queries {
            query.answer = Some(Err(NotFound::NoAnswer));
        }
        drop(state);
        resolver
    }

    /// The addresses that it knows.
    #[cfg(test)]
    pub(crate) fn known(&self) -> Arc<[SocketAddr]> {
        self.state.lock().addresses.clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
    use std::sync::{LazyLock, OnceLock};
    use std::time::Duration;

    use may::go;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    static DEADLINES: LazyLock<Deadlines> = LazyLock::new(|| Deadlines::start().unwrap());

    type Resolved = Result<Arc<[SocketAddr]>, ResolveError>;

    /// Resolves in a coroutine.
    fn wait(resolver: &Arc<Resolver>, time: Duration) -> Resolved {
        begin(resolver, time).join().unwrap()
    }

    fn begin(resolver: &Arc<Resolver>, time: Duration) -> coroutine::JoinHandle<Resolved> {
        crate::runtime::init();
        let resolver = resolver.clone();
        go!(move || resolver.resolve(&DEADLINES, Instant::now() + time))
    }

    fn wait_for_others(resolver: &Arc<Resolver>, tried: &[SocketAddr]) -> Vec<SocketAddr> {
        let (resolver, tried) = (resolver.clone(), tried.to_vec());
        let end = Instant::now() + LONG;
        go!(move || resolver.resolve_others(&tried, &DEADLINES, end)).join().unwrap()
    }

    fn resolve(host: &str, port: u16) -> Resolved {
        wait(&Resolver::new(host, port), LONG)
    }

    fn v4(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], port))
    }

    fn v6(last: u16, port: u16) -> SocketAddr {
        SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], port))
    }

    /// Never answers: as a name server that is silent, to a libc that is patient.
    fn hang<T>() -> T {
        loop {
            thread::park();
        }
    }

    fn eventually(what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < LONG, "not within {LONG:?}: {what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn an_address_is_itself() {
        assert_eq!(*resolve("127.0.0.1", 81).unwrap(), ["127.0.0.1:81".parse().unwrap()]);
        assert_eq!(*resolve("[::1]", 80).unwrap(), ["[::1]:80".parse().unwrap()]);
    }

    #[test]
    fn a_name_is_looked_up() {
        for host in ["localhost", "LocalHost"] {
            let addresses = resolve(host, 82).unwrap();
            assert!(addresses.iter().all(|a| a.ip().is_loopback() && a.port() == 82));
        }
    }

    #[test]
    fn a_name_that_is_not_there_is_named() {
        let error = resolve("no-such-host.invalid", 80).unwrap_err().to_string();
        assert!(error.starts_with("cannot look up no-such-host.invalid: "), "{error}");
    }

    /// The name server is silent. Everyone who waits gives up in time, however short that is; and
    /// the next caller gets what is found.
    #[test]
    fn a_look_up_that_hangs_holds_nobody() {
        static ANSWER: OnceLock<()> = OnceLock::new();
        let resolver = Resolver::with("slow.test", 83, |_, port, family| match family {
            Family::V4 => {
                ANSWER.wait();
                Ok(vec![v4(1, port)])
            }
            Family::V6 => hang(),
        });
        let times = [0, 1, 300, 999, 1000, 100_000].map(Duration::from_micros);
        let waiting: Vec<_> = times.into_iter().map(|time| begin(&resolver, time)).collect();
        for waiting in waiting {
            let error = waiting.join().unwrap().unwrap_err();
            assert!(error.is_timeout());
            assert_eq!(error.to_string(), "looking up slow.test takes too long");
        }
        assert!(resolver.state.lock().waiting.is_empty());
        let waiting = begin(&resolver, LONG);
        ANSWER.set(()).unwrap();
        assert_eq!(*waiting.join().unwrap().unwrap(), [v4(1, 83)]);
    }

    /// However long it is silent, and however many ask, it costs so many threads and no more.
    #[test]
    fn a_name_server_that_hangs_costs_a_few_threads() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let resolver = Resolver::with("silent.test", 80, |_, _, _| {
            ASKED.fetch_add(1, SeqCst);
            hang()
        });
        let time = limits::QUERY_RETRY * (limits::MAX_QUERIES + 3);
        for waiting in [(); 20].map(|()| begin(&resolver, time)) {
            assert!(waiting.join().unwrap().unwrap_err().is_timeout());
        }
        let asked = ASKED.load(SeqCst);
        assert!(asked <= 2 * limits::MAX_QUERIES, "{asked}");
    }

    /// One good answer is enough, whatever becomes of the other query, and whichever it is.
    #[test]
    fn one_good_answer_is_enough() {
        fn bad(host: &str) -> Result<Vec<SocketAddr>, NotFound> {
            Err(match host {
                "no-name.test" => NotFound::NoName,
                "no-address.test" => NotFound::NoAddress,
                "no-answer.test" => NotFound::NoAnswer,
                "failed.test" => NotFound::Failed("a bad day".into()),
                _ => hang(),
            })
        }
        let hosts =
            ["no-name.test", "no-address.test", "no-answer.test", "failed.test", "silent.test"];
        for host in hosts {
            let only_v4 = Resolver::with(host, 80, |host, port, family| match family {
                Family::V4 => Ok(vec![v4(1, port)]),
                Family::V6 => bad(host),
            });
            let only_v6 = Resolver::with(host, 80, |host, port, family| match family {
                Family::V4 => bad(host),
                Family::V6 => Ok(vec![v6(1, port)]),
            });
            assert_eq!(*wait(&only_v4, LONG).unwrap(), [v4(1, 80)], "{host}");
            assert_eq!(*wait(&only_v6, LONG).unwrap(), [v6(1, 80)], "{host}");
            // Nor does the other query keep a later look-up waiting.
            assert_eq!(wait_for_others(&only_v4, &[v4(1, 80)]), [], "{host}");
        }
    }

    /// The first queries are lost: those who wait ask again, before their time is over.
    #[test]
    fn a_question_that_is_lost_is_asked_again() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let resolver = Resolver::with("lossy.test", 80, |_, port, family| {
            match (ASKED.fetch_add(1, SeqCst), family) {
                (0..4, _) => hang(),
                (_, Family::V4) => Ok(vec![v4(1, port)]),
                (_, Family::V6) => Err(NotFound::NoAddress),
            }
        });
        assert_eq!(*wait(&resolver, LONG).unwrap(), [v4(1, 80)]);
    }

    /// Both are used once both are there, in turn.
    #[test]
    fn the_families_take_turns() {
        let resolver = Resolver::with("both.test", 80, |_, port, family| match family {
            Family::V4 => Ok(vec![v4(1, port)]),
            Family::V6 => Ok(vec![v6(1, port), v6(2, port), v6(3, port)]),
        });
        wait(&resolver, LONG).unwrap();
        let both = [v6(1, 80), v4(1, 80), v6(2, 80), v6(3, 80)];
        eventually("both are known", || *resolver.known() == both);
    }

    #[test]
    fn the_cause_is_in_plain_words() {
        fn cause(resolver: &Arc<Resolver>) -> (String, bool) {
            let error = wait(resolver, LONG).unwrap_err();
            (error.to_string(), error.is_timeout())
        }
        let no_name = Resolver::with("a.test", 80, |_, _, _| Err(NotFound::NoName));
        assert_eq!(cause(&no_name), ("cannot look up a.test: no such name".into(), false));
        let no_address = Resolver::with("b.test", 80, |_, _, _| Err(NotFound::NoAddress));
        let words = "cannot look up b.test: the name has no address";
        assert_eq!(cause(&no_address), (words.into(), false));
        // What one family does not know, the other one's failure may hide.
        let no_answer = Resolver::with("c.test", 80, |_, _, family| match family {
            Family::V4 => Err(NotFound::NoAddress),
            Family::V6 => Err(NotFound::NoAnswer),
        });
        let words = "cannot look up c.test: the name server gives no answer";
        assert_eq!(cause(&no_answer), (words.into(), true));
    }

    /// Callers that come one after the other do not ask for each of them what has just failed.
    #[test]
    fn what_failed_is_not_asked_again_at_once() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let resolver = Resolver::with("none.test", 80, |_, port, _| {
            // Two queries a look-up.
            if ASKED.fetch_add(1, SeqCst) < 2 {
                Err(NotFound::NoName)
            } else {
                Ok(vec![v4(1, port)])
            }
        });
        let start = Instant::now();
        while wait(&resolver, LONG).is_err() {
            assert!(start.elapsed() < LONG, "the name is not found again");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(start.elapsed() >= limits::LOOKUP_INTERVAL);
    }

    /// A look-up that fails takes nothing away.
    #[test]
    fn what_is_known_stays_until_there_is_better() {
        static FAILS: AtomicUsize = AtomicUsize::new(0);
        let resolver =
            Resolver::with("some.test", 80, |_, port, family| match FAILS.load(SeqCst) {
                0 if family == Family::V4 => Ok(vec![v4(1, port)]),
                0 => Ok(vec![v6(1, port)]),
                1 => Err(NotFound::NoName),
                2 => Err(NotFound::NoAnswer),
                3 if family == Family::V4 => Err(NotFound::NoAnswer),
                3 => Ok(vec![v6(2, port)]),
                _ if family == Family::V4 => Ok(vec![v4(2, port)]),
                _ => Err(NotFound::NoAddress),
            });
        wait(&resolver, LONG).unwrap();
        let both = [v6(1, 80), v4(1, 80)];
        eventually("both are known", || *resolver.known() == both);
        for (fails, known) in [
            (1, &both[..]),
            (2, &both),
            // One that gave no answer keeps its addresses; one that has none any more does not.
            (3, &[v6(2, 80), v4(1, 80)]),
            (4, &[v4(2, 80)]),
        ] {
            eventually("both have an answer", || {
                resolver.state.lock().queries.iter().all(|query| query.answer.is_some())
            });
            FAILS.store(fails, SeqCst);
            resolver.state.lock().unscheduled = None;
            wait_for_others(&resolver, &resolver.known());
            eventually("these are known", || *resolver.known() == *known);
        }
    }

    /// None of those who tried an old address in vain asks for himself, and what is found is for
    /// all.
    #[test]
    fn many_share_a_look_up_out_of_turn() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        static ANSWER: OnceLock<()> = OnceLock::new();
        let resolver = Resolver::knowing("moved.test", &[v4(1, 80)], |_, port, family| {
            if family == Family::V6 {
                return Err(NotFound::NoAddress);
            }
            ASKED.fetch_add(1, SeqCst);
            ANSWER.wait();
            Ok(vec![v4(2, port)])
        });
        crate::runtime::init();
        let waiting = [(); 100].map(|()| {
            let resolver = resolver.clone();
            let end = Instant::now() + LONG;
            go!(move || resolver.resolve_others(&[v4(1, 80)], &DEADLINES, end))
        });
        eventually("all wait", || resolver.state.lock().waiting.len() == waiting.len());
        assert_eq!(*wait(&resolver, LONG).unwrap(), [v4(1, 80)], "it is used meanwhile");
        ANSWER.set(()).unwrap();
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap(), [v4(2, 80)]);
        }
        // The next one in vain, at once, asks nobody.
        let asked = ASKED.load(SeqCst);
        assert_eq!(wait_for_others(&resolver, &[v4(2, 80)]), []);
        // More than once, where the machine is busy.
        assert!(asked <= limits::MAX_QUERIES, "{asked}");
        assert_eq!(ASKED.load(SeqCst), asked);
    }
}
