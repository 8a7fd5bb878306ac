//! Prometheus, Grafana and Kiali, from the locked Istio archive.

use super::{
    app::gates,
    graph::Step,
    report::Done,
    run::{Install, InstallError},
};

pub(super) async fn run(install: &Install) -> Result<Done, InstallError> {
    let objects = &install.objects().await?.addons;
    if objects.is_empty() {
        return Ok(Done::unchanged("the lock has no addons"));
    }
    let counts = install.apply(Step::Addons, objects).await?;
    install.wait(Step::Addons, &gates(objects)).await?;
    Ok(counts.done("dashboards ready"))
}
