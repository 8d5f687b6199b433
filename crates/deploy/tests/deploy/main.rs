//! The files that deploy the application, held against each other.

mod cloudformation;
mod copilot;
