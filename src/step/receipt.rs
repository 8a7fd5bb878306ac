//! What was installed, written down in the cluster, where the next person looks.

use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};

use super::{
    graph::Step,
    preload,
    report::Done,
    run::{Install, InstallError},
};

/// Where the receipt is: beside kubeadm's own notes, because every cluster has that namespace.
pub(crate) const RECEIPT: (&str, &str) = ("kube-system", "ztlab-receipt");
/// The part of it that an install writes.
pub(crate) const RECEIPT_KEY: &str = "receipt.json";

/// The facts of an install. No time and no host: two laptops with the same lab have equal receipts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The lab's name.
    pub lab: String,
    /// SHA-256 of the canonical lock.
    pub lab_id: String,
    /// How much of the lab: the profile's name. Receipts from before there were profiles are of `full`.
    #[serde(default = "full")]
    pub profile: String,
    /// Version by name.
    pub version: std::collections::BTreeMap<String, String>,
    /// Image ID by reference, as read back from the node.
    pub images: std::collections::BTreeMap<String, String>,
    /// How often something left the machine while an offline install ran: 0. Absent after an install with a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<usize>,
}

fn full() -> String {
    crate::intent::profile::FULL.to_owned()
}

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let lock = install.complete.lock();
    let node = preload::connect(install).await?;
    let present = node.images(install.node).await?;
    let images = preload::expected(install)
        .into_iter()
        .filter_map(|image| {
            Some((image.image.reference.clone(), present.get(&image.image.reference)?.config.to_string()))
        })
        .collect();
    let egress = match &install.egress {
        Some(watch) => Some(watch.report(Some(install.cluster().await?)).await.left.len()),
        None => None,
    };
    let (lab, lab_id, version) = (lock.name.clone(), install.complete.lab_id().to_string(), lock.version.clone());
    let profile = install.complete.profile().name.clone();
    let receipt = Receipt { lab, lab_id, profile, version, images, egress };
    let counts = install.apply(Step::Receipt, &[object(&receipt)?]).await?;
    let (id, profile) = (install.complete.lab_id().short(), &receipt.profile);
    let detail = format!("lab {id}, profile {profile}, in {}/{}", RECEIPT.0, RECEIPT.1);
    Ok(if counts.changed.is_empty() { Done::unchanged(detail) } else { Done::changed(detail) })
}

/// The ConfigMap that holds a receipt.
fn object(receipt: &Receipt) -> Result<DynamicObject, InstallError> {
    let text =
        serde_json::to_string_pretty(receipt).map_err(std::io::Error::from).map_err(crate::store::StoreError::from)?;
    let resource = kube::api::ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&());
    let mut object = DynamicObject::new(RECEIPT.1, &resource).within(RECEIPT.0);
    object.data = serde_json::json!({ "data": { RECEIPT_KEY: text } });
    Ok(object)
}
