//! Events for clients that keep a connection: Server-Sent Events and WebSocket, with the filters of webhooks. And what an
//! event looks like, here and at webhooks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{SinkExt, Stream, StreamExt, stream};
use poem::endpoint::make;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::web::sse::{Event as SseEvent, SSE};
use poem::web::websocket::{CloseCode, Message, WebSocket, WebSocketConfig, WebSocketStream};
use poem::{EndpointExt, FromRequest, IntoResponse, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Api;
use super::dialect::Dialect;
use super::error::{ApiError, Detail, DetailKind};
use super::get_urls::{GetUrls, Wish};
use super::query::Query;
use super::request::base_url;
use super::routes::Methods;
use super::segments::shape;
use super::status::busy;
use super::wire::{EventBody, EventShape, EventWord, FlowShape, SourceShape, Time};
use crate::catalog::{FeedError, LoggedEvent, ReadError};
use crate::domain::{EventKind, EventPlace, Webhook};
use crate::events::{EventFilter, Follow, FollowError, History, Poster, Shape, place_of_text, place_text};
use crate::operations::{EventView, event_view};

/// Bytes of a message from a client, at most: nothing that it could say is of interest.
const MOST_HEARD: usize = 4 << 10;

/// What the handlers of events and webhooks work with.
pub struct Events {
    pub poster: Arc<Poster>,
    pub history: Arc<History>,
    /// Streams at one time, at most.
    pub streams: Arc<Semaphore>,
    /// A sign of life is sent this often.
    pub heartbeat: Duration,
    /// Turns true when the server stops: streams have to end by themselves.
    pub closing: watch::Receiver<bool>,
}

/// How segments are shown.
pub struct View {
    dialect: Dialect,
    base: String,
    wish: Wish,
    include_object_timerange: bool,
}

impl Api {
    async fn event_json(&self, logged: &LoggedEvent, view: &View, with_id: bool) -> Result<Option<Vec<u8>>, ReadError> {
        let state = self.tams.catalog.snapshot();
        let seen = self.tams.catalog.ask_of(&state, |view| event_view(view, logged)).await?;
        let Some(seen) = seen else { return Ok(None) };
        // Signed now: it may have taken hours to get here.
        let urls = GetUrls::with(self, view.base.clone(), view.wish.clone(), view.dialect, &state);
        let (flow, source);
        let event = match &seen {
            EventView::Flow(view_of_flow) => {
                flow = view.dialect.flow(&state, view_of_flow);
                EventBody::Flow { flow: Box::new(FlowShape::from(&*flow)) }
            }
            EventView::FlowDeleted(flow_id) => EventBody::FlowDeleted { flow_id: *flow_id },
            EventView::SegmentsAdded(flow_id, segments) => EventBody::SegmentsAdded {
                flow_id: *flow_id,
                segments: segments.iter().map(|one| shape(one, &urls, view.include_object_timerange)).collect(),
            },
            EventView::SegmentsDeleted(flow_id, timerange) => {
                EventBody::SegmentsDeleted { flow_id: *flow_id, timerange: *timerange }
            }
            EventView::Source(view_of_source) => {
                source = view.dialect.source(&state, view_of_source);
                EventBody::Source { source: SourceShape::from(&*source) }
            }
            EventView::SourceDeleted(source_id) => EventBody::SourceDeleted { source_id: *source_id },
        };
        let shape = EventShape {
            id: with_id.then(|| place_text(logged.place)),
            event_timestamp: Time(logged.committed),
            event_type: EventWord(logged.event.kind),
            event,
        };
        Ok(serde_json::to_vec(&shape).ok())
    }
}

/// Shapes events for webhooks, which ask for nothing and thus name no base URL.
pub struct WebhookShaper {
    pub api: Arc<Api>,
    pub base: String,
}

#[async_trait]
impl Shape for WebhookShaper {
    async fn shape(&self, event: &LoggedEvent, webhook: &Webhook) -> Result<Option<Vec<u8>>, ReadError> {
        let view = View {
            dialect: webhook.dialect,
            base: self.base.clone(),
            wish: Wish::from(webhook),
            include_object_timerange: webhook.include_object_timerange.unwrap_or(false),
        };
        self.api.event_json(event, &view, false).await
    }
}

pub fn sse(api: Arc<Api>) -> Methods {
    let get = make(move |request: Request| {
        let api = api.clone();
        async move { Ok::<_, poem::Error>(events(api, &request).await?) }
    });
    Methods::new([(Method::GET, get.boxed())])
}

pub fn websocket(api: Arc<Api>) -> Methods {
    let get = make(move |request: Request| {
        let api = api.clone();
        async move { upgrade(api, request).await }
    });
    Methods::new([(Method::GET, get.boxed())])
}

/// One client's stream.
struct Subscription {
    api: Arc<Api>,
    follow: Follow,
    view: View,
    closing: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Subscription {
    async fn new(api: Arc<Api>, request: &Request) -> Result<Self, ApiError> {
        let query = Query::of(request);
        let filter = filter(&query)?;
        let view = View {
            dialect: query.dialect,
            base: base_url(request, api.settings.public_url.as_deref()),
            wish: Wish::of(&query)?,
            include_object_timerange: query.flag("include_object_timerange")?.unwrap_or(false),
        };
        let after = last_event_id(request, &query)?;
        let permit = api.events.streams.clone().try_acquire_owned();
        let permit = permit.map_err(|_| busy("As many event streams are open as the server serves: try again"))?;
        let follow = Follow::new(&api.tams.catalog, filter, after).await?;
        let closing = api.events.closing.clone();
        Ok(Self { api, follow, view, closing, _permit: permit })
    }

    /// `None` at the end of the server or of what can be read.
    async fn next(&mut self, with_id: bool) -> Option<(LoggedEvent, String)> {
        loop {
            let event = tokio::select! {
                event = self.follow.next() => event,
                _ = self.closing.wait_for(|closing| *closing) => return None,
            };
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    // The client comes again with its last id and is told more.
                    tracing::warn!(%error, "an event stream broke off");
                    return None;
                }
            };
            let json = match self.api.event_json(&event, &self.view, with_id).await {
                Ok(json) => json.and_then(|json| String::from_utf8(json).ok()),
                Err(error) => {
                    // As above: the client comes again.
                    tracing::warn!(%error, "an event stream broke off");
                    return None;
                }
            };
            match json {
                Some(json) => return Some((event, json)),
                None => tracing::error!(place = ?event.place, "an event of the log cannot be shown"),
            }
        }
    }

    fn into_stream(self) -> impl Stream<Item = SseEvent> {
        let start = stream::once(async { SseEvent::retry(1_000) });
        start.chain(stream::unfold(self, |mut this| async move {
            let (event, json) = this.next(false).await?;
            let id = place_text(event.place);
            Some((SseEvent::message(json).id(id).event_type(event.event.kind.word()), this))
        }))
    }
}

async fn events(api: Arc<Api>, request: &Request) -> Result<Response, ApiError> {
    let heartbeat = api.events.heartbeat;
    let subscription = Subscription::new(api, request).await?;
    Ok(SSE::new(subscription.into_stream()).keep_alive(heartbeat).into_response())
}

async fn upgrade(api: Arc<Api>, request: Request) -> poem::Result<Response> {
    let (request, mut body) = request.split();
    let socket = WebSocket::from_request(&request, &mut body).await.map_err(|_| {
        let text = "This path speaks WebSocket: send Upgrade: websocket";
        ApiError::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", text)
            .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
    })?;
    let subscription = Subscription::new(api, &request).await?;
    let heard = WebSocketConfig::default().max_message_size(Some(MOST_HEARD)).max_frame_size(Some(MOST_HEARD));
    Ok(socket.config(heard).on_upgrade(move |socket| talk(socket, subscription)).into_response())
}

/// What the client says is not listened to, except for its farewell.
async fn talk(socket: WebSocketStream, mut subscription: Subscription) {
    let (mut sink, mut source) = socket.split();
    let mut heartbeat = tokio::time::interval(subscription.api.events.heartbeat);
    loop {
        let message = tokio::select! {
            event = subscription.next(true) => match event {
                Some((_, json)) => Message::text(json),
                None => break,
            },
            said = source.next() => match said {
                Some(Ok(said)) if !said.is_close() => continue,
                _ => return,
            },
            _ = heartbeat.tick() => Message::ping(Vec::new()),
        };
        // A client that takes nothing would keep the server from stopping.
        let sent = tokio::select! {
            sent = sink.send(message) => sent.is_ok(),
            _ = subscription.closing.wait_for(|closing| *closing) => false,
        };
        if !sent {
            return;
        }
    }
    // The client may be gone; there is nobody else to tell.
    let _ = sink.send(Message::close_with(CloseCode::Away, "the stream ends: connect again with the last id")).await;
}

fn filter(query: &Query<'_>) -> Result<EventFilter, ApiError> {
    let event = |word: &String| {
        EventKind::from_word(word)
            .ok_or_else(|| Detail::query(DetailKind::Enum, "events", format!("{word:?} is no type of event")).into())
    };
    let events = query.list("events")?.map(|words| words.iter().map(event).collect::<Result<_, ApiError>>());
    Ok(EventFilter {
        events: events.transpose()?.unwrap_or_else(|| EventKind::ALL.into()),
        flow_ids: query.ids("flow_ids")?,
        source_ids: query.ids("source_ids")?,
        flow_collected_by_ids: query.ids("flow_collected_by_ids")?,
        source_collected_by_ids: query.ids("source_collected_by_ids")?,
    })
}

/// The header is what browsers send by themselves when they connect again; it knows better than the URL.
fn last_event_id(request: &Request, query: &Query<'_>) -> Result<Option<EventPlace>, ApiError> {
    let header = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let Some(text) = header.or(query.text("last_event_id")) else { return Ok(None) };
    place_of_text(text).map(Some).ok_or_else(|| {
        Detail::query(DetailKind::Pattern, "last_event_id", "is the id of an event, such as 17-0").into()
    })
}

impl From<FollowError> for ApiError {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Ahead(_) => Detail::query(DetailKind::Value, "last_event_id", error.to_string()).into(),
            FollowError::Feed(error @ FeedError::Truncated(_)) => {
                Self::new(StatusCode::GONE, "events_gone", error.to_string())
            }
            FollowError::Feed(error @ FeedError::Log(_)) => super::status::internal(error),
        }
    }
}
