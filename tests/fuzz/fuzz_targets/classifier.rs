#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code, reason = "the other targets have theirs")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::classifier(input));
