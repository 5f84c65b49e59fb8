//! Descriptions that name the server's own address, on their way to a client.
//!
//! UPnP devices write absolute URLs of themselves (`URLBase`, and wherever a URL may stand; UPnP Device
//! Architecture 2.0 §2.3). A client that follows them passes the gateway by, and ends at the firewall. With
//! `upstream.rewrite_descriptions` the server's origin in XML answers becomes the one under which the client
//! knows the gateway; paths stay as they are.
//!
//! This is done as the answer passes, piece by piece: of a piece, no more is kept than an origin is long. How
//! long the answer will be is not known before its end, so it goes in chunks.

use std::net::SocketAddr;

use bytes::Bytes;
use memchr::memmem;

use crate::config;
use crate::http1::{FieldList, Framing, Headers};

/// What stands between scheme and authority (RFC 3986 §3).
const SEPARATOR: &[u8] = b"://";

/// Writes one answer anew.
#[derive(Debug)]
pub(super) struct Rewriter {
    /// The scheme of the server's origin.
    scheme: &'static str,
    /// What the server may call itself behind it.
    own: Vec<String>,
    /// The origin that comes in its place.
    gateway: String,
    /// The end of what came, which may be the beginning of an origin.
    kept: Vec<u8>,
}

/// The origin under which a client knows the gateway; none if what it calls the gateway is no authority, and would
/// have to be escaped to stand in XML.
pub(super) fn origin(scheme: &str, authority: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (!authority.is_empty() && authority.bytes().all(is_plain)).then(|| format!("{scheme}://{authority}"))
}

/// Makes this answer one that is written anew, if it is XML that can be read as it stands.
pub(super) fn begin(
    answer: Answer<'_>,
    origin: String,
    upstream: &config::Upstream,
    server: Option<SocketAddr>,
) -> Option<Rewriter> {
    let Answer { status, fields, framing, to_head } = answer;
    if status != 200 || fields.contains("content-encoding") || !is_xml(fields) {
        return None;
    }
    if to_head {
        // What it was told is how long the server's own is.
        fields.remove("content-length");
    }
    if framing == Framing::Empty {
        return None;
    }
    // They would be parts of the server's own.
    fields.remove("accept-ranges");
    Some(Rewriter::new(upstream, server, origin))
}

/// An answer that may be a description.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) fields: &'a mut FieldList,
    pub(super) framing: Framing,
    /// Whether it answers `HEAD`.
    pub(super) to_head: bool,
}

/// Whether its media type is one of XML (RFC 7303 §4).
fn is_xml(fields: &FieldList) -> bool {
    let field = fields.text("content-type").unwrap_or_default();
    let media = field.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(media.as_str(), "text/xml" | "application/xml") || media.ends_with("+xml")
}

impl Rewriter {
    fn new(upstream: &config::Upstream, server: Option<SocketAddr>, gateway: String) -> Self {
        let (scheme, default_port) =
            if upstream.address.starts_with("https://") { ("https", ":443") } else { ("http", ":80") };
        let port = upstream.authority().rsplit_once(':').map_or("", |(_, port)| port);
        let mut own = vec![upstream.authority().to_owned()];
        own.extend(server.map(|server| server.to_string()));
        own.extend(upstream.server_names.iter().map(|name| format!("{name}:{port}")));
        let without_port: Vec<_> =
            own.iter().filter_map(|own| own.strip_suffix(default_port)).map(str::to_owned).collect();
        own.extend(without_port);
        Self { scheme, own, gateway, kept: Vec::new() }
    }

    /// What goes to the client now that this piece came; the last one is the end.
    pub(super) fn pass(&mut self, piece: &[u8], is_last: bool) -> Option<Bytes> {
        let mut text = std::mem::take(&mut self.kept);
        text.extend_from_slice(piece);
        let mut passed = Vec::with_capacity(text.len());
        let mut done = 0;
        for separator in memmem::find_iter(&text, SEPARATOR) {
            if let Some((start, end)) = self.own_at(&text, separator, is_last)
                && start >= done
            {
                passed.extend_from_slice(&text[done..start]);
                passed.extend_from_slice(self.gateway.as_bytes());
                done = end;
            }
        }
        // An origin that begins earlier is here as a whole, with what shows that it ends there.
        let kept = if is_last { 0 } else { self.longest() };
        let until = text.len().saturating_sub(kept).max(done);
        passed.extend_from_slice(&text[done..until]);
        self.kept = text.split_off(until);
        (!passed.is_empty()).then(|| passed.into())
    }

    /// Where an origin of the server's begins and ends that has its separator here.
    fn own_at(&self, text: &[u8], separator: usize, is_last: bool) -> Option<(usize, usize)> {
        let start = separator.checked_sub(self.scheme.len())?;
        if !text[start..separator].eq_ignore_ascii_case(self.scheme.as_bytes()) {
            return None;
        }
        let begin = separator + SEPARATOR.len();
        let ends = self.own.iter().filter_map(|own| {
            let end = begin + own.len();
            let is_own = text.get(begin..end)?.eq_ignore_ascii_case(own.as_bytes());
            // A longer port or name is somebody else's. What comes behind it may come with the next piece.
            let is_over = text.get(end).map_or(is_last, |next| !goes_on(*next));
            (is_own && is_over).then_some(end)
        });
        ends.max().map(|end| (start, end))
    }

    /// The length of the longest of the server's origins.
    fn longest(&self) -> usize {
        let authority = self.own.iter().map(String::len).max().unwrap_or_default();
        self.scheme.len() + SEPARATOR.len() + authority
    }
}

/// Whether an authority goes on with this (RFC 3986 §3.2).
fn goes_on(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_~:@%[]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &str = "http://192.0.2.1:8080";

    fn upstream(address: &str) -> config::Upstream {
        config::Upstream { address: address.to_owned(), ..config::Upstream::default() }
    }

    fn rewriter(address: &str) -> Rewriter {
        let mut upstream = upstream(address);
        upstream.server_names = vec!["renderer.example".to_owned()];
        Rewriter::new(&upstream, Some("10.0.0.5:49494".parse().unwrap()), GATEWAY.to_owned())
    }

    fn rewrite(mut rewriter: Rewriter, pieces: &[&[u8]]) -> String {
        let mut all = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            all.extend(rewriter.pass(piece, at + 1 == pieces.len()).unwrap_or_default());
        }
        assert!(rewriter.kept.is_empty(), "all of it is passed on");
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn the_servers_own_origin_becomes_the_gateways_and_nobody_elses() {
        for (address, text, expected) in [
            ("renderer:49494", "<URLBase>http://10.0.0.5:49494/</URLBase>", "<URLBase>#/</URLBase>"),
            ("renderer:49494", "<URLBase>http://renderer:49494</URLBase>", "<URLBase>#</URLBase>"),
            ("renderer:49494", "<a>HTTP://Renderer:49494/x</a>", "<a>#/x</a>"),
            ("renderer:49494", "<a>http://renderer.example:49494/x</a>", "<a>#/x</a>"),
            ("renderer:49494", "http://10.0.0.5:49494http://10.0.0.5:49494", "http://10.0.0.5:49494#"),
            ("renderer:49494", "http://10.0.0.5:49494 http://10.0.0.5:49494", "# #"),
            ("renderer:49494", "http://10.0.0.5:494940/", "http://10.0.0.5:494940/"),
            ("renderer:49494", "http://10.0.0.5:49494@x/", "http://10.0.0.5:49494@x/"),
            ("renderer:49494", "http://10.0.0.5:4949/", "http://10.0.0.5:4949/"),
            ("renderer:49494", "http://10.0.0.5/", "http://10.0.0.5/"),
            ("renderer:49494", "https://10.0.0.5:49494/", "https://10.0.0.5:49494/"),
            ("renderer:49494", "://10.0.0.5:49494/", "://10.0.0.5:49494/"),
            ("renderer:80", "http://renderer/a http://renderer:80/b", "#/a #/b"),
            (
                "renderer:80",
                "http://renderer:8080/ http://renderer.x/",
                "http://renderer:8080/ http://renderer.x/",
            ),
            ("https://renderer:443", "https://renderer/ http://renderer/", "#/ http://renderer/"),
            ("[2001:db8::1]:8080", "http://[2001:DB8::1]:8080/", "#/"),
            ("renderer:49494", "", ""),
        ] {
            let expected = expected.replace('#', GATEWAY);
            assert_eq!(rewrite(rewriter(address), &[text.as_bytes()]), expected, "{address} {text}");
        }
    }

    #[test]
    fn it_is_found_wherever_pieces_end() {
        let text = "<a>http://10.0.0.5:49494/x</a><b>http://10.0.0.5:494940</b><c>http://renderer:49494</c>";
        let whole = rewrite(rewriter("renderer:49494"), &[text.as_bytes()]);
        assert_eq!(whole.matches(GATEWAY).count(), 2);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let bytes = text.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..], b""];
                assert_eq!(rewrite(rewriter("renderer:49494"), &pieces), whole, "{first} {second}");
            }
        }
    }

    #[test]
    fn no_more_is_kept_than_an_origin_is_long() {
        let mut rewriter = rewriter("renderer:49494");
        let passed = rewriter.pass(&vec![b'x'; 1 << 20], false).unwrap();
        assert_eq!(passed.len() + rewriter.kept.len(), 1 << 20);
        assert_eq!(rewriter.kept.len(), "http://renderer.example:49494".len());
    }

    #[test]
    fn only_xml_that_stands_there_as_it_is() {
        let begun = |method: &str, status: u16, named: &[(&'static str, &'static str)]| {
            let mut fields = FieldList::default();
            for (name, value) in named {
                fields.set(name, *value);
            }
            let to_head = method == "HEAD";
            let framing = match to_head || fields.text("content-length") == Some("0") {
                true => Framing::Empty,
                false => Framing::UntilClose,
            };
            let answer = Answer { status, fields: &mut fields, framing, to_head };
            begin(answer, GATEWAY.to_owned(), &upstream("a:1"), None).is_some()
        };
        for media in ["text/xml", "Text/XML; charset=\"utf-8\"", "application/xml", "application/soap+xml"] {
            assert!(begun("GET", 200, &[("content-type", media)]), "{media}");
        }
        let xml = ("content-type", "text/xml");
        for (method, status, fields) in [
            ("GET", 200, &[][..]),
            ("GET", 200, &[("content-type", "text/html")]),
            ("GET", 200, &[xml, ("content-encoding", "gzip")]),
            ("GET", 200, &[xml, ("content-length", "0")]),
            ("GET", 206, &[xml]),
            ("GET", 404, &[xml]),
            ("HEAD", 200, &[xml]),
        ] {
            assert!(!begun(method, status, fields), "{method} {status} {fields:?}");
        }
    }

    #[test]
    fn what_a_client_calls_the_gateway_cannot_break_out_of_its_element() {
        assert_eq!(origin("http", "192.0.2.1:8080").as_deref(), Some(GATEWAY));
        assert_eq!(origin("https", "[::1]").as_deref(), Some("https://[::1]"));
        for authority in ["", "a<b", "a&b", "a\"b", "a/b"] {
            assert_eq!(origin("http", authority), None, "{authority}");
        }
    }
}
