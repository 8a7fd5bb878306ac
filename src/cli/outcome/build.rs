//! `ztlab build`, `ztlab dev`, `ztlab sbom`.

use crate::{
    base::human_bytes,
    cli::render::{Render, table},
    verb::{
        build::{BuiltApp, Outcome, Standing},
        dev, sbom,
    },
};

impl Render for Outcome {
    fn text(&self) -> String {
        let standing = |built: &BuiltApp| match built.standing {
            Standing::Locked => "as locked",
            Standing::Completed => "now in the lock",
            Standing::Unlocked => "not locked",
        };
        let row = |built: &BuiltApp| {
            let name = format!("app.{}", built.app);
            let bytes = format!("{} above the base", human_bytes(built.new_bytes));
            vec![name, built.platform.to_string(), built.manifest.short(), bytes, standing(built).to_owned()]
        };
        let rows: Vec<Vec<String>> = self.images.iter().map(row).collect();
        let count = if rows.len() == 1 { "1 image".to_owned() } else { format!("{} images", rows.len()) };
        format!("{}\nbuilt {count} in {:.1} s", table(&rows), self.seconds)
    }
}

impl Render for dev::Outcome {
    fn text(&self) -> String {
        self.shown.iter().map(dev::in_words).collect::<Vec<_>>().join("\n")
    }
}

impl Render for sbom::Outcome {
    fn text(&self) -> String {
        format!("{:#}", self.0)
    }
}
