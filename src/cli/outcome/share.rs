//! What `fetch --share` says.

use owo_colors::OwoColorize as _;

use crate::{base::human_bytes, verb::fetch::Shared};

/// Who is served where, at the beginning and once everything is here.
pub(in crate::cli) fn line(address: &str, server: &str, beyond_this_machine: bool, complete: bool) -> String {
    if complete {
        return format!(
            "everything is here: `ztlab install` may begin in another window. Others are still served at {}, until nobody \
             in the room lacks anything; Ctrl-C ends it now",
            address.bold()
        );
    }
    let who = match beyond_this_machine {
        true => {
            "everybody who reaches this address can read what is here of this lab's blobs, and nothing else of this machine"
        }
        false => "only this machine reaches it",
    };
    format!("sharing at {}: {who}. {server} tells others in the room of it", address.bold())
}

/// What was given and taken.
pub(super) fn summary(shared: &Shared) -> String {
    let counted = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    format!(
        "  shared: {} from the server, {} from {}; {} given to {}",
        human_bytes(shared.from_server),
        human_bytes(shared.from_laptops),
        counted(shared.laptops, "laptop"),
        human_bytes(shared.given),
        counted(shared.machines, "machine")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_reachable_is_said_before_anybody_asks() {
        let text = line("http://10.0.0.7:4000/", "http://10.0.0.5:8642/", true, false);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            plain,
            "sharing at http://10.0.0.7:4000/: everybody who reaches this address can read what is here of this lab's \
             blobs, and nothing else of this machine. http://10.0.0.5:8642/ tells others in the room of it"
        );
        assert!(line("http://127.0.0.1:1/", "http://127.0.0.1:2/", false, false).contains("only this machine"));
        assert!(line("http://10.0.0.7:4000/", "", true, true).contains("everything is here"));
    }

    #[test]
    fn a_summary_names_both_directions() {
        let shared = Shared {
            address: String::new(),
            given: 2_500_000,
            machines: 1,
            from_server: 300_000,
            from_laptops: 7_700_000,
            laptops: 12,
        };
        assert_eq!(
            summary(&shared),
            "  shared: 300.0 kB from the server, 7.7 MB from 12 laptops; 2.5 MB given to 1 machine"
        );
    }
}
