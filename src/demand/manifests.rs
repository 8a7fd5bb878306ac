//! What YAML asks for by itself: a container's `image` in an object that starts pods.

use super::{Ask, Shows, Source, Wanted};
use crate::cluster::manifest::{containers_of, describe};

/// Every container of a text.
pub fn asks(source: &Source<'_>) -> Vec<Ask> {
    let in_object = |object| {
        let named = describe(object);
        containers_of(object).into_iter().map(move |container| Ask {
            wanted: Wanted::Image(container.image),
            who: source.name.to_owned(),
            place: format!("{named}, container {} ({})", container.container, container.path),
            source: None,
            step: source.step,
            shows: Shows::Pod,
        })
    };
    source.objects.iter().flat_map(in_object).collect()
}
