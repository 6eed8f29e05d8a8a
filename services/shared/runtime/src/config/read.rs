//! From the tree into types: a serde deserializer that knows paths, reads text as the field wants it, notes the keys that
//! nobody reads, and names what would have been allowed.

use super::{
    secret::SECRET_TYPE,
    tree::{Kind, Node, Segment},
};
use serde::{
    de::{
        DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, VariantAccess, Visitor,
    },
    forward_to_deserialize_any,
};
use std::{cell::RefCell, fmt, vec};

/// One value that does not fit its field.
#[derive(Debug)]
pub(super) struct Fault {
    /// Filled in by the innermost container that holds the value; `None` for the root.
    pub(super) path: Option<Vec<Segment>>,
    pub(super) found: Option<String>,
    pub(super) allowed: String,
    /// The required key that is not there, below `path`.
    missing: Option<&'static str>,
}

impl Fault {
    fn new(found: Option<String>, allowed: impl Into<String>) -> Self {
        Self { path: None, found, allowed: allowed.into(), missing: None }
    }

    /// Says where it happened, unless something further in has said so already.
    fn at(mut self, path: &[Segment], node: &Node) -> Self {
        if self.path.is_none() {
            let mut path = path.to_vec();
            match self.missing {
                Some(key) => {
                    path.push(Segment::Key(key.to_owned()));
                    self.found = Some("nothing".to_owned());
                }
                None => {
                    let found = self.found.take();
                    self.found = Some(found.map_or_else(|| node.describe(), |text| node.with_origin(&text)));
                }
            }
            self.path = Some(path);
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.allowed)
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        // Kernel types say "`found`: expected what is allowed"; the standard library only says that it failed.
        let allowed = match message.as_str() {
            "invalid socket address syntax" => "an address and a port, for example 127.0.0.1:9090",
            "invalid IP address syntax" => "an IP address, for example 127.0.0.1",
            other => other.split_once(": expected ").map_or(other, |(_, allowed)| allowed),
        };
        Self::new(None, allowed)
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(None, expected.to_string())
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(None, expected.to_string())
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(None, format!("one of {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Some(format!("the key {field}")), format!("one of {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { path: None, found: None, allowed: "a value; it has no default".to_owned(), missing: Some(field) }
    }
}

/// What was met on the way besides faults.
#[derive(Default, Debug)]
pub(super) struct Unread(RefCell<Vec<(Vec<Segment>, String)>>);

impl Unread {
    /// Paths of keys that no field asked for, with the value found there.
    pub(super) fn into_inner(self) -> Vec<(Vec<Segment>, String)> {
        self.0.into_inner()
    }
}

/// A node on its way into a type.
pub(super) struct Reader<'a> {
    pub(super) node: Node,
    pub(super) path: Vec<Segment>,
    pub(super) unread: &'a Unread,
}

impl<'a> Reader<'a> {
    fn child(&self, segment: Segment, node: Node) -> Reader<'a> {
        let mut path = self.path.clone();
        path.push(segment);
        Reader { node, path, unread: self.unread }
    }

    /// Deserializes and names the place of a failure.
    fn seed<'de, S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        let (path, node) = (self.path.clone(), self.node.clone());
        seed.deserialize(self).map_err(|fault| fault.at(&path, &node))
    }

    /// Text that stands where a list or a table is wanted, parsed as TOML.
    fn text_as_toml(&self, text: &str) -> Option<Node> {
        let table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
        Some(Node::from_toml(&self.node.origin, table.get("value")?.clone()))
    }

    fn elements(&self) -> Result<Vec<(usize, Node)>, Fault> {
        match &self.node.kind {
            Kind::List(items) => Ok(items.clone()),
            Kind::Text(text) if text.trim_start().starts_with('[') => match self.text_as_toml(text).map(|n| n.kind) {
                Some(Kind::List(items)) => Ok(items),
                _ => Err(Fault::new(None, "a TOML array, or values with commas between them")),
            },
            Kind::Text(text) => Ok(text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Node::text(&self.node.origin, item))
                .enumerate()
                .collect()),
            _ => Err(Fault::new(None, "a list")),
        }
    }

    fn fields(&self) -> Result<Vec<(String, Node)>, Fault> {
        match &self.node.kind {
            Kind::Table(fields) => Ok(fields.iter().map(|(key, node)| (key.clone(), node.clone())).collect()),
            Kind::Text(text) => match self.text_as_toml(text).map(|node| node.kind) {
                Some(Kind::Table(fields)) => Ok(fields.into_iter().collect()),
                _ => Err(Fault::new(None, "a table; as text a TOML inline table, for example { key = 1 }")),
            },
            _ => Err(Fault::new(None, "a table")),
        }
    }

    fn visit_elements<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let elements = self.elements()?;
        visitor.visit_seq(Elements { iter: elements.into_iter(), parent: &self })
    }

    fn visit_fields<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let fields = self.fields()?;
        visitor.visit_map(Fields { iter: fields.into_iter(), value: None, parent: &self })
    }
}

/// A number or flag: typed values as they are, text parsed as the field wants it.
macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty, $wanted:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match &self.node.kind {
                Kind::Text(text) => match text.trim().parse::<$type>() {
                    Ok(value) => visitor.$visit(value),
                    Err(_) => Err(Fault::new(None, $wanted)),
                },
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Table(_) => self.visit_fields(visitor),
            Kind::List(_) => self.visit_elements(visitor),
            Kind::Absent => visitor.visit_none(),
            Kind::Scalar(toml::Value::Boolean(flag)) => visitor.visit_bool(*flag),
            Kind::Scalar(toml::Value::Integer(number)) => visitor.visit_i64(*number),
            Kind::Scalar(toml::Value::Float(number)) => visitor.visit_f64(*number),
            Kind::Scalar(toml::Value::String(text)) => visitor.visit_str(text),
            Kind::Scalar(other) => visitor.visit_string(other.to_string()),
            // Only a field that says nothing about its type comes here with text.
            Kind::Text(text) => match self.text_as_toml(text) {
                Some(node) => Reader { node, path: self.path, unread: self.unread }.deserialize_any(visitor),
                None => visitor.visit_str(text),
            },
        }
    }

    parsed! {
        deserialize_bool visit_bool bool, "true or false";
        deserialize_i8 visit_i8 i8, "a whole number from -128 to 127";
        deserialize_i16 visit_i16 i16, "a whole number from -32768 to 32767";
        deserialize_i32 visit_i32 i32, "a whole number that fits 32 bits";
        deserialize_i64 visit_i64 i64, "a whole number that fits 64 bits";
        deserialize_i128 visit_i128 i128, "a whole number";
        deserialize_u8 visit_u8 u8, "a whole number from 0 to 255";
        deserialize_u16 visit_u16 u16, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a whole number from 0 to 4294967295";
        deserialize_u64 visit_u64 u64, "a whole number, not negative";
        deserialize_u128 visit_u128 u128, "a whole number, not negative";
        deserialize_f32 visit_f32 f32, "a number";
        deserialize_f64 visit_f64 f64, "a number";
        deserialize_char visit_char char, "one character";
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Text(text) => visitor.visit_str(text),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Absent => visitor.visit_none(),
            Kind::Text(text) if text.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        let secret = name == SECRET_TYPE;
        visitor.visit_newtype_struct(self).map_err(|mut fault| {
            if secret && fault.found.is_none() {
                fault.found = Some("***".to_owned());
            }
            fault
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit_elements(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.visit_elements(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit_elements(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit_fields(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit_fields(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let inline = match &self.node.kind {
            Kind::Text(text) if text.trim_start().starts_with('{') => self.text_as_toml(text).map(|node| node.kind),
            _ => None,
        };
        let (variant, content) = match inline.as_ref().unwrap_or(&self.node.kind) {
            Kind::Scalar(toml::Value::String(text)) | Kind::Text(text) => (text.clone(), None),
            Kind::Table(fields) if fields.len() == 1 => match fields.iter().next() {
                Some((key, node)) => (key.clone(), Some(self.child(Segment::Key(key.clone()), node.clone()))),
                None => return Err(Fault::unknown_variant("", variants)),
            },
            _ => return Err(Fault::new(None, format!("one of {}", variants.join(", ")))),
        };
        visitor.visit_enum(Choice { variant, content })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        // The value is not shown: an unknown key may well be a misspelt secret.
        self.unread.0.borrow_mut().push((self.path.clone(), self.node.with_origin("a key that nothing reads")));
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { bytes byte_buf unit unit_struct }
}

struct Elements<'r, 'a> {
    iter: vec::IntoIter<(usize, Node)>,
    parent: &'r Reader<'a>,
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((index, node)) = self.iter.next() else { return Ok(None) };
        self.parent.child(Segment::Index(index), node).seed(seed).map(Some)
    }
}

struct Fields<'r, 'a> {
    iter: vec::IntoIter<(String, Node)>,
    value: Option<(String, Node)>,
    parent: &'r Reader<'a>,
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((key, node)) = self.iter.next() else { return Ok(None) };
        let reader = self.parent.child(Segment::Key(key.clone()), Node::text(&node.origin, &key));
        self.value = Some((key, node));
        reader.seed(seed).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let (key, node) = self.value.take().ok_or_else(|| Fault::custom("a key before its value"))?;
        self.parent.child(Segment::Key(key), node).seed(seed)
    }
}

struct Choice<'a> {
    variant: String,
    content: Option<Reader<'a>>,
}

impl<'de, 'a> EnumAccess<'de> for Choice<'a> {
    type Error = Fault;
    type Variant = Content<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Content<'a>), Fault> {
        let variant = seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(self.variant.as_str()))?;
        Ok((variant, Content(self.content)))
    }
}

struct Content<'a>(Option<Reader<'a>>);

impl<'a> Content<'a> {
    fn reader(self) -> Result<Reader<'a>, Fault> {
        self.0.ok_or_else(|| Fault::new(None, "a table with this name as its only key"))
    }
}

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.0 {
            None => Ok(()),
            Some(_) => Err(Fault::new(None, "the name alone")),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        self.reader()?.seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        let reader = self.reader()?;
        let (path, node) = (reader.path.clone(), reader.node.clone());
        reader.visit_elements(visitor).map_err(|fault| fault.at(&path, &node))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        let reader = self.reader()?;
        let (path, node) = (reader.path.clone(), reader.node.clone());
        reader.visit_fields(visitor).map_err(|fault| fault.at(&path, &node))
    }
}
