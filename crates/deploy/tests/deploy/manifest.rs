//! The files as the tests read them.

use std::fs;
use std::path::{Path, PathBuf};

use application::Service;
use yaml_rust2::{Yaml, YamlLoader};

/// A YAML file that knows its own name, for the messages. A field's path is the names on
/// the way to it, joined by dots, an item's its number: `image.healthcheck.command.0`.
pub(crate) struct Manifest {
    file: String,
    pub(crate) root: Yaml,
}

impl Manifest {
    pub(crate) fn read(file: &str) -> Self {
        let documents = YamlLoader::load_from_str(&read(file))
            .unwrap_or_else(|error| panic!("{file} is not YAML: {error}"));
        let [root] = documents.as_slice() else {
            panic!("{file} holds {} YAML documents; expected one", documents.len());
        };
        Self { file: file.to_owned(), root: root.clone() }
    }

    /// A service's, for Copilot.
    pub(crate) fn of(service: Service) -> Self {
        Self::read(&format!("copilot/{}/manifest.yml", service.dns_name))
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Yaml> {
        let value = path.split('.').fold(&self.root, |section, name| match name.parse::<usize>() {
            Ok(index) => &section[index],
            Err(_) => &section[name],
        });
        (!value.is_badvalue()).then_some(value)
    }

    pub(crate) fn field(&self, path: &str) -> &Yaml {
        self.find(path).unwrap_or_else(|| panic!("{self}: {path} is missing"))
    }

    pub(crate) fn list(&self, path: &str) -> &[Yaml] {
        self.field(path).as_vec().unwrap_or_else(|| panic!("{self}: {path} must be a list"))
    }

    pub(crate) fn text(&self, path: &str) -> String {
        scalar(self.field(path))
    }

    pub(crate) fn expect(&self, path: &str, expected: &str) {
        let found = self.text(path);
        assert!(found == expected, "{self}: {path} is {found:?}; expected {expected:?}");
    }
}

impl std::fmt::Display for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)
    }
}

/// Calls `look` with every value below `value`, itself included, and with its path.
pub(crate) fn visit(value: &Yaml, path: &str, look: &mut impl FnMut(&str, &Yaml)) {
    look(path, value);
    match value {
        Yaml::Hash(fields) => {
            for (name, field) in fields {
                let name = scalar(name);
                let below = if path.is_empty() { name } else { format!("{path}.{name}") };
                visit(field, &below, look);
            }
        }
        Yaml::Array(items) => {
            for item in items {
                visit(item, &format!("{path}[]"), look);
            }
        }
        _ => {}
    }
}

/// A field of its own, or of what it is merged with (`<<: *other`), which the reader leaves
/// to us.
pub(crate) fn merged<'a>(section: &'a Yaml, field: &str) -> Option<&'a Yaml> {
    let own = &section[field];
    if own.is_badvalue() {
        merged(section.as_hash()?.get(&Yaml::from_str("<<"))?, field)
    } else {
        Some(own)
    }
}

/// A number, a truth value or a string, as it is written.
pub(crate) fn scalar(value: &Yaml) -> String {
    match value {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        Yaml::Boolean(truth) => truth.to_string(),
        other => panic!("{other:?} is neither a number, a truth value nor a string"),
    }
}

/// The seconds in `5s`, `2m` or `1h`; none where the unit is missing.
pub(crate) fn seconds(duration: &str) -> Option<u64> {
    let (number, unit) = duration.split_at_checked(duration.len().checked_sub(1)?)?;
    let in_seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * in_seconds)
}

pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(repository().join(file))
        .unwrap_or_else(|error| panic!("{file} cannot be read: {error}"))
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
