//! The traces of the requests that came to the load balancer, in memory: who passed each one on to
//! whom, and how long it took.
//!
//! | module | what it is for |
//! |---|---|
//! | `span` | one stretch of a request: what one proxy saw |
//! | `traces` | joins them to traces, and keeps those |
//! | `waterfall` | a trace as text |

mod span;
mod traces;
mod waterfall;

pub(crate) use span::{Context, Kind, Place, Span};
pub(crate) use traces::{Traces, Which, micros};
