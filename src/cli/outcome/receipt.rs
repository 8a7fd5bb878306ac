//! Receipts for people.

use crate::{
    cli::render::{Render, table},
    verb::receipt::{Compared, Shown},
};

impl Render for Shown {
    fn text(&self) -> String {
        let installed = &self.installed;
        let mut rows = [("lab", &installed.lab), ("lab id", &installed.lab_id), ("profile", &installed.profile)]
            .map(|(name, value)| vec![name.to_owned(), value.clone()])
            .to_vec();
        let parts = [("version", &installed.version), ("image", &installed.images), ("probe", &self.probes)];
        for (kind, part) in parts {
            rows.extend(part.iter().map(|(name, value)| vec![format!("{kind} {name}"), value.clone()]));
        }
        if let Some(left) = installed.egress {
            rows.push(vec!["egress".to_owned(), format!("{left} left the machine")]);
        }
        if self.probes.is_empty() {
            rows.push(vec!["probes".to_owned(), "not proved yet: ztlab verify".to_owned()]);
        }
        table(&rows)
    }
}

impl Render for Compared {
    fn text(&self) -> String {
        if self.differences.is_empty() {
            return format!("the receipts are equal: {} parts", self.equal);
        }
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(absent)".to_owned());
        let rows: Vec<Vec<String>> =
            self.differences.iter().map(|one| vec![one.name.clone(), value(&one.one), value(&one.other)]).collect();
        format!("{}\n{} parts differ, {} are equal", table(&rows), self.differences.len(), self.equal)
    }
}
