//! The file that says how a server's webhooks are registered (`upstream.webhook`), as [`Rules`].
//!
//! It is read as the configuration is: every problem is reported with its line, and what nobody knows is one.

use std::path::Path;
use std::sync::Arc;

use super::duration::lease;
use super::load::read;
use super::problem::{LoadError, Problem, Source};
use super::reader::{Given, Reader, Section};
use super::value::{Reading, Value, choice, count, switch};
use super::{Overrides, Upstream, file};
use crate::dialect::webhook::{
    Answer, Callback, Challenge, Condition, Known, LONGEST_LEASE, Lease, PathPattern, Place, Registration,
    RequestPattern, Rules, Unit,
};

/// Reads the rules that an upstream names; what is wrong with them is reported as what is wrong with the rest.
pub(super) fn read_rules(
    upstream: &mut Upstream,
    load: fn(&Path) -> Result<Rules, LoadError>,
    reader: &mut Reader<'_>,
) {
    let Some(path) = &upstream.webhook else { return };
    match load(path) {
        Ok(rules) => upstream.rules = Some(Arc::new(rules)),
        Err(error) => reader.adopt(&error),
    }
}

/// The rules of webhooks in a file, or everything that is wrong with them.
pub fn load(path: &Path) -> Result<Rules, LoadError> {
    parse(path, &read(path)?)
}

/// The rules that a text has.
pub(super) fn parse(path: &Path, text: &str) -> Result<Rules, LoadError> {
    let table = file::parse(path, text)?;
    if !table.contains_key("registration") {
        let source = Source::File { path: path.to_owned(), line: None };
        let sentence = "is missing: without it nothing is a registration".to_owned();
        return Err(LoadError::new(vec![Problem { source, key: "registration".to_owned(), sentence }]));
    }
    let flags = Overrides::default();
    let mut reader = Reader::new(path, [], &flags);
    let rules = reader.root(table, rules);
    reader.finish()?;
    Ok(rules)
}

fn rules(root: &mut Section<'_, '_>) -> Rules {
    Rules {
        registration: Some(root.section("registration", "[registration]", registration)),
        renewal: root.section("renewal", "[renewal]", |section| known(section, "PATCH")),
        end: root.section("end", "[end]", |section| known(section, "DELETE")),
        answer: root.section("answer", "[answer]", answer),
        lease: root.section("lease", "[lease]", length_of_lease),
        callback: root.section("callback", "[callback]", callback),
        challenges: root.tables("challenge", challenge),
    }
}

fn registration(section: &mut Section<'_, '_>) -> Registration {
    let registration = Registration {
        request: request(section, "POST"),
        callback: section.list_of_some("callback", Vec::new(), of_request),
        callback_optional: section.read("callback_optional", false, switch),
        id: section.list("id", Vec::new(), of_request),
        lease: section.read("lease", None, |value| of_request(value).map(Some)),
    };
    if !section.was_set("callback") {
        section.problem(&[], "needs callback, the places where the address may stand".to_owned());
    }
    registration
}

fn known(section: &mut Section<'_, '_>, method: &str) -> Option<Known> {
    let stated = section.stated();
    if !stated {
        return None;
    }
    let known = Known { request: request(section, method), id: section.list("id", Vec::new(), of_request) };
    if known.id.is_empty() && !known.request.path.has_id() && section.was_set("path") {
        let sentence = "must say which subscription it is about: by {id} in its path, or by id";
        section.problem(&[], sentence.to_owned());
    }
    Some(known)
}

fn request(section: &mut Section<'_, '_>, preset: &str) -> RequestPattern {
    let path = match section.given("path", path) {
        Given::Value(path) => path,
        given => {
            if matches!(given, Given::Absent) {
                section.problem(&[], "needs path, that of the request".to_owned());
            }
            PathPattern::default()
        }
    };
    RequestPattern {
        method: section.read("method", preset.to_owned(), method),
        path,
        content_type: section.read("content_type", None, |value| media_type(value).map(Some)),
        when: section.list("when", Vec::new(), condition),
    }
}

fn answer(section: &mut Section<'_, '_>) -> Answer {
    Answer {
        id: section.read("id", None, |value| of_answer(value).map(Some)),
        lease: section.read("lease", None, |value| of_answer(value).map(Some)),
    }
}

fn length_of_lease(section: &mut Section<'_, '_>) -> Lease {
    let preset = Lease::default();
    Lease {
        default: section.read("default", preset.default, |value| lease(value, LONGEST_LEASE)),
        unit: section.read("unit", preset.unit, |value| choice(value, &Unit::ALL, Unit::as_str)),
    }
}

fn callback(section: &mut Section<'_, '_>) -> Callback {
    let preset = Callback::default();
    Callback {
        methods: section.list_of_some("methods", preset.methods, method),
        status: section.read("status", preset.status, status),
        body: section.read("body", preset.body, |value| {
            value.text().map(str::to_owned).ok_or_else(|| format!("must be text, not {value}"))
        }),
        content_type: section.read("content_type", preset.content_type, media_type),
    }
}

fn challenge(section: &mut Section<'_, '_>) -> Challenge {
    let place =
        |section: &mut Section<'_, '_>, key| section.read(key, None, |value| of_request(value).map(Some));
    let challenge = Challenge {
        method: section.read("method", "GET".to_owned(), method),
        when: section.list("when", Vec::new(), condition),
        echo: place(section, "echo"),
        content_type: section.read("content_type", Callback::default().content_type, media_type),
        id: place(section, "id"),
        lease: place(section, "lease"),
        ends: section.read("ends", false, switch),
        of_the_gone: section.read("of_the_gone", false, switch),
    };
    if !section.was_set("when") && !section.was_set("echo") {
        section.problem(&[], "needs when, or echo: every request would be one".to_owned());
    }
    challenge
}

fn place(value: &Value) -> Reading<Place> {
    match value.text() {
        Some(text) => Place::parse(text),
        None => Err(format!("must be a place in a message, such as \"json:/url\", not {value}")),
    }
}

fn of_request(value: &Value) -> Reading<Place> {
    match place(value)? {
        Place::Location => Err("must be a place in a request, which has no Location".to_owned()),
        place => Ok(place),
    }
}

fn of_answer(value: &Value) -> Reading<Place> {
    match place(value)? {
        Place::Query(_) => Err("must be a place in an answer, which has no query".to_owned()),
        place => Ok(place),
    }
}

/// `PLACE=VALUE|VALUE`.
fn condition(value: &Value) -> Reading<Condition> {
    let wrong = || format!("must be PLACE=VALUE, such as \"form:hub.mode=subscribe\", not {value}");
    let (name, values) = value.text().and_then(|text| text.split_once('=')).ok_or_else(wrong)?;
    let place = of_request(&Value::Text(name.to_owned()))?;
    Ok(Condition { place, values: values.split('|').map(str::to_owned).collect() })
}

fn path(value: &Value) -> Reading<PathPattern> {
    PathPattern::parse(value.text().unwrap_or_default())
}

fn method(value: &Value) -> Reading<String> {
    let is_method =
        |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    value
        .text()
        .filter(is_method)
        .map(str::to_owned)
        .ok_or_else(|| format!("must be a method, such as \"POST\", not {value}"))
}

fn media_type(value: &Value) -> Reading<String> {
    let is_media_type =
        |text: &&str| text.contains('/') && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    let text = value.text().filter(is_media_type);
    text.map(str::to_owned)
        .ok_or_else(|| format!("must be a media type, such as \"application/json\", not {value}"))
}

fn status(value: &Value) -> Reading<u16> {
    u16::try_from(count(value, 200..=299)?).map_err(|error| error.to_string())
}

/// The rules are read by the same reader as the rest, whose own tests are elsewhere.
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn problems(text: &str) -> String {
        parse(Path::new("w.toml"), text).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn the_rules_that_come_with_it_are_rules() {
        for text in [
            include_str!("../../conf/dialects/websub.toml"),
            include_str!("../../conf/dialects/gitlab.toml"),
            include_str!("../../conf/dialects/gitea.toml"),
        ] {
            assert_eq!(problems(text), "");
        }
    }

    #[test]
    fn what_is_left_out_is_as_documented() {
        let rules =
            parse(Path::new("w.toml"), "[registration]\npath = '/r'\ncallback = ['json:/url']\n").unwrap();
        let registration = rules.registration.as_ref().unwrap();
        assert_eq!((registration.request.method.as_str(), registration.callback_optional), ("POST", false));
        assert_eq!((rules.renewal, rules.end, rules.answer), (None, None, Answer::default()));
        assert_eq!(rules.lease, Lease { default: Duration::from_secs(864_000), unit: Unit::Seconds });
        assert_eq!((rules.callback.methods, rules.callback.status), (vec!["POST".to_owned()], 200));
    }

    #[test]
    fn everything_that_is_wrong_is_reported_with_its_line() {
        assert_eq!(
            problems("[end]\n"),
            "w.toml: registration: is missing: without it nothing is a registration"
        );
        let text = "[registration]\npath = 'hub'\ncallback = ['json:url', 'location']\nwhen = ['form:a']\n\
                    [end]\npath = '/x'\nmethod = 'delete'\n[answer]\nid = 'query:x'\n[callback]\nstatus = 410\n\
                    [lease]\nunit = 'hours'\ndefault = 0\n[[challenge]]\nmethod = 'GET'\n[renewal]\nids = []\n";
        insta::assert_snapshot!(problems(text), @r#"
        w.toml:2: registration.path: must be a path, such as "/hub" or "/projects/*/hooks/{id}", where * is one segment and ** at the end any rest, not "hub"
        w.toml:3: registration.callback[0]: must be a place in a message: "header:NAME", "query:NAME", "form:NAME", "json:/pointer", "xml:/path" or "location", not "json:url"
        w.toml:3: registration.callback[1]: must be a place in a request, which has no Location
        w.toml:4: registration.when[0]: must be PLACE=VALUE, such as "form:hub.mode=subscribe", not "form:a"
        w.toml:5: end: must say which subscription it is about: by {id} in its path, or by id
        w.toml:7: end.method: must be a method, such as "POST", not "delete"
        w.toml:9: answer.id: must be a place in an answer, which has no query
        w.toml:11: callback.status: must be a whole number from 200 to 299, not 410
        w.toml:13: lease.unit: must be "seconds" or "minutes" or "time", not "hours"
        w.toml:14: lease.default: must be a number of seconds, or a string such as "10d", longer than 0 and at most 315360000 seconds, not 0
        w.toml:15: challenge[0]: needs when, or echo: every request would be one
        w.toml:17: renewal: needs path, that of the request
        w.toml:18: renewal.ids: is not a key of [renewal]; there are path, method, content_type, when, id
        "#);
    }
}
