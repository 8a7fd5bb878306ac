//! The page for people: what to type, what is served, how far the room is. maud escapes every text; the policy in the
//! header lets nothing run but what is in this file, and nothing be loaded from elsewhere.

use std::{net::SocketAddr, sync::LazyLock};

use base64::Engine as _;
use http::StatusCode;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use crate::base::human_bytes;

use super::{
    catalog::{Catalog, LabDocument},
    response::Response,
    room::RoomDocument,
    roster::SeatDocument,
};

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What a browser may do with the page: show it, with this style and this script, and ask this server.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        source_of(STYLE),
        source_of(SCRIPT)
    )
});

/// A text as Content-Security-Policy names it.
fn source_of(text: &str) -> String {
    format!("sha256-{}", base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text)))
}

/// The whole page. `local` is the address that the browser has reached: the one to type elsewhere in the room.
pub(super) fn whole(catalog: &Catalog, now: &RoomDocument, seats: &[SeatDocument], local: SocketAddr) -> Response {
    let lab = &catalog.lab;
    let address = format!("http://{local}");
    answer(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (lab.name) " · ztlab" }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
                noscript { meta http-equiv="refresh" content="10"; }
            }
            body {
                main {
                    h1 { "Install the lab " (lab.name) }
                    p { "With ztlab on your machine, type this in the lab’s folder:" }
                    (command(&format!("ztlab fetch --from {address}/")))
                    (command("ztlab install --offline"))
                    (command("ztlab verify"))
                    p.note {
                        "Many at once? Add " code { "--share" } " to the first line: laptops then take from each other what "
                        "they have. It says what becomes reachable."
                    }
                    p.note {
                        "Who wants to be on the roster below adds a name of a seat: "
                        code { "ztlab verify --seat A3 --roster " (address) "/" }
                        ", and the same for " code { "fetch" } " and " code { "install" } ". Everybody here sees it."
                    }
                    p.note {
                        "Nobody has to be trusted for the bytes: the lock in your folder has the SHA-256 of every one, and "
                        code { "ztlab" } " keeps nothing else. Compare the lab id with that of your teacher."
                    }
                    (what_is_served(lab))
                    h2 { "The room" }
                    section #room aria-label="The room" { (room_part(now, seats)) }
                    (elsewhere(catalog, local))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    })
}

/// The part of the page that changes.
pub(super) fn room(now: &RoomDocument, seats: &[SeatDocument]) -> Response {
    answer(room_part(now, seats))
}

fn answer(markup: Markup) -> Response {
    Response::new(StatusCode::OK, HTML, markup.into_string())
        .with("Content-Security-Policy", POLICY.as_str())
        .with("Referrer-Policy", "no-referrer")
        .with("Cache-Control", "no-store")
}

/// A line to type. The keyboard reaches it, and one click selects all of it.
fn command(text: &str) -> Markup {
    html! { pre.command tabindex="0" { code { (text) } } }
}

fn what_is_served(lab: &LabDocument) -> Markup {
    html! {
        h2 { "What is served" }
        dl {
            dt { "Lab id" }
            dd { code.id { (lab.lab_id.hex()) } }
            dt { "Size" }
            dd { (human_bytes(lab.bytes)) " in " (lab.blobs) " blobs" }
            dt { "Lock" }
            dd { a href="/ztlab.lock" { "ztlab.lock" } " · " a href="/lab.json" { "lab.json" } }
        }
        details {
            summary { (lab.artifacts.len()) " artifacts" }
            div.wide tabindex="0" role="region" aria-label="Artifacts" {
                table {
                    thead { tr { th scope="col" { "Artifact" } th.number scope="col" { "Blobs" } th.number scope="col" { "Size" } } }
                    tbody {
                        @for artifact in &lab.artifacts {
                            tr {
                                td { (artifact.name) }
                                td.number { (artifact.blobs) }
                                td.number { (human_bytes(artifact.bytes)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn room_part(now: &RoomDocument, seats: &[SeatDocument]) -> Markup {
    html! {
        p {
            strong { (now.machines) } @if now.machines == 1 { " machine" } @else { " machines" } " took blobs, "
            strong { (human_bytes(now.bytes)) } " in all; "
            @if now.transfers == 0 { "nothing is on its way now." }
            @else { strong { (now.transfers) } " on their way now, at " strong { (human_bytes(now.rate)) "/s" } "." }
            @if now.sharing > 0 {
                " " strong { (now.sharing) } @if now.sharing == 1 { " laptop serves" } @else { " laptops serve" } " others."
            }
        }
        @if !seats.is_empty() { (roster_part(seats)) }
    }
}

/// Everybody who chose to be on the roster.
fn roster_part(seats: &[SeatDocument]) -> Markup {
    let done = |yes: bool| html! { td { @if yes { span.good { "✔" } span.hidden { " yes" } } @else { span.hidden { "no" } } } };
    html! {
        div.wide tabindex="0" role="region" aria-label="Roster" {
            table {
                thead { tr { @for head in ["Seat", "Fetched", "Installed", "Probes"] { th scope="col" { (head) } } } }
                tbody {
                    @for seat in seats {
                        tr {
                            th scope="row" {
                                bdi { (seat.seat) }
                                @if seat.machines > 1 { " " span.bad { "(" (seat.machines) " machines)" } }
                                @if seat.other_lab { " " span.bad { "(another lab)" } }
                            }
                            td {
                                @if seat.fetched { span.good { "✔" } span.hidden { " yes" } } @else { span.hidden { "no" } }
                                @if seat.sharing { " sharing" }
                            }
                            (done(seat.installed))
                            td { (probes(seat)) }
                        }
                    }
                }
            }
        }
    }
}

fn probes(seat: &SeatDocument) -> Markup {
    let all = seat.passed.len() + seat.failed.len();
    html! {
        @if let Some(code) = &seat.stopped { span.bad { "stopped: " (code) } }
        @else if all > 0 && seat.failed.is_empty() { span.good { (all) " of " (all) } }
        @else if all > 0 { span.bad { (seat.passed.len()) " of " (all) ", not " (seat.failed.join(", ")) } }
    }
}

fn elsewhere(catalog: &Catalog, local: SocketAddr) -> Markup {
    let first = catalog.repositories.iter().find_map(|(name, repository)| Some((name, repository.tags.keys().next()?)));
    html! {
        @if let Some((name, tag)) = first {
            h2 { "For other tools" }
            p { "The images are here as in a registry, read-only, over plain HTTP:" }
            (command(&format!("crane pull --insecure {local}/{name}:{tag} image.tar")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_what_is_on_the_page_and_nothing_else() {
        assert!(POLICY.contains("default-src 'none'") && !POLICY.contains("unsafe") && !POLICY.contains('*'));
        assert!(!SCRIPT.contains("</") && !STYLE.contains("</"), "they would end their elements early");
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"), "nothing is loaded");
    }
}
