//! The running lab, one line a part.

use owo_colors::OwoColorize as _;

use crate::{
    cli::render::Render,
    verb::status::{Standing, Status},
};

impl Render for Status {
    fn text(&self) -> String {
        let width = self.parts.iter().map(|part| part.part.len()).max().unwrap_or_default();
        let mut lines = Vec::new();
        for part in &self.parts {
            let word = match part.standing {
                Standing::Good => "ok".green().to_string(),
                Standing::Unknown => "??".dimmed().to_string(),
                Standing::Wrong => "NO".red().bold().to_string(),
            };
            lines.push(format!("{word}  {:width$}  {}", part.part, part.found));
            if let Some(fix) = &part.fix {
                lines.push(format!("    {:width$}  → {}", "", fix.bold()));
            }
        }
        let wrong = self.parts.iter().filter(|part| part.standing == Standing::Wrong).count();
        let short = self.lab_id.trim_start_matches("sha256:").get(..12).unwrap_or_default();
        let what = match wrong {
            0 => "runs as it should".to_owned(),
            1 => "1 part is not as it should be".to_owned(),
            more => format!("{more} parts are not as they should be"),
        };
        lines.push(format!("lab {short}, profile {}, in the context {}: {what}", self.profile, self.context));
        lines.join("\n")
    }
}
