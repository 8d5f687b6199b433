//! A leaf: what it answers, and where a connection ends.

use nix::sys::signal::Signal;

use super::{Binary, HOST};
use crate::client::{Client, get};
use crate::process::{Process, fields};

impl Binary {
    /// What a leaf answers, byte for byte; `is_word` knows its words.
    pub fn answers_as_a_leaf(&self, is_word: impl Fn(&str) -> bool) {
        let (_process, address) = Process::serve(&mut self.command());
        let mut client = Client::connect(address);
        let head = |status: &str, length: usize, extra: &str| {
            format!(
                "HTTP/1.1 {status}\r\nServer: M\r\nDate: DATE\r\nContent-Length: {length}\r\n{extra}\
                 Content-Type: text/plain; charset=utf-8\r\n\r\n"
            )
        };
        let mut ask = |request: &str| client.send(request).answer();

        // Any path, on one connection.
        for path in ["/", "/any/path?query", "/healthy", "/health/"] {
            let answer = ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            let body = answer.split("\r\n\r\n").nth(1).expect("a body");
            assert_eq!(answer, head("200 Ok", body.len(), "") + body);
            let word = body.strip_suffix(&format!(" ({HOST})")).expect("the host behind the word");
            assert!(is_word(word), "{word:?}");
        }
        for path in ["/health", "/health?deep"] {
            let answer = ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(answer, head("200 Ok", 2, "") + "ok");
        }
        // No body for HEAD; the library cannot tell its length.
        assert_eq!(ask("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"), head("200 Ok", 0, ""));
        // A body is discarded, whatever it contains, and the connection is closed.
        let close = "Connection: close\r\n";
        let body = "GET /health HTTP/1.1\r\n\r\n";
        for (length, filler) in [(body.len(), ""), (64 * 1024, " ")] {
            let filler = filler.repeat(length - body.len());
            let post = format!(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}{filler}"
            );
            let mut client = Client::connect(address);
            let refused =
                head("405 Method Not Allowed", 31, &format!("{close}Allow: GET, HEAD\r\n"));
            assert_eq!(client.send(&post).answer(), refused + "method not allowed: GET or HEAD");
            client.expect_end();
        }
        // The end of a body must be unambiguous.
        for (field, status, text) in [
            ("Content-Length: many", "400 Bad Request", "bad Content-Length"),
            ("Content-Length: -1", "400 Bad Request", "bad Content-Length"),
            ("Content-Length: 18446744073709551616", "400 Bad Request", "bad Content-Length"),
            ("Content-Length: 1\r\nContent-Length: 2", "400 Bad Request", "bad Content-Length"),
            (
                "Transfer-Encoding: chunked",
                "400 Bad Request",
                "Transfer-Encoding is not supported here",
            ),
            ("Content-Length: 65537", "413 Content Too Large", "body over 64 KiB"),
        ] {
            let mut client = Client::connect(address);
            client.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n"));
            assert_eq!(client.answer(), head(status, text.len(), close) + text, "{field}");
            client.expect_end();
        }
        // Asked to close, it closes.
        for request in [
            "GET /health HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n",
            "GET /health HTTP/1.0\r\n\r\n",
        ] {
            let mut client = Client::connect(address);
            assert_eq!(client.send(request).answer(), head("200 Ok", 2, close) + "ok");
            client.expect_end();
        }
    }

    /// Its threads have the policy `SCHED_BATCH`: field 41 of their stat file (`proc_pid_stat(5)`).
    pub fn waits_for_its_turn(&self) {
        let (process, _) = Process::serve(&mut self.command());
        let is_batch = |(_, stat): &(_, String)| fields(stat).nth(41 - 3) == Some("3");
        let batch = process.of_threads("stat").filter(is_batch).count();
        assert!(batch > 2, "{batch} of its threads do");
    }

    /// Sixteen request headers get an answer, seventeen none: the library's limit, and the reason that
    /// greeter has a server of its own.
    pub fn takes_sixteen_headers(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let request = |count| format!("GET /health HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(count));
        assert!(Client::connect(address).send(request(16)).answer().ends_with("ok"));
        Client::connect(address).send(request(17)).expect_end();
        // Others are still served.
        assert_eq!(get(address, "/health"), (200, "ok".into()));
    }

    /// Where the edge answers with an error, a leaf only hangs up: its library parses the head before it
    /// calls the service, and closes if that fails. The same holds for chunks, which it does not read.
    pub fn hangs_up_without_an_answer(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        for bad in [
            "GET /\r\n\r\n",
            "GET / HTTP/9.9\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
            "\x16\x03\x01\x02\0\x01\0",
            "18\r\nGET /health HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
        ] {
            println!("{bad:?}"); // the last one is the one that failed
            Client::connect(address).send(bad).expect_end();
            // What comes before it in the same segment is lost with it.
            let good = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
            Client::connect(address).send(good.to_owned() + bad).expect_end();
            let last = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
            Client::connect(address).send(last.to_owned() + bad).expect_end();
        }
    }

    /// The answer that ends a connection arrives, whatever comes before and after its request in the same
    /// segment. Empty 200s may follow, for requests sent after it: they are no answers (RFC 9112, section
    /// 9.6), but the library writes them.
    pub fn ends_behind_an_answer(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let one = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
        for (last, status, behind) in [
            ("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200 Ok", one),
            ("GET / HTTP/1.0\r\n\r\n", "200 Ok", "GET"),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                "400 Bad Request",
                one,
            ),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", "400 Bad Request", one),
        ] {
            for before in (0..=50).chain([63, 64, 65, 250]) {
                let mut client = Client::connect(address);
                if before % 2 == 1 {
                    // Not its first request.
                    assert!(client.send(one).answer().ends_with("ok"));
                }
                client.send(one.repeat(before) + last + behind);
                for _ in 0..before {
                    let answer = client.answer();
                    assert!(!answer.contains("\r\nConnection: close\r\n"), "{answer}");
                    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
                }
                let answer = client.answer();
                assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
                assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
                client.expect_nothing_but_empty_answers();
            }
        }
    }

    /// Pipelined requests during a drain: one answer with `Connection: close`, and the end.
    pub fn drains_a_row_of_requests(&self) {
        let (mut process, address) = Process::serve(&mut self.command());
        let one = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut kept = Client::connect(address);
        assert!(kept.send(one).answer().ends_with(&format!(" ({HOST})")));
        process.signal(Signal::SIGTERM);
        let _ = process.line(|line| line.contains(r#""event":"drain""#));
        for client in [&mut kept, &mut Client::connect(address)] {
            let answer = client.send(one.repeat(3)).answer();
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
            assert!(answer.ends_with(&format!(" ({HOST})")), "{answer}");
            client.expect_nothing_but_empty_answers();
        }
        assert_eq!(process.wait().0.code(), Some(0));
    }

    /// A client that half-closes right behind its request gets no answer where the leaf finds both at
    /// once: the library sees the end of input before it looks at the input.
    pub fn may_not_answer_a_half_close(&self) {
        let (process, address) = Process::serve(&mut self.command());
        let one = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let (mut early, mut late) = (Client::connect(address), Client::connect(address));
        for client in [&mut early, &mut late] {
            assert!(client.send(one).answer().ends_with(&format!(" ({HOST})")));
        }
        process.stopped(|| {
            early.send(one).finish();
        });
        early.expect_end();
        // Whoever reads the answer first has it.
        assert!(late.send(one).answer().ends_with(&format!(" ({HOST})")));
        late.finish().expect_end();
    }

    /// A client that waits for `100 Continue` is answered without its body.
    pub fn answers_who_holds_the_body_back(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        for (method, status) in [("POST", "405 Method Not Allowed"), ("GET", "200 Ok")] {
            let mut client = Client::connect(address);
            client.send(format!(
                "{method} / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            ));
            let answer = client.answer();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
            client.expect_end();
        }
        // Without a body the connection stays open.
        let mut client = Client::connect(address);
        let expects = "GET /health HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n";
        for _ in 0..2 {
            let answer = client.send(expects).answer();
            assert!(!answer.contains("\r\nConnection: close\r\n"), "{answer}");
        }
    }

    /// A body is never taken for a request, wherever the library's buffer ends. The requests before it
    /// are answered, and it ends the connection.
    pub fn reads_bodies_away(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let one = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
        for length in [1, 1000, 16_000, 31_000, 32_000, 33_000, 65_536] {
            let body = "x".repeat(length);
            for (before, behind) in [("", ""), (one, ""), (one, one)] {
                let mut client = Client::connect(address);
                let post = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
                client.send(format!("{before}{post}{behind}"));
                if !before.is_empty() {
                    assert!(client.answer().ends_with("\r\n\r\nok"));
                }
                let answer = client.answer();
                assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
                assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
                // For what follows the body, the library may write empty 200s.
                if behind.is_empty() {
                    client.expect_end();
                }
            }
        }
    }

    /// Each request is answered once, wherever the library's reads end: with a request, or its buffer.
    pub fn answers_once(&self) {
        let (_process, address) = Process::serve(&mut self.command());
        let body = "x".repeat(64 * 1024);
        let post = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        for _ in 0..500 {
            let mut client = Client::connect(address);
            client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
            assert!(client.answer().ends_with("\r\n\r\nok"));
            let answer = client.send(&post).answer();
            assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        }
        let get = |length: usize, last: &str| {
            format!("GET /health HTTP/1.1\r\nX: {}\r\n{last}\r\n", "x".repeat(length))
        };
        let filler = get(10, "").repeat(1000);
        for (length, times, last) in [(20_000, 1, 20_000), (100, 5, 40_000), (15_000, 2, 17_000)] {
            let mut client = Client::connect(address);
            let row = get(length, "").repeat(times) + &get(last, "Connection: close\r\n");
            let _ = client.try_send(row + &filler);
            for _ in 0..times {
                let answer = client.answer();
                assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
                assert!(!answer.contains("Connection: close"), "{length}, {times}: {answer}");
            }
            let answer = client.answer();
            assert!(answer.contains("\r\nConnection: close\r\n"), "{length}, {times}: {answer}");
        }
    }
}
