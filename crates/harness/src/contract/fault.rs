//! A leaf: fault injection with `FAULT`.

use nix::sys::signal::Signal;

use super::{Binary, HOST};
use crate::client::{Client, get};
use crate::process::{Process, run, started_at};

impl Binary {
    /// There are no faults unless `FAULT` is set, and an invalid one is refused.
    pub fn refuses_a_bad_fault(&self) {
        let remedy = "is no fault: set it to 20%503, 20%300ms or health, or to several with \
                      commas (1% to 100%, a status from 500 to 599, 1ms to 5000ms)";
        self.refuses("FAULT", "503", &format!(r#"FAULT="503" {remedy}"#));
        let help = run(self.command().arg("--help")).stdout;
        assert!(help.contains("\n  FAULT "), "{help}");
        let process = Process::start(self.command().env("PORT", "0"));
        let start = process.line(|line| line.contains(r#""event":"start""#));
        assert!(!start.contains("fault"), "{start}");
    }

    /// The given share of answers has the fault's status; connections stay open, and health checks are
    /// not affected.
    pub fn answers_with_a_fault(&self) {
        let process = Process::start(self.command().env("PORT", "0").env("FAULT", "20%503"));
        let start = process.line(|line| line.contains(r#""event":"start""#));
        assert!(start.contains(r#","fault":"20%503""#), "{start}");
        let mut client = Client::connect(started_at(&start));
        let fault = "HTTP/1.1 503 Injected Fault\r\nServer: M\r\nDate: DATE\r\n\
                     Content-Length: 48\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
                     injected fault: this leaf was started with FAULT";
        let mut faults = 0;
        for _ in 0..1000 {
            let answer = client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").answer();
            faults += usize::from(answer == fault);
            assert!(answer == fault || answer.ends_with(&format!(" ({HOST})")), "{answer}");
            let health = client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").answer();
            assert!(health.ends_with("\r\n\r\nok"), "{health}");
        }
        // 200, give or take eight standard deviations of 12.6.
        assert!((100..300).contains(&faults), "{faults} of 1,000 answers");
    }

    /// `health` makes its health check fail, and nothing else.
    pub fn is_unwell_on_purpose(&self) {
        let (_process, address) = Process::serve(self.command().env("FAULT", "health"));
        let text = "injected fault: this leaf was started with FAULT";
        assert_eq!(get(address, "/health"), (503, text.into()));
        assert_eq!(get(address, "/").0, 200);
        let port = address.port().to_string();
        let check = run(self.command().arg("healthcheck").env("PORT", port));
        assert_eq!(check.code, Some(1));
    }

    /// A delayed answer delays nobody else, and a drain waits for it.
    pub fn delays_an_answer(&self) {
        let mut command = self.command();
        let (mut process, address) = Process::serve(command.env("FAULT", "100%5000ms,100%500"));
        let one = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut delayed: Vec<_> = (0..10).map(|_| Client::connect(address)).collect();
        for client in &mut delayed {
            client.send(one);
        }
        // Others are answered meanwhile, pipelined requests too.
        let mut other = Client::connect(address);
        for _ in 0..10 {
            other.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(10));
            for _ in 0..10 {
                assert!(other.answer().ends_with("\r\n\r\nok"));
            }
        }
        assert!(!delayed.iter().any(Client::has_input), "a delayed answer is there already");
        process.signal(Signal::SIGTERM);
        let _ = process.line(|line| line.contains(r#""event":"drain""#));
        // New requests are not delayed now.
        let answer = Client::connect(address).send(one).answer();
        assert!(answer.starts_with("HTTP/1.1 500 Injected Fault\r\n"), "{answer}");
        for client in &mut delayed {
            let answer = client.answer();
            assert!(answer.starts_with("HTTP/1.1 500 Injected Fault\r\n"), "{answer}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
            client.expect_end();
        }
        assert_eq!(process.wait().0.code(), Some(0));
        let stop = process.line(|line| line.contains(r#""event":"stop""#));
        assert!(stop.contains(r#""requests":"11","quiet":"true""#), "{stop}");
    }

    /// Pipelined requests are answered once and in order, whichever is delayed.
    pub fn delays_a_row_of_requests(&self) {
        let (_process, address) = Process::serve(self.command().env("FAULT", "50%2ms"));
        let row = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
        let last = "GET /health HTTP/1.0\r\n\r\n";
        let mut clients: Vec<_> = (0..20).map(|_| Client::connect(address)).collect();
        for client in &mut clients {
            client.send(&row).send(format!("{row}{last}"));
        }
        for client in &mut clients {
            for _ in 0..40 {
                let answer = client.answer();
                assert!(answer.ends_with(&format!(" ({HOST})")), "{answer}");
            }
            assert!(client.answer().ends_with("\r\n\r\nok"));
            client.expect_end();
        }
    }
}
