//! Whatever text stands in `lock/ztlab.lock`: it is refused with a message that can be drawn, or it is exactly what
//! the writer makes of what was read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ztlab::lockfile;

fuzz_target!(|text: &str| {
    match lockfile::parse(text) {
        Ok(lock) => assert_eq!(lockfile::write(&lock), text, "parse then write is the identity"),
        // Draws the lines around the place: a place outside the text, or inside a character, panics.
        Err(error) => assert!(!format!("{:?}", miette::Report::new(error)).is_empty()),
    }
});
