//! The files that deploy the application, held against each other.

mod cloudformation;
mod compose;
mod copilot;
mod dockerfile;
mod manifest;
mod patches;
