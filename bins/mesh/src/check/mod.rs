//! One list of experiments for every world: a mesh, compose.yaml, AWS.
//!
//! | module | what it is for |
//! |---|---|
//! | `table` | what was seen, as text or JSON |
//! | `world` | what runs there, and how it is changed |
//! | `requests` | the experiments that only ask |
//! | `lab` | those that break, scale and release |

mod lab;
mod requests;
mod table;
mod world;

use std::sync::Arc;

use crate::control;
use crate::load::{Client, Target};
use table::Table;
use world::World;

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// `http://host[:port][/path]` [default: the load balancer of the running mesh]
    #[arg(value_parser = Target::parse)]
    url: Option<Target>,
    /// Break, scale and release it too, and put it back: a mesh, or compose.yaml. It takes minutes
    #[arg(long)]
    lab: bool,
    /// Print JSON, with versions and the date
    #[arg(long)]
    json: bool,
}

impl Options {
    pub(crate) fn with_json(self, json: bool) -> Self {
        Self { json: self.json || json, ..self }
    }
}

/// What was seen.
pub(crate) struct Checked {
    pub(crate) text: String,
    pub(crate) is_as_expected: bool,
}

/// Checks a URL, or the mesh on this port, or the only one.
///
/// # Errors
///
/// Nothing accepts connections there, or it cannot be put back as it was: one line with the remedy.
pub(crate) fn run(options: &Options, port: Option<u16>) -> Result<Checked, String> {
    let target = Arc::new(match &options.url {
        Some(url) => url.clone(),
        None => Target::at(control::look(port)?.front),
    });
    smol::block_on(async {
        Client::new(target.clone()).open().await?;
        let world = World::behind(&target).await;
        let mut table = Table::new(&target, world.describe().await?);
        requests::all(&mut table, &target, &world).await?;
        if options.lab {
            lab::all(&mut table, &target, &world).await?;
        }
        let text = if options.json { table.json()? } else { table.text() };
        Ok(Checked { text, is_as_expected: table.is_as_expected() })
    })
}
