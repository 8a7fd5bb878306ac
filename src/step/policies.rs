//! Namespace, accounts, network policies, mutual TLS and authorization: in force before any pod of the app starts.

use super::{
    graph::Step,
    report::Done,
    run::{Install, InstallError},
};

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let objects = &install.objects().await?.policies;
    Ok(install.apply(Step::Policies, objects).await?.done("policies"))
}
