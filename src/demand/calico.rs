//! What Calico's operator makes of an Installation, and the images that it gives them.
//!
//! The operator's own manifest names one image. The other seven are compiled into it: its table of components, put
//! together with `registry`, `imagePath` and `imagePrefix` of the Installation (tigera/operator v1.32.3,
//! `pkg/components/references.go:37-95`).

use kube::api::DynamicObject;

use super::{Ask, Shows, Source, Unknown, Wanted};

/// The operator's repository; its tag is what decides what it makes.
const OPERATOR: &str = "quay.io/tigera/operator";

/// Where the operator's own images come from.
const REPOSITORIES: &str = "docker.io/calico/";

/// Whether an image, by its full reference, is Calico's or its operator's.
pub fn is_calicos(reference: &str) -> bool {
    reference.starts_with(REPOSITORIES) || reference.starts_with(OPERATOR)
}

/// Version of the operator, and of the Calico that it makes (`pkg/components/calico.go:23`, read at each tag; the
/// table of images and the containers of `pkg/render` are the same in all of them).
const RELEASES: [(&str, &str); 5] =
    [("1.32.3", "3.27.0"), ("1.32.5", "3.27.2"), ("1.32.7", "3.27.3"), ("1.32.10", "3.27.4"), ("1.32.12", "3.27.5")];

/// A container that the operator makes: object, container, image, whether there is a variant for FIPS, and the line
/// of tigera/operator v1.32.3 that puts the image there.
struct Made {
    object: &'static str,
    container: &'static str,
    image: &'static str,
    fips: bool,
    line: &'static str,
}

const fn made(
    object: &'static str,
    container: &'static str,
    image: &'static str,
    fips: bool,
    line: &'static str,
) -> Made {
    Made { object, container, image, fips, line }
}

const NODE: &str = "DaemonSet calico-system/calico-node";
const CSI: &str = "DaemonSet calico-system/csi-node-driver";

/// For an Installation. Containers that come only with eBPF or without privileges run calico/node too.
const INSTALLATION: [Made; 7] = [
    made(NODE, "init container flexvol-driver", "calico/pod2daemon-flexvol", false, "pkg/render/node.go:1159"),
    made(NODE, "init container install-cni", "calico/cni", true, "pkg/render/node.go:1141"),
    made(NODE, "container calico-node", "calico/node", true, "pkg/render/node.go:1262"),
    made(
        "Deployment calico-system/calico-typha",
        "container calico-typha",
        "calico/typha",
        true,
        "pkg/render/typha.go:515",
    ),
    made(
        "Deployment calico-system/calico-kube-controllers",
        "container calico-kube-controllers",
        "calico/kube-controllers",
        true,
        "pkg/render/kubecontrollers/kube-controllers.go:499",
    ),
    made(CSI, "container calico-csi", "calico/csi", true, "pkg/render/csi.go:111"),
    made(CSI, "container csi-node-driver-registrar", "calico/node-driver-registrar", true, "pkg/render/csi.go:152"),
];

/// For an APIServer, which the lab does without.
const API_SERVER: Made = made(
    "Deployment calico-apiserver/calico-apiserver",
    "container calico-apiserver",
    "calico/apiserver",
    true,
    "pkg/render/apiserver.go:1063",
);

/// The versions of the operator that are asked for.
pub fn operators(asks: &[Ask]) -> Vec<String> {
    let mut versions: Vec<String> = asks
        .iter()
        .filter_map(|ask| match &ask.wanted {
            Wanted::Image(image) => image.strip_prefix(OPERATOR)?.strip_prefix(":v").map(str::to_owned),
            _ => None,
        })
        .collect();
    versions.sort();
    versions.dedup();
    versions
}

/// What this operator makes of the lab's objects.
///
/// # Errors
/// When nobody has read what this version makes, or the objects ask for a variant that nobody has read.
pub fn asks(operator: &str, sources: &[Source<'_>]) -> Result<Vec<Ask>, Unknown> {
    let who = format!("Calico's operator {operator}");
    let Some((_, calico)) = RELEASES.iter().find(|(version, _)| *version == operator) else {
        let known = RELEASES.map(|(version, _)| version).join(", ");
        return Err(Unknown { who, known });
    };
    let objects = || sources.iter().flat_map(|source| source.objects);
    let mut asks = Vec::new();
    for installation in objects().filter(|object| is(object, "Installation")) {
        let spec = &installation.data["spec"];
        let text = |name: &str| spec[name].as_str().unwrap_or_default();
        let odd = |what: &str| Unknown {
            who: format!("{who} with {what}"),
            known: "variant Calico, images by tag".to_owned(),
        };
        if !matches!(text("variant"), "" | "Calico") {
            return Err(odd(&format!("variant {}", text("variant"))));
        }
        if objects().any(|object| is(object, "ImageSet")) {
            return Err(odd("an ImageSet"));
        }
        let without = |made: &Made| match made.container {
            "init container flexvol-driver" => text("flexVolumePath") == "None",
            _ => made.object == CSI && text("kubeletVolumePluginPath") == "None",
        };
        let api_server = objects().any(|object| is(object, "APIServer")).then_some(&API_SERVER);
        for made in INSTALLATION.iter().filter(|made| !without(made)).chain(api_server) {
            let fips = if made.fips && text("fipsMode") == "Enabled" { "-fips" } else { "" };
            let name = image_name(made.image, text("registry"), text("imagePath"), text("imagePrefix"));
            asks.push(Ask {
                wanted: Wanted::Image(crate::base::normalize_reference(&format!("{name}:v{calico}{fips}"))),
                who: who.clone(),
                place: format!("{}, {}", made.object, made.container),
                source: Some(format!("tigera/operator v{operator}, pkg/components/calico.go and {}", made.line)),
                step: "calico",
                shows: Shows::Pod,
            });
        }
    }
    Ok(asks)
}

/// Calico's rule (`pkg/components/references.go:37-120`): a registry ends in a slash, a path takes the place of
/// `calico`, a prefix goes before the last part. `UseDefault` is what it says.
fn image_name(image: &str, registry: &str, path: &str, prefix: &str) -> String {
    let given = |text: &'_ str| !matches!(text, "" | "UseDefault");
    let registry = if given(registry) { registry } else { "docker.io/" };
    let (folder, name) = image.split_once('/').unwrap_or(("", image));
    let folder = if given(path) { path } else { folder };
    let prefix = if given(prefix) { prefix } else { "" };
    format!("{registry}{folder}/{prefix}{name}")
}

fn is(object: &DynamicObject, kind: &str) -> bool {
    let types = object.types.as_ref();
    types.is_some_and(|types| types.kind == kind && types.api_version.starts_with("operator.tigera.io/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifest;

    fn images(operator: &str, yaml: &str) -> Result<Vec<String>, Unknown> {
        let objects = manifest::parse("x.yaml", yaml).unwrap();
        let sources = [Source { name: "x.yaml", step: "calico", objects: &objects }];
        asks(operator, &sources).map(|asks| {
            let images = asks.into_iter().map(|ask| match ask.wanted {
                Wanted::Image(image) => image,
                other => panic!("{other:?}"),
            });
            images.collect()
        })
    }

    fn installation(spec: &str) -> String {
        format!(
            "apiVersion: operator.tigera.io/v1\nkind: Installation\nmetadata: {{name: default}}\nspec: {{{spec}}}\n"
        )
    }

    #[test]
    fn an_installation_is_seven_images_and_an_api_server_one_more() {
        let plain = images("1.32.3", &installation("")).unwrap();
        assert_eq!(plain.len(), 7);
        assert!(
            plain.iter().all(|image| image.starts_with("docker.io/calico/") && image.ends_with(":v3.27.0")),
            "{plain:?}"
        );
        let api = "---\napiVersion: operator.tigera.io/v1\nkind: APIServer\nmetadata: {name: default}\n";
        let more = images("1.32.5", &(installation("") + api)).unwrap();
        assert_eq!(more.last().unwrap(), "docker.io/calico/apiserver:v3.27.2");
        assert_eq!(images("1.32.3", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n").unwrap(), [""; 0]);
    }

    #[test]
    fn an_installation_says_where_its_images_are() {
        let there = images("1.32.3", &installation("registry: 'quay.io/', imagePath: a/b, imagePrefix: x-")).unwrap();
        assert!(there.contains(&"quay.io/a/b/x-typha:v3.27.0".to_owned()), "{there:?}");
        let default = images("1.32.3", &installation("registry: UseDefault")).unwrap();
        assert!(default.contains(&"docker.io/calico/typha:v3.27.0".to_owned()));
        let fips = images("1.32.3", &installation("fipsMode: Enabled")).unwrap();
        assert!(fips.contains(&"docker.io/calico/node:v3.27.0-fips".to_owned()));
        assert!(fips.contains(&"docker.io/calico/pod2daemon-flexvol:v3.27.0".to_owned()), "has no such variant");
        let less = images("1.32.3", &installation("flexVolumePath: None, kubeletVolumePluginPath: None")).unwrap();
        assert_eq!(less.len(), 4);
    }

    #[test]
    fn what_nobody_has_read_is_unknown() {
        assert_eq!(images("1.40.0", &installation("")).unwrap_err().who, "Calico's operator 1.40.0");
        let enterprise = images("1.32.3", &installation("variant: TigeraSecureEnterprise")).unwrap_err();
        assert_eq!(enterprise.who, "Calico's operator 1.32.3 with variant TigeraSecureEnterprise");
        let set = "---\napiVersion: operator.tigera.io/v1\nkind: ImageSet\nmetadata: {name: calico-v3.27.0}\n";
        assert!(images("1.32.3", &(installation("") + set)).is_err());
    }
}
