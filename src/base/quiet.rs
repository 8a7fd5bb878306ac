//! Settings that keep the lab's parts from calling out. Data: the install sets what upstream's files leave open, and the
//! proof looks for all of it in the running cluster.

/// A container of an add-on, and the environment that makes it quiet.
#[derive(Debug, Clone, Copy)]
pub struct QuietContainer {
    /// The image's name without its tag.
    pub image: &'static str,
    /// Name and value of each variable.
    pub environment: &'static [(&'static str, &'static str)],
}

/// Grafana reports usage to stats.grafana.org once a day, and asks GitHub and grafana.com for newer versions of itself and
/// of its plugins (grafana 9.5.5, `conf/defaults.ini`, sections analytics, news, security and snapshots; a variable
/// `GF_SECTION_KEY` comes before the file that upstream mounts). The other add-ons have nothing of the kind: Prometheus
/// sends only where its configuration has `remote_write`, which upstream's has not, and Kiali asks what it is configured
/// to ask, all of it in the cluster.
pub const QUIET_CONTAINERS: &[QuietContainer] = &[QuietContainer {
    image: "docker.io/grafana/grafana",
    environment: &[
        ("GF_ANALYTICS_REPORTING_ENABLED", "false"),
        ("GF_ANALYTICS_CHECK_FOR_UPDATES", "false"),
        ("GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "false"),
        ("GF_NEWS_NEWS_FEED_ENABLED", "false"),
        ("GF_SECURITY_DISABLE_GRAVATAR", "true"),
        ("GF_SNAPSHOTS_EXTERNAL_ENABLED", "false"),
    ],
}];

/// Without it, a sidecar asks 169.254.169.254 at its start which cloud it is in, and waits 5 s for no answer.
pub const QUIET_SIDECAR: (&str, &str) = ("CLOUD_PLATFORM", "none");

/// What a container's image must have in its environment; nothing for most.
pub fn quiet_environment(image: &str) -> &'static [(&'static str, &'static str)] {
    let named = |one: &&QuietContainer| {
        image.strip_prefix(one.image).is_some_and(|rest| rest.starts_with(':') || rest.starts_with('@'))
    };
    QUIET_CONTAINERS.iter().find(named).map_or(&[], |one| one.environment)
}
