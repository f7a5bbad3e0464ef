//! Follows the log for one reader: the events that it wants, one after the other, waiting for those to come. Holds one
//! batch at most; a reader that is slow slows nothing but itself.

use std::collections::VecDeque;

use tokio::sync::watch;

use super::EventFilter;
use crate::catalog::{Catalog, Feed, FeedError, LoggedEvent};
use crate::domain::EventPlace;

/// Events that are fetched together; those of one entry are never torn apart.
const BATCH: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("the event {} has not happened here yet", place_text(*.0))]
    Ahead(EventPlace),
    #[error(transparent)]
    Feed(#[from] FeedError),
}

pub struct Follow {
    feed: Feed,
    newest: watch::Receiver<u64>,
    filter: EventFilter,
    place: EventPlace,
    waiting: VecDeque<LoggedEvent>,
}

impl Follow {
    /// From the event after `after`, or from now on.
    pub async fn new(catalog: &Catalog, filter: EventFilter, after: Option<EventPlace>) -> Result<Self, FollowError> {
        let feed = catalog.events().clone();
        let newest = feed.newest();
        // Of the state, which has every commit that was answered; the feed comes a moment later.
        let end = EventPlace { seq: catalog.snapshot().seq(), index: u32::MAX };
        let place = after.unwrap_or(end);
        if place > end {
            return Err(FollowError::Ahead(place));
        }
        let mut follow = Self { feed, newest, filter, place, waiting: VecDeque::new() };
        // Whether the log reaches back so far has to be known before the answer begins.
        follow.fetch().await?;
        Ok(follow)
    }

    /// The next event; pending while there is none.
    pub async fn next(&mut self) -> Result<LoggedEvent, FollowError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            if self.place.seq >= *self.newest.borrow_and_update() && self.newest.changed().await.is_err() {
                // The catalogue is closed: nothing will come.
                return std::future::pending().await;
            }
            self.fetch().await?;
        }
    }

    async fn fetch(&mut self) -> Result<(), FollowError> {
        let (events, reached) = self.feed.after(self.place, BATCH).await?;
        self.place = reached;
        self.waiting.extend(events.into_iter().filter(|event| self.filter.matches(&event.event)));
        Ok(())
    }
}

/// An event's place as clients see it: `seq-index`.
pub fn place_text(place: EventPlace) -> String {
    format!("{}-{}", place.seq, place.index)
}

pub fn place_of_text(text: &str) -> Option<EventPlace> {
    let (seq, index) = text.split_once('-')?;
    Some(EventPlace { seq: seq.parse().ok()?, index: index.parse().ok()? })
}
