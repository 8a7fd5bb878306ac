//! What goes wrong with a node.

use crate::cluster::process::ProcessError;

/// A node that does not do what it is asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum NodeError {
    /// `docker:` and `containerd:` are the runtimes that ztlab speaks with.
    #[error("cannot use the node {node}: expected the runtime docker or containerd, found `{found}`")]
    #[diagnostic(
        code(node::runtime),
        help("use a node with containerd or docker: `ztlab install` makes one with Minikube")
    )]
    UnknownRuntime {
        /// The node.
        node: String,
        /// What Kubernetes says of it.
        found: String,
    },
    /// A command in the node failed.
    #[error("cannot {action} on the node {node}")]
    #[diagnostic(
        code(node::command),
        help("when the node does not run, `ztlab install` starts it; then run the same command again")
    )]
    Command {
        /// What was attempted.
        action: &'static str,
        /// The node.
        node: String,
        /// The reason.
        #[source]
        source: ProcessError,
    },
    /// The command ended well, and said that it did not do its work.
    #[error("the node {node} took the archive and could not unpack it: `{said}`")]
    #[diagnostic(
        code(node::unpack),
        help("look at the free space of Docker's disk (`docker system df`), then run the same command again")
    )]
    Unpack {
        /// The node.
        node: String,
        /// Its words.
        said: String,
    },
    /// The command ended well, but the images are not there.
    #[error("the node {node} took the archive but lacks {}: expected every name to be listed afterwards", .names.join(", "))]
    #[diagnostic(code(node::not_kept), help("type `ztlab store verify`, then `ztlab install --from preload`"))]
    NotKept {
        /// The node.
        node: String,
        /// The names that are missing or incomplete.
        names: Vec<String>,
    },
    /// An answer that cannot be read.
    #[error("cannot read {what} from the node {node}: found `{found}`")]
    #[diagnostic(
        code(node::answer),
        help("the node's tools may be newer than this ztlab: `ztlab --verbose …` shows what they say")
    )]
    Answer {
        /// What was expected.
        what: String,
        /// The node.
        node: String,
        /// The beginning of what came.
        found: String,
    },
}
