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
pub(super) const EXPLANATIONS: &[Explanation] = &[
    explain(
        "apply::altered",
        33,
        "A policy was applied, and the cluster has another one: something in the cluster writes fields that the manifest does not have. A policy has to be exactly what the lab says.",
    ),
    explain(
        "apply::conflict",
        33,
        "Another field manager owns a field that the lab wants to set, or added one to a policy, which has to be exactly what the lab says. Nothing was forced. Look who changed the object (`kubectl get … -o yaml --show-managed-fields`), or take the fields over with --force-conflicts.",
    ),
    explain(
        "apply::not_established",
        33,
        "A custom resource definition was applied, but the API server does not serve it yet.",
    ),
    explain("apply::refused", 33, "The API server refused an object. Its own words are in the message."),
    explain(
        "apply::stays",
        33,
        "A deleted object is still there, most often because of a finalizer whose controller does not run.",
    ),
    explain(
        "apply::unknown_kind",
        33,
        "The API server knows no such kind: the step that installs its definition has not run.",
    ),
    explain("apply::unlisted", 31, "The API server did not list its kinds or objects."),
    explain(
        "build::base",
        21,
        "The base image of an app is not readable as an image, or it is for another platform or Python.",
    ),
    explain("build::part", 20, "Something that an app's image is made of is not locked or not fetched yet."),
    explain(
        "build::path",
        2,
        "A file of an app is to go to a place that is no plain absolute path, or that the base or another file has taken.",
    ),
    explain("build::read", 20, "A part of an app's image cannot be read from the store."),
    explain(
        "build::wheel",
        21,
        "A Python wheel breaks the wheel specification, is made for something else, or is no honest archive. Nothing of it was used.",
    ),
    explain(
        "bundle::base",
        20,
        "The bundle holds only what changed since another lab, and the store lacks blobs of that one.",
    ),
    explain(
        "bundle::file",
        2,
        "Something in the lab's folder cannot go into a bundle: a link, an odd name, or more bytes than a lab's own files have.",
    ),
    explain("bundle::lab", 2, "The folder has files that differ from the bundle's. None was overwritten."),
    explain("bundle::lab_write", 2, "The lab's own files cannot be written to the folder."),
    explain("bundle::newer", 2, "A newer ztlab made this bundle."),
    explain("bundle::none", 2, "The file or folder is no bundle, or the folder has several."),
    explain(
        "bundle::part",
        21,
        "Parts of a bundle are missing, cut off, there twice or of another bundle. The message names each.",
    ),
    explain("bundle::program", 2, "A file named with --program is no program for a platform of ztlab."),
    explain("bundle::read", 20, "The bundle cannot be read: the stick or its cable, most often."),
    explain("bundle::write", 20, "The bundle cannot be written. No file of its name was left half-written."),
    explain("cluster::ask", 31, "The API server does not answer. The node may be stopped."),
    explain("cluster::connect", 31, "The kubeconfig names a cluster that cannot be connected to."),
    explain("cluster::context", 2, "The kubeconfig has no such context."),
    explain("cluster::istioctl", 33, "The pinned istioctl ended with an error. Its own words are in the message."),
    explain(
        "cluster::nodes",
        30,
        "The lab fills the image store of one node, and this cluster has another number of nodes.",
    ),
    explain(
        "egress::seen",
        34,
        "During an offline install an image was pulled: bytes came from outside. The message says which pod asked. An image that is locked and has a fixed tag is never pulled; look at the pod's imagePullPolicy.",
    ),
    explain(
        "egress::watch",
        30,
        "An offline install could not open a loopback port for the proxy that refuses and counts what its programs want from outside.",
    ),
    explain("exec::deadline", 40, "A command in a pod did not end in time."),
    explain("exec::lost", 40, "The connection to a command in a pod broke."),
    explain("exec::refused", 40, "The API server refused to run a command in a pod."),
    explain(
        "fetch::absent",
        20,
        "A server does not have the file or image: the address or the version is wrong, or upstream removed it.",
    ),
    explain("fetch::address", 20, "An address in the intent or the lock is not a usable URL or image reference."),
    explain(
        "fetch::archive",
        20,
        "A member of an archive cannot be read: the archive is damaged or not what the lock says.",
    ),
    explain("fetch::build", 20, "An app's image could not be built from its locked parts."),
    explain("fetch::connect", 20, "No connection to the server, after several attempts."),
    explain(
        "fetch::html",
        20,
        "A web page came where bytes were due: a captive portal or a login page. Sign in to the network first.",
    ),
    explain(
        "fetch::incomplete",
        20,
        "Some bytes of the lab are not in the store. `ztlab fetch` resumes where it stopped.",
    ),
    explain("fetch::interrupted", 20, "The connection broke in the middle, again and again."),
    explain(
        "fetch::lan",
        20,
        "No server of this lab was found in the network, or the system lets nobody look. `--from http://ADDRESS:8642/` names it.",
    ),
    explain("fetch::offline", 20, "--offline forbids sockets to the outside, and something is not in the store."),
    explain(
        "fetch::plain_http",
        2,
        "Plain http is for loopback and for mirrors that were named; everything else needs https.",
    ),
    explain(
        "fetch::quota",
        22,
        "A registry lets this network or account pull no more images for some hours. What came is kept; wait, sign in with `docker login`, or take the rest from --mirror or --from.",
    ),
    explain("fetch::range", 20, "A server answered a request for a part of a file wrongly."),
    explain(
        "fetch::share",
        20,
        "No address of this machine leads to the room's server, so others could not be served.",
    ),
    explain("fetch::stalled", 20, "A server stopped sending and was given up, after several attempts."),
    explain("fetch::status", 20, "A server answered with an error status."),
    explain(
        "fetch::token",
        20,
        "A registry refused to give a token: the image is private or the credentials are wrong.",
    ),
    explain("fetch::truncated", 20, "A file ended before its locked length."),
    explain("forward::find", 33, "There is no pod behind the Service or name that was to be opened."),
    explain("forward::listen", 2, "The loopback port is taken: choose another with --port."),
    explain("forward::nobody", 33, "The Service has no ready pod."),
    explain(
        "git::repository",
        2,
        "Git cannot read the repository that the lab is in. Its own words are in the message.",
    ),
    explain("integrity::archive", 21, "An archive's bytes do not match the lock."),
    explain(
        "integrity::build",
        21,
        "An app's image came out different from the lock though its sources and parts are the locked ones.",
    ),
    explain(
        "integrity::bundle",
        21,
        "A member of a bundle has other bytes than it has to have. The message names it, what was expected and what was found.",
    ),
    explain("integrity::bundle_head", 21, "The bundle's own list of members is damaged. Nothing was taken."),
    explain("integrity::bundle_id", 21, "The bundle is another one than --expect says. Nothing was taken."),
    explain("integrity::bundle_lock", 21, "The lock in a bundle is none that ztlab writes. Nothing was taken."),
    explain(
        "integrity::bundle_members",
        21,
        "A bundle has something in it that its own lock does not name, or lacks something. Nothing was taken.",
    ),
    explain(
        "integrity::checksum",
        21,
        "Upstream's own checksum file gives another SHA-256 than the file or the lock has. Nothing was kept of it.",
    ),
    explain(
        "integrity::damaged",
        21,
        "Bytes in the store changed since they were verified: a failing disk, or somebody edited them. Nothing was installed.",
    ),
    explain("integrity::digest", 21, "Bytes have another SHA-256 than the lock says. They were not kept."),
    explain(
        "integrity::fetch",
        21,
        "At least one artifact came with other bytes than the lock says. They were not kept.",
    ),
    explain("integrity::gone", 21, "A blob vanished from the store while it was in use."),
    explain(
        "integrity::lock",
        21,
        "An entry could not be locked because bytes are not what upstream's checksum or the lock says. The other entries are locked.",
    ),
    explain("integrity::member", 21, "A member of an archive has another SHA-256 than the lock says."),
    explain(
        "integrity::pull",
        21,
        "A lab in a registry, or a file of it, is not what its digest says. Nothing was taken.",
    ),
    explain(
        "integrity::push",
        21,
        "A blob in the store has other bytes than its digest says. It was not pushed: `ztlab store repair` brings it anew.",
    ),
    explain("integrity::registry", 21, "A registry says that it keeps other bytes than it was sent."),
    explain("integrity::store", 21, "The store holds damaged or missing blobs."),
    explain("integrity::too_long", 21, "A server sent more bytes than the lock says; the rest was not read."),
    explain("intent::conflict", 2, "lock/ztlab.toml holds the conflict markers of a merge."),
    explain("intent::entry", 2, "An entry of lock/ztlab.toml contradicts itself or names something that is not there."),
    explain("intent::schema", 2, "lock/ztlab.toml was written for another version of ztlab."),
    explain("intent::syntax", 2, "lock/ztlab.toml is not TOML, or has a key that ztlab does not know."),
    explain("intent::unreadable", 2, "lock/ztlab.toml cannot be read."),
    explain(
        "lab::profile",
        2,
        "A profile leaves out a Deployment that no file of manifests/ has: it was renamed there, or its name in lock/ztlab.toml is wrong.",
    ),
    explain("lab::read", 2, "A file of the lab cannot be read."),
    explain("lab::text", 2, "A locked manifest is not text."),
    explain("lock::absent", 10, "There is no lock yet: `ztlab lock` makes it."),
    explain(
        "lock::age",
        11,
        "Something was published more recently than --min-age or the policy allows, or does not say when. The lock is untouched.",
    ),
    explain(
        "lock::audit",
        11,
        "Something will be asked for that is not locked, or something is locked that nobody asks for, or nobody knows what a version asks for. The table says which.",
    ),
    explain("lock::byte_order_mark", 10, "The lock begins with a byte order mark, which an editor put there."),
    explain(
        "lock::canonical",
        10,
        "The lock was edited by hand or by a merge: it is not in the one form that ztlab writes.",
    ),
    explain("lock::conflict", 10, "The lock holds the conflict markers of a merge."),
    explain("lock::digest", 10, "The lock has a digest that is none: upper case, too short, or of another algorithm."),
    explain("lock::duplicate", 10, "The lock has an entry or a key twice, as a merge of two changes leaves it."),
    explain("lock::encoding", 10, "The lock is not UTF-8."),
    explain(
        "lock::incompatible",
        11,
        "Versions in the intent are known not to work together. The message has the reason and who says so.",
    ),
    explain("lock::incomplete", 10, "Some entries of the lock have no digest yet: `ztlab fetch` completes them."),
    explain("lock::lacks", 10, "The lock has no entry that this verb needs."),
    explain("lock::line_endings", 10, "The lock has Windows line endings."),
    explain("lock::merge", 10, "Two sides of a merge ask for different things of one entry: a person has to decide."),
    explain("lock::platform", 10, "The lock is for other platforms than this machine."),
    explain(
        "lock::policy",
        11,
        "The lock or the lab's YAML breaks a rule of lock/policy.toml. The table says where, and what helps.",
    ),
    explain("lock::prober", 10, "The lock has no image that the probes can call from."),
    explain("lock::schema", 10, "The lock was written by another version of ztlab."),
    explain("lock::side", 10, "One of the locks that are to be compared or merged is no lock as ztlab writes it."),
    explain("lock::source", 10, "A source file of an app cannot be read."),
    explain("lock::stale", 10, "The intent or an app's source changed since the lock was written."),
    explain("lock::syntax", 10, "The lock is not TOML, lacks a key, or has a value of the wrong kind."),
    explain("lock::unknown_key", 10, "The lock has a key that ztlab does not know."),
    explain("lock::unreadable", 10, "The lock cannot be read."),
    explain(
        "lock::unresolved",
        20,
        "Some entries could not be resolved. They keep what was locked; the others are up to date.",
    ),
    explain(
        "lock::unseen",
        20,
        "Nothing was found, but upstream YAML that is not in the store was not looked at: `ztlab fetch` brings it.",
    ),
    explain("lock::write", 10, "The lock cannot be written; the old one is untouched."),
    explain("machine::architecture", 30, "Docker's machine has another architecture than the lock's images."),
    explain("machine::cache", 30, "A file cannot be written to Minikube's cache."),
    explain("machine::cpus", 30, "Docker has fewer CPUs than the node is to have."),
    explain("machine::docker", 30, "Docker does not answer: it is not installed or not started."),
    explain("machine::memory", 30, "Docker has less memory than the node is to have."),
    explain("machine::platform", 30, "ztlab has no lab for this kind of machine."),
    explain(
        "machine::unfit",
        30,
        "Something on this machine would make an install fail. `ztlab doctor` lists everything, each with what to type.",
    ),
    explain("manifest::object", 2, "A document in a manifest is no Kubernetes object."),
    explain("manifest::yaml", 2, "A manifest is not YAML."),
    explain("minikube::command", 31, "Minikube failed. The end of its output is in the message."),
    explain("minikube::start", 31, "`minikube start` failed. What it reported is in the message."),
    explain("minikube::status", 31, "Minikube's status cannot be read."),
    explain("node::address", 2, "--node takes docker:CONTAINER or containerd:ADDRESS."),
    explain("node::answer", 32, "The node's runtime answered something that ztlab cannot read."),
    explain("node::command", 32, "A command of the node's runtime failed."),
    explain("node::not_kept", 32, "The node's runtime took the images and does not list them."),
    explain("node::runtime", 30, "The node's runtime is neither Docker nor containerd."),
    explain(
        "node::unpack",
        32,
        "The node's Docker took the images, said that it could not unpack one, and ended as if all were well. Most often its disk is full.",
    ),
    explain(
        "open::left_out",
        2,
        "The lab was installed in a profile that leaves this dashboard out. Another profile adds it: `ztlab install --profile full`.",
    ),
    explain("plan::foreign", 70, "Something asked for a blob that the lock does not name."),
    explain("policy::absent", 2, "The lab has no lock/policy.toml to hold its lock against."),
    explain(
        "policy::alarm",
        11,
        "A change of the lock has something in it that a reviewer must not miss, and --alarm makes that an error.",
    ),
    explain(
        "policy::images",
        11,
        "A manifest names an image that the lock does not have, or a pull policy that asks a registry at every start. Nothing was applied.",
    ),
    explain("policy::schema", 2, "lock/policy.toml was written for another version of ztlab."),
    explain("policy::syntax", 2, "lock/policy.toml is not TOML, or has a key or value that ztlab does not know."),
    explain("policy::unreadable", 2, "lock/policy.toml cannot be read."),
    explain("preload::base_image", 32, "Docker holds the node's image with another ID than the lock says."),
    explain("preload::proof", 32, "After loading, the node's runtime reports other image IDs than the lock says."),
    explain("process::deadline", 31, "A program took longer than it may."),
    explain("process::failed", 31, "A program ended with an error. The end of its output is in the message."),
    explain("process::input", 31, "A program closed its input too early."),
    explain(
        "process::leftover",
        30,
        "A program that an earlier, killed run had started still runs and cannot be ended. Two at once would undo each other's work.",
    ),
    explain("process::not_found", 30, "A program that ztlab calls is not installed."),
    explain("process::start", 30, "A program cannot be started."),
    explain("proof::failed", 40, "A claim about the running lab does not hold. The table shows what was seen."),
    explain("proof::leftovers", 40, "Pods of an earlier proof cannot be removed."),
    explain("proof::prober", 40, "The pods that the probes call from cannot be made."),
    explain("proof::prober_start", 40, "The pods that the probes call from do not start."),
    explain("proof::unknown_probe", 2, "There is no probe of this name."),
    explain("pull::lock", 21, "The lock of the lab in a registry is none that ztlab writes. Nothing was taken."),
    explain("pull::none", 2, "What the registry has under this name is no lab of ztlab."),
    explain("pull::registry", 20, "The registry did not give the lab's own files. Its answer is in the message."),
    explain(
        "push::incomplete",
        20,
        "A part of the lab did not get into the registry, after several attempts. What arrived stays there and is not sent again.",
    ),
    explain("push::index", 21, "The locked index of an image is none."),
    explain(
        "push::name",
        2,
        "With the registry's name before it, the name of a repository is longer than registries take.",
    ),
    explain(
        "push::place",
        20,
        "A registry wants an upload at an address where it must not go: plain HTTP, this machine, or no address at all.",
    ),
    explain("push::refused", 20, "A registry did not take what it was sent. Its own words are in the message."),
    explain("receipt::absent", 33, "The cluster has no receipt: no install of the lab ended in it."),
    explain(
        "receipt::differs",
        40,
        "Two receipts are not the same: another lock, another image, or a probe that ended otherwise. The table names each part.",
    ),
    explain("receipt::unreadable", 2, "A file is not a receipt, or the receipt in the cluster was edited."),
    explain("record::ask", 33, "The API server did not list its pods for the record."),
    explain("record::other", 2, "The record was made with another lock than the lab's."),
    explain("record::read", 2, "The record is not there or cannot be read."),
    explain("record::syntax", 2, "The file is no record that this version of ztlab wrote."),
    explain("record::write", 2, "The record cannot be written where --record says."),
    explain(
        "resolve::age_unknown",
        11,
        "A minimum age was asked for, and upstream does not say when this was published: --allow-unknown-age takes it.",
    ),
    explain("resolve::archive", 20, "The archive that a member is wanted from cannot be read."),
    explain("resolve::checksum", 20, "The checksum file that the intent names has no SHA-256 for this file."),
    explain("resolve::document", 20, "A registry's document is no image index or manifest."),
    explain("resolve::index", 20, "The package index answered with something that is no page of a project."),
    explain("resolve::member", 20, "An archive has no such member."),
    explain("resolve::platform", 20, "An image exists, but not for the platform that the lab needs."),
    explain("resolve::python", 20, "A wheel declares that it is for other versions of Python than the lab's."),
    explain("resolve::too_young", 11, "This was published more recently than the minimum age allows."),
    explain("resolve::wheel", 20, "The package index has no wheel of this version for the platform."),
    explain("resolve::yanked", 20, "The authors of a Python package withdrew the file that the lab asks for."),
    explain(
        "serve::announce",
        2,
        "The system lets nobody announce a server by multicast DNS. The server works by its address.",
    ),
    explain(
        "serve::listen",
        2,
        "The server cannot listen: the port is taken, or the address is none of this machine's.",
    ),
    explain("serve::roster", 2, "The roster cannot be written where --roster says."),
    explain("serve::signature", 2, "The lock's signature is there and cannot be read."),
    explain("serve::socket", 70, "The system does not say on which address the server listens."),
    explain(
        "shell::folder",
        30,
        "The folder with the links, the kubeconfig and the start files of a lab's shell cannot be written.",
    ),
    explain("signature::absent", 11, "The lock has no signature, and lock/policy.toml requires one."),
    explain("signature::key", 11, "The lock is signed by a key that lock/policy.toml does not name."),
    explain("signature::legacy", 11, "The lock's signature is of minisign's old form, which does not hash first."),
    explain(
        "signature::pending",
        10,
        "The lock is signed and incomplete: completing it would make another lock of it. Complete it first, then sign.",
    ),
    explain("signature::syntax", 21, "lock/ztlab.lock.minisig is not what minisign writes: cut off, or another file."),
    explain("signature::unreadable", 2, "lock/ztlab.lock.minisig cannot be read."),
    explain(
        "signature::wrong",
        21,
        "The lock, or its signature, was changed after somebody signed it. Nothing of it was used.",
    ),
    explain(
        "status::differs",
        40,
        "The running lab is not as it should be: another lab or profile than asked for, an install that did not end, pods that are not ready, images that drifted, or a probe that failed. Each line of `ztlab status` says what to type.",
    ),
    explain(
        "status::unreachable",
        31,
        "No cluster answers under the lab's context: the node is stopped, or there is none yet.",
    ),
    explain(
        "step::busy",
        30,
        "Another ztlab installs into this target, or takes it back, at this moment. Two at once would undo each other's work.",
    ),
    explain("step::journal", 30, "The folder of the installs' journals cannot be used."),
    explain(
        "store::full",
        20,
        "The disk that holds the store is full. What is whole stays, partial downloads are resumed; nothing half-written has a final name.",
    ),
    explain(
        "store::io",
        20,
        "The store's folder cannot be read or written: free space and rights are the usual reasons.",
    ),
    explain(
        "store::lab_note",
        21,
        "The store's note of what a lab needs is damaged, so nobody can say which blobs may go. Nothing was removed.",
    ),
    explain("store::layout", 21, "The file that says which layout the store has is damaged."),
    explain("store::newer", 2, "A newer ztlab made this store."),
    explain("tool::absent", 20, "A pinned program is in the lock and not in the store."),
    explain("tool::place", 30, "A pinned program cannot be written beside the store."),
    explain(
        "usage::ca_file",
        2,
        "A file named with --ca-file (or in config.toml) cannot be read or holds no certificate in PEM form.",
    ),
    explain("usage::code", 2, "There is no such error code."),
    explain("usage::config", 2, "config.toml in ztlab's configuration folder cannot be read."),
    explain(
        "usage::from",
        2,
        "--from takes a folder, a tar of images, the address of another store or of a lab in a registry, `docker`, `minikube` or `upstream`, and there is nothing of the name that was given.",
    ),
    explain("usage::io", 2, "The working folder cannot be read."),
    explain(
        "usage::json",
        2,
        "`ztlab shell` and `ztlab run` give the terminal to another program, whose output is no JSON of ztlab's.",
    ),
    explain("usage::known_lab", 2, "The store knows no such lab. `ztlab store du` lists those it knows."),
    explain("usage::lab", 2, "There is no lab in this folder or above it."),
    explain("usage::merge_base", 2, "Two revisions have no commit in common, so there is no `A...B` between them."),
    explain(
        "usage::mirror",
        2,
        "--mirror takes FROM=TO: a registry host or URL prefix, and the URL prefix to ask instead.",
    ),
    explain("usage::name", 2, "The lab has no artifact of this name."),
    explain("usage::nested", 2, "A lab's shell was asked for in a lab's shell."),
    explain(
        "usage::profile",
        2,
        "The lab has no profile of this name: a profile says how much of the lab is installed, and lock/ztlab.toml names those that there are. The name of Minikube's cluster is --cluster.",
    ),
    explain(
        "usage::proxy",
        2,
        "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY holds something that is no address of an HTTP proxy.",
    ),
    explain(
        "usage::registry",
        2,
        "A place in a registry looks like oci://HOST/REPOSITORY:TAG; oci+http:// is for one without TLS on another machine.",
    ),
    explain("usage::report", 2, "The name of a report says its form: .md or .html."),
    explain("usage::revision", 2, "A word names neither a revision of the lab's repository nor a lock file."),
    explain("usage::roster", 2, "--seat and --roster belong together: whose report, and to whom."),
    explain(
        "usage::seat",
        2,
        "A seat's name is up to 32 letters, digits, spaces, `-`, `_` and `.`, and begins with a letter or a digit.",
    ),
    explain("usage::share", 2, "--share needs the server of a room: `--from lan`, or `--from http://ADDRESS:8642/`."),
    explain("usage::split", 2, "--split makes parts that are too short or too many."),
    explain("usage::step", 2, "An install has no step of this name."),
    explain("usage::store", 2, "There is no place for the store."),
    explain("usage::write", 2, "A report cannot be written where --report wants it."),
    explain(
        "usage::yes",
        2,
        "A command that removes something asks first, and there is no terminal to ask: --yes says yes.",
    ),
    explain(
        "wait::clock_skew",
        33,
        "The machine's clock and the cluster's do not agree, or a certificate or token is not valid at the time that one of them shows. A laptop that slept is the usual reason.",
    ),
    explain(
        "wait::cluster",
        33,
        "The API server did not answer for a minute and a half while a step waited, or refused to.",
    ),
    explain(
        "wait::crash_loop",
        33,
        "A container ends again and again. Its exit code and the end of its log are in the message.",
    ),
    explain("wait::gate", 33, "Something did not become ready, and nothing in the cluster says why."),
    explain(
        "wait::image_missing",
        33,
        "The node lacks an image that a pod asks for. Without a network nothing brings it, so the wait ended at once.",
    ),
    explain(
        "wait::operator_degraded",
        33,
        "Calico's operator cannot do a part of its work. Its own words are in the message.",
    ),
    explain(
        "wait::out_of_memory",
        33,
        "A container was killed because it used more memory than its limit, or the node ran out of memory.",
    ),
    explain(
        "wait::pod_setup",
        33,
        "A pod cannot be set up: a volume, a secret or the pod network is missing. The kubelet's words are in the message.",
    ),
    explain(
        "wait::policy_blocking",
        33,
        "A sidecar is not ready and no network policy lets it reach istiod or DNS. The policies that isolate its pod are in the message.",
    ),
    explain(
        "wait::probe_failing",
        33,
        "The containers run, but a probe says no. The probe's answer is in the message.",
    ),
    explain(
        "wait::unschedulable",
        33,
        "No node takes a pod: too little memory or CPU is free, or a taint keeps it away. The scheduler's words are in the message.",
    ),
    explain(
        "wait::webhook_refusing",
        33,
        "An admission webhook refuses pods or does not answer: with istiod down, no pod of a meshed namespace can be made.",
    ),
];

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The codes in the source: `code(area::what)` and `code("area::what")`.
    fn codes_in(folder: &std::path::Path, codes: &mut BTreeSet<String>) {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                codes_in(&path, codes);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs_err::read_to_string(&path).unwrap();
                for rest in text.split("code(").skip(1) {
                    let code = rest.split(')').next().unwrap_or_default().trim_matches('"');
                    let plain =
                        code.chars().all(|letter| letter.is_ascii_lowercase() || letter == ':' || letter == '_');
                    if plain && code.split("::").count() == 2 && !code.contains("area::") {
                        codes.insert(code.to_owned());
                    }
                }
            }
        }
    }

    #[test]
    fn every_code_is_explained_and_every_explanation_is_used() {
        let mut codes = BTreeSet::new();
        codes_in(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut codes);
        let explained: BTreeSet<String> = EXPLANATIONS.iter().map(|one| one.code.to_owned()).collect();
        assert_eq!(codes, explained);
    }

    #[test]
    fn every_exit_code_is_in_the_documented_table() {
        for one in EXPLANATIONS {
            assert!(EXIT_CODES.iter().any(|(number, _)| *number == one.exit), "{}", one.code);
        }
    }
}
