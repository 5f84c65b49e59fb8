//! Patterns for paths of requests.

/// A path, segment by segment: `*` is any segment, `{id}` too, which is the id of a subscription, and `**` at the end
/// is any rest, or none. The default is like no path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    /// Whether any rest may follow.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Any,
    Id,
}

impl PathPattern {
    /// Reads a pattern; the sentence says what it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "must be a path, such as \"/hub\" or \"/projects/*/hooks/{{id}}\", where * is one segment and ** at \
                 the end any rest, not {text:?}"
            )
        };
        let rest = text.strip_prefix('/').ok_or_else(wrong)?;
        let (rest, open) = match rest.strip_suffix("**") {
            Some(rest) => (rest.strip_suffix('/').or(rest.is_empty().then_some("")).ok_or_else(wrong)?, true),
            None => (rest, false),
        };
        let mut segments = Vec::new();
        if !(open && rest.is_empty()) {
            for segment in rest.split('/') {
                segments.push(match segment {
                    "*" => Segment::Any,
                    "{id}" if segments.contains(&Segment::Id) => return Err(wrong()),
                    "{id}" => Segment::Id,
                    literal if literal.contains(['*', '{', '}', '?', '#', ' ']) => return Err(wrong()),
                    literal => Segment::Literal(literal.to_owned()),
                });
            }
        }
        Ok(Self { segments, open })
    }

    /// Whether a path is like this.
    pub fn matches(&self, path: &str) -> bool {
        self.read(path).is_some()
    }

    /// Whether it has an id in it.
    pub fn has_id(&self) -> bool {
        self.segments.contains(&Segment::Id)
    }

    /// The id in a path that is like this, and the path before it.
    pub fn id<'a>(&self, path: &'a str) -> Option<(&'a str, &'a str)> {
        self.read(path)?
    }

    /// The path of the subscription with this id among those at `node`; none if that does not follow.
    pub fn path_of(&self, node: &str, id: &str) -> Option<String> {
        let mut path = format!("{}/{id}", node.trim_end_matches('/'));
        let behind = self.segments.iter().skip_while(|segment| **segment != Segment::Id).skip(1);
        for segment in behind {
            let Segment::Literal(literal) = segment else { return None };
            path.push('/');
            path.push_str(literal);
        }
        self.id(&path).is_some_and(|(_, found)| found == id).then_some(path)
    }

    /// None if the path is not like this; what [`Self::id`] says if it is.
    fn read<'a>(&self, path: &'a str) -> Option<Option<(&'a str, &'a str)>> {
        let mut found = None;
        let mut at = 0;
        for (index, segment) in self.segments.iter().enumerate() {
            let start = at + 1;
            let rest = path.get(at..)?.strip_prefix('/')?;
            let end = start + rest.find('/').unwrap_or(rest.len());
            let text = &path[start..end];
            match segment {
                // The last segment of a folder's path is empty.
                Segment::Any | Segment::Id if text.is_empty() => return None,
                Segment::Literal(literal) if literal != text => return None,
                Segment::Id => found = Some((&path[..at], text)),
                Segment::Any | Segment::Literal(_) => {}
            }
            at = end;
            if index + 1 == self.segments.len() && at < path.len() && !self.open {
                return None;
            }
        }
        (self.open || !self.segments.is_empty()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_held_against_a_pattern_segment_by_segment() {
        for (pattern, path, matches) in [
            ("/hub", "/hub", true),
            ("/hub", "/hub/", false),
            ("/hub", "/hubs", false),
            ("/", "/", true),
            ("/", "/x", false),
            ("/**", "/", true),
            ("/**", "/x/y", true),
            ("/a/**", "/a", true),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/ab", false),
            ("/p/*/hooks", "/p/7/hooks", true),
            ("/p/*/hooks", "/p//hooks", false),
            ("/p/*/hooks", "/p/a/b/hooks", false),
            ("/p/*/hooks/{id}", "/p/7/hooks/12", true),
            ("/p/*/hooks/{id}", "/p/7/hooks/", false),
            ("/p", "*", false),
        ] {
            assert_eq!(PathPattern::parse(pattern).unwrap().matches(path), matches, "{pattern} {path}");
        }
        for wrong in ["", "hub", "/a**", "/**/a", "/a*", "/{id}/{id}", "/{x}", "/a?b"] {
            assert!(PathPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_id_is_found_and_put_where_it_stands() {
        let pattern = PathPattern::parse("/p/*/hooks/{id}/stop").unwrap();
        assert_eq!(pattern.id("/p/7/hooks/12/stop"), Some(("/p/7/hooks", "12")));
        assert_eq!(pattern.path_of("/p/7/hooks", "12").as_deref(), Some("/p/7/hooks/12/stop"));
        assert_eq!(pattern.path_of("/p/7/hooks", "1/2"), None);
        assert_eq!(pattern.path_of("/elsewhere", "12"), None);
        assert_eq!(PathPattern::parse("/p/{id}/*").unwrap().path_of("/p", "12"), None);
        assert_eq!(PathPattern::parse("/**").unwrap().id("/p/7"), None);
    }
}
