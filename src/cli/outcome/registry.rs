//! What a lab's way into a registry and out of it looks like to a person.

use crate::{
    base::human_bytes,
    cli::render::Render,
    verb::{pull, push},
};

impl Render for push::Outcome {
    fn text(&self) -> String {
        let counted =
            |count: usize, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
        let mounted = match self.mounted_blobs {
            0 => String::new(),
            some => format!(", {} mounted", counted(some, "blob")),
        };
        let sent = match self.sent_bytes {
            0 => "nothing had to be sent".to_owned(),
            bytes => format!(
                "sent {} and {}, {}",
                counted(self.sent_blobs, "blob"),
                counted(self.sent_manifests, "manifest"),
                human_bytes(bytes)
            ),
        };
        let summary = format!(
            "lab {} ({}) is in {}: {}, {}; {sent}{mounted}",
            self.lab.id.short(),
            self.lab.name,
            if self.repositories == 1 {
                "1 repository".to_owned()
            } else {
                format!("{} repositories", self.repositories)
            },
            counted(self.blobs, "blob"),
            human_bytes(self.bytes)
        );
        let programs = self.programs.iter().map(|program| format!("ztlab for {}: {}", program.platform, program.url));
        std::iter::once(summary).chain(programs).chain([self.reference.clone()]).collect::<Vec<_>>().join("\n")
    }
}

impl Render for pull::Outcome {
    fn text(&self) -> String {
        let mut lines = vec![self.fetched.text()];
        if !self.replaced_files.is_empty() {
            lines.push(format!("replaced: {}", self.replaced_files.join(", ")));
        }
        lines.push(format!("lab folder: {} ({} new files)", self.folder.display(), self.new_files));
        lines.push(format!("next: cd {} && ztlab install --offline && ztlab verify", self.folder.display()));
        lines.join("\n")
    }
}
