//! What a wait sees: for each set of objects a watch that starts over by itself.
//!
//! A watch ends in many ways that mean nothing: the API server restarts, the version that it began at is too old (410
//! Gone), a kind's definition is not there yet (404), a laptop slept and the connection is dead. After each, the
//! objects are listed anew half a second later.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use futures::{
    Stream, StreamExt as _, future,
    stream::{self, BoxStream, SelectAll},
};
use kube::{Api, Client, api::DynamicObject, runtime::watcher};
use tokio::time::{Instant, sleep};

use super::gate::Watched;

/// Between a watch that ended and the next one.
const AGAIN: Duration = Duration::from_millis(500);
/// The server ends a watch after so many seconds; silence for 5 s more means a dead connection (kube-runtime 5.0,
/// `watcher.rs`, `next_with_idle_timeout`).
const WATCH_SECONDS: u32 = 25;
/// By how much the clock on the wall may run ahead of the machine's own before it means that the machine slept.
const SLEPT: Duration = Duration::from_secs(10);

/// One set of objects.
struct Source {
    watched: Watched,
    /// `None` until the first list is whole.
    objects: Option<BTreeMap<Key, DynamicObject>>,
    /// A list that is not whole yet.
    coming: BTreeMap<Key, DynamicObject>,
    trouble: Option<Trouble>,
}

type Key = (Option<String>, Option<String>);

/// The API server does not show the objects.
pub(super) struct Trouble {
    /// What it, or the connection, said last.
    pub(super) error: watcher::Error,
    /// Since when.
    pub(super) since: Instant,
}

/// Several sets of objects, kept up to date.
pub(super) struct View<'client> {
    client: &'client Client,
    sources: Vec<Source>,
    streams: SelectAll<BoxStream<'static, (usize, watcher::Result<watcher::Event<DynamicObject>>)>>,
    clocks: Clocks,
}

impl<'client> View<'client> {
    pub(super) fn new(client: &'client Client) -> Self {
        Self { client, sources: Vec::new(), streams: SelectAll::new(), clocks: Clocks::now() }
    }

    /// Begins to watch a set, unless it is watched already; its number.
    pub(super) fn follow(&mut self, watched: Watched) -> usize {
        if let Some(number) = self.sources.iter().position(|source| source.watched == watched) {
            return number;
        }
        let number = self.sources.len();
        self.streams.push(follow(self.client, number, &watched));
        self.sources.push(Source { watched, objects: None, coming: BTreeMap::new(), trouble: None });
        number
    }

    /// Waits for the next news; the number of the set.
    pub(super) async fn next(&mut self) -> Option<usize> {
        let (number, event) = self.streams.next().await?;
        self.sources[number].take(event);
        Some(number)
    }

    /// The objects of a set, once they are known.
    pub(super) fn objects(&self, number: usize) -> Option<Vec<DynamicObject>> {
        self.sources[number].objects.as_ref().map(|objects| objects.values().cloned().collect())
    }

    /// What keeps the API server from showing a set.
    pub(super) fn trouble(&self, number: usize) -> Option<&Trouble> {
        self.sources[number].trouble.as_ref()
    }

    /// Starts every watch over when the machine slept since the last call; how long it slept.
    pub(super) fn wake(&mut self) -> Option<Duration> {
        let slept = self.clocks.slept()?;
        let streams = self.sources.iter().enumerate();
        self.streams = streams.map(|(number, source)| follow(self.client, number, &source.watched)).collect();
        // What was known before the sleep is no longer known.
        for source in &mut self.sources {
            source.objects = None;
            source.trouble = None;
        }
        Some(slept)
    }
}

impl Source {
    fn take(&mut self, event: watcher::Result<watcher::Event<DynamicObject>>) {
        let key = |object: &DynamicObject| (object.metadata.namespace.clone(), object.metadata.name.clone());
        match event {
            Err(error) => {
                let since = self.trouble.take().map_or_else(Instant::now, |trouble| trouble.since);
                self.trouble = Some(Trouble { error, since });
            }
            // Also said before a list that fails, so it is no sign of life.
            Ok(watcher::Event::Init) => self.coming.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                self.coming.insert(key(&object), object);
            }
            Ok(watcher::Event::InitDone) => {
                self.objects = Some(std::mem::take(&mut self.coming));
                self.trouble = None;
            }
            Ok(watcher::Event::Apply(object)) => {
                self.objects.get_or_insert_default().insert(key(&object), object);
                self.trouble = None;
            }
            Ok(watcher::Event::Delete(object)) => {
                self.objects.get_or_insert_default().remove(&key(&object));
                self.trouble = None;
            }
        }
    }
}

fn follow(
    client: &Client,
    number: usize,
    watched: &Watched,
) -> BoxStream<'static, (usize, watcher::Result<watcher::Event<DynamicObject>>)> {
    let api: Api<DynamicObject> = match &watched.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &watched.resource),
        None => Api::all_with(client.clone(), &watched.resource),
    };
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS);
    config.field_selector.clone_from(&watched.fields);
    config.label_selector.clone_from(&watched.labels);
    let rounds = stream::iter(0_u64..).then(move |round| {
        let (api, config) = (api.clone(), config.clone());
        async move {
            if round > 0 {
                sleep(AGAIN).await;
            }
            until_error(watcher::watcher(api, config))
        }
    });
    rounds.flatten().map(move |event| (number, event)).boxed()
}

/// A watch up to its first error. One that went on by itself would not say that it does, and nobody could tell a quiet
/// cluster from one that is down.
fn until_error<T>(events: impl Stream<Item = watcher::Result<T>>) -> impl Stream<Item = watcher::Result<T>> {
    events.scan(false, |ended, event| {
        let gone = std::mem::replace(ended, event.is_err());
        future::ready((!gone).then_some(event))
    })
}

/// The clock on the wall goes on while a machine sleeps, the machine's own does not.
struct Clocks {
    wall: SystemTime,
    machine: Instant,
}

impl Clocks {
    fn now() -> Self {
        Self { wall: SystemTime::now(), machine: Instant::now() }
    }

    fn slept(&mut self) -> Option<Duration> {
        let now = Self::now();
        let before = std::mem::replace(self, now);
        let wall = self.wall.duration_since(before.wall).unwrap_or_default();
        let slept = wall.saturating_sub(self.machine.duration_since(before.machine));
        (slept >= SLEPT).then_some(slept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_on_the_wall_that_ran_ahead_means_sleep() {
        let mut clocks = Clocks::now();
        assert_eq!(clocks.slept(), None);
        clocks.wall -= Duration::from_secs(600);
        let slept = clocks.slept().unwrap();
        assert!(slept > Duration::from_secs(590) && slept < Duration::from_secs(610), "{slept:?}");
        // Set back by hand or by NTP: no sleep.
        clocks.wall += Duration::from_secs(600);
        assert_eq!(clocks.slept(), None);
    }
}
