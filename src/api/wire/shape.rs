//! `shape!` and what it is made of: structs with their OpenAPI schema.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};

/// A property of an object schema.
pub struct Property {
    pub key: &'static str,
    pub doc: &'static str,
    pub schema: MetaSchemaRef,
    pub required: bool,
}

pub fn object_schema(doc: &'static str, properties: Vec<Property>) -> MetaSchema {
    MetaSchema {
        description: Some(doc.trim()),
        required: properties.iter().filter(|property| property.required).map(|property| property.key).collect(),
        properties: properties
            .into_iter()
            .map(|property| (property.key, described(property.schema, property.doc)))
            .collect(),
        ..MetaSchema::new("object")
    }
}

fn described(schema: MetaSchemaRef, doc: &'static str) -> MetaSchemaRef {
    if doc.is_empty() { schema } else { schema.merge(MetaSchema { description: Some(doc.trim()), ..MetaSchema::ANY }) }
}

pub fn inline(schema: MetaSchema) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(schema))
}

/// The schema of an integer from `minimum` on.
pub fn whole_number(minimum: f64) -> MetaSchemaRef {
    inline(MetaSchema { minimum: Some(minimum), ..MetaSchema::new("integer") })
}

/// The schema of a text that is one of `words`.
pub fn one_word_of(words: &[&'static str]) -> MetaSchemaRef {
    inline(MetaSchema { enum_items: words.iter().map(|word| (*word).into()).collect(), ..MetaSchema::new("string") })
}

/// Gives a type its place in the OpenAPI document; parsing and writing stay serde's.
macro_rules! api_type {
    ([$($life:lifetime)?] $type:ty, $name:expr, $schema:expr, $register:expr) => {
        impl $(<$life>)? poem_openapi::types::Type for $type {
            const IS_REQUIRED: bool = true;
            type RawValueType = Self;
            type RawElementValueType = Self;

            fn name() -> std::borrow::Cow<'static, str> {
                std::borrow::Cow::Borrowed($name)
            }

            fn schema_ref() -> poem_openapi::registry::MetaSchemaRef {
                $schema
            }

            fn register(registry: &mut poem_openapi::registry::Registry) {
                let register: fn(&mut poem_openapi::registry::Registry) = $register;
                register(registry);
            }

            fn as_raw_value(&self) -> Option<&Self> {
                Some(self)
            }

            fn raw_element_iter<'x>(&'x self) -> Box<dyn Iterator<Item = &'x Self> + 'x> {
                Box::new(std::iter::empty())
            }
        }
    };
}

/// A JSON object: the struct, serde's attributes and the schema. Optional keys are left out when there is no value,
/// and `null` is not taken for one.
macro_rules! shape {
    (
        $(#[doc = $doc:literal])+
        #[derive($($derive:ident),+)]
        struct $name:ident $(<$life:lifetime>)? as $schema:literal {
            required { $($(#[doc = $rdoc:literal])* $rfield:ident as $rkey:literal: $rtype:ty,)* }
            optional { $($(#[doc = $odoc:literal])* $ofield:ident as $okey:literal: $otype:ty,)* }
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, $($derive),+)]
        pub struct $name $(<$life>)? {
            $(
                $(#[doc = $rdoc])*
                #[serde(rename = $rkey)]
                pub $rfield: $rtype,
            )*
            $(
                $(#[doc = $odoc])*
                #[serde(
                    rename = $okey,
                    default,
                    deserialize_with = "crate::api::wire::present",
                    skip_serializing_if = "Option::is_none"
                )]
                pub $ofield: Option<$otype>,
            )*
        }

        api_type!(
            [$($life)?] $name $(<$life>)?,
            $schema,
            poem_openapi::registry::MetaSchemaRef::Reference($schema.to_owned()),
            |registry| {
                registry.create_schema::<Self, _>($schema.to_owned(), |registry| {
                    $(<$rtype as poem_openapi::types::Type>::register(registry);)*
                    $(<$otype as poem_openapi::types::Type>::register(registry);)*
                    crate::api::wire::shape::object_schema(concat!($($doc),+), vec![
                        $(crate::api::wire::shape::Property {
                            key: $rkey,
                            doc: concat!($($rdoc),*),
                            schema: <$rtype as poem_openapi::types::Type>::schema_ref(),
                            required: true,
                        },)*
                        $(crate::api::wire::shape::Property {
                            key: $okey,
                            doc: concat!($($odoc),*),
                            schema: <$otype as poem_openapi::types::Type>::schema_ref(),
                            required: false,
                        },)*
                    ])
                });
            }
        );
    };
}
