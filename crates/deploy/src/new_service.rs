//! Makes a leaf from an existing one: copies its files under the new name, and adds it to every list of
//! leaves. Nothing is written before all files are known.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::process::Command;

use application::{EDGE, LEAVES, PORT};

use crate::files;

/// The leaf that is copied, in its three spellings.
const MODEL: [&str; 3] = ["greeting", "Greeting", "GREETING"];

/// Its files.
const COPIED: [&str; 6] = [
    "bins/greeting/Cargo.toml",
    "bins/greeting/src/main.rs",
    "bins/greeting/src/lib.rs",
    "bins/greeting/tests/contract.rs",
    "copilot/greeting-service/manifest.yml",
    "copilot/greeting-service/overrides/cfn.patches.yml",
];

const STACK: &str = "cloudformation/greeter.yml";

/// The files that list the leaves, in the order of the table, and their entries for the model.
fn lists() -> [(&'static str, String); 7] {
    let url = format!("http://greeting-service:{PORT}");
    [
        ("Cargo.toml", "\ngreeting = { path = \"bins/greeting\" }".to_owned()),
        ("bins/mesh/Cargo.toml", "\ngreeting.workspace = true".to_owned()),
        ("bins/mesh/src/child.rs", "\n    greeting,".to_owned()),
        (
            "crates/application/src/lib.rs",
            "\n    leaf(\"greeting\", \"greeting-service\", \"GREETING_URL\"),".to_owned(),
        ),
        ("copilot/greeter-service/manifest.yml", format!("\n  GREETING_URL: {url}")),
        (STACK, format!("\n            - Name: GREETING_URL\n              Value: {url}")),
        (STACK, "\n      - GreetingService".to_owned()),
    ]
}

/// The longest name: `NAME-service` is a label of the DNS, of 63 bytes at most (RFC 1035,
/// section 2.3.4).
const LONGEST: usize = 63 - "-service".len();

/// Makes the leaf.
///
/// # Errors
///
/// The name will not do, or a file is not as this module knows it: then nothing is written. Or a
/// file cannot be written, or cargo fails.
pub(crate) fn make(name: &str) -> io::Result<()> {
    check(name)?;
    // A second run, with the new table, generates the rest.
    files::write(files(name)?.into_iter().collect())
        .and_then(|()| cargo(&["fmt", "--all"]))
        .and_then(|()| cargo(&["run", "--quiet", "--package", "deploy"]))
        .map_err(|e| io::Error::new(e.kind(), format!("{e}\ngit status shows what is written")))?;
    println!(
        "{name} is made, and greeter asks it: cargo test, cargo mesh. What is left to you:
  bins/{name}/src/lib.rs, tests/contract.rs   what it says, and the tests that hold it
  README.md, docs/                          the sentence that greeter makes of it
docs/your-own-service.md leads on."
    );
    Ok(())
}

/// Every file that is new or changed, by its path.
fn files(name: &str) -> io::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for path in COPIED {
        files.insert(path.replace(MODEL[0], name), rename(&read(path)?, name));
    }
    let mut insert = |path: &str, known: &str, new: &str, after: bool| {
        let text = files.remove(path).map_or_else(|| read(path), Ok)?;
        if text.matches(known).count() != 1 {
            return Err(unknown(path, known));
        }
        let both = if after { [known, new] } else { [new, known] }.concat();
        files.insert(path.to_owned(), text.replace(known, &both));
        Ok(())
    };
    let last = LEAVES[LEAVES.len() - 1].name; // there is the model, at least
    for (path, listed) in lists() {
        insert(path, &rename(&listed, last), &rename(&listed, name), true)?;
    }
    let heading = |name| format!("  # The {name} service: ");
    let stack = read(STACK)?;
    let (_, block) =
        stack.split_once(&heading(MODEL[0])).ok_or_else(|| unknown(STACK, &heading(MODEL[0])))?;
    let block = block.split("  # The ").next().unwrap_or(block);
    insert(STACK, &heading(EDGE.name), &rename(&(heading(MODEL[0]) + block), name), false)?;
    Ok(files)
}

/// Whether cargo, the DNS and the template accept the name, and it is free.
fn check(name: &str) -> io::Result<()> {
    let refused =
        |why: String| Err(io::Error::new(ErrorKind::InvalidInput, format!("{name:?}: {why}")));
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !is_plain || name.len() > LONGEST {
        return refused(format!(
            "give a name of {LONGEST} lower-case letters and digits at most, a letter first"
        ));
    }
    if ["from", "error"].contains(&name) {
        return refused("greeter's JSON has a key of this name".to_owned());
    }
    let lock = read("Cargo.lock")?;
    if lock.lines().any(|line| line == format!("name = \"{name}\"")) {
        return refused("a package has this name: see Cargo.lock".to_owned());
    }
    // cargo has more rules: keywords, Rust's libraries, names of its folders.
    let scratch = std::env::temp_dir().join(format!("new-service-{}", std::process::id()));
    fs::create_dir(&scratch)?;
    let tried = Command::new("cargo")
        .args(["new", "--quiet", "--lib", "--vcs", "none"])
        .arg(scratch.join(name))
        .output();
    let _ = fs::remove_dir_all(&scratch);
    let tried = tried?;
    if tried.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&tried.stderr).into_owned();
    refused(said.lines().next().unwrap_or("cargo refuses it").to_owned())
}

/// The text with another leaf in the model's place.
fn rename(text: &str, name: &str) -> String {
    let (first, rest) = name.split_at(1); // it begins with a letter of ASCII
    let names = [name.to_owned(), first.to_uppercase() + rest, name.to_uppercase()];
    MODEL.iter().zip(names).fold(text.to_owned(), |text, (old, new)| text.replace(old, &new))
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(files::repository().join(path))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read {path}: {error}")))
}

fn unknown(path: &str, text: &str) -> io::Error {
    let why =
        format!("{path} has not {text:?}, or twice: {} has to learn what it has now", file!());
    io::Error::new(ErrorKind::InvalidData, why)
}

fn cargo(arguments: &[&str]) -> io::Result<()> {
    let status = Command::new("cargo").args(arguments).current_dir(files::repository()).status()?;
    let failed = || io::Error::other(format!("cargo {} failed: see above", arguments.join(" ")));
    status.success().then_some(()).ok_or_else(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_will_not_do_is_refused_with_what_would() {
        for (name, why) in [
            ("", "lower-case letters and digits"),
            ("2nd", "lower-case letters and digits"),
            ("fare-well", "lower-case letters and digits"),
            ("Farewell", "lower-case letters and digits"),
            (&"a".repeat(LONGEST + 1), "lower-case letters and digits"),
            ("error", "greeter's JSON has a key of this name"),
            ("greeter", "a package has this name"),
            ("http", "a package has this name"),
            ("type", "it is a Rust keyword"),
            ("test", "it conflicts with Rust's built-in test library"),
        ] {
            let error = check(name).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        check("unheard").unwrap();
    }

    /// So that a change to one of the files fails here, not in `just new-service`.
    #[test]
    fn every_file_is_as_this_module_knows_it() {
        let files = files("unheard").unwrap();
        for (path, listed) in lists() {
            assert!(files[path].contains(&rename(&listed, "unheard")), "{path}");
        }
        assert_eq!(files[STACK].matches("\n  UnheardService:\n").count(), 1);
        for path in COPIED {
            let new = files[&path.replace(MODEL[0], "unheard")].to_lowercase();
            assert!(!new.contains(MODEL[0]), "{path}");
        }
    }
}
