//! Loading the configuration from real files.

use std::path::Path;

use pollgate::config::{Config, LoadError, Overrides, SAMPLE, load, load_to_ask, locate};

fn load_file(path: Option<&Path>, env: &[(&str, &str)]) -> Result<Config, LoadError> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(path, env, &Overrides::default())
}

#[test]
fn a_file_is_read_and_its_problems_name_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gate.toml");
    std::fs::write(&path, SAMPLE).unwrap();
    assert_eq!(load_file(Some(&path), &[]), Ok(Config::default()));

    std::fs::write(&path, "[log]\nlevel = 'loud'\n").unwrap();
    let error = load_file(Some(&path), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}:2: log.level: must be \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\", not \"loud\"",
            path.display()
        )
    );
    assert_eq!(error.problems().len(), 1);
}

#[test]
fn the_environment_names_the_file_unless_a_flag_does() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let named = write("env.toml", "[upstream]\naddress = 'env:1'");
    let flagged = write("flag.toml", "[upstream]\naddress = 'flag:1'");
    let env = [("POLLGATE_CONFIG", named.to_str().unwrap())];
    assert_eq!(load_file(None, &env).unwrap().upstreams[0].address, "env:1");
    assert_eq!(load_file(Some(&flagged), &env).unwrap().upstreams[0].address, "flag:1");
}

#[test]
fn a_named_file_must_exist() {
    let missing = Path::new("/nonexistent/pollgate.toml");
    let by_flag = load_file(Some(missing), &[]).unwrap_err().to_string();
    let by_env =
        load_file(None, &[("POLLGATE_CONFIG", "/nonexistent/pollgate.toml")]).unwrap_err().to_string();
    assert!(by_flag.starts_with("/nonexistent/pollgate.toml: cannot be read: No such file"), "{by_flag}");
    assert_eq!(by_flag, by_env);
}

#[test]
fn which_file_is_read() {
    let (flag, variable) = (Path::new("flag.toml"), Some("variable.toml"));
    assert_eq!(locate(Some(flag), variable).as_deref(), Some(flag));
    assert_eq!(locate(None, variable).as_deref(), Some(Path::new("variable.toml")));
}

#[test]
fn what_is_not_text_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gate.toml");
    std::fs::write(&path, b"# caf\xc3\xa9\n# caf\xe9\n").unwrap();
    let error = load_file(Some(&path), &[]).unwrap_err();
    assert_eq!(error.to_string(), format!("{}:2: is not UTF-8 text", path.display()));
    assert!(load_file(Some(directory.path()), &[]).unwrap_err().to_string().contains(": cannot be read: "));
}

#[test]
fn files_that_settings_name_must_be_readable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gate.toml");
    let there = directory.path().join("users");
    std::fs::write(&there, "").unwrap();
    let text = |users: &Path, map: &Path| {
        format!(
            "[auth]\nmode = 'digest'\nusers_file = '{}'\nmap_file = '{}'\n",
            users.display(),
            map.display()
        )
    };
    std::fs::write(&path, text(&there, &there)).unwrap();
    load_file(Some(&path), &[]).unwrap();

    std::fs::write(&path, text(Path::new("/no/such/file"), directory.path())).unwrap();
    let error = load_file(Some(&path), &[]).unwrap_err();
    let problems: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
    let said = |line: usize, key: &str, file: &Path| {
        format!("{}:{line}: auth.{key}: {} cannot be read: ", path.display(), file.display())
    };
    assert!(problems[0].starts_with(&said(3, "users_file", Path::new("/no/such/file"))), "{problems:?}");
    assert!(problems[1].starts_with(&said(4, "map_file", directory.path())), "{problems:?}");
    load_to_ask(Some(&path), [], &Overrides::default()).unwrap();
}

#[test]
fn the_token_is_read_from_its_file_and_never_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    let env = [("POLLGATE_ADMIN_TOKEN_FILE", token.to_str().unwrap())];
    std::fs::write(&token, "s3cret\n").unwrap();
    let config = load_file(None, &env).unwrap();
    assert!(config.admin.token.as_ref().unwrap().is("s3cret"));
    assert!(!format!("{config:?}").contains("s3cret"));
    for text in ["", "\n", "s3cret s3cret"] {
        std::fs::write(&token, text).unwrap();
        let said = load_file(None, &env).unwrap_err().to_string();
        assert!(said.contains("admin.token_file: ") && !said.contains("s3cret"), "{said}");
    }
    std::fs::remove_file(&token).unwrap();
    let said = load_file(None, &env).unwrap_err().to_string();
    assert!(said.contains("admin.token_file: ") && said.contains("No such file"), "{said}");
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert!(load_to_ask(None, env, &Overrides::default()).unwrap().admin.token.is_none());
}

#[test]
fn a_certificate_and_a_key_that_do_not_belong_together_are_named_with_their_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["a", "b"] {
        let made = rcgen::generate_simple_self_signed(["im.example".to_owned()]).unwrap();
        std::fs::write(path(name), made.cert.pem()).unwrap();
        std::fs::write(path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    }
    let load = |key: &str| {
        let folder = directory.path().display();
        let text = format!(
            "[listen.tls]\npublic = ['127.0.0.1:443']\ncertificate = '{folder}/a'\nkey = '{folder}/{key}'\n"
        );
        std::fs::write(path("p.toml"), text).unwrap();
        load_file(Some(&path("p.toml")), &[]).map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert_eq!(load("a.key"), "");
    let problem = load("b.key");
    assert!(
        problem.ends_with("p.toml:4: listen.tls.key: the key is not that of the certificate"),
        "{problem}"
    );
    let missing = load("c.key");
    assert!(
        missing.contains("p.toml:4: listen.tls.key: ") && missing.contains("c.key cannot be read"),
        "{missing}"
    );
}
