use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tokio::net::TcpStream;

use super::*;
use crate::mailbox::Timestamp;

/// A certificate that it signed itself, and its key, in PEM.
fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["im.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2030, 1, 2);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// What is wrong with these two; nothing if nothing is.
fn problem(certificate: &str, key: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let paths = [folder.path().join("certificate"), folder.path().join("key")];
    std::fs::write(&paths[0], certificate).unwrap();
    std::fs::write(&paths[1], key).unwrap();
    check_pair(&paths[0], &paths[1]).err().unwrap_or_default()
}

#[test]
fn a_certificate_and_its_key() {
    let (certificate, key) = pair();
    let (another, anothers_key) = pair();
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let broken = certificate.replacen("MI", "AA", 1);
    for (certificate, key, expected) in [
        (certificate.as_str(), key.as_str(), ""),
        (&format!("{certificate}{another}"), &key, ""),
        (&format!("{another}{certificate}"), &key, "the key is not that of the certificate"),
        (&certificate, &anothers_key, "the key is not that of the certificate"),
        (&key, &certificate, "there is no certificate in the file of the certificate"),
        ("", &key, "there is no certificate in the file of the certificate"),
        (&broken, &key, "the certificate cannot be understood"),
        (&certificate, "", "there is no key in PEM in the file of the key (it must not be encrypted)"),
        (
            &certificate,
            &encrypted,
            "there is no key in PEM in the file of the key (it must not be encrypted)",
        ),
    ] {
        assert_eq!(problem(certificate, key), expected);
    }
    let missing = check_pair(Path::new("/no/such/file"), Path::new("/no/such/key")).unwrap_err();
    assert!(missing.starts_with("/no/such/file cannot be read"), "{missing}");
}

#[test]
fn the_end_of_a_certificate_is_read_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [folder.path().join("certificate"), folder.path().join("key")];
    let (certificate, key) = pair();
    std::fs::write(&paths[0], certificate).unwrap();
    std::fs::write(&paths[1], key).unwrap();
    let certificate = Certificate::open(paths[0].clone(), paths[1].clone()).unwrap();
    let ends = certificate.current(Timestamp::default()).ends();
    assert_eq!(humantime::format_rfc3339(ends).to_string(), "2030-01-02T00:00:00Z");
    assert_eq!(certificates_end(&paths[0]), Ok(vec![ends]));
    assert_eq!(certificates_end(&paths[1]), Ok(Vec::new()));
    assert!(certificates_end(Path::new("/no/such/file")).is_err());
}

#[test]
fn authorities_come_from_a_file_and_change_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca");
    for (text, expected) in
        [("", "there is no certificate in it"), (&pair().1, "there is no certificate in it")]
    {
        std::fs::write(&path, text).unwrap();
        assert_eq!(check_authorities(&path).unwrap_err(), expected);
        assert!(Trust::open(Some(path.clone())).is_err());
    }
    let (first, second) = (pair().0, pair().0);
    std::fs::write(&path, format!("{first}{}", second.replacen("MI", "AA", 1))).unwrap();
    assert_eq!(check_authorities(&path).unwrap_err(), "its certificate number 2 cannot be understood");
    std::fs::write(&path, &first).unwrap();
    let trust = Trust::open(Some(path.clone())).unwrap();
    let at = |seconds| trust.current(Timestamp::default() + Duration::from_secs(seconds));
    let before = at(1);
    assert_eq!(before.generation(), at(3).generation());
    std::fs::write(&path, format!("{first}{second}")).unwrap();
    assert_ne!(before.generation(), at(6).generation());
}

#[test]
fn a_connection_without_tls_is_no_larger_for_the_others() {
    assert!(size_of::<Stream>() <= size_of::<TcpStream>() + size_of::<usize>());
}
