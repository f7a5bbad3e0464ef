//! Webhooks: who is told of which events.

use std::sync::Arc;

use poem::Request;
use poem::http::{HeaderName, HeaderValue, header};
use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi};

use super::Api;
use super::cursor::ListPlace;
use super::error::{ApiError, Detail, DetailKind, Place};
use super::json::{Done, JsonArray, JsonBody, JsonReply};
use super::paging::{Paged, Paging};
use super::query::Query;
use super::wire::{AttemptShape, TagName, WebhookPost, WebhookPut, WebhookShape, WishedStatus};
use crate::domain::{Dialect, WebhookId};
use crate::operations::{
    PageRequest, WebhookRequest, create_webhook, delete_webhook, get_webhook, list_webhooks, put_webhook,
};

pub struct WebhooksApi(pub Arc<Api>);

#[derive(ApiResponse)]
enum WebhookReply {
    /// Registered, or changed.
    #[oai(status = 201)]
    Made(JsonReply<WebhookShape<'static>>),
}

#[OpenApi]
impl WebhooksApi {
    /// Webhooks, by URL.
    ///
    /// Spec: GET_webhooks
    #[oai(path = "/service/webhooks", method = "get", operation_id = "GET_webhooks")]
    async fn get_webhooks(&self, request: &Request) -> Result<Paged<Vec<WebhookShape<'static>>>, ApiError> {
        let query = Query::of(request);
        let paging = Paging::of(&self.0, request, &query)?;
        let tags = query.tags("tag")?;
        let state = self.0.state().await?;
        let url_of = |id| Some(state.webhook(id)?.url.clone());
        let after = paging.after::<ListPlace<WebhookId>>()?.map(|place| place.resolve(url_of)).transpose()?;
        let page = PageRequest { after, limit: paging.limit };
        let page = list_webhooks(&state, &tags, paging.reverse_order, &page);
        let mut items = JsonArray::new();
        for webhook in &page.items {
            items.push(&WebhookShape::from(&**webhook))?;
        }
        let count = items.count;
        Ok(paging.reply(items.finish(), count, page.next.map(ListPlace::from).as_ref()))
    }

    /// Registers a webhook. Events that happen from now on are sent to it.
    ///
    /// Spec: POST_webhooks
    #[oai(path = "/service/webhooks", method = "post", operation_id = "POST_webhooks")]
    async fn post_webhooks(&self, body: JsonBody<WebhookPost>) -> Result<WebhookReply, ApiError> {
        let request = self.request(body.0)?;
        let webhook = create_webhook(&self.0.tams, request).await?;
        Ok(WebhookReply::Made(JsonReply::of(&WebhookShape::from(&*webhook))?))
    }

    /// One webhook.
    ///
    /// Spec: GET_webhooks-webhookId
    #[oai(path = "/service/webhooks/:webhookId", method = "get", operation_id = "GET_webhooks-webhookId")]
    async fn get_webhooks_webhook_id(
        &self,
        #[oai(name = "webhookId")] webhook_id: Path<WebhookId>,
    ) -> Result<JsonReply<WebhookShape<'static>>, ApiError> {
        let state = self.0.state().await?;
        JsonReply::of(&WebhookShape::from(&*get_webhook(&state, webhook_id.0)?))
    }

    /// Replaces a webhook, starts it again, or switches it off.
    ///
    /// Spec: PUT_webhooks
    #[oai(path = "/service/webhooks/:webhookId", method = "put", operation_id = "PUT_webhooks")]
    async fn put_webhooks(
        &self,
        #[oai(name = "webhookId")] webhook_id: Path<WebhookId>,
        body: JsonBody<WebhookPut>,
    ) -> Result<WebhookReply, ApiError> {
        // One that is not there cannot be made by PUT, whatever the body says.
        get_webhook(&*self.0.state().await?, webhook_id.0)?;
        if body.0.id != webhook_id.0 {
            return Err(at("id", "is not the id in the path"));
        }
        let request = self.request(body.0.into_post())?;
        let webhook = put_webhook(&self.0.tams, webhook_id.0, request).await?;
        Ok(WebhookReply::Made(JsonReply::of(&WebhookShape::from(&*webhook))?))
    }

    /// Removes a webhook; nothing is sent to it any more.
    ///
    /// Spec: DELETE_webhooks-webhookId
    #[oai(path = "/service/webhooks/:webhookId", method = "delete", operation_id = "DELETE_webhooks-webhookId")]
    async fn delete_webhooks_webhook_id(
        &self,
        #[oai(name = "webhookId")] webhook_id: Path<WebhookId>,
    ) -> Result<Done, ApiError> {
        delete_webhook(&self.0.tams, webhook_id.0).await?;
        Ok(Done)
    }

    /// The last attempts to deliver events to a webhook, newest first; kept in memory. Not part of TAMS.
    #[oai(
        path = "/service/webhooks/:webhookId/deliveries",
        method = "get",
        operation_id = "GET_webhooks-webhookId-deliveries"
    )]
    async fn get_webhooks_webhook_id_deliveries(
        &self,
        #[oai(name = "webhookId")] webhook_id: Path<WebhookId>,
    ) -> Result<JsonReply<Vec<AttemptShape<'static>>>, ApiError> {
        get_webhook(&*self.0.state().await?, webhook_id.0)?;
        let attempts = self.0.events.history.of(webhook_id.0);
        JsonReply::of(&attempts.iter().map(AttemptShape::from).collect::<Vec<_>>())
    }
}

impl WebhooksApi {
    /// What is asked for, once it is known to be sound.
    pub fn request(&self, post: WebhookPost) -> Result<WebhookRequest, ApiError> {
        let events = &self.0.events;
        events.poster.targets().check(&post.url).map_err(|error| at("url", error.to_string()))?;
        if let Some(name) = &post.api_key_name {
            check_key_name(name)?;
        }
        let sealed = post.api_key_value.as_ref().map(|secret| {
            HeaderValue::from_str(secret.0.reveal())
                .ok()
                .and_then(|_| events.poster.vault().seal(secret.0.reveal()))
                .ok_or_else(|| at("api_key_value", "cannot stand in a header"))
        });
        for (key, empty) in [
            ("flow_ids", post.flow_ids.as_ref().is_some_and(Vec::is_empty)),
            ("source_ids", post.source_ids.as_ref().is_some_and(Vec::is_empty)),
        ] {
            if empty {
                return Err(at(key, "needs at least one id; leave it out for events of all"));
            }
        }
        let tags = post.tags.unwrap_or_default();
        if let Some(wrong) = tags.keys().find_map(|name| name.parse::<TagName>().err()) {
            return Err(at("tags", wrong.to_string()));
        }
        Ok(WebhookRequest {
            url: post.url,
            api_key_name: post.api_key_name,
            api_key_value: sealed.transpose()?,
            events: post.events.into_iter().map(|word| word.0).collect(),
            flow_ids: post.flow_ids,
            source_ids: post.source_ids,
            flow_collected_by_ids: post.flow_collected_by_ids,
            source_collected_by_ids: post.source_collected_by_ids,
            accept_get_urls: post.accept_get_urls,
            accept_storage_ids: post.accept_storage_ids,
            presigned: post.presigned,
            verbose_storage: post.verbose_storage,
            include_object_timerange: post.include_object_timerange,
            dialect: Dialect::V8_2,
            tags,
            disabled: post.status == Some(WishedStatus::Disabled),
        })
    }
}

fn at(key: &'static str, text: impl Into<String>) -> ApiError {
    Detail::new(DetailKind::Value, vec![Place::Name("body".into()), Place::Name(key.into())], text).into()
}

/// Headers that say how the message itself is sent, or whom it is for, are not the owner's to set.
fn check_key_name(name: &str) -> Result<(), ApiError> {
    const OURS: [HeaderName; 12] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        header::EXPECT,
        header::COOKIE,
        header::USER_AGENT,
    ];
    match HeaderName::try_from(name) {
        Ok(name) if !OURS.contains(&name) => Ok(()),
        Ok(_) => Err(at("api_key_name", "names a header that the server sets itself")),
        Err(_) => Err(at("api_key_name", "is not the name of a header")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_headers_that_are_free_can_carry_the_secret() {
        for good in ["X-Api-Key", "Authorization", "x"] {
            assert!(check_key_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "X-Key:", "ü", "Host", "content-length", "Transfer-Encoding", "a\r\nb"] {
            assert!(check_key_name(bad).is_err(), "{bad:?}");
        }
    }
}
