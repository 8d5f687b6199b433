//! The tower: which of our crates use which, and which modules of a crate import which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use application::LEAVES;
use serde_json::Value;

/// Where the tower is drawn.
const PAGE: &str = "docs/architecture.md";

/// Its row for all leaves, so that a new leaf does not change it.
const EACH_LEAF: &str = "each leaf";

type Names = BTreeSet<String>;

/// A crate, the others that it uses, and those that only its tests use.
#[derive(Debug, PartialEq, Eq)]
struct Floor {
    name: String,
    uses: Names,
    tests_use: Names,
}

#[test]
fn our_crates_use_each_other_as_the_tower_is_drawn() {
    let drawn = drawn();
    let built = built();
    for floor in &built {
        let name = &floor.name;
        let expected = drawn.iter().find(|drawn| drawn.name == *name);
        let expected =
            expected.unwrap_or_else(|| panic!("{PAGE}: the tower has no row for {name}"));
        assert_eq!(
            floor, expected,
            "{PAGE}: the row of {name}, right, is not as its Cargo.toml, left"
        );
    }
    assert_eq!(drawn.len(), built.len(), "{PAGE}: the tower has a row for what is no crate");
    for (row, floor) in drawn.iter().enumerate() {
        let below: Names = drawn[row + 1..].iter().map(|floor| floor.name.clone()).collect();
        let above: Vec<_> = floor.uses.difference(&below).collect();
        assert!(above.is_empty(), "{PAGE}: {} uses {above:?}, which is not below it", floor.name);
    }
}

/// A change to one of these libraries rebuilds its users, and theirs.
#[test]
fn few_crates_know_the_libraries_that_the_services_run_on() {
    for (library, users) in [("may_minihttp", &["leaf"][..]), ("may", &["greeter", "leaf", "net"])]
    {
        let packages = packages();
        let uses = |package: &&Value| dependencies(package, false).contains(library);
        let found: Vec<_> = packages.iter().filter(uses).map(name).collect();
        assert_eq!(found, users, "who uses {library}");
    }
}

/// Modules that import each other cannot be read alone.
#[test]
fn modules_import_one_way() {
    let mut circles = Vec::new();
    for package in packages() {
        for target in package["targets"].as_array().expect("a list") {
            let root = Path::new(target["src_path"].as_str().expect("a path"));
            // Any other file is a target by itself.
            if root.ends_with("lib.rs") || root.ends_with("main.rs") {
                let folder = root.parent().expect("a folder");
                let circle = Modules::read(folder).circle();
                circles.extend((!circle.is_empty()).then(|| (folder.to_owned(), circle)));
            }
        }
    }
    assert!(circles.is_empty(), "modules that import each other: {circles:#?}");
}

#[test]
fn a_circle_of_modules_is_seen() {
    let found = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(path, text)| ((*path).into(), (*text).to_owned()));
        Modules(files.collect()).circle().join(" ")
    };
    let root = ("lib.rs", "mod one;\nmod two;\n");
    assert_eq!(found(&[root, ("one.rs", "use crate::two::B;"), ("two.rs", "")]), "");
    let both =
        [root, ("one.rs", "use crate::{\n    two::{A, B},\n};"), ("two.rs", "use super::one;")];
    assert_eq!(found(&both), "one two");
    let parent = [("main.rs", "mod one;\nuse one::A;\n"), ("one.rs", "fn a() { crate::b() }")];
    assert_eq!(found(&parent), "crate one");
    let nested = [
        ("lib.rs", "mod one;"),
        ("one/mod.rs", "mod two;\npub use two::A;"),
        ("one/two.rs", "use super::LIMIT;"),
    ];
    assert_eq!(found(&nested), "one one::two");
    // Comments and tests do not count.
    let quiet = [
        root,
        ("one.rs", "use crate::two;"),
        ("two.rs", "/// [`crate::one`]\nmod tests {\nuse crate::one;"),
    ];
    assert_eq!(found(&quiet), "");
}

/// The rows of the page's table, from the top.
fn drawn() -> Vec<Floor> {
    let page = fs::read_to_string(repository().join(PAGE)).expect("the page is there");
    let rows = page.lines().skip_while(|line| *line != "| crate | uses | its tests use, too |");
    let mut floors = Vec::new();
    for row in rows.skip(2).take_while(|row| row.starts_with('|')) {
        let [_, name, uses, tests_use, _] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("{PAGE}: not a row of three cells: {row}");
        };
        let [uses, tests_use] = [uses, tests_use].map(cell);
        let floor = |name| Floor { name, uses: uses.clone(), tests_use: tests_use.clone() };
        floors.extend(cell(name).into_iter().map(floor));
    }
    assert!(!floors.is_empty(), "{PAGE} has no tower");
    floors
}

/// The names in a cell.
fn cell(text: &str) -> Names {
    let mut names: Names = text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    if text.contains(EACH_LEAF) {
        names.extend(LEAVES.iter().map(|leaf| leaf.name.to_owned()));
    }
    names
}

/// The same, from `cargo metadata`.
fn built() -> Vec<Floor> {
    let packages = packages();
    let ours: Names = packages.iter().map(name).collect();
    let floor = |package: &Value| {
        let uses = &dependencies(package, false) & &ours;
        Floor {
            name: name(package),
            tests_use: &(&dependencies(package, true) & &ours) - &uses,
            uses,
        }
    };
    packages.iter().map(floor).collect()
}

/// The packages of the workspace, by name.
fn packages() -> Vec<Value> {
    let metadata = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(repository())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("JSON of cargo");
    let mut packages = metadata["packages"].as_array().expect("a list").clone();
    packages.sort_by_key(name);
    packages
}

fn name(package: &Value) -> String {
    package["name"].as_str().expect("a name").to_owned()
}

/// What a package depends on, or what its tests and benches do.
fn dependencies(package: &Value, tests: bool) -> Names {
    let all = package["dependencies"].as_array().expect("a list").iter();
    all.filter(|one| (one["kind"] == "dev") == tests).map(name).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of a target, by their paths in its folder.
struct Modules(BTreeMap<PathBuf, String>);

impl Modules {
    fn read(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("it has sources") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = fs::read_to_string(&path).expect("Rust is UTF-8");
                    files.insert(path.strip_prefix(root).expect("in it").to_owned(), text);
                }
            }
        }
        Self(files)
    }

    /// The modules that reach themselves by their imports.
    fn circle(&self) -> Vec<String> {
        let modules: Names = self.0.keys().map(|path| module(path)).collect();
        let mut imports = BTreeMap::new();
        for (path, text) in &self.0 {
            let own = module(path);
            let found = imported(&own, text).into_iter().filter_map(|path| owner(&modules, &path));
            imports.insert(own.clone(), found.filter(|found| *found != own).collect::<Names>());
        }
        // Removes what nobody imports, or what imports nobody, until only circles are left.
        while let Some(out) = imports.iter().find_map(|(name, its)| {
            let imported = imports.values().any(|its| its.contains(name));
            (its.is_empty() || !imported).then(|| name.clone())
        }) {
            imports.remove(&out);
            for its in imports.values_mut() {
                its.remove(&out);
            }
        }
        imports.into_keys().collect()
    }
}

/// The module of a file: `one::two`; for the crate's root, `crate`.
fn module(path: &Path) -> String {
    let path = path.with_extension("");
    let mut parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.retain(|part| !["lib", "main", "mod"].contains(&&**part));
    if parts.is_empty() { "crate".to_owned() } else { parts.join("::") }
}

/// The module that has what a path leads to.
fn owner(modules: &Names, path: &[String]) -> Option<String> {
    let lengths = (1..=path.len()).rev();
    let found = lengths.map(|length| path[..length].join("::")).find(|name| modules.contains(name));
    // Otherwise it is in the root.
    found.or_else(|| modules.get("crate").cloned())
}

/// The paths within the crate that a module imports, or that its code has.
fn imported(own: &str, text: &str) -> Vec<Vec<String>> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code = text.lines().take_while(|line| *line != "mod tests {").filter(is_code);
    let code: Vec<_> = code.collect();
    let own: Vec<_> = own.split("::").filter(|part| *part != "crate").map(str::to_owned).collect();
    let parent = own.split_last().map_or(&[][..], |(_, parent)| parent);
    let mut starts = vec![("crate".to_owned(), vec![]), ("super".to_owned(), parent.to_owned())];
    for line in &code {
        if let Some(child) = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod ")) {
            starts.push((child.1.to_owned(), [&own[..], &[child.1.to_owned()]].concat()));
        }
    }
    let code = code.join("\n");
    let mut paths = Vec::new();
    for (word, base) in starts {
        for (at, _) in code.match_indices(&format!("{word}::")) {
            let is_inside = |before: char| before.is_alphanumeric() || "_:$".contains(before);
            if !code[..at].ends_with(is_inside) {
                tree(&code[at + word.len() + 2..], base.clone(), &mut paths);
            }
        }
    }
    paths
}

/// The paths of what follows a `::`, as in `one::{self, two}`: the rest behind them.
fn tree<'a>(text: &'a str, base: Vec<String>, paths: &mut Vec<Vec<String>>) -> &'a str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            match rest.strip_prefix('}') {
                Some(behind) => return behind,
                None if rest.is_empty() => return rest,
                None => {}
            }
            let before = rest;
            rest = tree(rest, base.clone(), paths);
            if rest.len() == before.len() {
                return rest; // no import, whatever it is
            }
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let path = if word == "self" { base } else { [base, vec![word.to_owned()]].concat() };
    if let Some(rest) = rest.strip_prefix("::") {
        return tree(rest, path, paths);
    }
    paths.push(path);
    // `as other` names nothing new.
    let renamed = rest.strip_prefix(" as ");
    renamed.map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'))
}
