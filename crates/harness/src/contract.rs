//! Tests of the contract of a service, run against its real binary.
//!
//! | module | what is tested |
//! |---|---|
//! | `start` | every service: its command line, its settings, its health check |
//! | `end` | every service: signals and drains |
//! | `leaf` | a leaf: its answers, and where a connection ends |
//! | `limits` | a leaf: its limits, and that clients cannot harm each other |
//! | `fault` | a leaf: fault injection with `FAULT` |
//!
//! A service's tests are [`test_every_promise`](crate::test_every_promise) of its [`Binary`], and a
//! leaf's [`test_every_promise_of_a_leaf`](crate::test_every_promise_of_a_leaf) besides.

use std::process::Command;

use crate::process::service;

mod end;
mod fault;
mod leaf;
mod limits;
mod start;

/// The host name of the services under test.
pub const HOST: &str = "host-1.test";

/// A service's binary, with its environment.
#[derive(Clone, Copy, Debug)]
pub struct Binary {
    /// Its name.
    pub name: &'static str,
    /// Its file: `env!("CARGO_BIN_EXE_name")`.
    pub path: &'static str,
    /// Its required variables.
    pub environment: &'static [(&'static str, &'static str)],
}

impl Binary {
    /// The binary with its environment, and nothing of the tests' own.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = service(self.path);
        command.env("HOSTNAME", HOST).envs(self.environment.iter().copied());
        command
    }
}

/// The tests that every service's binary must pass.
#[macro_export]
macro_rules! test_every_promise {
    ($binary:expr) => {
        $crate::test_every_promise! { $binary =>
            command_line: has_a_command_line,
            command_line_unheard: fails_without_a_standard_error,
            bad_port: refuses_a_bad_port,
            bad_version: refuses_a_bad_version,
            bad_host: refuses_a_bad_host,
            port_in_use: refuses_a_port_in_use,
            health_check: checks_its_own_health,
            health_check_of_nobody: checks_nothing_where_it_might_meet_itself,
            unheard_words: succeeds_unheard,
            full_file: outlives_a_full_file,
            system_limits: says_what_it_needs,
            ipv6: speaks_ipv6,
            drain: drains,
            drain_and_health_checks: drains_despite_health_checks,
            second_signal: obeys_a_second_signal,
            unread_log: waits_for_no_reader,
            noise: survives,
        }
    };
    ($binary:expr => $($test:ident: $promise:ident,)*) => {
        $(#[test]
        fn $test() {
            $binary.$promise();
        })*
    };
}

/// The additional tests that a leaf's binary must pass.
#[macro_export]
macro_rules! test_every_promise_of_a_leaf {
    ($binary:expr) => {
        $crate::test_every_promise! { $binary =>
            turns: waits_for_its_turn,
            header_limit: takes_sixteen_headers,
            malformed_requests: hangs_up_without_an_answer,
            last_answer: ends_behind_an_answer,
            long_row: bounds_a_row,
            drain_and_a_row: drains_a_row_of_requests,
            half_close: may_not_answer_a_half_close,
            body_held_back: answers_who_holds_the_body_back,
            standard_error: outlives_its_standard_error,
            bodies: reads_bodies_away,
            answers_once: answers_once,
            files: has_files_left,
            unread_answers: drops_who_does_not_read,
            memory: gives_memory_back,
            long_head: bounds_a_head,
            bad_fault: refuses_a_bad_fault,
            faulty_answers: answers_with_a_fault,
            faulty_health: is_unwell_on_purpose,
            delayed_answers: delays_an_answer,
            delayed_row: delays_a_row_of_requests,
            slow_clients: ends_who_is_too_slow,
            fairness: is_fair,
        }
    };
}
