//! What one run has asked for already. Two entries may name the same address (kubectl for the host and for the node,
//! where both are Linux): it is asked once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use crate::{base::Descriptor, fetch::Document};

/// Answers by address. A failure is not kept: who comes next may have better luck.
#[derive(Default)]
pub(super) struct Asked {
    documents: Answers<Document>,
    downloads: Answers<Descriptor>,
}

type Answers<T> = Mutex<HashMap<String, Arc<OnceCell<T>>>>;

impl Asked {
    /// The place of a document's answer.
    pub(super) fn document(&self, address: &str) -> Arc<OnceCell<Document>> {
        place(&self.documents, address)
    }

    /// The place of a download's answer.
    pub(super) fn download(&self, address: &str) -> Arc<OnceCell<Descriptor>> {
        place(&self.downloads, address)
    }
}

fn place<T>(answers: &Answers<T>, address: &str) -> Arc<OnceCell<T>> {
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(answers.entry(address.to_owned()).or_default())
}
