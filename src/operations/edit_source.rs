//! Changes one property of a Source.
//! Spec: PUT_sources-sourceId-label and the other sub-resources of a Source, with their DELETE

use std::sync::Arc;

use super::{OperationError, Tams};
use crate::catalog::{Change, State};
use crate::domain::{Source, SourceId, TagValue, UtcTime};

/// `None` unsets.
#[derive(Debug, Clone)]
pub enum SourceEdit {
    Label(Option<String>),
    Description(Option<String>),
    PutTag(String, TagValue),
    DeleteTag(String),
}

impl SourceEdit {
    /// Bytes that it holds, about.
    fn weight(&self) -> usize {
        2_048
            + match self {
                Self::Label(text) | Self::Description(text) => text.as_ref().map_or(0, String::len),
                Self::PutTag(name, value) => name.len() + value.bytes(),
                Self::DeleteTag(_) => 0,
            }
    }
}

/// As [`super::FlowMeaning`], of one property of a Source.
pub type SourceEditMeaning = fn(&Source, &mut SourceEdit);

pub async fn edit_source(
    tams: &Tams,
    id: SourceId,
    edit: SourceEdit,
    meaning: Option<SourceEditMeaning>,
) -> Result<(), OperationError> {
    tams.catalog
        .commit(edit.weight(), move |state, now| {
            let mut edit = edit.clone();
            if let (Some(meaning), Some(stored)) = (meaning, state.source(id)) {
                meaning(stored, &mut edit);
            }
            Ok((decide(&state, now, id, edit)?, ()))
        })
        .await
}

fn decide(state: &State, now: UtcTime, id: SourceId, edit: SourceEdit) -> Result<Vec<Change>, OperationError> {
    let old = state.source(id).ok_or(OperationError::SourceNotFound(id))?;
    let mut source = Source::clone(old);
    match edit {
        SourceEdit::Label(label) => source.label = label,
        SourceEdit::Description(description) => source.description = description,
        SourceEdit::PutTag(name, value) => drop(source.tags.insert(name, value)),
        SourceEdit::DeleteTag(name) => {
            source.tags.remove(&name).ok_or(OperationError::TagNotFound(name))?;
        }
    }
    if source == **old {
        return Ok(Vec::new());
    }
    source.updated = now;
    Ok(vec![Change::PutSource(Arc::new(source))])
}
