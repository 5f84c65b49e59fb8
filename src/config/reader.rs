//! Asks the layers for settings by name, and keeps every problem it meets.
//!
//! A setting is flag over environment over file over default; only the winner is read. A setting that
//! cannot be read takes its default for the time being, so that reading goes on and the operator sees
//! all the problems at once; whoever finishes with a problem gets no configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::problem::{LoadError, Problem, Source};
use super::value::{Item, Reading, Table, Value};
use super::{Overrides, env, overrides, suggest};

/// The layers above the defaults, and what was found out about them.
pub(super) struct Reader<'a> {
    path: &'a Path,
    environment: BTreeMap<String, String>,
    flags: BTreeMap<&'static str, Value>,
    /// Where each key was set that was asked for and was set.
    sources: BTreeMap<String, Source>,
    /// Every key that was asked for.
    known: BTreeSet<String>,
    problems: Vec<Problem>,
}

/// A table of the file with the environment and the flags above it.
pub(super) struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// Its dotted key; empty for the root.
    path: String,
    /// What of it nobody has asked for yet.
    table: Table,
    /// What was asked for in it.
    known: Vec<&'static str>,
    /// Whether the file has this table.
    stated: bool,
}

/// A setting, in as far as one is given.
pub(super) enum Given<T> {
    /// No layer sets it.
    Absent,
    /// It is set and cannot be read; the problem is kept.
    Faulty,
    /// It is set to this.
    Value(T),
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        path: &'a Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &Overrides,
    ) -> Self {
        Self {
            path,
            environment: env::settings(environment),
            flags: overrides::settings(flags),
            sources: BTreeMap::new(),
            known: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    /// Reads everything, from the file's root down.
    pub(super) fn root<T>(&mut self, file: Table, read: impl FnOnce(&mut Section<'_, 'a>) -> T) -> T {
        let root =
            Section { reader: self, path: String::new(), table: file, known: Vec::new(), stated: true };
        root.finish(read)
    }

    /// The settings `keys` contradict each other, as `sentence` says. It is reported where the last of
    /// them is set: in the uppermost layer, or furthest down in the file. Settings that are wrong by
    /// themselves contradict nothing.
    pub(super) fn contradiction(&mut self, keys: &[&str], sentence: String) {
        // An item of a list stands for the list; a setting in an item is one by itself.
        let setting = |key: &str| match key.strip_suffix(']').and_then(|key| key.rsplit_once('[')) {
            Some((list, _)) => list.to_owned(),
            None => key.to_owned(),
        };
        let faulty = |key: &&str| self.problems.iter().any(|problem| setting(&problem.key) == setting(key));
        if keys.iter().any(faulty) {
            return;
        }
        let set = keys.iter().filter_map(|key| Some((self.sources.get(*key)?.clone(), *key)));
        if let Some((source, key)) = set.max_by(|(a, _), (b, _)| a.cmp(b)) {
            self.problem(source, key, sentence);
        }
    }

    /// Every problem, or nothing. What is left of the environment now is known to nobody.
    pub(super) fn finish(mut self) -> Result<(), LoadError> {
        let variables: Vec<String> = self.known.iter().map(|key| env::variable(key)).collect();
        for variable in std::mem::take(&mut self.environment).into_keys() {
            let known = || variables.iter().map(String::as_str);
            let longer = || known().find(|known| known.starts_with(&format!("{variable}_")));
            let hint = match suggest::nearest(&variable, known()).or_else(longer) {
                Some(name) => format!("did you mean {name}?"),
                None => {
                    "settings are named POLLGATE_SECTION_KEY after the file's sections and keys".to_owned()
                }
            };
            self.problem(Source::Environment { variable }, "", format!("is not a setting; {hint}"));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(LoadError::new(self.problems)) }
    }

    /// Every key that was asked for.
    #[cfg(test)]
    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(String::as_str)
    }

    /// Whether the file has a list of the tables `key`.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.sources.contains_key(&format!("{key}[0]"))
    }

    /// Reports what flags and the environment set of the table `path`, where the file has a list of such tables:
    /// nobody can tell which of them is meant.
    fn set_above_a_list(&mut self, path: &str) {
        let sentence = || format!("the file has several, [[{path}]]: set it there");
        let prefix = format!("{path}.");
        let flags: Vec<&str> = self.flags.keys().copied().filter(|key| key.starts_with(&prefix)).collect();
        for key in flags {
            self.flags.remove(key);
            self.problem(Source::CommandLine, key, sentence());
        }
        let prefix = env::variable(&prefix);
        let variables: Vec<String> =
            self.environment.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
        for variable in variables {
            self.environment.remove(&variable);
            self.problem(Source::Environment { variable }, path, sentence());
        }
    }

    fn problem(&mut self, source: Source, key: &str, sentence: String) {
        self.problems.push(Problem { source, key: key.to_owned(), sentence });
    }

    fn line(&self, line: usize) -> Source {
        Source::File { path: self.path.to_owned(), line: Some(line) }
    }
}

impl<'a> Section<'_, 'a> {
    /// Reads the table `key` of this one. `example` is what it looks like, for whoever wrote something else.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        self.known.push(key);
        let path = self.path_of(key);
        let mut stated = false;
        let mut table = Table::new();
        if let Some(Item { line, value }) = self.table.remove(key) {
            let source = self.reader.line(line);
            match value {
                Value::Table(found) => {
                    self.reader.sources.insert(path.clone(), source);
                    (stated, table) = (true, found);
                }
                other => {
                    self.reader.problem(source, &path, format!("must be a table, {example}, not {other}"));
                }
            }
        }
        let section = Section { reader: &mut *self.reader, path, table, known: Vec::new(), stated };
        section.finish(read)
    }

    /// Reads each table of the list `key`, `[[key]]` in the file. Only the file has them: the environment
    /// has no name for the first or the second of them.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&mut Section<'_, 'a>) -> T,
    ) -> Vec<T> {
        self.known.push(key);
        let path = self.path_of(key);
        let Some(Item { line, value }) = self.table.remove(key) else { return Vec::new() };
        let Value::List(items) = value else {
            let source = self.reader.line(line);
            self.reader.problem(source, &path, format!("must be a list of tables, [[{key}]], not {value}"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, Item { line, value }) in items.into_iter().enumerate() {
            let source = self.reader.line(line);
            let path = format!("{path}[{index}]");
            let Value::Table(table) = value else {
                self.reader.problem(source, &path, format!("must be a table, [[{key}]], not {value}"));
                continue;
            };
            self.reader.sources.insert(path.clone(), source);
            let section = Section { reader: &mut *self.reader, path, table, known: Vec::new(), stated: true };
            tables.push(section.finish(&read));
        }
        tables
    }

    /// Reads the table `key`, or, if the file has a list of them, `[[key]]`, each of that. There is always one:
    /// the environment and flags set keys of it, but not of one in a list.
    pub(super) fn one_or_more<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&mut Section<'_, 'a>) -> T,
    ) -> Vec<T> {
        let Some(Item { line, value: Value::List(items) }) = self.table.get(key) else {
            return vec![self.section(key, example, read)];
        };
        let (line, is_empty) = (self.reader.line(*line), items.is_empty());
        let path = self.path_of(key);
        self.reader.set_above_a_list(&path);
        let tables = self.tables(key, &read);
        if is_empty {
            self.reader.problem(line, &path, "must have at least one item".to_owned());
        }
        tables
    }

    /// What `key` is set to, or its default.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value) -> Reading<T>,
    ) -> T {
        match self.given(key, read) {
            Given::Value(value) => value,
            Given::Absent | Given::Faulty => default,
        }
    }

    /// What `key` is set to, if it is.
    pub(super) fn given<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value) -> Reading<T>,
    ) -> Given<T> {
        let Some((value, source)) = self.take(key) else { return Given::Absent };
        match read(&value) {
            Ok(value) => Given::Value(value),
            Err(sentence) => {
                let path = self.path_of(key);
                self.reader.problem(source, &path, sentence);
                Given::Faulty
            }
        }
    }

    /// What the list `key` is set to, item by item, or its default. In the environment, commas stand
    /// between the items.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        read: impl Fn(&Value) -> Reading<T>,
    ) -> Vec<T> {
        let Some((value, source)) = self.take(key) else { return default };
        let path = self.path_of(key);
        let items = match value {
            Value::List(items) => items,
            Value::Untyped(text) => split(&text),
            other => {
                let sentence = match other {
                    Value::Text(_) => format!("must be a list: [{other}], not {other}"),
                    other => format!("must be a list of strings, not {other}"),
                };
                self.reader.problem(source, &path, sentence);
                return default;
            }
        };
        let mut faulty = false;
        let mut list = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let source = match &source {
                Source::File { .. } => self.reader.line(item.line),
                other => other.clone(),
            };
            let path = format!("{path}[{index}]");
            match read(&item.value) {
                Ok(value) => list.push(value),
                Err(sentence) => {
                    faulty = true;
                    self.reader.problem(source.clone(), &path, sentence);
                }
            }
            self.reader.sources.insert(path, source);
        }
        if faulty { default } else { list }
    }

    /// As [`Self::list`], for a list that needs at least one item.
    pub(super) fn list_of_some<T>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        read: impl Fn(&Value) -> Reading<T>,
    ) -> Vec<T> {
        let list = self.list(key, default, read);
        let path = self.path_of(key);
        let items = format!("{path}[");
        if list.is_empty()
            && !self
                .reader
                .problems
                .iter()
                .any(|problem| problem.key == path || problem.key.starts_with(&items))
            && let Some(source) = self.reader.sources.get(&path).cloned()
        {
            self.reader.problem(source, &path, "must have at least one item".to_owned());
        }
        list
    }

    /// Reports a problem of this table as a whole, which has these `keys`: where one of them is set above
    /// the file, else where the file has the table.
    pub(super) fn problem(&mut self, keys: &[&str], sentence: String) {
        let set = |key: &&str| self.reader.sources.get(&self.path_of(key));
        let above = keys.iter().filter_map(set).find(|source| !matches!(source, Source::File { .. }));
        if let Some(source) = above.or_else(|| self.reader.sources.get(&self.path)).cloned() {
            self.reader.problem(source, &self.path, sentence);
        }
    }

    /// Whether the file has this table.
    pub(super) fn stated(&self) -> bool {
        self.stated
    }

    /// Reads, then reports what is left: nobody knows it.
    fn finish<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let value = read(&mut self);
        for (key, item) in std::mem::take(&mut self.table) {
            let unknown = self.unknown(&item.value);
            let sentence = match suggest::nearest(&key, self.known.iter().copied()) {
                Some(known) => format!("{unknown}; did you mean {known}?"),
                None => format!("{unknown}; there are {}", self.known.join(", ")),
            };
            let source = self.reader.line(item.line);
            let path = self.path_of(&key);
            self.reader.problem(source, &path, sentence);
        }
        value
    }

    fn unknown(&self, value: &Value) -> String {
        match (self.path.as_str(), value) {
            ("", Value::Table(_)) => "is not a section".to_owned(),
            ("", _) => "stands outside of the sections".to_owned(),
            (path, _) if self.is_item() => format!("is not a key of {path}"),
            (path, _) => format!("is not a key of [{path}]"),
        }
    }

    /// The value of `key` from the uppermost layer that has one; those below it count as asked for.
    fn take(&mut self, key: &'static str) -> Option<(Value, Source)> {
        self.known.push(key);
        let path = self.path_of(key);
        let file = self.table.remove(key).map(|item| (item.value, self.reader.line(item.line)));
        if self.is_item() {
            let (value, source) = file?;
            self.reader.sources.insert(path, source.clone());
            return Some((value, source));
        }
        let variable = env::variable(&path);
        self.reader.known.insert(path.clone());
        let environment = self
            .reader
            .environment
            .remove(&variable)
            .map(|text| (Value::Untyped(text), Source::Environment { variable }));
        let flag = self.reader.flags.remove(path.as_str()).map(|value| (value, Source::CommandLine));
        let (value, source) = flag.or(environment).or(file)?;
        self.reader.sources.insert(path, source.clone());
        Some((value, source))
    }

    /// Whether it is a table of a list, or in one.
    fn is_item(&self) -> bool {
        self.path.contains('[')
    }

    /// The dotted key of `key`, which is in quotes if it could be mistaken for several.
    fn path_of(&self, key: &str) -> String {
        let bare =
            !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let key = if bare { key.to_owned() } else { super::value::quoted(key) };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }
}

fn split(text: &str) -> Vec<Item> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',').map(|item| Item { line: 0, value: Value::Untyped(item.trim().to_owned()) }).collect()
}
