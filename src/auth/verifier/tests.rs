use super::super::digest::{Challenge, Credentials, next_nonce};
use super::super::htdigest::with_user;
use super::*;

const START: Timestamp = Timestamp::from_millis(1_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const REQUEST: Request<'_> = Request { method: "POLL", target: "/.pollgate/0a", authority: "h" };

struct Stage {
    folder: tempfile::TempDir,
    verifier: Verifier,
}

impl Stage {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let users_file = folder.path().join("users");
        let mut text = Vec::new();
        for user in ["kari", r"DOMAIN\alan", "jörg"] {
            text = with_user(&text, user, "r", "secret").0;
        }
        std::fs::write(&users_file, text).unwrap();
        let mut settings = Settings {
            realm: "r".into(),
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            users_file,
            map_file: None,
            nonce_life_time: 5 * MINUTE,
        };
        change(&mut settings);
        Self { folder, verifier: Verifier::open(settings, &[7; 32]).unwrap() }
    }

    fn challenge(&self, algorithm: Algorithm) -> Challenge {
        let fields = self.verifier.challenges(false, START, 1);
        let mut all = fields.iter().filter_map(|field| Challenge::strongest([field.as_bytes()].into_iter()));
        all.find(|challenge| challenge.algorithm == algorithm).expect("an offer")
    }

    fn verify(&self, fields: &[&str], now: Timestamp) -> Result<Proven, Refusal> {
        self.verifier.verify(REQUEST, fields.iter().map(|field| field.as_bytes()), now)
    }
}

fn authorization(challenge: &Challenge, user: &str, password: &str, count: u32) -> String {
    let request = digest::Request { method: "POLL", uri: "/.pollgate/0a", cnonce: "c", count };
    challenge.authorization(&Credentials { user: user.into(), password: password.into() }, request)
}

#[test]
fn who_knows_the_password_is_who_they_say() {
    let stage = Stage::new();
    for algorithm in Algorithm::ALL {
        let challenge = stage.challenge(algorithm);
        for (count, user, password, refusal) in [
            (1, "kari", "secret", None),
            (2, r"DOMAIN\alan", "secret", None),
            (3, "jörg", "secret", None),
            (4, "kari", "Secret", Some(Refusal::Denied)),
            (5, "Kari", "secret", Some(Refusal::Denied)),
            (6, "alan", "secret", Some(Refusal::Denied)),
            (7, "nobody", "secret", Some(Refusal::Denied)),
            (8, "", "", Some(Refusal::Denied)),
        ] {
            let count = count + 10 * algorithm as u32;
            let field = authorization(&challenge, user, password, count);
            assert_eq!(stage.verify(&[&field], START).err(), refusal, "{field}");
            let proof = field.split("response=\"").nth(1).unwrap().split('"').next().unwrap();
            let other = field.replace(proof, &proof.chars().rev().collect::<String>());
            assert_eq!(stage.verify(&[&other], START).err(), Some(Refusal::Denied));
        }
    }
}

/// Python's requests and wget escape nothing.
#[test]
fn a_backslash_that_nobody_escaped_is_one() {
    let stage = Stage::new();
    let field = authorization(&stage.challenge(Algorithm::Md5), r"DOMAIN\alan", "secret", 1);
    assert!(stage.verify(&[&field.replace(r"\\", r"\")], START).unwrap().is("http://h/instmsg/aliases/alan"));
}

#[test]
fn a_nonce_is_good_for_each_count_once_and_for_a_while() {
    let stage = Stage::new();
    let challenge = stage.challenge(Algorithm::Sha256);
    let with = |count| authorization(&challenge, "kari", "secret", count);
    for (count, after, refusal) in [
        (1, Duration::ZERO, None),
        (3, Duration::ZERO, None),
        (2, Duration::ZERO, None),
        (2, Duration::ZERO, Some(Refusal::Replayed)),
        (4, 4 * MINUTE, None),
        (5, 5 * MINUTE, Some(Refusal::Stale)),
    ] {
        assert_eq!(stage.verify(&[&with(count)], START + after).err(), refusal, "{count}");
    }
    // Only who knows the password learns that nothing else is wrong.
    let wrong = authorization(&challenge, "kari", "wrong", 9);
    assert_eq!(stage.verify(&[&wrong], START + 5 * MINUTE).err(), Some(Refusal::Denied));
    // A gateway that was started again knows nothing of the nonces from before.
    let other = Challenge { nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093".into(), ..challenge };
    let field = authorization(&other, "kari", "secret", 1);
    assert_eq!(stage.verify(&[&field], START).err(), Some(Refusal::Stale));
    assert!(Refusal::Stale.is_stale() && Refusal::Replayed.is_stale() && !Refusal::Denied.is_stale());
}

#[test]
fn what_a_wrong_password_does_to_a_nonce() {
    let stage = Stage::new();
    let challenge = stage.challenge(Algorithm::Md5);
    let wrong = authorization(&challenge, "kari", "wrong", 1);
    assert_eq!(stage.verify(&[&wrong], START).err(), Some(Refusal::Denied));
    let right = authorization(&challenge, "kari", "secret", 1);
    assert!(stage.verify(&[&right], START).is_ok(), "its count is not used up");
}

#[test]
fn what_is_refused_before_anything_is_calculated() {
    let stage = Stage::with(|settings| settings.algorithms = vec![Algorithm::Sha256]);
    let challenge = stage.challenge(Algorithm::Sha256);
    let right = authorization(&challenge, "kari", "secret", 1);
    let md5 =
        authorization(&Challenge { algorithm: Algorithm::Md5, ..challenge.clone() }, "kari", "secret", 1);
    let elsewhere = Challenge { realm: "other".into(), ..challenge };
    for (fields, refusal) in [
        (&[][..], Refusal::Missing),
        (&["Basic a2FyaTpzZWNyZXQ="], Refusal::Missing),
        (&["NTLM TlRMTVNTUAAB"], Refusal::Missing),
        (&[&*right, &*right], Malformed::Several.into()),
        (&["Digest"], Malformed::Missing("username").into()),
        (&[&*right.replace("0a", "0b")], Malformed::Uri.into()),
        (&[&*md5], Malformed::Algorithm.into()),
        (&[&*authorization(&elsewhere, "kari", "secret", 1)], Refusal::Denied),
    ] {
        assert_eq!(stage.verify(fields, START).err(), Some(refusal), "{fields:?}");
    }
    let post = Request { method: "GET", ..REQUEST };
    assert_eq!(
        stage.verifier.verify(post, [right.as_bytes()].into_iter(), START).err(),
        Some(Refusal::Denied)
    );
    assert!(stage.verify(&[&right], START).is_ok());
}

#[test]
fn challenges_offer_the_strongest_first_with_one_nonce() {
    let stage = Stage::new();
    let challenges = stage.verifier.challenges(true, START, 1);
    let [sha256, md5] = &challenges[..] else { panic!("{challenges:?}") };
    assert!(sha256.starts_with("Digest realm=\"r\", qop=\"auth\", algorithm=SHA-256, nonce=\""), "{sha256}");
    assert!(sha256.contains(", stale=true"));
    assert_eq!(sha256.replace("SHA-256", "MD5"), *md5);
    assert!(!stage.verifier.challenges(false, START, 1)[0].contains("stale"));
    assert_ne!(stage.verifier.challenges(true, START, 2)[0], *sha256);
}

#[test]
fn principals_are_those_of_the_map() {
    let stage = Stage::with(|settings| {
        let map = settings.users_file.with_file_name("map");
        std::fs::write(&map, "kari: boss\n").unwrap();
        settings.map_file = Some(map);
    });
    let challenge = stage.challenge(Algorithm::Md5);
    let proven =
        |user, count| stage.verify(&[&authorization(&challenge, user, "secret", count)], START).unwrap();
    for (user, count, principal, is) in [
        ("kari", 1, "http://h/instmsg/aliases/Boss", true),
        ("kari", 2, "http://h/instmsg/aliases/kari", false),
        ("jörg", 3, "http://h/instmsg/aliases/J%C3%B6rg", true),
        (r"DOMAIN\alan", 4, "http://h/instmsg/aliases/alan", true),
    ] {
        assert_eq!(proven(user, count).is(principal), is, "{user} {principal}");
    }
}

#[test]
fn users_come_and_go_while_it_runs() {
    let stage = Stage::new();
    let file = stage.folder.path().join("users");
    let challenge = stage.challenge(Algorithm::Md5);
    let mut count = 0;
    let mut olav = |second: u64| {
        count += 1;
        let field = authorization(&challenge, "olav", "secret", count);
        stage.verify(&[&field], START + Duration::from_secs(second)).err()
    };
    assert_eq!(olav(0), Some(Refusal::Denied));
    let text = std::fs::read(&file).unwrap();
    std::fs::write(&file, with_user(&text, "olav", "r", "secret").0).unwrap();
    assert_eq!(olav(1), None);
    assert_eq!(stage.verifier.users(START), 4);
    std::fs::write(&file, text).unwrap();
    assert_eq!(olav(2), Some(Refusal::Denied));
}

#[test]
fn an_answer_proves_the_server_and_brings_a_new_nonce_in_time() {
    let stage = Stage::new();
    let challenge = stage.challenge(Algorithm::Md5);
    let proven = stage.verify(&[&authorization(&challenge, "kari", "secret", 1)], START).unwrap();
    let fresh = stage.verifier.authentication_info(&proven, START + MINUTE, 2);
    assert!(fresh.starts_with("qop=auth, rspauth=\"") && !fresh.contains("nextnonce"), "{fresh}");
    let later = START + 10 * MINUTE;
    let old = stage.verifier.authentication_info(&proven, later, 2);
    let next = Challenge { nonce: next_nonce(old.as_bytes()).expect("a new nonce"), ..challenge };
    assert!(stage.verify(&[&authorization(&next, "kari", "secret", 1)], later).is_ok());
}

#[test]
fn files_must_be_there_at_the_start() {
    let settings = Settings {
        realm: "r".into(),
        algorithms: Algorithm::ALL.to_vec(),
        users_file: "/no/such/file".into(),
        map_file: None,
        nonce_life_time: MINUTE,
    };
    let error = Verifier::open(settings, &[0; 32]).err().expect("an error").to_string();
    assert!(error.starts_with("cannot read /no/such/file: No such file"), "{error}");
}
