//! Which versions go together, with the reason and who says so.
//!
//! Data, read by [`judge`]: four pairs of `[version]`. A pair that is known not to work is refused, one that nobody
//! has tried is a warning: upstream is often more capable than its documentation says, and this table is older than
//! the newest release. Everything here is from upstream's own pages and from its source at the tag that is named.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// What is known of two versions together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Upstream tests or supports it.
    Works,
    /// Upstream says nothing, or that it does not test it.
    Unknown,
    /// It is known not to work.
    Refused,
}

/// One pair of versions and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// As `calico 3.27.0`.
    pub one: String,
    /// As `kubernetes 1.28.3`.
    pub other: String,
    /// What is known.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Who says so: a page, or a file at a tag.
    pub source: String,
}

impl fmt::Display for Judgement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} with {}: {} ({})", self.one, self.other, self.reason, self.source)
    }
}

/// A version's first three numbers; what is not there is 0.
type Version = (u32, u32, u32);

/// One Calico release and the Kubernetes minor versions that it is tested with.
struct Calico {
    minor: u32,
    tested: (u32, u32),
}

/// `calico_versioned_docs/version-3.NN/getting-started/kubernetes/requirements.mdx` of tigera/docs.
const CALICO: &[Calico] = &[
    Calico { minor: 25, tested: (23, 26) },
    Calico { minor: 26, tested: (24, 28) },
    Calico { minor: 27, tested: (24, 28) },
    Calico { minor: 28, tested: (27, 30) },
    Calico { minor: 29, tested: (29, 31) },
];
/// "Due to changes in the Kubernetes API, Calico will not work on Kubernetes v1.20 or below": the same pages.
const CALICO_LOWEST: u32 = 21;

/// One Istio release and the Kubernetes minor versions that upstream supports and has at least tested.
struct Istio {
    minor: u32,
    supported: (u32, u32),
    lowest_tested: u32,
}

/// `data/compatibility/supportStatus.yml` of istio/istio.io.
const ISTIO: &[Istio] = &[
    Istio { minor: 18, supported: (24, 27), lowest_tested: 20 },
    Istio { minor: 19, supported: (25, 28), lowest_tested: 21 },
    Istio { minor: 20, supported: (25, 29), lowest_tested: 23 },
    Istio { minor: 21, supported: (26, 29), lowest_tested: 23 },
    Istio { minor: 22, supported: (27, 30), lowest_tested: 23 },
    Istio { minor: 23, supported: (27, 30), lowest_tested: 23 },
    Istio { minor: 24, supported: (28, 31), lowest_tested: 23 },
    Istio { minor: 25, supported: (29, 32), lowest_tested: 24 },
    Istio { minor: 26, supported: (29, 33), lowest_tested: 24 },
    Istio { minor: 27, supported: (29, 33), lowest_tested: 24 },
    Istio { minor: 28, supported: (30, 34), lowest_tested: 25 },
    Istio { minor: 29, supported: (31, 35), lowest_tested: 26 },
    Istio { minor: 30, supported: (32, 36), lowest_tested: 27 },
];

/// One Minikube release and the Kubernetes versions that it starts.
struct Minikube {
    version: Version,
    oldest: Version,
    newest: Version,
}

const fn minikube(version: Version, oldest: Version, newest: Version) -> Minikube {
    Minikube { version, oldest, newest }
}

/// `OldestKubernetesVersion` and `NewestKubernetesVersion` in `pkg/minikube/constants/constants.go` at each tag.
const MINIKUBE: &[Minikube] = &[
    minikube((1, 31, 0), (1, 16, 0), (1, 27, 3)),
    minikube((1, 31, 1), (1, 16, 0), (1, 27, 3)),
    minikube((1, 31, 2), (1, 16, 0), (1, 28, 0)),
    minikube((1, 32, 0), (1, 16, 0), (1, 28, 3)),
    minikube((1, 33, 0), (1, 20, 0), (1, 30, 0)),
    minikube((1, 33, 1), (1, 20, 0), (1, 30, 0)),
    minikube((1, 34, 0), (1, 20, 0), (1, 31, 0)),
    minikube((1, 35, 0), (1, 20, 0), (1, 32, 0)),
    minikube((1, 36, 0), (1, 20, 0), (1, 33, 1)),
    minikube((1, 37, 0), (1, 28, 0), (1, 34, 0)),
    minikube((1, 38, 0), (1, 28, 0), (1, 35, 0)),
    minikube((1, 38, 1), (1, 28, 0), (1, 35, 1)),
];

/// The operator that `manifests/tigera-operator.yaml` of projectcalico/calico names at each tag.
const OPERATOR: &[(&str, &str)] = &[
    ("3.25.0", "1.29.0"),
    ("3.25.1", "1.29.3"),
    ("3.25.2", "1.29.6"),
    ("3.26.0", "1.30.0"),
    ("3.26.1", "1.30.4"),
    ("3.26.2", "1.30.6"),
    ("3.26.3", "1.30.7"),
    ("3.26.4", "1.30.9"),
    ("3.26.5", "1.30.11"),
    ("3.27.0", "1.32.3"),
    ("3.27.1", "1.32.4"),
    ("3.27.2", "1.32.5"),
    ("3.27.3", "1.32.7"),
    ("3.27.4", "1.32.10"),
    ("3.27.5", "1.32.12"),
    ("3.28.0", "1.34.0"),
    ("3.28.1", "1.34.3"),
    ("3.28.2", "1.34.5"),
    ("3.28.3", "1.34.8"),
    ("3.28.4", "1.34.10"),
    ("3.28.5", "1.34.13"),
    ("3.29.0", "1.36.0"),
    ("3.29.1", "1.36.2"),
    ("3.29.2", "1.36.5"),
    ("3.29.3", "1.36.7"),
    ("3.29.4", "1.36.9"),
    ("3.29.5", "1.36.12"),
    ("3.29.6", "1.36.14"),
    ("3.29.7", "1.36.16"),
    ("3.30.0", "1.38.0"),
    ("3.30.1", "1.38.1"),
    ("3.30.2", "1.38.3"),
    ("3.30.3", "1.38.6"),
    ("3.30.4", "1.38.7"),
    ("3.30.5", "1.38.9"),
    ("3.31.0", "1.40.0"),
    ("3.31.1", "1.40.1"),
    ("3.31.2", "1.40.2"),
    ("3.31.3", "1.40.3"),
    ("3.31.4", "1.40.7"),
    ("3.32.0", "1.42.0"),
    ("3.32.1", "1.42.3"),
];

/// What is known of each pair that these versions have; a lab without one half of a pair has nothing to be judged.
pub fn judge(versions: &BTreeMap<String, String>) -> Vec<Judgement> {
    let pairs: [(&str, &str, Judge); 4] = [
        ("calico", "kubernetes", calico),
        ("istio", "kubernetes", istio),
        ("minikube", "kubernetes", minikube_starts),
        ("operator", "calico", operator),
    ];
    let judged = pairs.into_iter().filter_map(|(one, other, judge)| {
        let (first, second) = (versions.get(one)?, versions.get(other)?);
        let (verdict, reason, source) = judge(first, second);
        let (one, other) = (format!("{one} {first}"), format!("{other} {second}"));
        Some(Judgement { one, other, verdict, reason, source })
    });
    judged.collect()
}

/// Verdict, reason and source for two versions.
type Judge = fn(&str, &str) -> (Verdict, String, String);

fn calico(calico: &str, kubernetes: &str) -> (Verdict, String, String) {
    let source = |minor: u32| format!("docs.tigera.io/calico/3.{minor}/getting-started/kubernetes/requirements");
    let (Some((3, minor, _)), Some((1, on, _))) = (parse(calico), parse(kubernetes)) else {
        return unreadable();
    };
    if on < CALICO_LOWEST {
        let reason = format!("Calico does not work on Kubernetes below 1.{CALICO_LOWEST}, whose API differs");
        return (Verdict::Refused, reason, source(minor));
    }
    match CALICO.iter().find(|row| row.minor == minor) {
        Some(row) if within(on, row.tested) => (Verdict::Works, "upstream tests it".to_owned(), source(minor)),
        Some(row) => {
            let reason = format!("upstream tests Calico 3.{minor} with Kubernetes {}", told(row.tested));
            (Verdict::Unknown, reason, source(minor))
        }
        None => (Verdict::Unknown, not_in_table(&format!("Calico 3.{minor}")), source(minor)),
    }
}

fn istio(istio: &str, kubernetes: &str) -> (Verdict, String, String) {
    let source = "istio.io/latest/docs/releases/supported-releases".to_owned();
    let (Some((1, minor, _)), Some((1, on, _))) = (parse(istio), parse(kubernetes)) else {
        return unreadable();
    };
    let Some(row) = ISTIO.iter().find(|row| row.minor == minor) else {
        return (Verdict::Unknown, not_in_table(&format!("Istio 1.{minor}")), source);
    };
    let supported = format!("Istio 1.{minor} supports Kubernetes {}", told(row.supported));
    if within(on, row.supported) {
        return (Verdict::Works, supported, source);
    }
    if on < row.lowest_tested {
        let reason = format!("{supported}; upstream tried nothing below 1.{}", row.lowest_tested);
        return (Verdict::Refused, reason, source);
    }
    (Verdict::Unknown, supported, source)
}

fn minikube_starts(minikube: &str, kubernetes: &str) -> (Verdict, String, String) {
    let source = format!("pkg/minikube/constants/constants.go of kubernetes/minikube at v{minikube}");
    let (Some(version), Some(wanted)) = (parse(minikube), parse(kubernetes)) else { return unreadable() };
    let Some(row) = MINIKUBE.iter().find(|row| row.version == version) else {
        return (Verdict::Unknown, not_in_table(&format!("Minikube {minikube}")), source);
    };
    let range = format!("it starts Kubernetes {} to {}", dotted(row.oldest), dotted(row.newest));
    if wanted < row.oldest {
        return (Verdict::Refused, format!("{range}, and refuses older ones"), source);
    }
    if wanted > row.newest {
        // cmd/minikube/cmd/start.go, validateKubernetesVersion: "Searching the internet for Kubernetes version".
        return (Verdict::Refused, format!("{range}, and asks the internet about newer ones"), source);
    }
    (Verdict::Works, range, source)
}

fn operator(operator: &str, calico: &str) -> (Verdict, String, String) {
    let names_it = |release: &str| format!("manifests/tigera-operator.yaml of projectcalico/calico at v{release}");
    let source = names_it(calico);
    let belongs = OPERATOR.iter().find(|(release, _)| *release == calico).map(|(_, operator)| *operator);
    let installs = OPERATOR.iter().find(|(_, known)| *known == operator).map(|(release, _)| *release);
    match (belongs, installs) {
        (Some(belongs), _) if belongs == operator => (Verdict::Works, "they are one release".to_owned(), source),
        // pkg/components/calico.go of tigera/operator has the versions compiled in.
        (_, Some(installs)) => {
            (Verdict::Refused, format!("this operator installs Calico {installs} only"), names_it(installs))
        }
        (Some(belongs), None) => (Verdict::Unknown, format!("the operator of Calico {calico} is {belongs}"), source),
        (None, None) => (Verdict::Unknown, not_in_table(&format!("Calico {calico}")), source),
    }
}

fn unreadable() -> (Verdict, String, String) {
    let reason = "these are no versions that ztlab can compare".to_owned();
    (Verdict::Unknown, reason, "[version] in lock/ztlab.toml".to_owned())
}

fn not_in_table(what: &str) -> String {
    format!("this ztlab knows nothing about {what}")
}

fn parse(version: &str) -> Option<Version> {
    let mut numbers = version.split('.').map(str::parse);
    let major = numbers.next()?.ok()?;
    let minor = numbers.next()?.ok()?;
    let patch = numbers.next().transpose().ok()?.unwrap_or(0);
    numbers.next().is_none().then_some((major, minor, patch))
}

fn within(minor: u32, (low, high): (u32, u32)) -> bool {
    (low..=high).contains(&minor)
}

fn told((low, high): (u32, u32)) -> String {
    format!("1.{low} to 1.{high}")
}

fn dotted((major, minor, patch): Version) -> String {
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(pairs: &[(&str, &str)]) -> Vec<Judgement> {
        judge(&pairs.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect())
    }

    #[test]
    fn the_table_says_what_upstream_says() {
        use Verdict::{Refused, Unknown, Works};
        for (one, other, verdict, reason) in [
            (("calico", "3.27.0"), ("kubernetes", "1.28.3"), Works, "tests it"),
            (("calico", "3.27.0"), ("kubernetes", "1.31.0"), Unknown, "tests Calico 3.27 with Kubernetes 1.24 to 1.28"),
            (("calico", "3.27.0"), ("kubernetes", "1.20.15"), Refused, "does not work on Kubernetes below 1.21"),
            (("calico", "3.40.0"), ("kubernetes", "1.28.3"), Unknown, "knows nothing about Calico 3.40"),
            (("istio", "1.20.0"), ("kubernetes", "1.28.3"), Works, "supports Kubernetes 1.25 to 1.29"),
            (("istio", "1.20.0"), ("kubernetes", "1.24.17"), Unknown, "supports Kubernetes 1.25 to 1.29"),
            (("istio", "1.20.0"), ("kubernetes", "1.31.0"), Unknown, "supports Kubernetes 1.25 to 1.29"),
            (("istio", "1.30.0"), ("kubernetes", "1.26.0"), Refused, "upstream tried nothing below 1.27"),
            (("minikube", "1.32.0"), ("kubernetes", "1.28.3"), Works, "starts Kubernetes 1.16.0 to 1.28.3"),
            (("minikube", "1.32.0"), ("kubernetes", "1.28.4"), Refused, "asks the internet about newer ones"),
            (("minikube", "1.38.1"), ("kubernetes", "1.27.9"), Refused, "refuses older ones"),
            (("minikube", "1.99.0"), ("kubernetes", "1.28.3"), Unknown, "knows nothing about Minikube 1.99.0"),
            (("operator", "1.32.3"), ("calico", "3.27.0"), Works, "one release"),
            (("operator", "1.32.3"), ("calico", "3.28.0"), Refused, "this operator installs Calico 3.27.0"),
            (("operator", "1.32.6"), ("calico", "3.27.0"), Unknown, "the operator of Calico 3.27.0 is 1.32.3"),
            (("operator", "1.99.0"), ("calico", "3.99.0"), Unknown, "knows nothing about Calico 3.99.0"),
            (("calico", "master"), ("kubernetes", "1.28.3"), Unknown, "no versions that ztlab can compare"),
        ] {
            let [found] = &judged(&[one, other])[..] else { panic!("{one:?} {other:?} is one pair") };
            assert_eq!(found.verdict, verdict, "{found}");
            assert!(found.reason.contains(reason), "{found}");
            assert!(!found.source.is_empty(), "{found}");
        }
    }

    #[test]
    fn half_a_pair_is_not_judged() {
        assert_eq!(judged(&[("calico", "3.27.0"), ("nginx", "1.30.5")]), []);
    }

    #[test]
    fn the_shipped_labs_are_known_to_work() {
        for path in ["lock/ztlab.toml", "rig/lab/ztlab.toml"] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            let judged = judge(&crate::intent::Intent::read(&path).unwrap().version);
            assert_eq!(judged.len(), 4, "every pair of {}", path.display());
            for judgement in judged {
                assert_eq!(judgement.verdict, Verdict::Works, "{judgement}");
            }
        }
    }

    #[test]
    fn every_operator_belongs_to_one_release() {
        let operators: std::collections::BTreeSet<_> = OPERATOR.iter().map(|(_, operator)| operator).collect();
        assert_eq!(operators.len(), OPERATOR.len());
        let releases: std::collections::BTreeSet<_> = OPERATOR.iter().map(|(release, _)| release).collect();
        assert_eq!(releases.len(), OPERATOR.len());
    }
}
