//! Objects of JavaScript.

use std::cell::RefCell;
use std::str::FromStr;

use js_sys::{Error, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// An error with a `code`.
pub(crate) fn fail(code: &str, message: &str) -> JsValue {
    let error = Error::new(message);
    // An error takes every property.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

thread_local! {
    /// Names of properties: to make a text of JavaScript takes longer than to set the property.
    static NAMES: RefCell<Vec<(&'static str, &'static JsValue)>> = const { RefCell::new(Vec::new()) };
}

/// A name as a text of JavaScript. There are as many as in this source, so that they may stay.
fn name_of(name: &'static str) -> &'static JsValue {
    let is_it =
        |known: &str| std::ptr::eq(known.as_ptr(), name.as_ptr()) && known.len() == name.len();
    NAMES.with_borrow_mut(|names| {
        if let Some((_, text)) = names.iter().find(|(known, _)| is_it(known)) {
            return *text;
        }
        let text: &'static JsValue = Box::leak(Box::new(name.into()));
        names.push((name, text));
        text
    })
}

/// A property; none if it is undefined or null.
pub(crate) fn get(object: &JsValue, name: &'static str) -> Option<JsValue> {
    let value = Reflect::get(object, name_of(name)).ok()?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}

/// A property that is a text of this type.
pub(crate) fn parsed<T: FromStr>(
    object: &JsValue,
    name: &'static str,
) -> Result<Option<T>, JsValue> {
    match get(object, name) {
        None => Ok(None),
        Some(value) => parse(&value.as_string().unwrap_or_default(), name).map(Some),
    }
}

/// A text of this type.
pub(crate) fn parse<T: FromStr>(text: &str, name: &str) -> Result<T, JsValue> {
    let wrong = |_| fail("invalid", &format!("`{name}` is not 64 hexadecimal digits"));
    text.parse().map_err(wrong)
}

/// A property that must be there.
pub(crate) fn required<T>(value: Option<T>, name: &str) -> Result<T, JsValue> {
    value.ok_or_else(|| fail("invalid", &format!("`{name}` is missing")))
}

/// A whole number up to this.
pub(crate) fn whole(
    object: &JsValue,
    name: &'static str,
    most: u64,
) -> Result<Option<u64>, JsValue> {
    let Some(value) = get(object, name).and_then(|value| value.as_f64()) else {
        return Ok(None);
    };
    match value.fract() == 0.0 && value >= 0.0 && value <= most as f64 {
        true => Ok(Some(value as u64)),
        false => Err(fail("invalid", &format!("`{name}` is out of range"))),
    }
}

/// A new object with these properties.
pub(crate) fn object(pairs: &[(&'static str, JsValue)]) -> JsValue {
    let object = js_sys::Object::new();
    for (name, value) in pairs {
        // A new object takes every property.
        let _ = Reflect::set(&object, name_of(name), value);
    }
    object.unchecked_into()
}

/// Undefined for none.
pub(crate) fn text(value: Option<impl ToString>) -> JsValue {
    value.map_or(JsValue::UNDEFINED, |value| value.to_string().into())
}
