//! Figures: each with its row's name, and side by side.

use serde_json::{Map, Value};

/// Which of two values is the better one.
#[derive(Clone, Copy)]
pub(crate) enum Best {
    Least,
    Most,
    Neither,
}

/// What was measured, or why it could not be.
type Measured = Result<f64, String>;

#[derive(Clone)]
struct Figure {
    row: String,
    best: Best,
    value: Measured,
}

/// In the order of the rows.
#[derive(Default)]
pub(crate) struct Figures(Vec<Figure>);

/// The figures of one implementation.
pub(crate) struct Column {
    pub(crate) label: String,
    pub(crate) figures: Figures,
}

impl Figures {
    pub(crate) fn add(&mut self, row: String, best: Best, value: f64) {
        self.add_or_say(row, best, Ok(value));
    }

    pub(crate) fn add_or_say(&mut self, row: String, best: Best, value: Measured) {
        self.0.push(Figure { row, best, value });
    }

    /// Adds the median of each figure of several rounds.
    pub(crate) fn medians<'a>(&mut self, rounds: impl Iterator<Item = &'a Self> + Clone) {
        for Figure { row, best, .. } in rounds.clone().take(1).flat_map(|first| &first.0) {
            let values: Result<Vec<_>, _> =
                rounds.clone().filter_map(|one| one.find(row)).collect();
            let value = values.map(|values| median(&values));
            self.add_or_say(row.clone(), *best, value);
        }
    }

    fn find(&self, row: &str) -> Option<Measured> {
        self.0.iter().find(|figure| figure.row == row).map(|figure| figure.value.clone())
    }
}

/// Prints a row for each figure of the first column, which is ours.
pub(crate) fn print(columns: &[Column]) {
    let [ours, others @ ..] = columns else { return };
    let mut head: Vec<_> = columns.iter().map(|column| column.label.clone()).collect();
    if !others.is_empty() {
        head.push("ours / best other".to_owned());
    }
    let longest = ours.figures.0.iter().map(|figure| figure.row.len()).max().unwrap_or_default();
    let line = |row: &str, cells: &[String]| {
        let cells = cells
            .iter()
            .zip(&head)
            .map(|(cell, head)| format!("{cell:>width$}", width = head.len().max(8) + 2));
        println!("{row:longest$}{}", cells.collect::<String>());
    };
    line("", &head);
    for Figure { row, best, value } in &ours.figures.0 {
        match value {
            Ok(value) => {
                let others: Vec<_> = others.iter().map(|other| other.figures.find(row)).collect();
                let mut cells = vec![text(*value)];
                cells.extend(others.iter().map(|other| match other {
                    Some(Ok(value)) => text(*value),
                    _ => "-".to_owned(),
                }));
                let others: Vec<_> = others.into_iter().flatten().flatten().collect();
                cells.push(ratio(*best, *value, &others));
                line(row, &cells);
            }
            Err(why) => println!("{row:longest$}  {why}"),
        }
    }
}

/// The ratio of ours to the best of the others, where one is better.
fn ratio(best: Best, ours: f64, others: &[f64]) -> String {
    let other = match best {
        Best::Least => others.iter().copied().reduce(f64::min),
        Best::Most => others.iter().copied().reduce(f64::max),
        Best::Neither => None,
    };
    match other {
        Some(other) if other > 0.0 => format!("{:.2}", ours / other),
        _ => "-".to_owned(),
    }
}

/// The same as JSON: an object for each column.
pub(crate) fn json(columns: &[Column]) -> Value {
    let object = |column: &Column| {
        let values = column.figures.0.iter().map(|Figure { row, value, .. }| {
            (row.clone(), value.clone().map_or_else(Value::from, Value::from))
        });
        (column.label.clone(), values.collect::<Value>())
    };
    Value::Object(columns.iter().map(object).collect::<Map<_, _>>())
}

/// Rounded to significant digits.
fn text(value: f64) -> String {
    format!("{value:.*}", if value < 100.0 { 2 } else { 0 })
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

/// A count of something of which there are less than four billions.
pub(crate) fn count(number: u64) -> f64 {
    u32::try_from(number).expect("less than four billions").into()
}
