use proptest::prelude::*;

use super::super::{Challenge, Credentials, Request, secret};
use super::*;

/// RFC 7616 §3.9.1, with another hash function than the default where one is named.
fn example(algorithm: &str, response: &str) -> String {
    format!(
        "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", {algorithm}\
         nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
         cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\", \
         opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
    )
}

const MD5: &str = "8ca523f5e9506fed4657c9700eebdbec";
const SHA_256: &str = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";

fn read(field: &str) -> Result<Authorization, Malformed> {
    Authorization::read(field.as_bytes()).expect("a Digest")
}

#[test]
fn the_examples_of_rfc_7616() {
    for (algorithm, field) in [
        (Algorithm::Md5, example("", MD5)),
        (Algorithm::Md5, example("algorithm=MD5, ", MD5)),
        (Algorithm::Sha256, example("algorithm=SHA-256, ", SHA_256)),
    ] {
        let read = read(&field).unwrap_or_else(|error| panic!("{field}: {error}"));
        assert_eq!(read.algorithm, algorithm);
        let right = secret(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life");
        let wrong = secret(algorithm, "Mufasa", "http-auth@example.org", "circle of life");
        assert!(read.proves(&right, "GET"), "{field}");
        assert!(!read.proves(&right, "POLL") && !read.proves(&wrong, "GET") && !read.proves("", "GET"));
    }
}

/// RFC 7616 §3.5; the value was calculated with Python's hashlib.
#[test]
fn the_server_proves_that_it_knows_the_secret_too() {
    let field = read(&example("", MD5)).unwrap();
    let known = secret(Algorithm::Md5, "Mufasa", "http-auth@example.org", "Circle of Life");
    assert_eq!(
        field.answer(&known),
        "qop=auth, rspauth=\"9b712497bc9f91499fbcca1dfc5f09a5\", cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", nc=00000001"
    );
}

/// As Python's requests does it: the name in Latin-1, its hash in UTF-8.
#[test]
fn a_name_in_latin_1_is_read() {
    let known = secret(Algorithm::Md5, "jörg", "http-auth@example.org", "Circle of Life");
    let credentials = Credentials { user: "jörg".into(), password: "Circle of Life".into() };
    let challenge = Challenge::strongest(
        [&b"Digest realm=\"http-auth@example.org\", nonce=\"n\", qop=\"auth\", algorithm=MD5"[..]]
            .into_iter(),
    )
    .unwrap();
    let request = Request { method: "POLL", uri: "/", cnonce: "c", count: 1 };
    let field = challenge
        .authorization(&credentials, request)
        .replace("username*=UTF-8''j%C3%B6rg", "username=\"jörg\"");
    let latin: Vec<u8> = field.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    for bytes in [field.as_bytes(), &latin] {
        let read = Authorization::read(bytes).unwrap().unwrap();
        assert_eq!(read.names().collect::<Vec<_>>(), ["jörg"]);
        assert!(read.proves(&known, "POLL"));
    }
}

#[test]
fn what_clients_of_the_field_send() {
    let right = secret(Algorithm::Md5, "Mufasa", "http-auth@example.org", "Circle of Life");
    let plain = example("algorithm=MD5, ", MD5);
    for (what, with) in [
        ("nc=00000001", "nc=\"00000001\""),
        ("qop=auth,", "qop=\"auth\","),
        ("qop=auth,", "QOP=Auth,"),
        ("algorithm=MD5", "algorithm=\"md5\""),
        ("username=", "UserName = "),
        ("Digest ", "dIGEST   "),
        (", ", ","),
        (", ", " ,\t, "),
        ("Digest ", "Digest , "),
        (", opaque", ", auth-param=1, x=\"y, z\", opaque"),
        (", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"", ""),
        ("username=\"Mufasa\"", "username*=utf-8'en'%4Dufasa"),
        (MD5, "8CA523F5E9506FED4657C9700EEBDBEC"),
    ] {
        let field = plain.replace(what, with);
        assert_ne!(field, plain, "{what}");
        let read = read(&field).unwrap_or_else(|error| panic!("{field}: {error}"));
        assert!(read.proves(&right, "GET"), "{field}");
        assert_eq!(read.names().collect::<Vec<_>>(), ["Mufasa"], "{field}");
    }
}

#[test]
fn what_is_malformed() {
    let plain = example("algorithm=MD5, ", MD5);
    for (what, with, malformed) in [
        ("Digest ", "Digest = ", Malformed::Grammar),
        ("uri=", "uri=x, uri=", Malformed::Repeated),
        ("Digest ", "Digest x ", Malformed::Grammar),
        ("qop=auth", "qop=", Malformed::Grammar),
        ("\"Mufasa\"", "\"Mufasa\"x", Malformed::Grammar),
        ("\"Mufasa\"", "\"Mufasa\" x", Malformed::Grammar),
        ("\"Mufasa\"", "\"Mufasa", Malformed::Grammar),
        ("nc=00000001", "nc=00000001, NC=00000001", Malformed::Repeated),
        ("username=\"Mufasa\", ", "", Malformed::Missing("username")),
        ("username=\"Mufasa\"", "username=Mufasa, username*=UTF-8''Mufasa", Malformed::Name),
        ("username=\"Mufasa\"", "username*=latin-1''Mufasa", Malformed::Name),
        ("username=\"Mufasa\"", "username*=UTF-8''%ff", Malformed::Name),
        ("username=\"Mufasa\"", "username*=\"Mufasa\"", Malformed::Name),
        ("username=", "userhash=true, username=", Malformed::UserHash),
        ("realm=", "realms=", Malformed::Missing("realm")),
        ("uri=", "url=", Malformed::Missing("uri")),
        ("cnonce=", "xnonce=", Malformed::Missing("cnonce")),
        (" nonce=", " ynonce=", Malformed::Missing("nonce")),
        ("response=", "reply=", Malformed::Missing("response")),
        ("nc=", "cn=", Malformed::Missing("nc")),
        ("nc=00000001", "nc=1", Malformed::Count),
        ("nc=00000001", "nc=+0000001", Malformed::Count),
        ("nc=00000001", "nc=000000001", Malformed::Count),
        ("nc=00000001", "nc=00000000", Malformed::Count),
        ("nc=00000001", "nc=0000000g", Malformed::Count),
        ("qop=auth", "qop=auth-int", Malformed::Qop),
        ("qop=auth", "qap=auth", Malformed::Qop),
        ("algorithm=MD5", "algorithm=MD5-sess", Malformed::Algorithm),
        ("algorithm=MD5", "algorithm=SHA-512-256", Malformed::Algorithm),
    ] {
        let field = plain.replace(what, with);
        assert_eq!(read(&field).err(), Some(malformed), "{field}");
    }
    assert_eq!(Authorization::read(b"Digest \xff").unwrap().err(), Some(Malformed::Grammar));
    assert_eq!(Authorization::read(b"Digest").unwrap().err(), Some(Malformed::Missing("username")));
    for other in ["Basic Zm9vOmJhcg==", "NTLM", "", "Digestive username=x", " Digest x"] {
        assert!(Authorization::read(other.as_bytes()).is_none(), "{other}");
    }
}

#[test]
fn names() {
    for (written, names) in [
        (r#"username="DOMAIN\\kari""#, &[r"DOMAIN\kari", r"DOMAIN\\kari"][..]),
        (r#"username="DOMAIN\kari""#, &["DOMAINkari", r"DOMAIN\kari"]),
        (r#"username="jörg""#, &["jörg"]),
        (r#"username=kari"#, &["kari"]),
        ("username*=UTF-8''j%C3%B6rg", &["jörg"]),
        (r"username*=UTF-8''DOMAIN%5Ckari", &[r"DOMAIN\kari"]),
        ("username*=UTF-8''it's", &["it's"]),
    ] {
        let field = read(&example("", MD5).replace("username=\"Mufasa\"", written));
        let field = field.unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!(field.names().collect::<Vec<_>>(), names, "{written}");
    }
}

#[test]
fn it_is_for_one_target() {
    for (uri, target, is) in [
        ("/a", "/a", true),
        ("/a?b", "/a?b", true),
        ("/a", "/a?b", true),
        ("http://h/a", "/a", true),
        ("HTTP://H/a", "/a", true),
        ("/a", "http://h/a", true),
        ("http://h/a", "http://h/a?b", true),
        ("/a?b", "/a", false),
        ("/a?c", "/a?b", false),
        ("/A", "/a", false),
        ("/a/", "/a", false),
        ("", "/a", false),
        ("*", "/a", false),
        ("http://other/a", "/a", false),
        ("http://h", "/a", false),
        ("öööö/a", "/a", false),
    ] {
        let field = read(&example("", MD5).replace("/dir/index.html", uri)).unwrap();
        assert_eq!(field.is_for(target, "h"), is, "{uri} {target}");
    }
}

#[test]
fn challenges_read_back() {
    for algorithm in Algorithm::ALL {
        for stale in [false, true] {
            let written = challenge(algorithm, "a realm", "bm9uY2U", stale);
            let expected = Challenge {
                realm: "a realm".into(),
                nonce: "bm9uY2U".into(),
                opaque: None,
                algorithm,
                qop_auth: true,
                stale,
            };
            assert_eq!(Challenge::strongest([written.as_bytes()].into_iter()), Some(expected), "{written}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Nothing that a peer sends makes the parser panic.
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Authorization::read(&[b"Digest ", &bytes[..]].concat());
    }

    /// Nor does what looks a little like credentials.
    #[test]
    fn pieces_of_credentials_are_read(
        pieces in prop::collection::vec(
            prop::sample::select(&[
                "username", "username*", "=", "\"", "\\", ",", " ", "ö", "'", "UTF-8''", "%", "%5C", "nc=", "00000001",
                "qop=auth", "uri=\"/\"", "realm=r", "nonce=n", "cnonce=c", "response=x", "algorithm=", "MD5", "http://",
            ][..]),
            0..30,
        )
    ) {
        if let Some(Ok(read)) = Authorization::read(format!("Digest {}", pieces.concat()).as_bytes()) {
            let _ = (read.proves("", "GET"), read.answer(""), read.is_for("/", "h"), read.names().count());
        }
    }

    /// What our client's side writes, our server's side takes; and nothing that is not the same.
    #[test]
    fn the_two_sides_agree(
        user in "[^\\p{Cc}:]{1,12}", password in "\\PC{0,12}", other in "\\PC{0,12}", cnonce in "[ -~]{1,12}",
        count in 1_u32.., sha in any::<bool>(), path in "/[a-z0-9?=%]{0,12}",
    ) {
        let algorithm = if sha { Algorithm::Sha256 } else { Algorithm::Md5 };
        let field = challenge(algorithm, "r", "n", false);
        let challenge = Challenge::strongest([field.as_bytes()].into_iter()).unwrap();
        let request = Request { method: "POLL", uri: &path, cnonce: &cnonce, count };
        let credentials = Credentials { user: user.clone(), password: password.clone() };
        let field = challenge.authorization(&credentials, request);
        let read = Authorization::read(field.as_bytes()).unwrap().unwrap();
        prop_assert_eq!(read.names().next(), Some(&*user));
        prop_assert_eq!((read.count, read.is_for(&path, "h")), (count, true));
        prop_assert!(read.proves(&secret(algorithm, &user, "r", &password), "POLL"));
        let same = other == password;
        prop_assert_eq!(read.proves(&secret(algorithm, &user, "r", &other), "POLL"), same);
    }
}
