//! One more leaf, made after another: its files are that one's, with its own name in them, and
//! each file that names that one names it too. Nothing is written before every file is known.

use std::fs;
use std::io::{self, ErrorKind};
use std::process::Command;

use application::{EDGE, LEAVES};

/// The leaf it is made after, in its three spellings.
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

/// Files in which each line that begins so is repeated for the new leaf.
const LISTED: [(&str, &str); 4] = [
    ("Cargo.toml", "greeting = { path = "),
    ("bins/mesh/Cargo.toml", "greeting.workspace = true"),
    ("bins/mesh/src/child.rs", "    greeting,"),
    ("copilot/greeter-service/manifest.yml", "  GREETING_URL: "),
];

const TABLE: &str = "crates/application/src/lib.rs";
const STACK: &str = "cloudformation/greeter.yml";

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
    let names = [name.to_owned(), capitalized(name), name.to_uppercase()];
    let mut files = Vec::new();
    for path in COPIED {
        files.push((path.replace(MODEL[0], name), rename(&read(path)?, &names)));
    }
    for (path, text) in LISTED {
        files.push((path.to_owned(), repeat_lines(path, text, &names)?));
    }
    files.push((TABLE.to_owned(), extend_table(&names)?));
    files.push((STACK.to_owned(), extend_stack(&names)?));
    // What needs the new table is written by this program as it is then.
    crate::write(files)
        .and_then(|()| cargo(&["fmt", "--all"]))
        .and_then(|()| cargo(&["run", "--quiet", "--package", "deploy"]))
        .map_err(|e| io::Error::new(e.kind(), format!("{e}\ngit status shows what is written")))?;
    println!(
        "{name} is made, and greeter asks it. What is left to you:
  bins/{name}/src/lib.rs, tests/contract.rs   what it says, and the tests that hold it
  README.md, docs/                          the sentence that greeter makes of it
Then: cargo test, cargo mesh"
    );
    Ok(())
}

/// Whether cargo, the DNS and the template take the name, and nothing has it.
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
    // cargo knows its own rules: keywords, the libraries of Rust, names of its folders.
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

/// The text with the new leaf in the model's place.
fn rename(text: &str, names: &[String; 3]) -> String {
    MODEL.iter().zip(names).fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
}

fn capitalized(name: &str) -> String {
    let (first, rest) = name.split_at(1); // it begins with a letter of ASCII
    first.to_uppercase() + rest
}

/// A file with each line that begins with `text` repeated for the new leaf.
fn repeat_lines(path: &str, text: &str, names: &[String; 3]) -> io::Result<String> {
    let old = read(path)?;
    if !old.lines().any(|line| line.starts_with(text)) {
        return Err(unknown(path, text));
    }
    let repeat = |line: &str| {
        if line.starts_with(text) {
            format!("{line}{}", rename(line, names))
        } else {
            line.to_owned()
        }
    };
    Ok(old.split_inclusive('\n').map(repeat).collect())
}

/// The table with the new leaf as the last: its line is at the end of the greeting.
fn extend_table(names: &[String; 3]) -> io::Result<String> {
    let edge = format!("    edge(\"{}\"", EDGE.name);
    let [name, _, variable] = names;
    let leaf = format!("    leaf(\"{name}\", \"{name}-service\", \"{variable}_URL\"),\n");
    replace_once(TABLE, &read(TABLE)?, &edge, &(leaf + &edge))
}

/// The template with the new leaf's resources before the edge's, and the edge told of it.
fn extend_stack(names: &[String; 3]) -> io::Result<String> {
    let old = read(STACK)?;
    let heading = |name| format!("  # The {name} service: ");
    let unknown = || unknown(STACK, &heading(MODEL[0]));
    let (_, block) = old.split_once(&heading(MODEL[0])).ok_or_else(unknown)?;
    let (block, _) = block.split_once("  # The ").ok_or_else(unknown)?;
    let block = rename(&(heading(MODEL[0]) + block), names);
    let edge = heading(EDGE.name);
    let new = replace_once(STACK, &old, &edge, &(block + &edge))?;

    let [name, resource, variable] = names;
    let last = &LEAVES[LEAVES.len() - 1]; // there is the model, at least
    let told = |variable: &str, url: &str| {
        format!("            - Name: {variable}\n              Value: {url}\n")
    };
    let known = told(last.variable, &last.url());
    let added = told(&format!("{variable}_URL"), &last.url().replace(last.name, name));
    let new = replace_once(STACK, &new, &known, &(known.clone() + &added))?;
    let known = format!("{}Service]\n", capitalized(last.name));
    replace_once(STACK, &new, &known, &known.replace(']', &format!(", {resource}Service]")))
}

fn replace_once(path: &str, text: &str, known: &str, new: &str) -> io::Result<String> {
    if text.matches(known).count() == 1 {
        Ok(text.replace(known, new))
    } else {
        Err(unknown(path, known))
    }
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(crate::repository().join(path))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read {path}: {error}")))
}

fn unknown(path: &str, text: &str) -> io::Error {
    let why =
        format!("{path} has not {text:?}, or twice: {} has to learn what it has now", file!());
    io::Error::new(ErrorKind::InvalidData, why)
}

fn cargo(arguments: &[&str]) -> io::Result<()> {
    let status = Command::new("cargo").args(arguments).current_dir(crate::repository()).status()?;
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

    /// Whoever changes one of the files learns it here, not from `just new-service`.
    #[test]
    fn every_file_is_as_this_module_knows_it() {
        let names = ["unheard", "Unheard", "UNHEARD"].map(str::to_owned);
        for (path, text) in LISTED {
            let old = read(path).unwrap().lines().count();
            let new = repeat_lines(path, text, &names).unwrap();
            assert_eq!(new.lines().count(), old + 1, "{path}");
        }
        let row = "    leaf(\"unheard\", \"unheard-service\", \"UNHEARD_URL\"),\n    edge(\"";
        assert!(extend_table(&names).unwrap().contains(row));
        let stack = extend_stack(&names).unwrap();
        assert_eq!(stack.matches("- Name: UNHEARD_URL\n").count(), 1);
        assert_eq!(stack.matches("\n  UnheardService:\n").count(), 1);
        assert_eq!(stack.matches(", UnheardService]\n").count(), 1);
        for path in COPIED {
            let new = rename(&read(path).unwrap(), &names).to_lowercase();
            assert!(!new.contains(MODEL[0]), "{path}");
        }
    }
}
