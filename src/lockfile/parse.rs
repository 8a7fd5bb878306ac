//! Canonical text to [`Lock`].

use serde::Deserialize;

use crate::intent::SCHEMA;

use super::{
    Lock, LockError,
    spoilt::{not_canonical, refuse_marks, schema, syntax},
    wire::WireLock,
    write,
};

/// Parses a lock.
///
/// # Errors
/// When `write(parse(text))` would not be `text`, and before that when the text is no lock at all.
pub fn parse(text: &str) -> Result<Lock, LockError> {
    refuse_marks(text)?;
    let head: Head = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    if *head.schema.get_ref() != SCHEMA {
        return Err(schema(text, *head.schema.get_ref(), head.schema.span()));
    }
    let wire: WireLock = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    let lock = Lock::from(wire);
    let canonical = write(&lock);
    if canonical == text { Ok(lock) } else { Err(not_canonical(text, &canonical, lock)) }
}

/// What every schema has, so that a newer one is recognised before its new keys are.
#[derive(Deserialize)]
struct Head {
    schema: toml::Spanned<u32>,
}
