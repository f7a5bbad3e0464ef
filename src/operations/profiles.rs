//! Profiles: made once, never changed, never removed.
//! Spec: POST_profiles-profileId, GET_profiles, GET_profiles-profileId

use std::sync::Arc;

use super::page::{Cursor, Page, PageRequest, SortKey};
use super::{OperationError, Tams};
use crate::catalog::{Change, State};
use crate::domain::{ContentFormat, Profile, ProfileId, Tags, Technical, UtcTime, tags};

/// A Profile as a client describes it.
#[derive(Debug, Clone)]
pub struct ProfileRequest {
    pub id: ProfileId,
    pub label: Option<String>,
    pub description: Option<String>,
    pub tags: Tags,
    pub technical: Technical,
    pub created_by: Option<String>,
}

impl ProfileRequest {
    /// Bytes that it holds, about.
    fn weight(&self) -> usize {
        let texts = [&self.label, &self.description, &self.created_by].into_iter().flatten().map(String::len);
        2_048 + texts.sum::<usize>() + tags::bytes(&self.tags)
    }
}

pub async fn create_profile(tams: &Tams, request: ProfileRequest) -> Result<Arc<Profile>, OperationError> {
    tams.catalog
        .commit(request.weight(), move |state, now| {
            let profile = Arc::new(decide(&state, now, &request)?);
            Ok((vec![Change::PutProfile(profile.clone())], profile))
        })
        .await
}

fn decide(state: &State, now: UtcTime, request: &ProfileRequest) -> Result<Profile, OperationError> {
    if state.profile(request.id).is_some() {
        return Err(OperationError::ProfileExists(request.id));
    }
    if request.technical.essence.format() == ContentFormat::Multi {
        return Err(OperationError::ProfileMulti);
    }
    let ProfileRequest { id, label, description, tags, technical, created_by } = request.clone();
    Ok(Profile { id, label, description, tags, technical, created: now, created_by })
}

pub fn get_profile(state: &State, id: ProfileId) -> Result<&Arc<Profile>, OperationError> {
    state.profile(id).ok_or(OperationError::ProfileNotFound(id))
}

#[derive(Debug, Clone, Default)]
pub struct ProfileFilter {
    pub format: Option<ContentFormat>,
    pub codec: Option<String>,
    pub label: Option<String>,
}

/// From newest to oldest.
pub fn list_profiles(
    state: &State,
    filter: &ProfileFilter,
    page: &PageRequest<Cursor<ProfileId>>,
) -> Page<Arc<Profile>, Cursor<ProfileId>> {
    super::page::select(
        state.profiles(),
        |profile: &Arc<Profile>| Cursor { key: SortKey::Time(profile.created), id: profile.id },
        |profile| filter.matches(profile),
        false,
        page,
    )
}

impl ProfileFilter {
    fn matches(&self, profile: &Profile) -> bool {
        let codec = || profile.technical.codec.as_ref().map(|codec| codec.as_str());
        self.format.is_none_or(|format| profile.technical.essence.format() == format)
            && self.codec.as_deref().is_none_or(|wanted| codec() == Some(wanted))
            && self.label.as_deref().is_none_or(|wanted| profile.label.as_deref() == Some(wanted))
    }
}
