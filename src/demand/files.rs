//! Upstream's YAML that the lab applies, known by its SHA-256: the bytes cannot differ, so nobody has to read them
//! again to say which images they name. A file with another digest has to be read.

use super::{Ask, Shows, Wanted};
use crate::base::{Digest, normalize_reference};

/// One file, as upstream published it.
pub struct KnownFile {
    /// SHA-256 of its bytes, in hexadecimal.
    digest: &'static str,
    /// Repository, tag and path.
    source: &'static str,
    /// The step that applies it.
    step: &'static str,
    /// Object and container, line, image as it is written there.
    images: &'static [(&'static str, u32, &'static str)],
}

/// Calico's operator, of each release 3.27.x but 3.27.1 (whose operator 1.32.4 says it makes Calico 3.27.0).
const OPERATOR: &str =
    "Deployment tigera-operator/tigera-operator, container tigera-operator (spec.template.spec.containers[0])";

/// Read at the tags named. Istio's add-ons have the same bytes in 1.20.0 to 1.20.8.
const FILES: [KnownFile; 8] = [
    KnownFile {
        digest: "e302e73474429a3dfd0f6d88edcb12b67ec48b54b4496f8d48682500aac1752f",
        source: "projectcalico/calico v3.27.0, manifests/tigera-operator.yaml",
        step: "calico",
        images: &[(OPERATOR, 25_272, "quay.io/tigera/operator:v1.32.3")],
    },
    KnownFile {
        digest: "4df6d82309b7d405da758f86e397f5653fb74f30ea4ca22796201034f84697d6",
        source: "projectcalico/calico v3.27.2, manifests/tigera-operator.yaml",
        step: "calico",
        images: &[(OPERATOR, 25_279, "quay.io/tigera/operator:v1.32.5")],
    },
    KnownFile {
        digest: "5d90188857b98b7dd840dc2535b51cba9ced16237dadbda7a6bb9977a0143df3",
        source: "projectcalico/calico v3.27.3, manifests/tigera-operator.yaml",
        step: "calico",
        images: &[(OPERATOR, 25_287, "quay.io/tigera/operator:v1.32.7")],
    },
    KnownFile {
        digest: "89f0fab9a0d80376b7089f2d6e436a5fcfb4801f1537b78a466e22f37b47c8d8",
        source: "projectcalico/calico v3.27.4, manifests/tigera-operator.yaml",
        step: "calico",
        images: &[(OPERATOR, 25_287, "quay.io/tigera/operator:v1.32.10")],
    },
    KnownFile {
        digest: "827178d5164c5c74bc0347c930d50ee3679cc404df5dbecc195d4b72521a3d64",
        source: "projectcalico/calico v3.27.5, manifests/tigera-operator.yaml",
        step: "calico",
        images: &[(OPERATOR, 25_287, "quay.io/tigera/operator:v1.32.12")],
    },
    KnownFile {
        digest: "87dfa1a3f329ccbcae0dc038a13c8f3889fb065802285dfebfeee4900b461d60",
        source: "istio/istio 1.20.0, samples/addons/prometheus.yaml",
        step: "addons",
        images: &[
            (
                "Deployment istio-system/prometheus, container prometheus-server-configmap-reload (spec.template.spec.containers[0])",
                466,
                "jimmidyson/configmap-reload:v0.8.0",
            ),
            (
                "Deployment istio-system/prometheus, container prometheus-server (spec.template.spec.containers[1])",
                479,
                "prom/prometheus:v2.41.0",
            ),
        ],
    },
    KnownFile {
        digest: "f8ee2930a53c77cc74f851667ca0aa12c2d3a3c6b07a6c2a752f80a6b2e46838",
        source: "istio/istio 1.20.0, samples/addons/grafana.yaml",
        step: "addons",
        images: &[(
            "Deployment istio-system/grafana, container grafana (spec.template.spec.containers[0])",
            149,
            "docker.io/grafana/grafana:9.5.5",
        )],
    },
    KnownFile {
        digest: "31afff1c4fd5e731c182c1702629c2230514eef69c43e8afb61bc9bbe099525e",
        source: "istio/istio 1.20.0, samples/addons/kiali.yaml",
        step: "addons",
        images: &[(
            "Deployment istio-system/kiali, container kiali (spec.template.spec.containers[0])",
            473,
            "quay.io/kiali/kiali:v1.76",
        )],
    },
];

/// The file with these bytes, when somebody has read it.
pub fn known(digest: &Digest) -> Option<&'static KnownFile> {
    let hex = digest.hex();
    FILES.iter().find(|file| file.digest == hex)
}

impl KnownFile {
    /// What the file asks for; `name` is the lock's name of it.
    pub fn asks(&self, name: &str) -> Vec<Ask> {
        let asks = self.images.iter().map(|(place, line, image)| Ask {
            wanted: Wanted::Image(normalize_reference(image)),
            who: name.to_owned(),
            place: (*place).to_owned(),
            source: Some(format!("{}:{line}, by its SHA-256", self.source)),
            step: self.step,
            shows: Shows::Pod,
        });
        asks.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_bytes_only() {
        let digest = Digest::from_hex(FILES[5].digest).unwrap();
        let wanted: Vec<_> =
            known(&digest).unwrap().asks("file.istio member prometheus").into_iter().map(|ask| ask.wanted).collect();
        let image = |name: &str| Wanted::Image(name.to_owned());
        assert_eq!(
            wanted,
            [image("docker.io/jimmidyson/configmap-reload:v0.8.0"), image("docker.io/prom/prometheus:v2.41.0")]
        );
        assert!(known(&Digest::of(b"another file")).is_none());
    }

    #[test]
    fn every_row_is_a_digest() {
        for file in &FILES {
            assert!(Digest::from_hex(file.digest).is_ok(), "{}", file.source);
        }
    }
}
