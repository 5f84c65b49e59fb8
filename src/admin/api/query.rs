//! Parameters and pages.

use url::form_urlencoded;

use crate::admin::problem::Problem;
use crate::http1::RequestHead;

/// The parameters of a request. Each is asked for by name; what nobody asked for is a problem, so that a
/// misspelt filter does not show everything.
pub(super) struct Query {
    path: String,
    all: Vec<(String, String)>,
    known: Vec<&'static str>,
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// At most so many.
    pub(super) limit: usize,
    /// Those behind this id.
    pub(super) after: Option<u64>,
}

impl Page {
    /// As many as fit on a screen or two.
    const DEFAULT: usize = 100;

    /// As many as are built in memory at a time.
    const MOST: usize = 1000;
}

impl Query {
    /// The parameters of this request.
    pub(super) fn of(head: &RequestHead) -> Self {
        let query = head.target().split_once('?').map_or("", |(_, query)| query);
        let all = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { path: head.path().to_owned(), all, known: Vec::new() }
    }

    /// The value of a parameter, if it is there.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<&str>, Problem> {
        self.known.push(name);
        let mut values = self.all.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(bad(name, "is given more than once".to_owned())),
            (value, None) => Ok(value),
        }
    }

    /// The value of a parameter, if it is there, as `read` reads it, or that it `must_be` something else.
    pub(super) fn value<T>(
        &mut self,
        name: &'static str,
        must_be: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        read(text).map(Some).ok_or_else(|| bad(name, format!("must be {must_be}")))
    }

    /// `limit` and `after`.
    pub(super) fn page(&mut self) -> Result<Page, Problem> {
        let limit = self.value("limit", "a number from 1 to 1000", |text| {
            number(text).and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=Page::MOST).contains(n))
        })?;
        let after = self.value("after", "an id: the next of the page before", number)?;
        Ok(Page { limit: limit.unwrap_or(Page::DEFAULT), after })
    }

    /// Nothing more will be asked for: what is left is a problem.
    pub(super) fn finish(&self) -> Result<(), Problem> {
        match self.all.iter().find(|(name, _)| !self.known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) if self.known.is_empty() => {
                Err(bad(name, "is no parameter here; there is none".to_owned()))
            }
            Some((name, _)) => {
                Err(bad(name, format!("is no parameter here; there are {}", self.known.join(", "))))
            }
        }
    }

    /// The value of a `Link` field (RFC 8288) that leads to the page behind `after`.
    pub(super) fn link_to_next(&self, after: u64) -> String {
        let kept = self.all.iter().filter(|(name, _)| name != "after");
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(kept)
            .append_pair("after", &after.to_string())
            .finish();
        format!("<{}?{query}>; rel=\"next\"", self.path)
    }
}

fn bad(name: &str, detail: String) -> Problem {
    Problem::BadParameter { name: name.to_owned(), detail }
}

/// Digits alone: `u64::from_str` would let a plus sign pass.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::HeadLimits;

    fn query(query: &str) -> Query {
        let head = format!("GET /list{query} HTTP/1.1\r\nHost: h\r\n\r\n");
        Query::of(&RequestHead::parse(head.as_bytes(), HeadLimits::default()).unwrap().unwrap().0)
    }

    #[test]
    fn pages() {
        for (text, expected) in [
            ("", Ok((100, None))),
            ("?limit=1", Ok((1, None))),
            ("?after=7&limit=1000", Ok((1000, Some(7)))),
            ("?limit=0", Err("limit")),
            ("?limit=1001", Err("limit")),
            ("?limit=", Err("limit")),
            ("?limit=+5", Err("limit")),
            ("?limit=ten", Err("limit")),
            ("?limit=1&limit=2", Err("limit")),
            ("?after=-1", Err("after")),
            ("?after=99999999999999999999", Err("after")),
            ("?Limit=1", Err("Limit")),
            ("?sort=id", Err("sort")),
        ] {
            let mut query = query(text);
            let page = query.page().and_then(|page| query.finish().map(|()| (page.limit, page.after)));
            let page = page.map_err(|problem| match problem {
                Problem::BadParameter { name, .. } => name,
                other => panic!("{other:?}"),
            });
            assert_eq!(page, expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn the_next_page_is_asked_for_like_this_one() {
        let query = query("?principal=http%3A%2F%2Fim%2Fa%20b&after=3&limit=2");
        assert_eq!(
            query.link_to_next(9),
            "</list?principal=http%3A%2F%2Fim%2Fa+b&limit=2&after=9>; rel=\"next\""
        );
    }
}
