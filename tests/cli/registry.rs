//! `pollgate registry`, as an administrator calls it.

use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use super::support::{code, pollgate};

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    pollgate(arguments).current_dir(folder).output().unwrap()
}

/// Exit code, stdout and stderr.
fn said(output: &Output) -> (i32, &str, &str) {
    let text = |bytes| str::from_utf8(bytes).unwrap();
    (code(output), text(&output.stdout), text(&output.stderr))
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn read(folder: &TempDir, name: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(Path::new(name))).unwrap()
}

const SERVER: &[u8] = b"REGEDIT4\r\n\r\n[HKEY_LOCAL_MACHINE\\Software\\Microsoft\\Exchange\\InstantMessaging]\r\n\
    \"PollSupport\"=dword:00000001\r\n\"PollMsgLimit\"=dword:ffffffff\r\n\"PollLifeTimeDefault\"=dword:0000012c\r\n";

const CLIENT: &[u8] =
    b"REGEDIT4\r\n\r\n[HKEY_CURRENT_USER\\Software\\Microsoft\\Exchange\\Messenger\\Profiles]\r\n\
    \"PollingFlag\"=dword:00000001\r\n";

#[test]
fn help_reads_well() {
    let folder = folder(&[]);
    let commands =
        [&["registry", "--help"][..], &["registry", "import", "--help"], &["registry", "export", "--help"]];
    let help = commands.map(|arguments| {
        let output = run(&folder, arguments);
        format!("$ pollgate {}\n{}", arguments.join(" "), said(&output).1)
    });
    insta::assert_snapshot!(help.join("\n"));
}

#[test]
fn what_is_imported_is_valid_and_says_what_was_left_out() {
    let folder = folder(&[("server.reg", SERVER), ("client.reg", CLIENT)]);
    let output = run(&folder, &["registry", "import", "server.reg", "client.reg"]);
    let (code, toml, warnings) = said(&output);
    assert_eq!(code, 0, "{warnings}");
    insta::assert_snapshot!(toml, @r#"
    # Pollgate's configuration, imported from server.reg and client.reg.
    # A key that is not here keeps its default; `pollgate default-config` has them all.

    [polling]

    # server.reg:4: PollSupport = 1
    poll_support = true

    # server.reg:5: PollMsgLimit = 0xFFFFFFFF
    poll_msg_limit = "unlimited"

    [delivery]

    # client.reg:4: PollingFlag = 1
    mode = "polling"
    "#);
    insta::assert_snapshot!(warnings, @r#"
    warning: server.reg:6: PollLifeTime is not valid: all three values must be updated; PollLifeTimeMinimum and PollLifeTimeMaximum are missing; it is left out
    "#);

    let output = run(&folder, &["registry", "import", "server.reg", "-o", "gate.toml"]);
    assert_eq!((said(&output).0, said(&output).1), (0, ""));
    let output = run(&folder, &["check-config", "-c", "gate.toml"]);
    assert_eq!(said(&output), (0, "gate.toml: the configuration is valid\n", ""));
}

#[test]
fn what_is_exported_is_imported_again() {
    let toml = "[polling]\npoll_support = false\npoll_msg_limit = 7\npoll_msg_kbyte_limit = \"unlimited\"\n\
                poll_life_time = { default = 7, minimum = 6, maximum = 8 }\n\
                [delivery]\nmode = \"fixed-ports\"\nports = \"1050-1060\"\npolling_period = \"3m\"\n";
    let folder = folder(&[("gate.toml", toml.as_bytes())]);
    for format in [&[][..], &["--regedit4"]] {
        let export = ["registry", "export", "--server", "one.reg", "--client", "one-client.reg"];
        let output = run(&folder, &[&export, format, &["-c", "gate.toml"]].concat());
        assert_eq!(said(&output), (0, "", ""));
        let output = run(&folder, &["registry", "import", "one.reg", "one-client.reg", "-o", "again.toml"]);
        assert_eq!(said(&output), (0, "", ""));
        let export = ["registry", "export", "--server", "two.reg", "--client", "two-client.reg"];
        let output = run(&folder, &[&export, format, &["-c", "again.toml"]].concat());
        assert_eq!(said(&output), (0, "", ""));
        assert_eq!(read(&folder, "one.reg"), read(&folder, "two.reg"), "{format:?}");
        assert_eq!(read(&folder, "one-client.reg"), read(&folder, "two-client.reg"), "{format:?}");
    }
    // The last one is in ANSI.
    insta::assert_snapshot!(String::from_utf8(read(&folder, "one-client.reg")).unwrap(), @r#"
    REGEDIT4

    [HKEY_CURRENT_USER\Software\Microsoft\Exchange\Messenger\Profiles]
    "PollingFlag"=dword:00000002
    "PollingPeriod"=dword:00000003
    "Ports"="1050-1060"
    "#);
    insta::assert_snapshot!(String::from_utf8(read(&folder, "one.reg")).unwrap(), @r#"
    REGEDIT4

    [HKEY_LOCAL_MACHINE\Software\Microsoft\Exchange\InstantMessaging]
    "PollSupport"=dword:00000000
    "PollLifeTimeDefault"=dword:00000007
    "PollLifeTimeMinimum"=dword:00000006
    "PollLifeTimeMaximum"=dword:00000008
    "PollMsgLifeTimeDefault"=dword:00000708
    "PollMsgLifeTimeMinimum"=dword:00000000
    "PollMsgLifeTimeMaximum"=dword:00000e10
    "PollMsgLimit"=dword:00000007
    "PollMsgKByteLimit"=dword:ffffffff
    "PollDropMsgLifeTime"=dword:0000e100
    "#);
}

#[test]
fn what_is_not_as_it_was_meant_is_said() {
    let toml = "[delivery]\nports = \"80\"\n[[client_policy]]\nmode = \"default\"\n";
    let folder = folder(&[("gate.toml", toml.as_bytes())]);
    let output = run(&folder, &["check-config", "-c", "gate.toml"]);
    let low = "delivery.ports: begins below 1025, the first permissible port: random port selection takes the \
               place of 80";
    let warned = format!("warning: gate.toml: {low}\n");
    assert_eq!(said(&output), (0, "gate.toml: the configuration is valid\n", warned.as_str()));
    let output = run(&folder, &["check-config", "--json", "-c", "gate.toml"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["warnings"], serde_json::json!([low]));
    assert!(output.stderr.is_empty());

    let output = run(&folder, &["registry", "export", "--client", "c.reg", "-c", "gate.toml"]);
    let policies = "warning: client_policy has no place in a registration file, and is left out\n";
    assert_eq!(said(&output), (0, "", policies));
}

#[test]
fn what_cannot_be_read_ends_with_2_and_every_reason() {
    let folder = folder(&[
        ("server.reg", SERVER),
        ("wrong.reg", b"REGEDIT4\r\n[HKEY_X]\r\n\"A\"=dword:x\r\nB=1\r\n"),
        ("gate.toml", b"[polling]\npoll_msg_limit = -1\n"),
    ]);
    for (arguments, reasons) in [
        (
            &["registry", "import", "wrong.reg", "none.reg", "-o", "gate.toml"][..],
            "none.reg: cannot be read: No such file or directory (os error 2)\n\
             wrong.reg:3: must have one to eight hexadecimal digits behind dword:\n\
             wrong.reg:4: is neither a key, such as [HKEY_CURRENT_USER\\Software], nor a value, \
             such as \"Name\"=dword:0000000a\n",
        ),
        (&["registry", "import", "server.reg", "."], ".: cannot be read: Is a directory (os error 21)\n"),
        (
            &["registry", "export", "--server", "s.reg", "-c", "gate.toml"],
            "pollgate: gate.toml:2: polling.poll_msg_limit: must be a whole number up to 4294967294, \
             0 to disable buffering, or \"unlimited\", not -1\n",
        ),
    ] {
        assert_eq!(said(&run(&folder, arguments)), (2, "", reasons), "{arguments:?}");
    }
    assert_eq!(read(&folder, "gate.toml"), b"[polling]\npoll_msg_limit = -1\n", "is as it was");
    for arguments in [
        &["registry"][..],
        &["registry", "import"],
        &["registry", "export"],
        &["registry", "export", "--regedit4"],
    ] {
        assert_eq!(run(&folder, arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_written_ends_with_1_and_the_file() {
    let folder = folder(&[("server.reg", SERVER)]);
    for arguments in [
        ["registry", "import", "server.reg", "-o", "none/gate.toml"],
        ["registry", "export", "--regedit4", "--server", "none/gate.toml"],
    ] {
        let output = run(&folder, &arguments);
        let (code, _, said) = said(&output);
        assert!(code == 1 && said.contains("pollgate: none/gate.toml: No such file"), "{said}");
    }
}
