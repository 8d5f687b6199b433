//! One more leaf, made after another: its files are that one's, with its own name in them, and
//! each file that names that one names it too. Nothing is written before every file is known.

use std::fs;
use std::io::{self, ErrorKind};
use std::process::Command;

use application::EDGE;

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

/// Files in which each line with this text is repeated for the new leaf. The first is the table.
const LISTED: [(&str, &str); 5] = [
    ("crates/application/src/lib.rs", "    leaf greeting "),
    ("Cargo.toml", "greeting = { path = "),
    ("bins/mesh/Cargo.toml", "greeting.workspace = true"),
    ("bins/mesh/src/child.rs", "    greeting,"),
    ("copilot/greeter-service/manifest.yml", "  GREETING_URL: "),
];

const STACK: &str = "cloudformation/greeter.yml";

/// The longest name: `NAME-service` is a label of the DNS, of 63 bytes at most (RFC 1035,
/// section 2.3.4), and a task's name is shorter still.
const LONGEST: usize = 40;

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
    files.push((STACK.to_owned(), extend_stack(&names)?));
    crate::write(files)?;
    // This program is of the old table.
    cargo(&["fmt", "--all"])?;
    cargo(&["run", "--quiet", "--package", "deploy"])?;
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
    let lock = read("Cargo.lock")?;
    if lock.lines().any(|line| line == format!("name = \"{name}\"")) {
        return refused("a package has this name: see Cargo.lock".to_owned());
    }
    // cargo knows its own rules: keywords, the libraries of Rust, names of its folders.
    let scratch = std::env::temp_dir().join(format!("new-service-{}", std::process::id()));
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

/// A file with each line that has `text` repeated for the new leaf.
fn repeat_lines(path: &str, text: &str, names: &[String; 3]) -> io::Result<String> {
    let old = read(path)?;
    if !old.contains(text) {
        return Err(unknown(path, text));
    }
    let repeat = |line: &str| {
        if line.contains(text) { format!("{line}{}", rename(line, names)) } else { line.to_owned() }
    };
    Ok(old.split_inclusive('\n').map(repeat).collect())
}

/// The template with the new leaf's resources behind the model's, and the edge told of it.
fn extend_stack(names: &[String; 3]) -> io::Result<String> {
    let old = read(STACK)?;
    let [start, end] = [MODEL[0], EDGE.name].map(|name| format!("  # The {name} service: "));
    let block = old.find(&start).zip(old.find(&end)).and_then(|(start, end)| old.get(start..end));
    let block = block.ok_or_else(|| unknown(STACK, &format!("{start}...{end}")))?;
    let mut new = old.replace(&end, &format!("{}{end}", rename(block, names)));

    // Both stand before the resources' end, each once.
    let variable = |[name, _, variable]: [&str; 3]| {
        format!(
            "            - Name: {variable}_URL\n              Value: http://{name}-service:{}\n",
            application::PORT
        )
    };
    let [small, capital, large] = names;
    for (known, added) in [
        (variable(MODEL), variable([small, capital, large])),
        (format!("    DependsOn: [{}Service, ", MODEL[1]), String::new()),
    ] {
        if new.matches(&known).count() != 1 {
            return Err(unknown(STACK, &known));
        }
        let both = if added.is_empty() {
            format!("{known}{capital}Service, ")
        } else {
            known.clone() + &added
        };
        new = new.replace(&known, &both);
    }
    Ok(new)
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(crate::repository().join(path))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read {path}: {error}")))
}

fn unknown(path: &str, text: &str) -> io::Error {
    let why = format!("{path} has no {text:?}: write the new leaf there, and change {}", file!());
    io::Error::new(ErrorKind::InvalidData, why)
}

fn cargo(arguments: &[&str]) -> io::Result<()> {
    let status = Command::new("cargo").args(arguments).current_dir(crate::repository()).status()?;
    let failed = || io::Error::other(format!("cargo {} failed: see above", arguments.join(" ")));
    status.success().then_some(()).ok_or_else(failed)
}

#[cfg(test)]
mod tests {
    use application::LEAVES;

    use super::*;

    #[test]
    fn a_name_that_will_not_do_is_refused_with_what_would() {
        for (name, why) in [
            ("", "give a name of 40 lower-case letters"),
            ("2nd", "give a name of 40 lower-case letters"),
            ("fare-well", "give a name of 40 lower-case letters"),
            ("Farewell", "give a name of 40 lower-case letters"),
            (&"a".repeat(LONGEST + 1), "give a name of 40 lower-case letters"),
            ("greeter", "a package has this name"),
            ("http", "a package has this name"),
            ("type", "it is a Rust keyword"),
            ("test", "it conflicts with Rust's built-in test library"),
        ] {
            let error = check(name).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        check("farewell").unwrap();
    }

    /// Whoever changes one of the files learns it here, not from `just new-service`.
    #[test]
    fn every_file_is_as_this_module_knows_it() {
        let names = ["farewell", "Farewell", "FAREWELL"].map(str::to_owned);
        for (path, text) in LISTED {
            let old = read(path).unwrap().lines().count();
            let new = repeat_lines(path, text, &names).unwrap();
            assert_eq!(new.lines().count(), old + 1, "{path}");
        }
        let stack = extend_stack(&names).unwrap();
        assert_eq!(stack.matches("FAREWELL_URL").count(), 1);
        assert_eq!(stack.matches("  FarewellService:\n").count(), 1);
        for path in COPIED {
            assert!(
                !rename(&read(path).unwrap(), &names).to_lowercase().contains("greeting"),
                "{path}"
            );
        }
        assert!(LEAVES.iter().any(|leaf| leaf.name == MODEL[0]), "it is made after a leaf");
    }
}
