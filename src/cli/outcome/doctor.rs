//! What `doctor` found, as a table.

use owo_colors::OwoColorize as _;

use crate::{cli::render::Render, intent::profile::FULL, machine::Grade, verb::doctor::Diagnosis};

impl Render for Diagnosis {
    fn text(&self) -> String {
        let width = self.findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
        let mut lines = Vec::new();
        for finding in &self.findings {
            let word = match finding.grade {
                Grade::Fit => "ok".green().to_string(),
                Grade::Unknown => "??".dimmed().to_string(),
                Grade::Warning => "! ".yellow().to_string(),
                Grade::Fault => "NO".red().bold().to_string(),
            };
            lines.push(format!("{word}  {:width$}  {}", finding.check, finding.found));
            if let Some(fix) = &finding.fix {
                lines.push(format!("    {:width$}  → {}", "", fix.bold()));
            }
        }
        let lab = if self.profile == FULL { String::new() } else { format!(" in its profile {}", self.profile) };
        let count = |grade| self.findings.iter().filter(|finding| finding.grade == grade).count();
        lines.push(match (count(Grade::Fault), count(Grade::Warning)) {
            (0, 0) => format!("this machine is fit for the lab{lab}"),
            (0, warnings) => format!("this machine is fit for the lab{lab}; {warnings} to know about"),
            (faults, _) => format!("{faults} to mend before an install"),
        });
        lines.join("\n")
    }
}
