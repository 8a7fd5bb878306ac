//! `ztlab dev`: from an edit in `app/` to the running lab, again and again. Opens no socket but the cluster's.
//!
//! ```text
//! files differ from what runs → build → the changed layer to the node → rollout → ready → watch again
//! ```
//!
//! The files are read again and again instead of asking the system to tell: there are three of them, a shared folder
//! of a virtual machine or of a school's server tells nothing, and editors replace files in as many ways as there
//! are editors.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    Context,
    build::{Standing, app_image, chosen_apps},
    install,
};
use crate::{
    base::{Digest, Event, human_bytes, normalize_reference},
    fetch::blocking,
    image::archive::ArchiveImage,
    resolve::source_digest,
    step::{
        Install, Options, Target,
        edit::{Edited, roll_out},
    },
};

/// Between two looks at the files: less than a person notices beside the seconds that a rollout takes.
const PAUSE: Duration = Duration::from_millis(300);

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The apps to watch; all of them when none is named.
    pub apps: Vec<String>,
    /// Bring in what the files say now, and end.
    pub once: bool,
}

/// What one edit did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// The app.
    pub app: String,
    /// Digest of the image's config.
    pub config: Digest,
    /// How it stands to the lock.
    pub standing: Standing,
    /// Bytes that went to the node.
    pub sent: u64,
    /// What was rolled out anew.
    pub changed: Vec<String>,
    /// From the look at the files to ready pods.
    pub seconds: f64,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// One entry for each app.
    pub shown: Vec<Shown>,
}

/// Brings the apps as their files say into the running lab; without `once`, again at every edit, until it is dropped.
///
/// # Errors
/// When the lab is incomplete or does not run. While it watches, what is wrong with an edit is told, and the next
/// edit is waited for.
pub async fn run(context: &Context, target: Target, options: Options, request: &Request) -> miette::Result<Outcome> {
    let install = install::prepare(context, target, options).await?;
    let apps = chosen_apps(install.complete.lock(), &request.apps)?;
    install.connect().await?;
    let say = |text: String| context.reporter.report(Event::Note { text });
    if request.once {
        let mut shown = Vec::new();
        for app in &apps {
            shown.push(show(context, &install, app).await?);
        }
        return Ok(Outcome { shown });
    }
    say(format!("watching the files of {}; Ctrl-C ends, `ztlab install` puts the locked images back", apps.join(", ")));
    let mut seen: BTreeMap<String, Option<Digest>> = BTreeMap::new();
    loop {
        for app in &apps {
            let now = look(context, &install, app);
            if seen.get(app) == Some(&now) || now.is_none() {
                continue;
            }
            // An editor may still be writing: what is the same twice is whole.
            tokio::time::sleep(PAUSE / 2).await;
            if look(context, &install, app) != now {
                continue;
            }
            seen.insert(app.clone(), now);
            tokio::select! {
                shown = show(context, &install, app) => match shown {
                    Ok(shown) => say(in_words(&shown)),
                    Err(report) => context.reporter.report(Event::Warning { text: told(app, &report) }),
                },
                // Pods that never become ready would hold up the edit that mends them.
                () = edited(context, &install, app, now) => say(format!("app.{app}: edited again, beginning anew")),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The hash of an app's files as they are now; `None` while one of them is not there, as in the middle of a save.
fn look(context: &Context, install: &Install, app: &str) -> Option<Digest> {
    source_digest(&context.lab, app, &install.complete.lock().app.get(app)?.request).ok()
}

/// Returns when an app's files are others than those.
async fn edited(context: &Context, install: &Install, app: &str, from: Option<Digest>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let now = look(context, install, app);
        if now.is_some() && now != from {
            return;
        }
    }
}

/// Builds one app and rolls it out.
async fn show(context: &Context, install: &Install, app: &str) -> miette::Result<Shown> {
    let begun = Instant::now();
    let (builds, lock, name, node) = (context.clone(), install.complete.lock().clone(), app.to_owned(), install.node);
    let store = install.complete.store().clone();
    let built = blocking(move || app_image(&builds, &lock, &name, node, &store)).await?;
    let entry = &install.complete.lock().app[app];
    let locked = entry.platforms.get(&install.node) == Some(&built.pin);
    let image = ArchiveImage {
        reference: normalize_reference(&entry.request.reference),
        manifest: built.pin.manifest,
        config: built.pin.config,
        layers: built.pin.layers,
        pinned: None,
    };
    let config = image.config.digest;
    let rolled = roll_out(install, &Edited { image, locked }).await?;
    Ok(Shown {
        app: app.to_owned(),
        config,
        standing: if locked { Standing::Locked } else { Standing::Unlocked },
        sent: rolled.sent,
        changed: rolled.changed,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// One line for one edit.
pub fn in_words(shown: &Shown) -> String {
    let standing = match shown.standing {
        Standing::Unlocked => "an image that is not locked",
        Standing::Locked | Standing::Completed => "the locked image",
    };
    let what = match (shown.sent, shown.changed.is_empty()) {
        (0, true) => "was there already".to_owned(),
        (0, false) => "is rolled out".to_owned(),
        (sent, _) => format!("is rolled out ({} to the node)", human_bytes(sent)),
    };
    format!("app.{}: {standing} ({}) {what} after {:.1} s", shown.app, shown.config.short(), shown.seconds)
}

/// An error of an edit on one line, with its causes and what to type.
fn told(app: &str, report: &miette::Report) -> String {
    let causes: Vec<String> = report.chain().map(ToString::to_string).collect();
    let help = report.help().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("app.{app} is not shown: {}{help}", causes.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_whether_what_runs_is_locked() {
        let mut shown = Shown {
            app: "frontend".to_owned(),
            config: Digest::of(b"image"),
            standing: Standing::Unlocked,
            sent: 40_000,
            changed: vec!["Deployment webapp/frontend".to_owned()],
            seconds: 4.24,
        };
        assert_eq!(
            in_words(&shown),
            "app.frontend: an image that is not locked (6105d6cc76af) is rolled out (40.0 kB to the node) after 4.2 s"
        );
        (shown.standing, shown.sent, shown.changed) = (Standing::Locked, 0, Vec::new());
        assert!(in_words(&shown).contains("the locked image") && in_words(&shown).contains("was there already"));
    }
}
