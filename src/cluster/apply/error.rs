//! An object that could not be applied or removed.

use std::time::Duration;

/// An object that could not be applied or removed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ApplyError {
    /// Somebody else owns fields of it.
    #[error("cannot apply {object}: another field manager owns part of it: {conflict}")]
    #[diagnostic(
        code(apply::conflict),
        help("look at the object; to take the fields over, type `ztlab install --force-conflicts`")
    )]
    Conflict {
        /// Kind and name.
        object: String,
        /// The server's words: managers and fields.
        conflict: String,
    },
    /// A policy is not what its manifest says although it was applied and mended.
    #[error("{object} was applied, and is another one in the cluster: its fields {fields} are not the manifest's")]
    #[diagnostic(
        code(apply::altered),
        help(
            "an admission webhook or a controller writes them: look for it with `kubectl get mutatingwebhookconfigurations`"
        )
    )]
    Altered {
        /// Kind and name.
        object: String,
        /// The fields, as `.spec.rules`.
        fields: String,
    },
    /// The API server knows no such kind, also after the deadline.
    #[error("cannot apply {object}: expected the API server to know {kind}, found no such kind within {} s", .deadline.as_secs())]
    #[diagnostic(code(apply::unknown_kind), help("run the earlier steps again: `ztlab install --from calico`"))]
    UnknownKind {
        /// Kind and name.
        object: String,
        /// Group, version and kind.
        kind: String,
        /// How long it was looked for.
        deadline: Duration,
    },
    /// A definition did not become usable.
    #[error("the definition {name} was applied but not established within {} s", .deadline.as_secs())]
    #[diagnostic(code(apply::not_established), help("type `kubectl get crd {name} -o yaml` and read its conditions"))]
    NotEstablished {
        /// The definition.
        name: String,
        /// How long it had.
        deadline: Duration,
    },
    /// The server refused.
    #[error("cannot {action} {object}")]
    #[diagnostic(code(apply::refused), help("read the server's reason above, mend the manifest, then `ztlab install`"))]
    Refused {
        /// `apply`, `read` or `delete`.
        action: &'static str,
        /// Kind and name.
        object: String,
        /// The server's reason.
        #[source]
        source: Box<kube::Error>,
    },
    /// A removed object stays.
    #[error("{object} was deleted but is still there after {} s", .deadline.as_secs())]
    #[diagnostic(
        code(apply::stays),
        help("type `kubectl get` on it and read metadata.finalizers; then `ztlab uninstall` again")
    )]
    Stays {
        /// Kind and name.
        object: String,
        /// How long it had.
        deadline: Duration,
    },
    /// The cluster did not list its objects.
    #[error("cannot list {what} of the cluster")]
    #[diagnostic(
        code(apply::unlisted),
        help("type `kubectl api-resources`; when nothing answers, `ztlab install` starts the node")
    )]
    Unlisted {
        /// What was to be listed.
        what: String,
        /// The reason.
        #[source]
        source: Box<kube::Error>,
    },
}
