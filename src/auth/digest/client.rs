//! The client's side: a challenge in, an `Authorization` out. Of several challenges the strongest is
//! answered.

use std::fmt;

use super::fields::{next_element, quoted, skip_space, split_token, split_value};
use super::{Algorithm, Use, secret};

/// A user and a password. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name, as the server knows it.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, …)", self.user)
    }
}

/// What a server asks for (RFC 7616 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// What the credentials are for.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// To be sent back as it is.
    pub opaque: Option<String>,
    /// The hash function.
    pub algorithm: Algorithm,
    /// Whether `qop=auth` is offered; without it the server is one of RFC 2069.
    pub qop_auth: bool,
    /// Whether only the nonce was too old.
    pub stale: bool,
}

/// The request that is to be authorised.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its target.
    pub uri: &'a str,
    /// The client's nonce: random, never used before.
    pub cnonce: &'a str,
    /// How often the server's nonce was used, this time included.
    pub count: u32,
}

impl Challenge {
    /// The strongest challenge of all `WWW-Authenticate` fields that can be answered.
    pub fn strongest<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut all: Vec<Self> = fields
            .filter_map(|field| std::str::from_utf8(field).ok())
            .flat_map(challenges)
            .filter_map(|(scheme, parameters)| {
                scheme.eq_ignore_ascii_case("digest").then(|| Self::read(&parameters))?
            })
            .collect();
        // Of equals the first: the server's own order of preference (RFC 7616 §3.7).
        all.sort_by_key(|challenge| std::cmp::Reverse(challenge.algorithm));
        all.into_iter().next()
    }

    fn read(parameters: &[(String, String)]) -> Option<Self> {
        let find = |wanted: &str| {
            parameters
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.as_str())
        };
        let qop = find("qop");
        let offered = |qop: &str| qop.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth"));
        if qop.is_some_and(|qop| !offered(qop)) {
            return None;
        }
        Some(Self {
            realm: find("realm")?.to_owned(),
            nonce: find("nonce")?.to_owned(),
            opaque: find("opaque").map(str::to_owned),
            algorithm: find("algorithm").map_or(Some(Algorithm::Md5), Algorithm::parse)?,
            qop_auth: qop.is_some(),
            stale: find("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// The value of `Authorization` (RFC 7616 §3.4).
    pub fn authorization(&self, credentials: &Credentials, request: Request<'_>) -> String {
        let nc = format!("{:08x}", request.count);
        let response = self.response(credentials, request, &nc);
        let mut value = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, algorithm={}, response=\"{response}\"",
            quoted(&credentials.user),
            quoted(&self.realm),
            quoted(&self.nonce),
            quoted(request.uri),
            self.algorithm.name(),
        );
        if self.qop_auth {
            value.push_str(&format!(", qop=auth, nc={nc}, cnonce={}", quoted(request.cnonce)));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque={}", quoted(opaque)));
        }
        value
    }

    /// The proof that the password is known (RFC 7616 §3.4.1).
    fn response(&self, credentials: &Credentials, request: Request<'_>, nc: &str) -> String {
        let secret = secret(self.algorithm, &credentials.user, &self.realm, &credentials.password);
        if self.qop_auth {
            let this = Use { nonce: &self.nonce, nc, cnonce: request.cnonce };
            this.proof(self.algorithm, &secret, request.method, request.uri)
        } else {
            let what = self.algorithm.hash([request.method, request.uri]);
            self.algorithm.hash([&secret, &self.nonce, &what])
        }
    }
}

/// The nonce that a server asks to be used from now on (`Authentication-Info`, RFC 7616 §3.5).
pub fn next_nonce(field: &[u8]) -> Option<String> {
    let parameters = parameters(std::str::from_utf8(field).ok()?);
    parameters.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("nextnonce")).map(|(_, nonce)| nonce)
}

/// The challenges of one field: scheme and parameters of each (RFC 9110 §11.6.1). Reading ends where the
/// grammar does.
fn challenges(field: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for (word, value) in Words(next_element(field)) {
        match (value, found.last_mut()) {
            (None, _) => found.push((word, Vec::new())),
            (Some(value), Some((_, parameters))) => parameters.push((word, value)),
            (Some(_), None) => break,
        }
    }
    found
}

/// The parameters of a field that has no scheme.
fn parameters(field: &str) -> Vec<(String, String)> {
    Words(next_element(field)).map_while(|(name, value)| Some((name, value?))).collect()
}

/// Words, and what each is set to, if it is.
struct Words<'a>(&'a str);

impl Iterator for Words<'_> {
    type Item = (String, Option<String>);

    fn next(&mut self) -> Option<Self::Item> {
        let (word, after) = split_token(self.0);
        if word.is_empty() {
            return None;
        }
        let after = skip_space(after);
        let (value, rest) = match after.strip_prefix('=') {
            Some(value) => {
                let (value, rest) = split_value(skip_space(value))?;
                (Some(value.text()), rest)
            }
            None => (None, after),
        };
        self.0 = next_element(rest);
        Some((word.to_owned(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strongest(fields: &[&str]) -> Option<Challenge> {
        Challenge::strongest(fields.iter().map(|field| field.as_bytes()))
    }

    fn credentials(password: &str) -> Credentials {
        Credentials { user: "Mufasa".into(), password: password.into() }
    }

    /// RFC 7616 §3.9.1.
    #[test]
    fn the_example_of_rfc_7616() {
        let challenge = |algorithm| {
            strongest(&[&format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            )])
            .unwrap()
        };
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let request = Request { method: "GET", uri: "/dir/index.html", cnonce, count: 1 };
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let value = challenge(algorithm).authorization(&credentials("Circle of Life"), request);
            assert!(value.contains(&format!("response=\"{response}\"")), "{value}");
            for part in ["username=\"Mufasa\"", "qop=auth,", "nc=00000001", "opaque=\"FQhe/qaU"] {
                assert!(value.contains(part), "{value}");
            }
        }
    }

    /// RFC 2617 §3.5.
    #[test]
    fn the_example_of_rfc_2617() {
        let challenge = strongest(&["Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\""])
        .unwrap();
        let request = Request { method: "GET", uri: "/dir/index.html", cnonce: "0a4f113b", count: 1 };
        let value = challenge.authorization(&credentials("Circle Of Life"), request);
        assert!(value.contains("response=\"6629fae49393a05397450978507c4ef1\""), "{value}");
    }

    #[test]
    fn the_strongest_challenge_is_answered() {
        let md5 = "Digest realm=\"r\", nonce=\"1\", qop=\"auth\"";
        let sha = "digest realm=\"r\", nonce=\"2\", qop=\"auth\", algorithm=SHA-256";
        for (fields, nonce) in [
            (vec![md5], Some("1")),
            (vec![md5, sha], Some("2")),
            (vec![sha, md5], Some("2")),
            (vec!["Basic realm=\"x\", Digest realm=\"r\", nonce=\"3\", Negotiate"], Some("3")),
            (vec!["Digest realm=\"r\", nonce=\"4\", algorithm=SHA-512-256"], None),
            (vec!["Digest realm=\"r\", nonce=\"4\", qop=\"auth-int\""], None),
            (vec!["Digest realm=\"r\""], None),
            (vec!["Digest realm=\"unclosed, nonce=\"5\""], None),
            (vec!["Negotiate", "NTLM", ""], None),
        ] {
            assert_eq!(strongest(&fields).map(|c| c.nonce).as_deref(), nonce, "{fields:?}");
        }
    }

    #[test]
    fn quotes_are_kept_apart() {
        let challenge = strongest(&[r#"Digest realm="a \"b\", c=d", nonce="\\", stale=TRUE"#]).unwrap();
        assert_eq!((challenge.realm.as_str(), challenge.nonce.as_str()), ("a \"b\", c=d", "\\"));
        assert!(challenge.stale);
        let request = Request { method: "GET", uri: "/", cnonce: "", count: 1 };
        let value = challenge.authorization(&credentials("p"), request);
        assert!(value.contains(r#"realm="a \"b\", c=d", nonce="\\""#), "{value}");
    }

    #[test]
    fn a_server_may_name_the_next_nonce() {
        for (field, nonce) in [
            ("qop=auth, rspauth=\"1\", cnonce=\"c\", nc=00000001, nextnonce=\"n\\\"1\"", Some("n\"1")),
            ("NextNonce=abc", Some("abc")),
            ("qop=auth", None),
            ("nextnonce=\"open", None),
            ("", None),
        ] {
            assert_eq!(next_nonce(field.as_bytes()).as_deref(), nonce, "{field}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert!(!format!("{:?}", credentials("secret")).contains("secret"));
    }
}
