//! Exit codes, and what each error code means. One table: `ztlab explain` prints it, `docs/errors.md`
//! is made from it, and a test holds every code in the source against it.

use std::process::ExitCode;

/// What an exit code says to a script.
pub(super) const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done"),
    (2, "usage"),
    (10, "lock stale or incomplete"),
    (11, "lock policy"),
    (20, "fetch incomplete"),
    (21, "integrity"),
    (22, "quota"),
    (30, "machine not fit"),
    (31, "cluster start"),
    (32, "preload proof"),
    (33, "gate ran out of time"),
    (34, "egress seen"),
    (40, "a probe failed"),
    (70, "a bug in ztlab"),
    (130, "interrupted"),
];

/// One error code.
pub(super) struct Explanation {
    pub(super) code: &'static str,
    pub(super) exit: u8,
    pub(super) text: &'static str,
}

const fn explain(code: &'static str, exit: u8, text: &'static str) -> Explanation {
    Explanation { code, exit, text }
}

/// Every error code.
pub(super) const EXPLANATIONS: &[Explanation] = &[];

/// The explanation of a code.
pub(super) fn explanation(code: &str) -> Option<&'static Explanation> {
    EXPLANATIONS.iter().find(|explanation| explanation.code == code)
}

/// The exit code of a failure: that of the first error in its chain that has a known code.
/// An error without a code is a bug in ztlab.
pub(super) fn exit_of(report: &miette::Report) -> ExitCode {
    ExitCode::from(number_of(report))
}

pub(super) fn number_of(report: &miette::Report) -> u8 {
    let code = report.code().map(|code| code.to_string());
    code.and_then(|code| explanation(&code)).map_or(70, |explanation| explanation.exit)
}
