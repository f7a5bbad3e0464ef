//! Sources.

use std::sync::Arc;

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;

use super::Api;
use super::cursor::ListPlace;
use super::dialect::Dialect;
use super::error::ApiError;
use super::json::{JsonArray, JsonReply};
use super::paging::{Paged, Paging};
use super::query::Query;
use super::wire::SourceShape;
use crate::domain::{ContentFormat, SourceId};
use crate::operations::{PageRequest, SourceFilter, SourceSort, get_source, list_sources};

pub struct SourcesApi(pub Arc<Api>);

#[OpenApi]
impl SourcesApi {
    /// Sources that match all filters.
    ///
    /// Spec: GET_sources
    #[oai(path = "/sources", method = "get", operation_id = "GET_sources")]
    async fn get_sources(&self, request: &Request) -> Result<Paged<Vec<SourceShape<'static>>>, ApiError> {
        let query = Query::of(request);
        let paging = Paging::of(&self.0, request, &query)?;
        let (filter, sort) = (filter(&query)?, sort(&query)?);
        let state = self.0.state().await?;
        let label_of = |id| state.source(id)?.label.clone();
        let after = paging.after::<ListPlace<SourceId>>()?.map(|place| place.resolve(label_of)).transpose()?;
        let page = PageRequest { after, limit: paging.limit };
        let page = list_sources(&state, &filter, sort, paging.reverse_order, &page);
        let mut items = JsonArray::new();
        for source in &page.items {
            items.push(&SourceShape::from(&*query.dialect.source(&state, source)))?;
        }
        let count = items.count;
        Ok(paging.reply(items.finish(), count, page.next.map(ListPlace::from).as_ref()))
    }

    /// One Source.
    ///
    /// Spec: GET_sources-sourceId
    #[oai(path = "/sources/:sourceId", method = "get", operation_id = "GET_sources-sourceId")]
    async fn get_sources_source_id(
        &self,
        #[oai(name = "sourceId")] source_id: Path<SourceId>,
        dialect: Dialect,
    ) -> Result<JsonReply<SourceShape<'static>>, ApiError> {
        let state = self.0.state().await?;
        let source = get_source(&state, source_id.0)?;
        JsonReply::of(&SourceShape::from(&*dialect.source(&state, &source)))
    }
}

pub fn format(query: &Query<'_>) -> Result<Option<ContentFormat>, ApiError> {
    query.word("format", &ContentFormat::ALL.map(|format| (format.urn(), format)))
}

fn filter(query: &Query<'_>) -> Result<SourceFilter, ApiError> {
    Ok(SourceFilter {
        label: query.text("label").map(str::to_owned),
        format: format(query)?,
        tags: query.tags("tag")?,
        collected_by: query.collected_by()?,
    })
}

fn sort(query: &Query<'_>) -> Result<SourceSort, ApiError> {
    let words = [("created", SourceSort::Created), ("updated", SourceSort::Updated), ("label", SourceSort::Label)];
    Ok(query.word("sort_by", &words)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_sorted_by_their_own_keys() {
        assert_eq!(sort(&Query::parse("")).unwrap(), SourceSort::Created);
        assert_eq!(sort(&Query::parse("sort_by=updated")).unwrap(), SourceSort::Updated);
        assert!(sort(&Query::parse("sort_by=metadata_updated")).is_err());
        assert!(filter(&Query::parse("format=video")).is_err());
        assert!(filter(&Query::parse("format=urn:x-tam:format:image")).is_ok());
    }
}
