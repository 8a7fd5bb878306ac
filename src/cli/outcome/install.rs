//! What `plan`, `install`, `reset` and `uninstall` look like to a person.

use owo_colors::OwoColorize as _;

use super::super::{
    pace::span,
    render::{Render, table},
};
use crate::{
    base::human_bytes,
    cluster::apply::Change,
    intent::profile::FULL,
    step::{PlannedStep, Report, images::Role, report::StepReport, undo::Removed},
    verb::{install::DryRun, plan::Planned},
};

/// Width of the time line's bars.
const BAR: usize = 40;

impl Render for Planned {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self.steps.iter().map(row).collect();
        let here = self.steps.iter().filter(|step| step.measured_here).count();
        let source = match here {
            0 => "as seen on another machine with two cores",
            all if all == self.steps.len() => "as the last runs here took",
            _ => "`~` as seen on another machine with two cores, the others as the last runs here took",
        };
        format!(
            "{}\n{}\ninto the context {}, about {} when everything is to be done ({source})",
            table(&rows),
            closed_list(self),
            self.context,
            span(self.seconds)
        )
    }
}

/// How much of the lab it is, and every image of it by what it is for.
fn closed_list(planned: &Planned) -> String {
    let profile = &planned.profile;
    let without = profile.without.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let without = if without.is_empty() { String::new() } else { format!("; without {without}") };
    let head = format!(
        "profile {}: a node with {} MiB and {} CPUs, {} images{without}",
        profile.name,
        profile.memory,
        profile.cpus,
        planned.images.len()
    );
    let rows = planned.images.iter().map(|image| {
        let place = match image.role {
            Role::NodeBase => "the node",
            Role::Bootstrap => "Kubernetes",
            Role::Workload => "pods",
            Role::BuildBase => "built upon",
        };
        vec![format!("  {place}"), image.reference.clone()]
    });
    format!("{head}\n{}", table(&rows.collect::<Vec<_>>()))
}

fn row(step: &PlannedStep) -> Vec<String> {
    let mut what = Vec::new();
    match (step.images, step.bytes) {
        (0, 0) => {}
        (0, bytes) => what.push(human_bytes(bytes)),
        (images, bytes) => what.push(format!("{images} images, {}", human_bytes(bytes))),
    }
    if step.objects > 0 {
        what.push(format!("{} objects", step.objects));
    }
    let guess = if step.measured_here { "" } else { "~" };
    let time = format!("{guess}{:.0} s", step.seconds.ceil());
    vec![step.step.to_owned(), time, what.join("; "), step.title.to_owned(), format!("after {}", step.after.join(", "))]
        .into_iter()
        .map(|cell| if cell == "after " { String::new() } else { cell })
        .collect()
}

impl Render for Report {
    fn text(&self) -> String {
        let changed: Vec<&str> = self.steps.iter().filter(|step| step.done.changed).map(|step| step.step).collect();
        let what =
            if changed.is_empty() { "nothing changed".to_owned() } else { format!("changed: {}", changed.join(", ")) };
        let profile = if self.profile == FULL { String::new() } else { format!(" in its profile {}", self.profile) };
        let mut line = format!("installed{profile} into the context {} in {:.1} s; {what}", self.context, self.seconds);
        if let Some(egress) = &self.egress {
            line.push_str(&format!("\n{egress}"));
        }
        if self.steps.len() < 2 { line } else { format!("{}\n{line}", time_line(&self.steps, self.seconds)) }
    }
}

/// One bar a step: where it stands and how long it is, is when it ran.
fn time_line(steps: &[StepReport], whole: f64) -> String {
    let column = |seconds: f64| {
        let part = if whole > 0.0 { seconds / whole } else { 0.0 };
        ((part * BAR as f64).round() as usize).min(BAR)
    };
    let line = |step: &StepReport| {
        let begin = column(step.started).min(BAR - 1);
        // What is too short for a column has one all the same.
        let end = column(step.started + step.seconds).max(begin + 1);
        let bar = format!("{}{}{}", " ".repeat(begin), "█".repeat(end - begin), " ".repeat(BAR - end));
        let bar = if step.done.changed { bar.green().to_string() } else { bar.dimmed().to_string() };
        format!("{:<10} {bar} {:>6.1} s", step.step, step.seconds)
    };
    steps.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Render for Removed {
    fn text(&self) -> String {
        let mut lines = vec![if self.removed.is_empty() {
            format!("nothing of the lab is in the context {}", self.context)
        } else {
            format!("removed from the context {}: {}", self.context, self.removed.join("; "))
        }];
        lines.extend(self.kept.iter().map(|line| format!("kept: {line}")));
        lines.join("\n")
    }
}

impl Render for DryRun {
    fn text(&self) -> String {
        let mut lines = vec![self.planned.text(), String::new()];
        if let Some(why) = &self.changes.no_cluster {
            lines.push(format!("no cluster answers, so every object would be new ({why})"));
            return lines.join("\n");
        }
        let mut unchanged = 0;
        for step in &self.changes.objects {
            for object in &step.objects {
                let mark = match object.change {
                    Change::Unchanged => {
                        unchanged += 1;
                        continue;
                    }
                    Change::Created => "+".green().to_string(),
                    Change::Changed => "~".yellow().to_string(),
                    Change::Conflicting => "!".red().bold().to_string(),
                };
                lines.push(format!("{mark} {:<10} {}", step.step, object.object));
                if let Some(conflict) = &object.conflict {
                    lines.push(format!("    {conflict} (--force-conflicts would take it over)"));
                }
                for one in &object.differences {
                    let side = |text: &Option<String>| text.as_deref().unwrap_or("(absent)").to_owned();
                    lines.push(format!("    {}: {} → {}", one.field, side(&one.was), side(&one.would_be)));
                }
            }
        }
        lines.extend(self.changes.superfluous.iter().map(|object| format!("{} {:<10} {object}", "-".red(), "prune")));
        lines.push(format!("{unchanged} objects would stay as they are"));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::report::Done;

    #[test]
    fn the_time_line_shows_what_overlaps() {
        let step = |step: &'static str, started: f64, seconds: f64| StepReport {
            step,
            done: Done { changed: false, detail: String::new() },
            started,
            seconds,
        };
        let text =
            time_line(&[step("calico", 0.0, 30.0), step("images", 10.0, 10.0), step("receipt", 40.0, 0.0)], 40.0);
        let plain = anstream::adapter::strip_str(&text).to_string();
        let bars: Vec<&str> = plain.lines().map(|line| line.get(11..).unwrap()).collect();
        assert_eq!(bars[0], format!("{}{}   30.0 s", "█".repeat(30), " ".repeat(10)));
        assert_eq!(bars[1], format!("{}{}{}   10.0 s", " ".repeat(10), "█".repeat(10), " ".repeat(20)));
        assert_eq!(bars[2], format!("{}█    0.0 s", " ".repeat(39)));
    }
}
