//! Values and rows, as applications write and read them.

use bytes::Bytes;
use p2panda_core::{Hash, Timestamp, VerifyingKey};
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// A value in a table of a view.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// The value `NULL` of SQL.
    #[default]
    Null,
    /// A whole number.
    Integer(i64),
    /// A floating point number.
    Real(f64),
    /// A text in UTF-8.
    Text(String),
    /// A byte string.
    Blob(Bytes),
}

impl Value {
    /// Returns the memory that it takes, about.
    pub fn bytes(&self) -> usize {
        let content = match self {
            Value::Null | Value::Integer(_) | Value::Real(_) => 0,
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
        };
        size_of::<Value>() + content
    }

    pub(crate) fn read(value: ValueRef<'_>) -> Value {
        match value {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Real(number) => Value::Real(number),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Value::Blob(Bytes::copy_from_slice(bytes)),
        }
    }
}

/// Not part of the API: a parameter is written by it.
#[doc(hidden)]
impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Real(number) => ValueRef::Real(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

macro_rules! value_from {
    ($($from:ty => |$it:ident| $value:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($it: $from) -> Value {
                $value
            }
        })*
    };
}

value_from! {
    bool => |it| Value::Integer(i64::from(it));
    i32 => |it| Value::Integer(i64::from(it));
    u32 => |it| Value::Integer(i64::from(it));
    i64 => |it| Value::Integer(it);
    f64 => |it| Value::Real(it);
    &str => |it| Value::Text(it.to_owned());
    String => |it| Value::Text(it);
    &[u8] => |it| Value::Blob(Bytes::copy_from_slice(it));
    Vec<u8> => |it| Value::Blob(it.into());
    Bytes => |it| Value::Blob(it);
    Hash => |it| Value::Blob(Bytes::copy_from_slice(it.as_bytes()));
    VerifyingKey => |it| Value::Blob(Bytes::copy_from_slice(it.as_bytes()));
}

impl From<Timestamp> for Value {
    /// Its microseconds; one beyond the year 294 000 is cut.
    fn from(time: Timestamp) -> Value {
        Value::Integer(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// A row that a query has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row(pub(crate) Vec<Value>);

impl Row {
    /// Its values, by column.
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    /// The whole number in a column, if there is one.
    pub fn integer(&self, column: usize) -> Option<i64> {
        match self.0.get(column)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The number in a column, if there is one.
    pub fn real(&self, column: usize) -> Option<f64> {
        match self.0.get(column)? {
            Value::Real(number) => Some(*number),
            Value::Integer(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// The text in a column, if there is some.
    pub fn text(&self, column: usize) -> Option<&str> {
        match self.0.get(column)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes in a column, if there are some.
    pub fn blob(&self, column: usize) -> Option<&Bytes> {
        match self.0.get(column)? {
            Value::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }
}
