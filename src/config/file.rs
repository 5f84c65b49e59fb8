//! The text of the file, as values that know their lines. The only place that knows TOML.
//!
//! No key has a meaning here; what the keys are is for `resolve` to say.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::problem::{LoadError, Problem, Source};
use super::value::{Item, Table, Value};

/// The file's tables, or all its syntax errors.
///
/// Nothing else is checked in a file that is not TOML: what would follow from a misread line is noise.
pub(super) fn parse(path: &Path, text: &str) -> Result<Table, LoadError> {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(lines.table(table.get_ref()));
    }
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| Problem {
            source: Source::File {
                path: path.to_owned(),
                line: error.span().map(|span| lines.at(span.start)),
            },
            key: String::new(),
            sentence: format!("is not TOML: {}", error.message().replace('\n', " ")),
        })
        .collect();
    // After a first error the parser meets its consequences; one a line is enough.
    problems.sort_by(|a, b| a.source.cmp(&b.source));
    problems.dedup_by(|next, previous| next.source == previous.source);
    Err(LoadError::new(problems))
}

/// Where each line of a text begins.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(end, _)| end + 1)).collect();
        Self { starts }
    }

    /// The line of an offset, counted from 1.
    fn at(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        table
            .iter()
            .map(|(key, value)| {
                let item = Item { line: self.at(key.span().start), value: self.value(value.get_ref()) };
                (key.get_ref().clone().into_owned(), item)
            })
            .collect()
    }

    fn list(&self, list: &DeArray<'_>) -> Vec<Item> {
        let item = |value: &Spanned<DeValue<'_>>| Item {
            line: self.at(value.span().start),
            value: self.value(value.get_ref()),
        };
        list.iter().map(item).collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Integer(number) => integer(number),
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Array(list) => Value::List(self.list(list)),
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Float(number) => Value::Other(number.to_string()),
            DeValue::Datetime(time) => Value::Other(time.to_string()),
        }
    }
}

fn integer(number: &DeInteger<'_>) -> Value {
    match i128::from_str_radix(number.as_str(), number.radix()) {
        Ok(number) => Value::Integer(number),
        Err(_) => Value::Other(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        parse(Path::new("x.toml"), text).map(|_| String::new()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn values_know_their_lines() {
        let text = "a = 1\r\n\r\n[s]\r\nlist = [\r\n  \"x\",\r\n  0xff,\r\n]\r\n[s.t]\r\nd = 1_000\r\n";
        let table = parse(Path::new("x.toml"), text).unwrap();
        assert_eq!(table["a"], Item { line: 1, value: Value::Integer(1) });
        let Value::Table(section) = &table["s"].value else { panic!("{table:?}") };
        assert_eq!(table["s"].line, 3);
        let list = vec![
            Item { line: 5, value: Value::Text("x".to_owned()) },
            Item { line: 6, value: Value::Integer(255) },
        ];
        assert_eq!(section["list"], Item { line: 4, value: Value::List(list) });
        let inner = Table::from([("d".to_owned(), Item { line: 9, value: Value::Integer(1000) })]);
        assert_eq!(section["t"], Item { line: 8, value: Value::Table(inner) });
    }

    #[test]
    fn what_no_setting_takes_is_kept_as_written() {
        let table = parse(Path::new("x.toml"), "a = 1.50\nb = 1979-05-27\nc = 9e9").unwrap();
        let written: Vec<String> = table.values().map(|item| item.value.to_string()).collect();
        assert_eq!(written, ["1.50", "1979-05-27", "9e9"]);
        let huge = "9".repeat(50);
        let table = parse(Path::new("x.toml"), &format!("a = {huge}")).unwrap();
        assert_eq!(table["a"].value, Value::Other(huge));
    }

    #[test]
    fn every_syntax_error_is_reported_with_its_line() {
        let text = "[listen]\nadmin = \n\n[store]\nkind = \"memory\"\nkind = 1\n[log\nlevel = \"info\"\n";
        insta::assert_snapshot!(problems(text), @r#"
    x.toml:2: is not TOML: string values must be quoted, expected literal string
    x.toml:6: is not TOML: duplicate key
    x.toml:7: is not TOML: unclosed table, expected `]`
    "#);
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(problems(&format!("a = {}", "[".repeat(100_000))).starts_with("x.toml:1: is not TOML"));
    }
}
