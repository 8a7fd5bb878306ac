//! What the outcomes of `ztlab bundle` look like to a person.

use crate::{
    base::human_bytes,
    bundle::Identity,
    cli::render::{Render, table},
    verb::bundle::{Created, Imported, Inspected},
};

impl Render for Created {
    fn text(&self) -> String {
        let names: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        let mut lines = vec![format!(
            "{}: lab {} ({}), {} blobs, {}",
            names.join(", "),
            self.lab.id.short(),
            self.lab.name,
            self.blobs,
            human_bytes(self.bytes)
        )];
        lines.extend(since(self.since.as_ref()));
        lines.push(programs(&self.programs));
        lines.push(format!("bundle {}", self.bundle_id));
        lines.join("\n")
    }
}

impl Render for Inspected {
    fn text(&self) -> String {
        let parts = if self.parts > 1 { format!(" in {} parts", self.parts) } else { String::new() };
        let mut lines = vec![
            format!("bundle {}", self.bundle_id),
            format!("lab {} ({})", self.lab.id, self.lab.name),
            format!(
                "{}{parts}, {} blobs of the lock, {} files of the lab",
                human_bytes(self.bytes),
                self.blobs,
                self.files.len()
            ),
        ];
        lines.extend(since(self.since.as_ref()));
        if self.left_out > 0 {
            lines.push(format!("{} blobs of the lock are left out", self.left_out));
        }
        lines.push(programs(&self.programs));
        if self.verified {
            lines.push("every byte is right".to_owned());
            return lines.join("\n");
        }
        let rows: Vec<Vec<String>> =
            self.artifacts.iter().map(|artifact| vec![artifact.name.clone(), human_bytes(artifact.bytes)]).collect();
        lines.push(String::new());
        lines.push(table(&rows));
        lines.push(String::new());
        lines
            .push("read: the list of members and the lab's own files; `ztlab bundle verify` reads the rest".to_owned());
        lines.join("\n")
    }
}

impl Render for Imported {
    fn text(&self) -> String {
        let mut lines = vec![format!(
            "lab {} ({}): {} blobs, {} in the store; took {} blobs ({})",
            self.lab.id.short(),
            self.lab.name,
            self.blobs,
            human_bytes(self.bytes),
            self.taken_blobs,
            human_bytes(self.taken_bytes)
        )];
        if !self.replaced_files.is_empty() {
            lines.push(format!("replaced: {}", self.replaced_files.join(", ")));
        }
        lines.push(format!("lab folder: {} ({} new files)", self.folder.display(), self.new_files));
        lines.push(format!("next: cd {} && ztlab install --offline && ztlab verify", self.folder.display()));
        lines.join("\n")
    }
}

fn since(since: Option<&Identity>) -> Option<String> {
    since.map(|lab| format!("only what changed since lab {} ({})", lab.id.short(), lab.name))
}

fn programs(platforms: &[String]) -> String {
    match platforms {
        [] => "no program in it".to_owned(),
        platforms => format!("ztlab for {}", platforms.join(", ")),
    }
}
