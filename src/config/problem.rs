//! What is wrong with a configuration, and where it says so.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong: `/etc/pollgate/pollgate.toml:12: polling.poll_life_time: needs …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was set.
    pub source: Source,
    /// The dotted key; empty where none can be named (a syntax error, an unreadable file).
    pub key: String,
    /// What is wrong and what would be right, as a sentence about the key; a single line.
    pub sentence: String,
}

/// Where a setting comes from. In the order in which problems are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The configuration file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, counted from 1, if it is about one.
        line: Option<usize>,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag.
    CommandLine,
}

/// Everything that is wrong with a configuration; displayed a problem a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    problems: Vec<Problem>,
}

impl LoadError {
    /// All these problems, put in the order of their places.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.source.cmp(&b.source));
        Self { problems }
    }

    /// The problems: those of the file by line, then those of the environment, then those of the flags.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for LoadError {}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.sentence)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Source::File { path, line: None } => write!(f, "{}", path.display()),
            Source::Environment { variable } => write!(f, "environment {variable}"),
            Source::CommandLine => f.write_str("command line"),
        }
    }
}
