//! The server's side: what a client says of itself, and whether it proves it.
//!
//! Parsed strictly, but for what clients of the field do: any order and case of names, `algorithm`, `nc` and
//! `qop` with or without quotes, and user names with a backslash that nobody escaped.

use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq;

use super::fields::{Value, next_element, quoted, skip_space, split_token, split_value};
use super::{Algorithm, Use};

/// Why an `Authorization: Digest` was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not follow the grammar.
    #[error("it is not a list of parameters")]
    Grammar,
    /// A parameter stands there twice.
    #[error("a parameter is repeated")]
    Repeated,
    /// A parameter is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The user's name is not one.
    #[error("the user's name is unreadable")]
    Name,
    /// The user's name is hashed.
    #[error("userhash is not supported")]
    UserHash,
    /// Not one of the algorithms offered.
    #[error("the algorithm was not offered")]
    Algorithm,
    /// Another `qop` than `auth`, or none.
    #[error("qop must be auth")]
    Qop,
    /// `nc` is not eight hexadecimal digits, or zero.
    #[error("nc is not a count")]
    Count,
    /// It is about another request.
    #[error("uri is not the request's target")]
    Uri,
    /// There are several.
    #[error("there is more than one Authorization")]
    Several,
}

/// An `Authorization` with the scheme `Digest` and `qop=auth` (RFC 7616 §3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    name: String,
    /// The name as it stands there, where a client may not have escaped it.
    literal_name: Option<String>,
    /// What it was proven for.
    pub realm: String,
    /// The nonce that was used.
    pub nonce: String,
    /// The target that was authorised, as the client wrote it.
    pub uri: String,
    /// The hash function.
    pub algorithm: Algorithm,
    /// How often the nonce was used; never 0.
    pub count: u32,
    nc: String,
    cnonce: String,
    response: String,
}

impl Authorization {
    /// Reads the value of an `Authorization` field; `None` if it is of another scheme.
    pub fn read(field: &[u8]) -> Option<Result<Self, Malformed>> {
        let (scheme, rest) = field.split_at(field.iter().position(|b| *b == b' ').unwrap_or(field.len()));
        if !scheme.eq_ignore_ascii_case(b"digest") {
            return None;
        }
        // Some clients write names in Latin-1, which RFC 2617 left open, and hash them in UTF-8 as all do.
        Some(match std::str::from_utf8(rest) {
            Ok(text) => Self::read_parameters(text),
            Err(_) => Self::read_parameters(&rest.iter().copied().map(char::from).collect::<String>()),
        })
    }

    fn read_parameters(text: &str) -> Result<Self, Malformed> {
        let parameters = parameters(text)?;
        let find = |wanted: &str| {
            let mut found = parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            match (found.next(), found.next()) {
                (_, Some(_)) => Err(Malformed::Repeated),
                (found, None) => Ok(found.map(|(_, value)| *value)),
            }
        };
        let need = |wanted| find(wanted)?.ok_or(Malformed::Missing(wanted));
        if find("userhash")?.is_some_and(|value| value.literal().eq_ignore_ascii_case("true")) {
            return Err(Malformed::UserHash);
        }
        let (name, literal_name) = match (find("username")?, find("username*")?) {
            (Some(name), None) => {
                let (text, literal) = (name.text(), name.literal());
                let differs = text != literal;
                (text, differs.then(|| literal.to_owned()))
            }
            (None, Some(name)) => (extended(name).ok_or(Malformed::Name)?, None),
            (Some(_), Some(_)) => return Err(Malformed::Name),
            (None, None) => return Err(Malformed::Missing("username")),
        };
        let algorithm = match find("algorithm")? {
            None => Algorithm::Md5,
            Some(name) => Algorithm::parse(&name.text()).ok_or(Malformed::Algorithm)?,
        };
        if !find("qop")?.is_some_and(|qop| qop.literal().eq_ignore_ascii_case("auth")) {
            return Err(Malformed::Qop);
        }
        let nc = need("nc")?.text();
        let is_count = nc.len() == 8 && nc.bytes().all(|b| b.is_ascii_hexdigit());
        let count = u32::from_str_radix(&nc, 16).ok().filter(|count| is_count && *count > 0);
        Ok(Self {
            name,
            literal_name,
            realm: need("realm")?.text(),
            nonce: need("nonce")?.text(),
            uri: need("uri")?.text(),
            algorithm,
            count: count.ok_or(Malformed::Count)?,
            nc,
            cnonce: need("cnonce")?.text(),
            response: need("response")?.text(),
        })
    }

    /// The names that may be meant: the user's, and where the client may not have escaped a backslash in it
    /// (`DOMAIN\user`), the name as it stands there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.name).chain(self.literal_name.as_deref())
    }

    /// Whether whoever wrote this knows the [secret](super::secret()), for a request with this method.
    /// Takes the same time wherever the first difference is.
    pub fn proves(&self, secret: &str, method: &str) -> bool {
        let expected = self.use_().proof(self.algorithm, secret, method, &self.uri);
        expected.as_bytes().ct_eq(self.response.to_ascii_lowercase().as_bytes()).into()
    }

    /// The value of `Authentication-Info` (RFC 7616 §3.5): that the server knows the secret too.
    pub fn answer(&self, secret: &str) -> String {
        let proof = self.use_().proof(self.algorithm, secret, "", &self.uri);
        format!("qop=auth, rspauth=\"{proof}\", cnonce={}, nc={}", quoted(&self.cnonce), self.nc)
    }

    /// Whether it was made for this request target, of a request that is for this authority. Either side may
    /// leave out scheme and authority, as proxies do; and the query, as Internet Explorer did, which means
    /// nothing for a poll.
    pub fn is_for(&self, target: &str, authority: &str) -> bool {
        let (own, path) = split_authority(&self.uri);
        let (_, target) = split_authority(target);
        let without_query = target.split('?').next().unwrap_or_default();
        own.is_none_or(|own| own.eq_ignore_ascii_case(authority)) && (path == target || path == without_query)
    }

    fn use_(&self) -> Use<'_> {
        Use { nonce: &self.nonce, nc: &self.nc, cnonce: &self.cnonce }
    }
}

/// A challenge, the value of a `WWW-Authenticate` field (RFC 7616 §3.3). `stale` if the credentials were right
/// and only the nonce was not.
pub fn challenge(algorithm: Algorithm, realm: &str, nonce: &str, stale: bool) -> String {
    format!(
        "Digest realm={}, qop=\"auth\", algorithm={}, nonce={}{}, charset=UTF-8",
        quoted(realm),
        algorithm.name(),
        quoted(nonce),
        if stale { ", stale=true" } else { "" },
    )
}

fn parameters(text: &str) -> Result<Vec<(&str, Value<'_>)>, Malformed> {
    let mut rest = next_element(text);
    let mut found = Vec::with_capacity(10);
    while !rest.is_empty() {
        let (name, after) = split_token(rest);
        let value = skip_space(after).strip_prefix('=').filter(|_| !name.is_empty());
        let (value, after) =
            split_value(skip_space(value.ok_or(Malformed::Grammar)?)).ok_or(Malformed::Grammar)?;
        let after = skip_space(after);
        if !(after.is_empty() || after.starts_with(',')) || value == Value::Token("") {
            return Err(Malformed::Grammar);
        }
        found.push((name, value));
        rest = next_element(after);
    }
    Ok(found)
}

/// RFC 8187 (once 5987) §3.2: `UTF-8'language'percent-encoded`.
fn extended(value: Value<'_>) -> Option<String> {
    let mut parts = value.literal().splitn(3, '\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let text = charset.eq_ignore_ascii_case("utf-8").then_some(text)?;
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

fn split_authority(target: &str) -> (Option<&str>, &str) {
    let rest = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).map(|_| &target[7..]);
    match rest {
        None => (None, target),
        Some(rest) => match rest.find(['/', '?']) {
            Some(at) => (Some(&rest[..at]), &rest[at..]),
            None => (Some(rest), "/"),
        },
    }
}

#[cfg(test)]
mod tests;
