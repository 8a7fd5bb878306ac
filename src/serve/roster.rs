//! The roster: what seats tell of themselves. In memory, bounded, and gone with the server, unless somebody asks for
//! the table at the end. Everything in it came from the network.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    base::{Digest, human_bytes},
    fetch::seat::{Did, SeatName, SeatReport},
};

/// Seats in the roster.
const MOST_SEATS: usize = 256;
/// Addresses whose reports are counted.
const MOST_ADDRESSES: usize = 1024;
/// Addresses that are told apart for one seat.
const MOST_MACHINES: usize = 8;
/// Reports at once from one address, and how long it takes until another may follow.
const BURST: u32 = 30;
const REFILL: Duration = Duration::from_secs(2);

/// What is known of one seat.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SeatDocument {
    /// The name that was chosen.
    pub seat: String,
    /// Whether everything is in its store.
    pub fetched: bool,
    /// Whether the lab is installed.
    pub installed: bool,
    /// Probes that passed when they last ran.
    pub passed: Vec<String>,
    /// Probes that failed when they last ran.
    pub failed: Vec<String>,
    /// The error that the last command ended with.
    pub stopped: Option<String>,
    /// Whether its lab is another than the one that is served.
    pub other_lab: bool,
    /// Whether one of its addresses serves others at this moment.
    pub sharing: bool,
    /// How many addresses used the name; more than one may be two people with one name.
    pub machines: usize,
    /// When it was last heard of, in UTC.
    pub heard: String,
}

/// A report that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It makes no sense.
    Nonsense(&'static str),
    /// No seat is left.
    Full,
}

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Roster {
    lab_id: Digest,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seats: BTreeMap<SeatName, Seat>,
    budgets: HashMap<IpAddr, Budget>,
}

#[derive(Debug, Default)]
struct Seat {
    document: SeatDocument,
    machines: BTreeSet<IpAddr>,
}

#[derive(Debug)]
struct Budget {
    left: u32,
    since: Instant,
}

impl Budget {
    /// Whether another report may come now.
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        let refilled = u32::try_from(passed.as_millis() / REFILL.as_millis()).unwrap_or(u32::MAX);
        if refilled > 0 {
            self.left = self.left.saturating_add(refilled).min(BURST);
            self.since = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }

    fn is_full(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= REFILL * BURST
    }
}

impl Roster {
    pub(super) fn new(lab_id: Digest) -> Self {
        Self { lab_id, state: Mutex::default() }
    }

    /// Whether this address may report at all now; asked before its body is read.
    pub(super) fn may_report(&self, address: IpAddr) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        if state.budgets.len() >= MOST_ADDRESSES && !state.budgets.contains_key(&address) {
            state.budgets.retain(|_, budget| !budget.is_full(now));
            if state.budgets.len() >= MOST_ADDRESSES {
                return false;
            }
        }
        state.budgets.entry(address).or_insert(Budget { left: BURST, since: now }).take(now)
    }

    /// Takes a report, and returns what it says for people.
    ///
    /// # Errors
    /// When it is no report, or there is no seat left.
    pub(super) fn take(&self, address: IpAddr, body: &[u8]) -> Result<(String, String), Refusal> {
        let report: SeatReport =
            serde_json::from_slice(body).map_err(|_| Refusal::Nonsense("this is no report of a seat"))?;
        report.check().map_err(Refusal::Nonsense)?;
        let mut state = self.state();
        if state.seats.len() >= MOST_SEATS && !state.seats.contains_key(&report.seat) {
            return Err(Refusal::Full);
        }
        let name = report.seat.to_string();
        let seat = state.seats.entry(report.seat).or_default();
        if seat.machines.len() < MOST_MACHINES {
            seat.machines.insert(address);
        }
        let document = &mut seat.document;
        document.seat.clone_from(&name);
        document.machines = seat.machines.len();
        document.heard = jiff::Timestamp::now().strftime("%F %T").to_string();
        document.other_lab = report.lab_id != self.lab_id;
        document.stopped = None;
        let mut said = match report.did {
            Did::Fetched { bytes } => {
                document.fetched = true;
                format!("has everything ({})", human_bytes(bytes))
            }
            Did::Installed { seconds } => {
                (document.fetched, document.installed) = (true, true);
                format!("installed the lab in {seconds:.0} s")
            }
            Did::Verified { passed, failed } => {
                let all = passed.len() + failed.len();
                let said = match failed.is_empty() {
                    true => format!("{all} of {all} probes passed"),
                    false => format!("{} of {all} probes passed; failed: {}", passed.len(), failed.join(", ")),
                };
                (document.passed, document.failed) = (passed, failed);
                said
            }
            Did::Stopped { code } => {
                let said = format!("stopped: {code}");
                document.stopped = Some(code);
                said
            }
        };
        if document.other_lab {
            said.push_str(" (of another lab than this one)");
        }
        Ok((name, said))
    }

    /// Every seat, by name. `sharing`: the addresses that serve others.
    pub(super) fn documents(&self, sharing: &BTreeSet<IpAddr>) -> Vec<SeatDocument> {
        let document = |seat: &Seat| {
            let sharing = seat.machines.iter().any(|address| sharing.contains(address));
            SeatDocument { sharing, ..seat.document.clone() }
        };
        self.state().seats.values().map(document).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The roster as CSV (RFC 4180), with a line of headings.
///
/// # Errors
/// Never in memory; the writer's own type says so.
pub fn csv_of(seats: &[SeatDocument]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "seat",
        "fetched",
        "installed",
        "passed",
        "failed",
        "stopped",
        "lab",
        "machines",
        "heard (UTC)",
    ])?;
    for seat in seats {
        let yes = |yes: bool| if yes { "yes" } else { "" }.to_owned();
        let record = [
            seat.seat.clone(),
            yes(seat.fetched),
            yes(seat.installed),
            seat.passed.len().to_string(),
            seat.failed.join(" "),
            seat.stopped.clone().unwrap_or_default(),
            if seat.other_lab { "other" } else { "this" }.to_owned(),
            seat.machines.to_string(),
            seat.heard.clone(),
        ];
        writer.write_record(record.map(inert))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// A cell that no spreadsheet takes for a formula (owasp.org, "CSV Injection"). What is taken into the roster cannot
/// begin like one; this holds as well should that change.
fn inert(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster() -> Roster {
        Roster::new(Digest::of(b"lab"))
    }

    fn body(seat: &str, lab: &[u8], did: &str) -> Vec<u8> {
        format!(r#"{{"seat":"{seat}","lab_id":"{}","did":{did}}}"#, Digest::of(lab)).into_bytes()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn a_seat_is_what_it_told_last() {
        let roster = roster();
        let tell = |did: &str| roster.take(address(1), &body("A3", b"lab", did)).unwrap().1;
        assert_eq!(tell(r#"{"kind":"stopped","code":"fetch::connect"}"#), "stopped: fetch::connect");
        assert_eq!(tell(r#"{"kind":"fetched","bytes":1500000}"#), "has everything (1.5 MB)");
        tell(r#"{"kind":"installed","seconds":61.2}"#);
        assert_eq!(
            tell(r#"{"kind":"verified","passed":["gateway"],"failed":["egress"]}"#),
            "1 of 2 probes passed; failed: egress"
        );
        assert!(roster.documents(&BTreeSet::from([address(1)]))[0].sharing);
        let seat = &roster.documents(&BTreeSet::from([address(2)]))[0];
        assert!(!seat.sharing);
        assert!(seat.fetched && seat.installed && seat.stopped.is_none() && !seat.other_lab);
        assert_eq!((seat.passed.len(), seat.failed.join(","), seat.machines), (1, "egress".to_owned(), 1));
        // Two machines with one name, and another lab.
        let said = roster.take(address(2), &body("A3", b"other", r#"{"kind":"fetched","bytes":1}"#)).unwrap().1;
        assert!(said.contains("another lab"), "{said}");
        assert_eq!(
            (roster.documents(&BTreeSet::new())[0].machines, roster.documents(&BTreeSet::new())[0].other_lab),
            (2, true)
        );
    }

    #[test]
    fn the_roster_does_not_grow_without_end() {
        let roster = roster();
        let fetched = r#"{"kind":"fetched","bytes":1}"#;
        for number in 0..MOST_SEATS {
            roster.take(address(1), &body(&format!("seat {number}"), b"lab", fetched)).unwrap();
        }
        assert_eq!(roster.take(address(1), &body("one more", b"lab", fetched)), Err(Refusal::Full));
        assert!(roster.take(address(1), &body("seat 7", b"lab", fetched)).is_ok());
        assert!(matches!(roster.take(address(1), b"{}"), Err(Refusal::Nonsense(_))));
        assert!(matches!(roster.take(address(1), &body("=1", b"lab", fetched)), Err(Refusal::Nonsense(_))));
    }

    #[test]
    fn who_reports_too_often_is_not_heard_for_a_while() {
        let roster = roster();
        assert_eq!((0..BURST + 5).filter(|_| roster.may_report(address(1))).count(), BURST as usize);
        assert!(roster.may_report(address(2)), "others are heard");
        let mut budget = Budget { left: 0, since: Instant::now() };
        assert!(!budget.take(Instant::now()));
        assert!(budget.take(Instant::now() + REFILL));
    }

    #[test]
    fn a_table_has_no_formulas_in_it() {
        let seat = SeatDocument {
            seat: "A,3 \"x\"".to_owned(),
            failed: vec!["a".to_owned(), "b".to_owned()],
            ..SeatDocument::default()
        };
        let text = String::from_utf8(csv_of(&[seat]).unwrap()).unwrap();
        assert!(text.starts_with("seat,fetched,"), "{text}");
        assert!(text.contains("\"A,3 \"\"x\"\"\",,,0,a b,"), "{text}");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert!(inert(formula.to_owned()).starts_with('\''), "{formula:?}");
        }
        assert_eq!(inert("A3".to_owned()), "A3");
    }
}
