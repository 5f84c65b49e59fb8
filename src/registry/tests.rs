//! Files in, configuration out; and the way back.

use std::time::Duration;

use proptest::prelude::*;

use super::names::{PROFILES_KEY, SERVER_KEY, SERVER_VALUES};
use super::*;
use crate::config::{Config, Overrides, load};
use crate::mailbox::{Bound, DeliveryMode, LifeTimes, Limits, PollingPeriod, Ports};

fn file(name: &str, text: &str) -> File {
    File { name: name.to_owned(), bytes: Format::Version5.encode(text) }
}

/// A file with these lines below the server's key.
fn server(lines: &str) -> File {
    file("s.reg", &format!("Windows Registry Editor Version 5.00\r\n[{SERVER_KEY}]\r\n{lines}"))
}

/// What the configuration is with the imported file alone.
fn loaded(toml: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imported.toml");
    std::fs::write(&path, toml).unwrap();
    load(Some(&path), [], &Overrides::default()).unwrap_or_else(|error| panic!("{error}\n{toml}"))
}

/// The settings without comments, and the warnings, a line each.
fn imported(files: &[File]) -> (String, String) {
    let Import { toml, warnings } = import(files).unwrap();
    loaded(&toml);
    let settings = toml.lines().filter(|line| line.contains(" = ") && !line.starts_with('#'));
    let warnings = warnings.iter().map(ToString::to_string);
    (settings.collect::<Vec<_>>().join("\n"), warnings.collect::<Vec<_>>().join("\n"))
}

#[track_caller]
fn check(lines: &str, settings: &str, warnings: &str) {
    let (said, warned) = imported(&[server(&format!("\"PollSupport\"=dword:1\n{lines}"))]);
    let settings = ["poll_support = true", settings].join("\n");
    assert_eq!((said.as_str(), warned.as_str()), (settings.trim_end(), warnings), "{lines}");
}

#[test]
fn a_file_as_regedit_writes_it() {
    let text = format!(
        "Windows Registry Editor Version 5.00\r\n\r\n[{SERVER_KEY}]\r\n\"PollSupport\"=dword:00000001\r\n\
         \"PollLifeTimeDefault\"=dword:0000e100\r\n\"PollLifeTimeMinimum\"=dword:0000e100\r\n\
         \"PollLifeTimeMaximum\"=dword:0000e100\r\n\"PollMsgLifeTimeDefault\"=dword:000d2f00\r\n\
         \"PollMsgLifeTimeMinimum\"=dword:00000000\r\n\"PollMsgLifeTimeMaximum\"=dword:000d2f00\r\n\
         \"PollMsgLimit\"=dword:ffffffff\r\n\"PollMsgKByteLimit\"=dword:000003e8\r\n\
         \"PollDropMsgLifeTime\"=dword:000d2f00\r\n\r\n"
    );
    let Import { toml, warnings } = import(&[file("server.reg", &text)]).unwrap();
    assert_eq!(warnings, []);
    insta::assert_snapshot!(toml, @r#"
    # Pollgate's configuration, imported from server.reg.
    # A key that is not here keeps its default; `pollgate default-config` has them all.

    [polling]

    # server.reg:4: PollSupport = 1
    poll_support = true

    # server.reg:5: PollLifeTimeDefault = 57600
    # server.reg:6: PollLifeTimeMinimum = 57600
    # server.reg:7: PollLifeTimeMaximum = 57600
    poll_life_time = { default = 57600, minimum = 57600, maximum = 57600 }

    # server.reg:8: PollMsgLifeTimeDefault = 864000
    # server.reg:9: PollMsgLifeTimeMinimum = 0
    # server.reg:10: PollMsgLifeTimeMaximum = 864000
    poll_msg_life_time = { default = 864000, minimum = 0, maximum = 864000 }

    # server.reg:11: PollMsgLimit = 0xFFFFFFFF
    poll_msg_limit = "unlimited"

    # server.reg:12: PollMsgKByteLimit = 1000
    poll_msg_kbyte_limit = 1000

    # server.reg:13: PollDropMsgLifeTime = 864000
    poll_drop_msg_life_time = 864000
    "#);
    let mut expected = Config::default();
    let seconds = Duration::from_secs;
    expected.polling.poll_life_time =
        LifeTimes::new(seconds(57_600), seconds(57_600), seconds(57_600)).unwrap();
    expected.polling.limits.life_time =
        LifeTimes::new(seconds(864_000), seconds(0), seconds(864_000)).unwrap();
    expected.polling.limits.messages = Bound::Unlimited;
    expected.polling.limits.bytes = Bound::AtMost(1000 * 1024);
    expected.polling.limits.drop_life_time = seconds(864_000);
    assert_eq!(loaded(&toml), expected);
}

#[test]
fn encodings_and_formats_and_cases_say_the_same() {
    let text = |head: &str, key: &str| format!("{head}\r\n; für\r\n[{key}]\r\n\"pollsupport\"=dword:1\r\n");
    let five = text("Windows Registry Editor Version 5.00", SERVER_KEY);
    let four = text("REGEDIT4", &SERVER_KEY.to_uppercase());
    for bytes in [
        Format::Version5.encode(&five),
        Format::Version5.encode(&four),
        Format::Regedit4.encode(&four),
        [b"\xEF\xBB\xBF", five.as_bytes()].concat(),
        five.replace("\r\n", "\n").into_bytes(),
    ] {
        let (settings, warnings) = imported(&[File { name: "s.reg".to_owned(), bytes }]);
        assert_eq!((settings.as_str(), warnings.as_str()), ("poll_support = true", ""));
    }
}

#[test]
fn a_trio_given_in_part_is_left_out() {
    let missing = "s.reg:4: PollLifeTime is not valid: all three values must be updated; ";
    for (lines, sentence) in [
        (
            "\"PollLifeTimeDefault\"=dword:1\n\"PollLifeTimeMaximum\"=dword:1",
            "PollLifeTimeMinimum is missing",
        ),
        ("\"PollLifeTimeMinimum\"=dword:1", "PollLifeTimeDefault and PollLifeTimeMaximum are missing"),
    ] {
        check(lines, "", &format!("{missing}{sentence}; it is left out"));
    }
    let trio = |default, minimum, maximum| {
        format!(
            "\"PollMsgLifeTimeDefault\"=dword:{default}\n\"PollMsgLifeTimeMinimum\"=dword:{minimum}\n\
             \"PollMsgLifeTimeMaximum\"=dword:{maximum}"
        )
    };
    check(&trio("a", "0", "f"), "poll_msg_life_time = { default = 10, minimum = 0, maximum = 15 }", "");
    let wrong =
        "s.reg:4: PollMsgLifeTime is not valid: the default is smaller than the minimum; it is left out";
    check(&trio("a", "b", "f"), "", wrong);
    let long = "s.reg:6: PollMsgLifeTimeMaximum is 4294967295, more than the 31536000 seconds that can be set; \
                it is left out";
    check(&trio("a", "0", "ffffffff"), "", long);
}

#[test]
fn both_spellings_of_the_message_limit() {
    check("\"PollMsgLimit\"=dword:7", "poll_msg_limit = 7", "");
    check("\"PolMsgLimit\"=dword:7", "poll_msg_limit = 7", "");
    check("\"PolMsgLimit\"=dword:7\n\"PollMsgLimit\"=dword:7", "poll_msg_limit = 7", "");
    let both = "s.reg:4: PolMsgLimit is 7, but PollMsgLimit, which overrides it, is 0xFFFFFFFF";
    let lines = "\"PolMsgLimit\"=dword:7\n\"PollMsgLimit\"=dword:ffffffff";
    check(lines, "poll_msg_limit = \"unlimited\"", both);
}

#[test]
fn limits_and_times() {
    check("\"PollMsgLimit\"=dword:ffffffff", "poll_msg_limit = \"unlimited\"", "");
    check("\"PollMsgLimit\"=dword:0", "poll_msg_limit = 0", "");
    check("\"PollMsgKByteLimit\"=dword:fffffffe", "poll_msg_kbyte_limit = 4294967294", "");
    check("\"PollMsgKByteLimit\"=dword:ffffffff", "poll_msg_kbyte_limit = \"unlimited\"", "");
    check("\"PollDropMsgLifeTime\"=dword:000d2f00", "poll_drop_msg_life_time = 864000", "");
    let endless = "s.reg:4: PollDropMsgLifeTime is 4294967295, more than the 31536000 seconds that can be set; \
                   it is left out";
    check("\"PollDropMsgLifeTime\"=dword:ffffffff", "", endless);
}

#[test]
fn poll_support_is_off_unless_it_is_on() {
    let absent = "s.reg:2: PollSupport is not set, which means 0: polling is not supported";
    for (lines, setting, warning) in [
        ("\"PollSupport\"=dword:1", "true", ""),
        ("\"PollSupport\"=dword:0", "false", ""),
        ("", "false", absent),
        ("\"PollSupport\"=dword:1\n\"PollSupport\"=-", "false", absent),
        ("\"PollSupport\"=dword:2", "false", "s.reg:3: PollSupport must be 0 or 1, not 2; it is taken for 0"),
        (
            "\"PollSupport\"=\"1\"",
            "false",
            &format!("s.reg:3: PollSupport must be a REG_DWORD (dword:), and is left out\n{absent}"),
        ),
    ] {
        let (settings, warnings) = imported(&[server(lines)]);
        assert_eq!((settings, warnings.as_str()), (format!("poll_support = {setting}"), warning), "{lines}");
    }
    let (settings, warnings) = imported(&[file("s.reg", &format!("REGEDIT4\n[-{SERVER_KEY}]"))]);
    assert_eq!((settings.as_str(), warnings.as_str()), ("poll_support = false", absent));
}

#[test]
fn what_is_left_out_is_named() {
    check(
        "@=\"x\"\n\"PollMsgLimt\"=dword:1\n\"PolMsgLimitDefault\"=dword:64\n\"Port\\u001b\"=\"x\""
            .replace("\\u001b", "\u{1b}")
            .as_str(),
        "",
        "s.reg:4: the default value is not a documented value, and is left out\n\
         s.reg:5: PollMsgLimt is not a documented value, and is left out; did you mean PollMsgLimit?\n\
         s.reg:6: PolMsgLimitDefault is not a documented value, and is left out; did you mean PolMsgLimit?\n\
         s.reg:7: Port\u{fffd} is not a documented value, and is left out",
    );
    let others: String = (1..=7).map(|n| format!("[HKEY_X\\{n}]\n\"N\"=dword:1\n")).collect();
    check(
        &format!("[HKEY_X]\n{others}"),
        "",
        "s.reg:6: what is in other keys is left out: \
         [HKEY_X\\1], [HKEY_X\\2], [HKEY_X\\3], [HKEY_X\\4], [HKEY_X\\5] and 2 more",
    );
    let (settings, warnings) = imported(&[file("s.reg", "REGEDIT4\n[HKEY_X]\n\"N\"=dword:1")]);
    assert_eq!(settings, "");
    assert_eq!(
        warnings,
        format!(
            "s.reg:1: has none of the keys [{SERVER_KEY}] and [{PROFILES_KEY}]\n\
             s.reg:3: what is in other keys is left out: [HKEY_X]"
        )
    );
}

/// What the lines of the profiles' key, and perhaps of further keys, come to.
#[track_caller]
fn check_client(lines: &str, settings: &str, warnings: &str) {
    let text = format!("REGEDIT4\n[{PROFILES_KEY}]\n{lines}");
    let (said, warned) = imported(&[file("c.reg", &text)]);
    assert_eq!((said.as_str(), warned.as_str()), (settings, warnings), "{lines}");
}

#[test]
fn client_settings() {
    let flag = |flag| format!("\"PollingFlag\"=dword:{flag}\n");
    let ports = "\"Ports\"=\"1050-1060\"\n";
    check_client(&flag("0"), "mode = \"default\"", "");
    check_client(&flag("1"), "mode = \"polling\"", "");
    let fixed = "mode = \"fixed-ports\"\nports = \"1050-1060\"";
    check_client(&(flag("2") + ports), fixed, "");
    check_client(&flag("3"), "", "c.reg:3: PollingFlag must be 0, 1 or 2, not 3; it is left out");
    let random = "c.reg:3: PollingFlag is 2, but there are no Ports: random port selection takes their place";
    check_client(&flag("2"), "mode = \"default\"", random);
    check_client(&(flag("2") + "\"Ports\"=\" \""), "mode = \"default\"", random);
    check_client("\"PollingPeriod\"=dword:f", "polling_period = \"15m\"", "");
    let period = "c.reg:3: PollingPeriod is 16, and is left out: enter a value between 1 and 15 minutes";
    check_client("\"PollingPeriod\"=dword:10", "", period);
    check_client(
        "\"Ports\"=\"80-2000\"",
        "ports = \"80-2000\"",
        "c.reg:3: Ports begins below 1025, the first permissible port: random port selection takes the place of \
         80-2000",
    );
    check_client(
        "\"Ports\"=\"1\\\"\"",
        "",
        "c.reg:3: Ports is \"1\"\", and is left out: must be one port or a range of ports from 1025 to 65535, \
         such as 1050 or 1050-1060",
    );
    check_client("\"Ports\"=dword:1", "", "c.reg:3: Ports must be a REG_SZ (a string), and is left out");
    check_client(
        "\"Prots\"=\"1\"",
        "",
        "c.reg:3: Prots is not a documented value, and is left out; did you mean Ports?",
    );
}

#[test]
fn profiles_that_agree_are_one() {
    let profile = |name: &str, flag: u32| format!("[{PROFILES_KEY}\\{name}]\n\"PollingFlag\"=dword:{flag}\n");
    check_client(&profile("a\\b", 1), "mode = \"polling\"", "");
    check_client(&(profile("b", 1) + &profile("A", 1)), "mode = \"polling\"", "");
    check_client(
        &(profile("b", 1) + &profile("A", 0)),
        "mode = \"default\"",
        &format!(
            "c.reg:4: PollingFlag of [{PROFILES_KEY}\\b] is not that of [{PROFILES_KEY}\\A], and is left out: \
             all clients have the same"
        ),
    );
    let own = "\"PollingFlag\"=dword:1\n".to_owned() + &profile("A", 1) + "\"Ports\"=\"1050\"";
    check_client(&own, "mode = \"polling\"\nports = \"1050\"", "");
}

#[test]
fn later_files_win_and_faults_of_all_are_reported() {
    let first = server("\"PollSupport\"=dword:0\n\"PollMsgLimit\"=dword:5");
    let second = server("\"PollSupport\"=dword:1\n\"PollMsgLimit\"=-");
    assert_eq!(imported(&[first, second]), ("poll_support = true".to_owned(), String::new()));

    let error = import(&[server("x\n\"N\"=dword:g"), file("c\n.reg", "REGEDIT5")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "s.reg:3: is neither a key, such as [HKEY_CURRENT_USER\\Software], nor a value, such as \"Name\"=dword:0000000a\n\
         s.reg:4: must have one to eight hexadecimal digits behind dword:\n\
         c\u{fffd}.reg:1: must be \"Windows Registry Editor Version 5.00\" or \"REGEDIT4\": \
         this is not a registration file"
    );
}

fn life_times(longest: Duration) -> impl Strategy<Value = LifeTimes> {
    prop::array::uniform3(0..=longest.as_secs()).prop_map(|mut times| {
        times.sort_unstable();
        let [minimum, default, maximum] = times.map(Duration::from_secs);
        LifeTimes::new(default, minimum, maximum).unwrap()
    })
}

fn bounds(unit: u64) -> impl Strategy<Value = Bound> {
    prop_oneof![
        Just(Bound::Disabled),
        Just(Bound::Unlimited),
        (1..u64::from(u32::MAX)).prop_map(move |limit| Bound::AtMost(limit * unit)),
    ]
}

proptest! {
    #[test]
    fn what_is_exported_comes_back(
        poll_support in any::<bool>(),
        poll_life_time in life_times(crate::config::LONGEST_HOLD),
        life_time in life_times(crate::config::LONGEST_LIFE_TIME),
        messages in bounds(1),
        bytes in bounds(1024),
        drop_life_time in 0..=crate::config::LONGEST_LIFE_TIME.as_secs(),
        regedit4 in any::<bool>(),
        mode in prop::sample::select(&DeliveryMode::ALL[..]),
        minutes in 1..=15_u64,
        ports in prop::option::of((1_u16..=u16::MAX, 1_u16..=u16::MAX)),
    ) {
        let mut config = Config::default();
        config.delivery.ports =
            ports.map(|(a, b)| Ports::parse(&format!("{}-{}", a.min(b), a.max(b))).unwrap());
        let is_valid = mode != DeliveryMode::FixedPorts || ports.is_some();
        config.delivery.mode = if is_valid { mode } else { DeliveryMode::Default };
        config.delivery.polling_period = PollingPeriod::from_minutes(minutes).unwrap();
        config.polling.poll_support = poll_support;
        config.polling.poll_life_time = poll_life_time;
        let drop_life_time = Duration::from_secs(drop_life_time);
        config.polling.limits =
            Limits { messages, bytes, life_time, drop_life_time, ..config.polling.limits };
        let format = if regedit4 { Format::Regedit4 } else { Format::Version5 };
        let server = File { name: "s.reg".to_owned(), bytes: export_server(&config.polling, format) };
        let client = File { name: "c.reg".to_owned(), bytes: export_client(&config.delivery, format) };
        let Import { toml, warnings } = import(&[server, client]).unwrap();
        let low = config.delivery.ports.and_then(Ports::warning);
        prop_assert_eq!(warnings.len(), usize::from(low.is_some()), "{:?}", warnings);
        prop_assert_eq!(loaded(&toml), config);
    }

    #[test]
    fn whatever_the_values_the_result_loads(
        values in prop::collection::vec((0..SERVER_VALUES.len(), prop_oneof![0_u32..5, any::<u32>()]), 0..20),
    ) {
        let lines = values.iter().map(|(name, number)| format!("\"{}\"=dword:{number:x}\n", SERVER_VALUES[*name]));
        loaded(&import(&[server(&lines.collect::<String>())]).unwrap().toml);
    }

    #[test]
    fn whatever_the_client_values_the_result_loads(
        flag in 0_u32..4,
        period in 0_u32..20,
        ports in "[0-9]{0,5}|[0-9]{1,5}-[0-9]{1,5}|\\PC{0,8}",
    ) {
        let ports = ports.replace('\\', "\\\\").replace('"', "\\\"");
        let text = format!(
            "REGEDIT4\n[{PROFILES_KEY}]\n\"PollingFlag\"=dword:{flag}\n\"PollingPeriod\"=dword:{period:x}\n\
             \"Ports\"=\"{ports}\""
        );
        loaded(&import(&[file("c.reg", &text)]).unwrap().toml);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..100),
        name in "\\PC{0,10}",
        start in prop::sample::select(vec![&b""[..], b"\xFF\xFE", b"\xEF\xBB\xBF", b"REGEDIT4\n[K]\n"]),
    ) {
        bytes.splice(0..0, start.iter().copied());
        let _ = import(&[File { name, bytes }]);
    }
}
