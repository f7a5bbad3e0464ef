//! Profiles: technical metadata that many Flows share. Made once, never changed, never removed.

use std::sync::Arc;

use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi};

use super::Api;
use super::cursor::ListPlace;
use super::error::{ApiError, Detail, DetailKind};
use super::json::{JsonArray, JsonBody, JsonReply};
use super::paging::{Paged, Paging};
use super::query::Query;
use super::sources::format;
use super::wire::{ProfilePost, ProfileShape, is_plain_mime_type};
use crate::domain::ProfileId;
use crate::operations::{PageRequest, ProfileFilter, create_profile, get_profile, list_profiles};

pub struct ProfilesApi(pub Arc<Api>);

#[derive(ApiResponse)]
enum ProfileReply {
    /// The profile was made.
    #[oai(status = 201)]
    Created(JsonReply<ProfileShape<'static>>),
}

#[OpenApi]
impl ProfilesApi {
    /// Profiles that match all filters, the newest first.
    ///
    /// Spec: GET_profiles
    #[oai(path = "/service/profiles", method = "get", operation_id = "GET_profiles")]
    async fn get_profiles(&self, request: &Request) -> Result<Paged<Vec<ProfileShape<'static>>>, ApiError> {
        let query = Query::of(request);
        let mut paging = Paging::of(&self.0, request, &query)?;
        // There is one order, so the reply must not say that it was reversed.
        paging.reverse_order = false;
        let filter = filter(&query)?;
        let state = self.0.state().await?;
        let after = paging.after::<ListPlace<ProfileId>>()?.map(|place| place.resolve(|_| None)).transpose()?;
        let page = list_profiles(&state, &filter, &PageRequest { after, limit: paging.limit });
        let mut items = JsonArray::new();
        for profile in &page.items {
            items.push(&ProfileShape::from(&**profile))?;
        }
        let count = items.count;
        Ok(paging.reply(items.finish(), count, page.next.map(ListPlace::from).as_ref()))
    }

    /// One profile.
    ///
    /// Spec: GET_profiles-profileId
    #[oai(path = "/service/profiles/:profileId", method = "get", operation_id = "GET_profiles-profileId")]
    async fn get_profiles_profile_id(
        &self,
        #[oai(name = "profileId")] profile_id: Path<ProfileId>,
    ) -> Result<JsonReply<ProfileShape<'static>>, ApiError> {
        let state = self.0.state().await?;
        JsonReply::of(&ProfileShape::from(&**get_profile(&state, profile_id.0)?))
    }

    /// Makes a profile. It can never be changed, so a second one under the id is refused.
    ///
    /// Spec: POST_profiles-profileId
    #[oai(path = "/service/profiles/:profileId", method = "post", operation_id = "POST_profiles-profileId")]
    async fn post_profiles_profile_id(
        &self,
        #[oai(name = "profileId")] profile_id: Path<ProfileId>,
        body: JsonBody<ProfilePost>,
    ) -> Result<ProfileReply, ApiError> {
        let request = body.0.into_request(profile_id.0)?;
        let profile = create_profile(&self.0.tams, request).await?;
        JsonReply::of(&ProfileShape::from(&*profile)).map(ProfileReply::Created)
    }
}

fn filter(query: &Query<'_>) -> Result<ProfileFilter, ApiError> {
    let codec = query.text("codec");
    if codec.is_some_and(|codec| !is_plain_mime_type(codec)) {
        return Err(Detail::query(DetailKind::Pattern, "codec", "is not a media type such as video/h264").into());
    }
    Ok(ProfileFilter {
        format: format(query)?,
        codec: codec.map(str::to_owned),
        label: query.text("label").map(str::to_owned),
    })
}
