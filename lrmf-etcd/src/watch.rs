//! One watch, over one stream of etcd.

use std::collections::VecDeque;
use std::sync::Arc;

use etcd_client::proto::PbEvent;
use etcd_client::{EventType, WatchOptions, WatchResponse};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use lrmf_core::coordination::{Revision, WatchBatch, WatchError, WatchEvent, WatchStream};

use crate::nodes::{Answer, Node, Nodes};
use crate::store::{MAX_MESSAGE, key_value, range_of, revision, signed};

pub(crate) struct Asked {
    pub(crate) nodes: Arc<Nodes>,
    /// The prefix as it is in etcd.
    pub(crate) prefix: String,
    /// The part of it that the port does not know.
    pub(crate) root: String,
    /// After which revision; from now on where there is none.
    pub(crate) after: Option<Revision>,
}

struct Open {
    stream: etcd_client::WatchStream,
    node: Arc<Node>,
    /// Resolves when the node is given up.
    given_up: BoxFuture<'static, ()>,
    assembler: Assembler,
    ready: VecDeque<WatchBatch>,
}

enum State {
    Asked(Asked),
    Open(Box<Open>),
    Ended,
}

pub(crate) fn watch(asked: Asked) -> WatchStream {
    stream(State::Asked(asked))
}

/// A watch that etcd has begun.
pub(crate) struct Begun(Box<Open>);

/// Waits until etcd has begun to watch.
pub(crate) async fn begin(asked: Asked) -> Result<Begun, WatchError> {
    asked.open().await.map(Begun)
}

impl Begun {
    /// The changes after this revision.
    pub(crate) fn after(self, revision: Revision) -> WatchStream {
        let news = move |item: &Result<WatchBatch, WatchError>| {
            std::future::ready(item.as_ref().map_or(true, |batch| batch.revision > revision))
        };
        stream(State::Open(self.0)).filter(news).boxed()
    }
}

fn stream(state: State) -> WatchStream {
    futures::stream::unfold(state, |state| async move {
        let open = match state {
            State::Asked(asked) => asked.open().await,
            State::Open(open) => Ok(open),
            State::Ended => return None,
        };
        let next = match open {
            Ok(open) => open.next().await,
            Err(error) => Err(error),
        };
        match next {
            Ok((batch, open)) => Some((Ok(batch), State::Open(open))),
            Err(error) => Some((Err(error), State::Ended)),
        }
    })
    .boxed()
}

fn lost(why: impl Into<String>) -> WatchError {
    WatchError::Lost(why.into())
}

impl Asked {
    /// Asks etcd for the watch and waits until it says that it watches: from then on, silence means that nothing
    /// changes, and a connection that hangs is noticed by its pings.
    async fn open(self) -> Result<Box<Open>, WatchError> {
        let (key, end) = range_of(&self.prefix);
        // The first revision wanted; 0 means "from now on".
        let first = self.after.map_or(0, |after| signed(after) + 1);
        let options = WatchOptions::new().with_range(end).with_fragment().with_start_revision(first);
        let opened = self.nodes.ask("opening a watch", |client| {
            let mut client = client.watch_client().max_decoding_message_size(MAX_MESSAGE);
            let (key, options) = (key.clone(), options.clone());
            async move {
                let mut stream = client.watch(key, Some(options)).await?;
                let first = stream.message().await?;
                Ok((stream, first))
            }
        });
        let Answer { value: (stream, first), node } =
            opened.await.map_err(|error| lost(error.to_string()))?;
        let given_up = node.given_up().boxed();
        let assembler = Assembler { root: self.root, unfinished: None };
        let mut open = Box::new(Open { stream, node, given_up, assembler, ready: VecDeque::new() });
        open.take(Ok(first))?;
        Ok(open)
    }
}

impl Open {
    async fn next(mut self: Box<Self>) -> Result<(WatchBatch, Box<Self>), WatchError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok((batch, self));
            }
            let response = tokio::select! {
                response = self.stream.message() => response,
                () = &mut self.given_up => return Err(lost("its node of etcd was given up")),
            };
            self.node.answered();
            self.take(response)?;
        }
    }

    /// Takes up a response. etcd ends a watch within its stream, which then stays open and silent.
    fn take(
        &mut self,
        response: Result<Option<WatchResponse>, etcd_client::Error>,
    ) -> Result<(), WatchError> {
        let response = response
            .map_err(|error| lost(error.to_string()))?
            .ok_or_else(|| lost("etcd closed the stream"))?;
        if response.compact_revision() != 0 {
            return Err(WatchError::Compacted);
        }
        if response.canceled() {
            return Err(lost(format!("etcd ended the watch: {}", response.cancel_reason())));
        }
        let fragment = response.0.fragment;
        self.ready.extend(self.assembler.take(response.0.events, fragment));
        Ok(())
    }
}

/// Puts the events of one revision together: a response may hold several revisions, and a revision several fragments.
#[derive(Debug, Default)]
struct Assembler {
    root: String,
    unfinished: Option<WatchBatch>,
}

impl Assembler {
    /// The batches that are complete with these events; `fragment` says that the last revision's are not all here.
    fn take(&mut self, events: Vec<PbEvent>, fragment: bool) -> Vec<WatchBatch> {
        let mut complete = Vec::new();
        for event in events {
            let Some(entry) = event.kv else { continue };
            let at = revision(entry.mod_revision);
            let deleted = event.r#type == EventType::Delete as i32;
            let Some(entry) = key_value(entry, &self.root) else { continue };
            let event = if deleted { WatchEvent::Delete { key: entry.key } } else { WatchEvent::Put(entry) };
            match &mut self.unfinished {
                Some(batch) if batch.revision == at => batch.events.push(event),
                unfinished => {
                    complete.extend(unfinished.replace(WatchBatch { revision: at, events: vec![event] }));
                }
            }
        }
        if !fragment {
            complete.extend(self.unfinished.take());
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::PbKeyValue;

    use super::*;

    fn event(key: &str, revision: i64) -> PbEvent {
        let kv = PbKeyValue {
            key: key.into(),
            mod_revision: revision,
            create_revision: 1,
            ..PbKeyValue::default()
        };
        PbEvent { r#type: EventType::Put as i32, kv: Some(kv), prev_kv: None }
    }

    fn said(batches: &[WatchBatch]) -> Vec<(u64, Vec<&str>)> {
        let said =
            |batch: &WatchBatch| batch.events.iter().map(|event| event.key().to_owned()).collect::<Vec<_>>();
        let keys: Vec<_> = batches.iter().map(|batch| (batch.revision.0, said(batch))).collect();
        keys.into_iter().map(|(at, keys)| (at, keys.into_iter().map(|key| &*key.leak()).collect())).collect()
    }

    #[test]
    fn a_response_is_split_by_revision() {
        let batches = Assembler::default().take(vec![event("a", 2), event("b", 2), event("c", 3)], false);
        assert_eq!(said(&batches), [(2, vec!["a", "b"]), (3, vec!["c"])]);
    }

    #[test]
    fn fragments_of_a_revision_are_one_batch() {
        let mut assembler = Assembler::default();
        let first = assembler.take(vec![event("a", 2), event("b", 3)], true);
        assert_eq!(said(&first), [(2, vec!["a"])]);
        assert_eq!(said(&assembler.take(vec![event("c", 3)], true)), []);
        let last = assembler.take(vec![event("d", 3), event("e", 4)], false);
        assert_eq!(said(&last), [(3, vec!["b", "c", "d"]), (4, vec!["e"])]);
        assert_eq!(said(&assembler.take(Vec::new(), false)), []);
    }
}
