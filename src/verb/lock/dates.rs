//! What dates an entry without a network: git's history of the lock, and the configs of images in the store.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::{
    base::{Descriptor, age::NO_DATE_BEFORE},
    cluster::process::{Child, Environment},
    lockfile::Lock,
    review::age::Dates,
    store::Store,
    verb::Context,
};

/// `git blame` of a lock of a thousand lines takes well under a second.
const BLAME: Duration = Duration::from_secs(30);

/// Dates by entry. Without git, or outside a repository, there are none of it: `git` is no part of the lab.
pub(super) async fn of_lock(context: &Context, lock: &Lock, store: Option<&Store>) -> BTreeMap<String, Dates> {
    let mut dates: BTreeMap<String, Dates> = BTreeMap::new();
    let environment = Environment::scrubbed(context.environment.clone());
    let blame = Child::new("git", &environment, BLAME)
        .arguments(["-C", &context.lab.display().to_string(), "blame", "--porcelain", "--", "lock/ztlab.lock"])
        .run()
        .await;
    if let Ok(output) = blame {
        for (entry, time) in pinned(&output.text()) {
            dates.entry(entry).or_default().pinned = time;
        }
    }
    for (name, entry) in &lock.image {
        let configs = entry.platforms.values().filter_map(|pin| created(store?, pin.config));
        if let Some(built) = configs.max() {
            dates.entry(format!("image.{name}")).or_default().built = Some(built);
        }
    }
    dates
}

#[derive(Deserialize)]
struct Config {
    created: Option<String>,
}

/// `created` of an image's config (OCI image specification v1.1, config.md).
fn created(store: &Store, config: Descriptor) -> Option<i64> {
    let config: Config = serde_json::from_slice(&store.blob(config)?.read().ok()?).ok()?;
    let time = config.created?.parse::<jiff::Timestamp>().ok()?.as_second();
    (time >= NO_DATE_BEFORE).then_some(time)
}

/// From `git blame --porcelain`: when the youngest line of each entry's block was committed; `None` for a block with
/// a line that is not committed yet.
fn pinned(porcelain: &str) -> BTreeMap<String, Option<i64>> {
    let mut times: BTreeMap<&str, i64> = BTreeMap::new();
    let mut blocks: BTreeMap<String, Option<i64>> = BTreeMap::new();
    let (mut commit, mut block) = ("", None);
    for line in porcelain.lines() {
        if let Some(text) = line.strip_prefix('\t') {
            if let Some(name) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                block = Some(name.to_owned());
                blocks.insert(name.to_owned(), Some(i64::MIN));
            }
            let uncommitted = commit.bytes().all(|byte| byte == b'0');
            let time = times.get(commit).copied().filter(|_| !uncommitted);
            if let (Some(name), false) = (&block, text.is_empty()) {
                let youngest = blocks.entry(name.clone()).or_insert(Some(i64::MIN));
                *youngest = youngest.zip(time).map(|(one, other)| one.max(other));
            }
        } else if let Some(time) = line.strip_prefix("committer-time ") {
            times.insert(commit, time.parse().unwrap_or(i64::MAX));
        } else if let Some(first) = line.split(' ').next().filter(|word| is_commit(word)) {
            commit = first;
        }
    }
    blocks
}

/// A commit's full name: SHA-1 or SHA-256.
fn is_commit(word: &str) -> bool {
    matches!(word.len(), 40 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_as_young_as_its_youngest_line() {
        let (old, new, none) = ("1".repeat(40), "2".repeat(40), "0".repeat(40));
        let text = format!(
            "{old} 1 1 3\nauthor A\ncommitter-time 100\nboundary\nfilename lock/ztlab.lock\n\tschema = 1\n\
             {old} 2 2\n\t\n{old} 3 3\n\t[image.a]\n{new} 4 4 1\ncommitter-time 200\nfilename lock/ztlab.lock\n\twant = \"a\"\n\
             {new} 5 5\n\t\n{old} 6 6 2\n\t[image.b]\n{old} 7 7\n\twant = \"b\"\n\
             {old} 8 8\n\t[image.c]\n{none} 9 9 1\ncommitter-time 300\n\twant = \"c\"\n"
        );
        let expected = [("image.a", Some(200)), ("image.b", Some(100)), ("image.c", None)];
        assert_eq!(pinned(&text), expected.map(|(name, time)| (name.to_owned(), time)).into());
    }

    #[test]
    fn an_image_is_dated_by_its_config_unless_that_is_made_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let date = |text: &str| {
            let blob =
                store.put(format!("{{\"created\":\"{text}\"}}").as_bytes(), &crate::base::report::Silent).unwrap();
            created(&store, blob.descriptor())
        };
        assert_eq!(date("2023-11-14T22:13:20.5Z"), Some(1_700_000_000));
        assert_eq!([date("1970-01-01T00:00:00Z"), date("1980-01-01T00:00:01Z"), date("yesterday")], [None; 3]);
        assert_eq!(created(&store, Descriptor::of(b"not there")), None);
    }
}
